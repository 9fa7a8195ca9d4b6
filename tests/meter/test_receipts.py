"""Receipts, totals, and what waits to be settled."""

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import read, write
from commonhold.meter import tables as t
from commonhold.meter.read import newest_receipt, receipts
from commonhold.meter.record import Duplicate, Outcome, Recorded, Rejected, record_all, record_receipt
from commonhold.meter.segment import SignedReceipt
from commonhold.meter.totals import LeaseTotal, Metered, lease_totals, metered, pending_settlements
from commonhold.mirror import tables as mirrored
from commonhold.units import AssetId, GpuMs, Hash32, Seconds, Window
from tests.meter import world
from tests.meter.world import CLASS, DOMAIN, GPUS, LATER_S, LEASE, NOW_S, SECOND_LEASE, SECONDS, Node, receipt

pytestmark = pytest.mark.usefixtures("mirror")
WINDOW = Window(NOW_S // 604_800)


@pytest.fixture
async def mirror(engine: AsyncEngine) -> None:
    await world.fill(engine)


async def sent(engine: AsyncEngine, signed: SignedReceipt, now_s: int = NOW_S) -> Outcome:
    async with write(engine) as db:
        return await record_receipt(db, signed, now_s=now_s, domain=DOMAIN)


async def test_receipt_sent_twice_is_recorded_once(engine: AsyncEngine) -> None:
    signed = receipt(LEASE, 5_000)

    assert await sent(engine, signed) == Recorded(signed.digest(DOMAIN))
    assert await sent(engine, receipt(LEASE, 5_000)) == Duplicate(signed.digest(DOMAIN))  # other signatures, same words
    async with read(engine) as db:
        assert await receipts(db, LEASE) == [signed]


async def test_receipts_of_a_lease_only_grow(engine: AsyncEngine) -> None:
    first, second = receipt(LEASE, 5_000), receipt(LEASE, 6_000)
    await sent(engine, first)
    await sent(engine, second)

    older = await sent(engine, receipt(LEASE, 5_500))

    assert isinstance(older, Rejected)
    assert "6000 is recorded" in older.reason
    assert await sent(engine, first) == Duplicate(first.digest(DOMAIN))
    async with read(engine) as db:
        assert await newest_receipt(db, LEASE) == second


async def test_another_head_for_the_same_time_is_a_duplicate(engine: AsyncEngine) -> None:
    signed = receipt(LEASE, 5_000)
    await sent(engine, signed)

    assert await sent(engine, receipt(LEASE, 5_000, Hash32(b"\4" * 32))) == Duplicate(signed.digest(DOMAIN))


async def test_receipt_without_both_signatures_is_refused(engine: AsyncEngine) -> None:
    by_stranger = await sent(engine, receipt(LEASE, 5_000, node=world.STRANGER))
    unknown = await sent(engine, receipt(Hash32(b"\x99" * 32), 5_000))

    assert isinstance(by_stranger, Rejected)
    assert by_stranger.code == "invalid"
    assert isinstance(unknown, Rejected)
    assert unknown.code == "unknown"
    async with read(engine) as db:
        assert (await db.execute(sa.select(t.receipt))).all() == []


async def test_receipts_posted_at_once_are_recorded_once(engine: AsyncEngine) -> None:
    signed = receipt(LEASE, 5_000)

    outcomes = await asyncio.gather(*(sent(engine, signed) for _ in range(4)))

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Duplicate"] * 3 + ["Recorded"]


async def test_totals_are_by_lease_and_never_without_level_and_policy(engine: AsyncEngine) -> None:
    node = Node()
    run = [node.work(), node.work(SECOND_LEASE, readings=2), node.work()]
    async with write(engine) as db:
        await record_all(db, run, now_s=LATER_S, domain=DOMAIN)
        await db.execute(sa.update(mirrored.asset).values(level=5, policy="vendor"))
        await record_all(db, [node.work()], now_s=LATER_S, domain=DOMAIN)
    await sent(engine, receipt(LEASE, 4_000))

    async with read(engine) as db:
        one, two = await lease_totals(db, AssetId(world.ASSET))
        by_level = await metered(db)

    total = 3 * 3 * 800 * GPUS
    asset, seconds = AssetId(world.ASSET), Seconds(SECONDS)
    assert one == LeaseTotal(LEASE, asset, WINDOW, seconds, GpuMs(total), GpuMs(4_000), GpuMs(0))
    assert two == LeaseTotal(SECOND_LEASE, asset, WINDOW, seconds, GpuMs(2 * 800 * GPUS), GpuMs(0), GpuMs(0))
    assert by_level == [
        Metered(CLASS, WINDOW, 3, "development", GpuMs(8 * 800 * GPUS), 3),
        Metered(CLASS, WINDOW, 5, "vendor", GpuMs(3 * 800 * GPUS), 1),
    ]
    assert all(isinstance(row.gpu_ms, int) for row in by_level)


async def test_late_segments_change_no_total(engine: AsyncEngine) -> None:
    node = Node()
    run = [node.work(busy_ms=busy_ms) for busy_ms in (100, 900, 500)]
    for signed in (run[2], run[0], run[1]):
        async with write(engine) as db:
            await record_all(db, [signed], now_s=LATER_S, domain=DOMAIN)
        async with read(engine) as db:
            (row,) = await metered(db)
            assert row.gpu_ms == run[2].segment.gpu_ms


async def test_newest_receipt_that_fits_waits_for_settlement(engine: AsyncEngine) -> None:
    limit_ms = SECONDS * 1000
    for signed in (receipt(LEASE, 1_000), receipt(LEASE, 2_000), receipt(SECOND_LEASE, 0)):
        await sent(engine, signed)
    await sent(engine, receipt(SECOND_LEASE, limit_ms), NOW_S + 1)
    await sent(engine, receipt(SECOND_LEASE, limit_ms + 1), NOW_S + 2)

    async with read(engine) as db:
        waiting = [(signed.receipt.lease, signed.receipt.gpu_ms) for signed in await pending_settlements(db, 10)]
        first = [signed.receipt.lease for signed in await pending_settlements(db, 1)]

    assert waiting == [(LEASE, 2_000), (SECOND_LEASE, limit_ms)]
    assert first == [LEASE]


async def test_settled_receipt_waits_no_more(engine: AsyncEngine) -> None:
    await sent(engine, receipt(LEASE, 2_000))
    async with write(engine) as db:
        await db.execute(sa.update(mirrored.lease).where(mirrored.lease.c.lease == LEASE).values(settled_ms=2_000))

    async with read(engine) as db:
        assert await pending_settlements(db, 10) == []


@pytest.mark.parametrize(("block_number", "waits"), [(2, False), (1, True)])
async def test_what_was_sent_waits_until_the_mirror_could_show_it(
    engine: AsyncEngine, block_number: int, waits: bool
) -> None:
    await sent(engine, receipt(LEASE, 2_000))
    async with write(engine) as db:  # the mirror is at block 1
        values = {"lease": LEASE, "gpu_ms": 2_000, "block_number": block_number}
        await db.execute(sa.insert(t.settlement).values(values))

    async with read(engine) as db:
        assert bool(await pending_settlements(db, 10)) is waits
