"""Several ranges of final blocks in one transaction come to what one block a transaction comes to."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain import span
from commonhold.chain.rpc import Rpc
from commonhold.chain.verify import RpcLied
from commonhold.db import read
from commonhold.mirror import digest, follow
from commonhold.mirror import read as mirror
from commonhold.mirror.follow import Follower
from commonhold.mirror.tables import block
from commonhold.mirror.tables import digest as sums
from tests.actors import Deployed
from tests.chain.lying import changed, lying
from tests.conftest import Databases
from tests.mirror.following import catch_up, digest_of, dump_of, whole

pytestmark = pytest.mark.chain

BLOCKS = 3  # of a range
NOT_FINAL = 6  # blocks at the end


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges stay as short as they are at the beginning."""
    monkeypatch.setattr(span, "ENOUGH", 0)


def short_of(rpc: Rpc) -> Rpc:
    rpc._pace.blocks = BLOCKS
    return rpc


async def all_final(deployed: Deployed) -> None:
    """What there is on the chain, the lease that was made and used, is final."""
    await deployed.anvil.mine(4 * BLOCKS + NOT_FINAL)


async def test_ranges_in_one_transaction_are_as_blocks_in_one_each(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    await all_final(deployed)
    begun = 0

    def on_begin(connection: sa.Connection) -> None:
        nonlocal begun
        begun += not connection.get_execution_options().get("commonhold_read")

    sa.event.listen(engine.sync_engine, "begin", on_begin)
    async with Rpc(deployed.anvil.url) as rpc:
        steps = await catch_up(Follower(short_of(rpc), deployed.deployment, engine))
    await catch_up(Follower(deployed.rpc, deployed.deployment, other, max_range=1))

    final = [step for step in steps if step.to_number != step.from_number]
    assert max(step.to_number - step.from_number for step in final) >= 2 * BLOCKS
    assert begun == len(steps) + 1  # and one that wrote the cursor
    assert await dump_of(engine) == await dump_of(other)
    assert await digest_of(engine) == await digest_of(other)


@pytest.mark.parametrize(("limit", "value"), [("MANY", 1), ("OTHERS", 1), ("LONG_S", -1.0)])
async def test_a_transaction_ends_where_it_is_large_or_long(
    deployed: Deployed, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    await all_final(deployed)
    monkeypatch.setattr(follow, limit, value)

    async with Rpc(deployed.anvil.url) as rpc:
        steps = await catch_up(Follower(short_of(rpc), deployed.deployment, engine))

    assert max(step.to_number - step.from_number + 1 for step in steps if step.events) <= BLOCKS


async def test_what_was_there_before_a_range_that_lies_is_kept(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    await all_final(deployed)
    bad = deployed.deployment.block + 3 * BLOCKS

    def twisted(found: dict[str, Any]) -> dict[str, Any]:
        return found | {"gasUsed": "0x1"} if int(found["number"], 16) == bad else found

    async with lying(deployed.anvil.url, changed("eth_getBlockByNumber", twisted)) as url, Rpc(url) as rpc:
        with pytest.raises(RpcLied, match=f"block {bad} says its hash is"):
            await catch_up(Follower(short_of(rpc), deployed.deployment, engine))
    async with read(engine) as db:
        stands = await mirror.position(db)
        kept = (await db.execute(sa.select(sa.func.max(block.c.number)))).scalar_one()
    assert stands.number == kept
    assert bad - BLOCKS <= stands.number < bad

    await catch_up(Follower(deployed.rpc, deployed.deployment, engine))
    await catch_up(Follower(deployed.rpc, deployed.deployment, other))
    assert (await whole(engine))[:3] == (await whole(other))[:3]


async def test_backfill_in_many_ranges_leaves_the_digest_to_its_end(
    deployed: Deployed, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = await databases(), await databases()
    await all_final(deployed)
    monkeypatch.setattr(digest, "_MUCH", 0)
    follower, pending = Follower(deployed.rpc, deployed.deployment, engine, max_range=2), 0
    while not (await follower.step()).idle:
        async with read(engine) as db:
            assert await digest.digest(db) == await digest.recomputed(db)
            pending += digest.PENDING in (await db.execute(sa.select(sums.c.sum))).scalars().all()
    monkeypatch.undo()
    await catch_up(Follower(deployed.rpc, deployed.deployment, other, max_range=2))

    assert pending > 1
    head = await deployed.rpc.head()
    async with read(engine) as late, read(other) as early:
        for number in range(deployed.deployment.block, head.number + 1):
            assert await digest.digest(late, at=number) == await digest.digest(early, at=number)


async def test_the_sum_that_was_left_is_taken_where_nothing_happens_at_the_end(
    deployed: Deployed, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await all_final(deployed)
    monkeypatch.setattr(digest, "_MUCH", 0)
    left = 0
    async with Rpc(deployed.anvil.url) as rpc:
        follower = Follower(short_of(rpc), deployed.deployment, engine, tier="finalized", max_range=BLOCKS)
        while not (step := await follower.step()).idle:
            last = step
            async with read(engine) as db:
                left += digest.PENDING in (await db.execute(sa.select(sums.c.sum))).scalars().all()

    assert left > 0
    assert last.events == 0
    async with read(engine) as db:
        assert digest.PENDING not in (await db.execute(sa.select(sums.c.sum))).scalars().all()
        assert await digest.digest(db) == await digest.recomputed(db)
