"""Receipts reach the chain, each once; and what record() asks of the chain's log."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.anchor import batch
from commonhold.chain.events import Settled
from commonhold.db import read, write
from commonhold.meter import tables as t
from commonhold.meter.record import Recorded, Rejected, record_all
from commonhold.meter.settle import settle
from commonhold.meter.totals import lease_totals
from commonhold.mirror import read as mirror
from commonhold.signing import Receipt
from commonhold.units import UNIT, BlockNumber, Hash32
from tests.actors import APPRAISERS, YEAR_S, Deployed, p256_of, point_of
from tests.anchor.scene import Scene, small
from tests.api.service import running

pytestmark = pytest.mark.chain
sqlite_only = pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)


@pytest_asyncio.fixture
async def scene(engine: AsyncEngine, deployed: Deployed, tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(engine, deployed, tmp_path) as service:
        yield await small(service)


async def settled_ms(scene: Scene) -> list[int]:
    async with read(scene.service.state.engine) as db:
        return [row.settled_ms for row in await lease_totals(db)]


async def test_receipts_of_all_leases_are_settled_once(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("stranger")
    one, two = scene.leases
    await scene.report(scene.node.work(one), scene.node.work(two), scene.node.work(one))
    await scene.acknowledge(one)
    await scene.acknowledge(two)

    mined = await settle(engine, sender)
    again = await settle(engine, sender)  # the mirror has not followed yet
    await scene.service.mirrored()
    after = await settle(engine, sender)

    assert mined is not None
    totals = {event.lease: event.gpu_ms for event in mined.events if isinstance(event, Settled)}
    assert totals == scene.node.totals
    assert (again, after) == (None, None)
    assert sorted(await settled_ms(scene)) == sorted(totals.values())


@sqlite_only
async def test_receipts_wait_until_the_redemption_is_settled_enough(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("stranger")
    one, two = scene.leases
    await scene.report(scene.node.work(one), scene.node.work(two))
    for lease in scene.leases:
        await scene.acknowledge(lease)
    async with read(engine) as db:
        first = min(row.redeemed_block for row in await mirror.leases(db))

    before = await settle(engine, sender, redeemed_until=BlockNumber(first - 1))
    async with write(engine) as db:
        terms = {"domain": scene.node.domain, "submitter": scene.service.state.submitter, "now_s": 0}
        nothing = await batch.close(db, **terms, redeemed_until=BlockNumber(first - 1))
        epoch = await batch.close(db, **terms, redeemed_until=first)
    mined = await settle(engine, sender, redeemed_until=first)

    assert (before, nothing) == (None, None)
    assert epoch is not None
    assert epoch.count == 2  # a segment and a receipt, of one lease
    assert mined is not None
    assert [event.lease for event in mined.events if isinstance(event, Settled)] == [one]


@sqlite_only
async def test_dying_before_the_settlement_is_noted_changes_nothing(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("stranger")
    await scene.report(scene.node.work(scene.leases[0]))
    await scene.acknowledge(scene.leases[0])
    await settle(engine, sender)
    async with write(engine) as db:
        await db.execute(sa.delete(t.settlement))

    repeated = await settle(engine, sender)
    await scene.service.mirrored()

    assert repeated is not None
    assert repeated.events == ()
    assert max(await settled_ms(scene)) == scene.node.totals[scene.leases[0]]


@sqlite_only
async def test_receipt_that_the_chain_refuses_holds_up_no_other(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("stranger")
    one, two = scene.leases
    await scene.report(scene.node.work(one), scene.node.work(two))
    bad, good = await scene.acknowledge(one), await scene.acknowledge(two)
    async with write(engine) as db:  # neither key has signed this total
        await db.execute(sa.update(t.receipt).where(t.receipt.c.lease == one).values(gpu_ms=bad.receipt.gpu_ms + 1))

    mined = await settle(engine, sender)

    assert mined is not None
    assert [event.lease for event in mined.events if isinstance(event, Settled)] == [good.receipt.lease]


@sqlite_only
async def test_receipt_ahead_of_the_chains_clock_waits(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("stranger")
    lease = scene.leases[0]
    scene.node.work(lease, readings=90)  # 90 s of work, and a minute has passed on chain
    await scene.acknowledge(lease)

    assert await settle(engine, sender) is None
    await scene.deployed.anvil.advance(60)
    assert await settle(engine, sender) is not None


async def test_late_segment_is_held_against_the_appraisal_of_its_time(scene: Scene) -> None:
    d, engine, node, lease = scene.deployed, scene.service.state.engine, scene.node, scene.leases[0]
    in_time = node.work(lease)
    async with read(engine) as db:
        expires_at = (await db.execute(sa.text("SELECT expires_at FROM asset"))).scalar_one()
    node.now_ms = expires_at * 1000 + 60_000
    node.sequence += 1
    lapsed = node.work(lease)
    await d.anvil.advance(expires_at + 3_600 - await d.now())
    appraisal = await d.appraisal("provider", 8 * UNIT, name="node", level=4, expires_in_s=YEAR_S)
    point = point_of("new meter key")
    renewal = replace(appraisal, meter_key_x=Hash32(point[:32]), meter_key_y=Hash32(point[32:]))
    await d.send("relayer", "Ledger", "renew", scene.asset, renewal, d.quorum(APPRAISERS[:2], renewal))
    await scene.service.mirrored()
    now_s = await d.now() + 600
    node.now_ms, node.key, node.sequence = (now_s - 60) * 1000, p256_of("new meter key"), 5
    fresh = node.work(lease)

    async with write(engine) as db:
        outcomes = await record_all(db, [fresh, lapsed, in_time], now_s=now_s, domain=node.domain)
        levels = (await db.execute(sa.select(t.segment.c.level).order_by(t.segment.c.sequence))).scalars().all()

    assert [type(outcome) for outcome in outcomes] == [Recorded, Rejected, Recorded]
    assert isinstance(outcomes[1], Rejected)
    assert outcomes[1].code == "expired"
    assert levels == [3, 4]


def test_receipt_is_what_the_contract_takes() -> None:
    assert [name for name, _ in Receipt.FIELDS] == ["lease", "gpuMs", "head"]
