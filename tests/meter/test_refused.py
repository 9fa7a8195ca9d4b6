"""Receipts that the chain refuses hold up no others, for whatever reason and however many they are."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import p256, signing
from commonhold.chain.contract import encode_call
from commonhold.db import read, write
from commonhold.meter import tables as t
from commonhold.meter.segment import Signature, SignedReceipt
from commonhold.meter.settle import settle
from commonhold.meter.totals import pending_settlements
from commonhold.mirror import read as mirror
from commonhold.mirror import tables as mirrored
from commonhold.units import Hash32, address_text, hex_text
from tests.actors import Deployed, address_of, p256_of
from tests.anchor.scene import Scene, begin
from tests.api.service import running
from tests.meter import world
from tests.meter.world import DOMAIN, LEASE, NOW_S, SECOND_LEASE

pytestmark = [pytest.mark.chain, pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)]


@pytest_asyncio.fixture
async def scene(engine: AsyncEngine, deployed: Deployed, tmp_path: Path) -> AsyncIterator[Scene]:
    """Two leases that may be settled for 60 s of all GPUs: the first is free, the second was paid for."""
    async with running(engine, deployed, tmp_path) as service:
        yield await begin(service)


async def signed_for(scene: Scene, lease: Hash32, gpu_ms: int) -> None:
    statement = signing.Receipt(lease, gpu_ms, Hash32(b"\7" * 32))
    message = signing.preimage(scene.node.domain, statement)
    halves = (Signature(p256.sign_es256(p256_of(role), message)) for role in ("node", "developer"))
    answer = await scene.service.http.post("/v1/receipts", json=SignedReceipt(statement, *halves).to_json())
    assert answer.status_code == 200, answer.text
    scene.service.clock.now_s += 1  # the next one is younger


async def settled(scene: Scene) -> list[int]:
    """What the chain has counted of both leases, mirrored."""
    await scene.service.mirrored()
    async with read(scene.service.state.engine) as db:
        rows = [await mirror.lease(db, lease) for lease in scene.leases]
    return [int(row.settled_ms) for row in rows if row]


async def test_a_refused_receipt_does_not_stand_before_the_others(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("stranger")
    one, two = scene.leases
    await signed_for(scene, one, 3_600_000)  # all of the lease, of which not even 90 s can have passed
    await signed_for(scene, two, 7_000)

    assert await settle(engine, sender, most=1) is not None
    assert await settled(scene) == [0, 7_000]


async def test_a_token_that_refuses_to_pay_stops_no_settlement(scene: Scene) -> None:
    """Settling moves no money: what was earned is claimed apart, so that nobody's refusal stands before the others."""
    engine, deployed, (one, two) = scene.service.state.engine, scene.deployed, scene.leases
    sender, access = deployed.sender("stranger"), deployed.deployment.access
    at = await deployed.rpc.head()
    escrow = await deployed.rpc.call("Coin", deployed.deployment.token, "balanceOf", access, at=at)
    await impersonate(deployed, encode_call("Coin", "transfer", (address_of("stranger"), escrow)))
    await signed_for(scene, two, 7_000)
    await signed_for(scene, one, 5_000)

    assert await settle(engine, sender) is not None
    assert await settled(scene) == [5_000, 7_000]


async def impersonate(deployed: Deployed, data: bytes) -> None:
    """Access itself calls the token."""
    access, token = (address_text(at) for at in (deployed.deployment.access, deployed.deployment.token))
    await deployed.anvil.fund(access, 10**18)
    await deployed.anvil.request("anvil_impersonateAccount", access)
    await deployed.anvil.send({"from": access, "to": token, "data": hex_text(data)})
    await deployed.anvil.request("anvil_stopImpersonatingAccount", access)


async def test_a_lease_that_has_not_begun_waits(engine: AsyncEngine) -> None:
    await world.fill(engine)
    async with write(engine) as db:
        for lease in (LEASE, SECOND_LEASE):
            signed = world.receipt(lease, 1_000)
            digest = signed.digest(DOMAIN)
            row = {"lease": lease, "gpu_ms": 1_000, "head": signed.receipt.head, "digest": digest, "received_at": NOW_S}
            row |= {"node_signature": signed.node_signature, "session_signature": signed.session_signature}
            await db.execute(sa.insert(t.receipt).values(row))
        c = mirrored.lease.c
        await db.execute(sa.update(mirrored.lease).where(c.lease == LEASE).values(starts_at=NOW_S + 1))

    async with read(engine) as db:
        waiting = [signed.receipt.lease for signed in await pending_settlements(db, 10)]

    assert waiting == [SECOND_LEASE]
