"""What is counted while the transaction before is written is used where that one came to be, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import many
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.db import Db, read, write
from commonhold.mirror import read as mirror
from commonhold.mirror.apply import Happened
from commonhold.mirror.balances import Known
from commonhold.mirror.fetch import Batch
from commonhold.mirror.follow import Follower
from commonhold.mirror.step import MirrorBroken
from commonhold.mirror.work import Work
from commonhold.units import BlockNumber, Hash32
from tests.actors import Deployed, address_of
from tests.bench.made_up_node import SLOTS, served
from tests.chain.lying import changed, lying
from tests.conftest import MADE_UP_EVENTS, Databases
from tests.mirror.following import catch_up, whole
from tests.mirror.test_follow import CommitFaults, Lost

pytestmark = pytest.mark.chain

NOTHING = BlockStamp(BlockNumber(1), Hash32(bytes(32)), Hash32(bytes(32)), 0)
EMPTY = Batch(False, bytes(32), [NOTHING], [], Happened.of([]))
NOT_FINAL = 2 * SLOTS  # blocks at the end, of some 100 transfers each


@pytest_asyncio.fixture
async def url(made_up_chain: Path) -> AsyncIterator[str]:
    async with served(made_up_chain, MADE_UP_EVENTS // 2) as url:
        yield url


class Counting(Follower):
    """Tells whether the next transaction is counted already."""

    @property
    def is_ahead(self) -> bool:
        return self._prepared is not None


async def test_a_transaction_that_failed_is_done_again_whatever_was_counted_after_it(
    url: str, deployed: Deployed, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, undisturbed = await databases(), await databases()
    faults, failed = CommitFaults(engine, monkeypatch), 0
    async with Rpc(url) as rpc, Rpc(url) as other:
        await catch_up(Follower(other, deployed.deployment, undisturbed))
        follower = Counting(rpc, deployed.deployment, engine)
        for turn in range(10 * NOT_FINAL):
            faults.fault = (None, "failed, not stored", None, None, "failed, but stored")[turn % 5]
            failed += follower.is_ahead and faults.fault is not None
            try:
                if (await follower.step()).idle and faults.fault is None:
                    break
            except Lost:
                assert not follower.is_ahead

    assert failed > NOT_FINAL // 4
    assert await whole(engine) == await whole(undisturbed)


async def test_two_that_count_ahead_of_each_other_write_what_one_does(
    url: str, deployed: Deployed, databases: Databases
) -> None:
    engine, undisturbed = await databases(), await databases()
    random, ahead, idle = Random("ahead"), 0, 0
    async with Rpc(url) as rpc, Rpc(url) as other:
        await catch_up(Follower(other, deployed.deployment, undisturbed))
        two = [Counting(each, deployed.deployment, engine) for each in (rpc, other)]
        while idle < 2:
            follower = random.choice(two)
            ahead += follower.is_ahead
            for _ in range(random.randrange(1, 4)):
                idle = idle + 1 if (await follower.step()).idle else 0

    assert ahead > NOT_FINAL // 8
    assert await whole(engine) == await whole(undisturbed)


@pytest.mark.parametrize("turns", range(4))
async def test_a_step_that_is_cancelled_twice_writes_nothing_after_its_transaction(
    engine: AsyncEngine, turns: int
) -> None:
    """Whoever closes the work is cancelled, too, some turns later."""
    async with write(engine) as db:
        await db.execute(sa.text("CREATE TABLE written (number INTEGER)"))
    begun = asyncio.Event()

    async def insert(number: int, db: Db) -> None:
        begun.set()
        await many._execute(db, f"INSERT INTO written VALUES ({number})")
        await many._execute(db, f"INSERT INTO written VALUES ({number})")

    class Endless(Work):
        """Has always more to write."""

        async def _begin(self, _: object) -> None:
            for number in range(1_000):
                await self.behind.add(partial(insert, number))

    async def step() -> None:
        work = Endless(EMPTY, Known(), b"", engine.dialect)
        async with write(engine) as db, work:
            work.behind.open(db)
            await work.begun

    stepping = asyncio.create_task(step())
    await asyncio.wait_for(begun.wait(), 10)
    for _ in range(2):
        stepping.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await stepping

    await asyncio.sleep(0.01)
    async with write(engine) as db:
        assert (await db.execute(sa.text("SELECT * FROM written"))).all() == []


async def test_what_was_counted_ahead_is_forgotten_when_it_is_closed(
    url: str, deployed: Deployed, databases: Databases
) -> None:
    engine, undisturbed = await databases(), await databases()
    closed = 0
    async with Rpc(url) as rpc, Rpc(url) as other:
        await catch_up(Follower(other, deployed.deployment, undisturbed))
        idle = False
        while not idle:
            follower = Counting(rpc, deployed.deployment, engine)
            for _ in range(4):
                idle = (await follower.step()).idle
            closed += follower.is_ahead
            await follower.close()
            assert not follower.is_ahead

    assert closed > NOT_FINAL // 8
    assert await whole(engine) == await whole(undisturbed)


async def test_a_block_that_breaks_a_rule_stops_the_mirror_before_it_though_it_was_counted_ahead(
    deployed: Deployed, engine: AsyncEngine
) -> None:
    await deployed.admit("owner")
    asset = await deployed.register_data("owner")
    for _ in range(6):
        await deployed.send("owner", "Ledger", "transfer", address_of("owner"), asset, 1)
    bad = (await deployed.rpc.head()).number - 2

    def unpaid(logs: Any) -> Any:
        """One more, of all that there can be."""
        if logs and int(logs[0]["blockNumber"], 16) == bad:
            logs.append(logs[0] | {"logIndex": "0x1", "data": logs[0]["data"][:66] + f"{2**62:064x}"})
        return logs

    async with lying(deployed.anvil.url, changed("eth_getLogs", unpaid)) as liar, Rpc(liar, verify_logs=False) as rpc:
        follower = Counting(rpc, deployed.deployment, engine)
        while (progress := await follower.step()).to_number < bad - 1:
            assert not progress.idle
        assert follower.is_ahead
        before = await whole(engine)

        for _ in range(20):  # whatever was being written when it was found
            with pytest.raises(
                MirrorBroken, match=rf"block {bad} .*units: expected at least {2**62}, got \d+; event: "
            ):
                await follower.step()
            assert await whole(engine) == before

    async with read(engine) as db:
        assert (await mirror.position(db)).number == bad - 1
