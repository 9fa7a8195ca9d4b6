"""How settled a block must be before a token is issued on it: what is younger is waited for, and then counts."""

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.mirror.follow import Follower
from commonhold.mirror.tiers import OnAnotherBranch, Tiers, settled
from commonhold.units import Hash32
from tests.actors import Deployed
from tests.api.conftest import sqlite_only
from tests.api.service import Service, running
from tests.mirror.following import catch_up

pytestmark = [pytest.mark.chain, sqlite_only]

SLOTS = 3  # of this chain's epochs: so many blocks from the newest to the safe one, twice as many to the final one


async def lease_of_a_newcomer(deployed: Deployed) -> Hash32:
    await deployed.admit("owner")
    credit = await deployed.open(await deployed.register_compute(name="another"))
    await deployed.grant(credit, "owner", 3_600)
    return await deployed.redeem("owner", credit, 3_600)


async def asked(service: Service, lease: Hash32) -> tuple[int, str]:
    await service.mirrored()
    service.clock.now_s = await service.deployed.now()
    answer = await service.ask(await service.sign_in_form(lease, wallet="owner"), session="owner")
    return answer.status_code, answer.json().get("error_description", "")


@pytest.mark.parametrize(
    ("tiers", "blocks", "why"),
    [
        (Tiers(), 0, ""),
        (Tiers(redeem="safe"), SLOTS, "redemptions count up to block"),
        (Tiers(redeem="finalized"), 2 * SLOTS, "redemptions count up to block"),
        (Tiers(admit="safe"), SLOTS - 3, "the appraisal of asset"),
        (Tiers(admit="finalized"), 2 * SLOTS - 3, "appraisal"),
        (Tiers(admit="finalized", redeem="safe"), SLOTS, "redemptions count"),
    ],
)
async def test_what_is_younger_is_waited_for_and_then_counts(
    deployed: Deployed, engine: AsyncEngine, tmp_path: Path, tiers: Tiers, blocks: int, why: str
) -> None:
    async with running(engine, deployed, tmp_path, tiers=tiers) as service:
        lease = await lease_of_a_newcomer(deployed)
        if blocks > 1:
            await deployed.anvil.mine(blocks - 1)
        if blocks > 0:
            status, said = await asked(service, lease)
            assert status == 400
            assert why in said
            await deployed.anvil.mine(2 * SLOTS)

        assert (await asked(service, lease))[0] == 200


async def test_an_appraisal_that_is_settled_and_over_is_refused_not_waited_for(
    deployed: Deployed, engine: AsyncEngine, tmp_path: Path
) -> None:
    async with running(engine, deployed, tmp_path, tiers=Tiers(admit="finalized")) as service:
        lease = await lease_of_a_newcomer(deployed)
        await deployed.anvil.advance(400 * 86_400)
        await deployed.anvil.mine(2 * SLOTS)

        status, said = await asked(service, lease)

    assert status == 400
    assert "expired at" in said


async def test_settled_is_the_newest_block_of_ours_that_the_tier_covers(
    deployed: Deployed, engine: AsyncEngine
) -> None:
    await deployed.anvil.mine(10)
    follower = Follower(deployed.rpc, deployed.deployment, engine)
    await catch_up(follower)
    head = (await deployed.rpc.head()).number

    assert await settled(engine, deployed.rpc, "latest") is None
    assert await settled(engine, deployed.rpc, "safe") == head - SLOTS
    assert await settled(engine, deployed.rpc, "finalized") == head - 2 * SLOTS

    await deployed.anvil.mine(SLOTS + 2)  # and the mirror has not followed
    assert await settled(engine, deployed.rpc, "safe") == head
    assert await settled(engine, deployed.rpc, "finalized") == head - 2 * SLOTS


async def test_a_safe_block_of_another_branch_is_waited_for(deployed: Deployed, engine: AsyncEngine) -> None:
    await deployed.anvil.mine(10)
    follower = Follower(deployed.rpc, deployed.deployment, engine)
    await catch_up(follower)
    await deployed.anvil.reorg(SLOTS + 2)

    with pytest.raises(OnAnotherBranch, match="safe block"):
        await settled(engine, deployed.rpc, "safe")
    await deployed.anvil.mine(SLOTS + 2)
    with pytest.raises(OnAnotherBranch, match="safe block"):
        await settled(engine, deployed.rpc, "safe")

    await catch_up(follower)
    assert await settled(engine, deployed.rpc, "safe") == (await deployed.rpc.head()).number - SLOTS


async def test_answers_name_the_newest_final_block(deployed: Deployed, engine: AsyncEngine, tmp_path: Path) -> None:
    await deployed.anvil.mine(10)
    async with running(engine, deployed, tmp_path) as service:
        await service.mirrored()
        answer = await service.http.get("/v1/holdings")
        refused = await service.http.get("/v1/leases/0x" + "00" * 32)

    head = await deployed.rpc.head()
    for one in (answer, refused):
        assert one.headers["Commonhold-Block"] == f"{head.number} 0x{head.hash.hex()}"
        assert one.headers["Commonhold-Finalized"] == str(head.number - 2 * SLOTS)
