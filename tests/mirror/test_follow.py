import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import worker
from commonhold.chain.decode import UnknownEvent
from commonhold.chain.deploy import deploy
from commonhold.chain.deployment import WrongChain
from commonhold.chain.rpc import Rpc
from commonhold.db import read, write
from commonhold.errors import Unavailable
from commonhold.mirror import read as mirror
from commonhold.mirror.digest import KEEP
from commonhold.mirror.follow import FinalityViolated, Follower, Progress
from commonhold.mirror.tables import HISTORY, STATE, block, cursor, event
from commonhold.mirror.tables import digest as sums
from commonhold.units import address_text, hex_text, keccak256
from commonhold.worker import Stage
from tests.actors import Deployed, address_of, genesis, key_of
from tests.conftest import Databases
from tests.mirror.following import catch_up, digest_of, dump_of, whole

pytestmark = pytest.mark.chain

EPOCHS = 6  # blocks between the head and the final block: two epochs of three slots


async def more(deployed: Deployed, blocks: int, first: int = 0) -> None:
    """Blocks with events of several kinds. No two calls on one chain have the same numbers from `first` on."""
    for number in range(first, first + blocks):
        match number % 3:
            case 0:
                await deployed.admit(f"member {number}")
            case 1:
                await deployed.register_data(name=f"texts {number}")
            case _:
                await deployed.send("stranger", "Ledger", "setOperator", address_of(f"member {number}"), True)


def follower_of(deployed: Deployed, engine: AsyncEngine, max_range: int = 2_000) -> Follower:
    return Follower(deployed.rpc, deployed.deployment, engine, max_range=max_range)


async def dump_from_scratch(deployed: Deployed, engine: AsyncEngine) -> list[str]:
    """What a mirror that starts now says. It starts in this database, which is emptied."""
    async with write(engine) as db:
        for table in (sums, cursor, block, event, *HISTORY.values(), *reversed(STATE)):
            await db.execute(table.delete())
    await catch_up(follower_of(deployed, engine))
    return await dump_of(engine)


async def test_mirror_is_at_the_head_and_says_what_happened(deployed: Deployed, engine: AsyncEngine) -> None:
    steps = await catch_up(follower_of(deployed, engine))

    head = await deployed.rpc.head()
    async with read(engine) as db:
        at = await mirror.position(db)
        assert (at.number, at.hash, at.timestamp) == (head.number, head.hash, head.timestamp)
        assert [lease.settled_ms for lease in await mirror.leases(db)] == [5_000]
        assert [anchor.gpu_ms for anchor in await mirror.anchors(db)] == [5_000]
        assert len(await mirror.members(db)) == 2
    assert steps[0].from_number == deployed.deployment.block
    assert all(after.from_number == before.to_number + 1 for before, after in pairwise(steps))


async def test_reorg_of_any_depth_ends_as_a_fresh_sync(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    follower = follower_of(deployed, engine)
    await catch_up(follower)
    for depth in range(1, EPOCHS + 1):
        await more(deployed, depth, first=10 * depth)
        await catch_up(follower)
        await deployed.anvil.reorg(depth)
        await more(deployed, 1, first=10 * depth + 9)

        steps = await catch_up(follower)

        assert steps[0].rewound == depth
        assert await dump_of(engine) == await dump_from_scratch(deployed, other)


async def test_final_blocks_come_in_ranges_and_end_the_same(deployed: Deployed, databases: Databases) -> None:
    followed_live, followed_late = await databases(), await databases()
    await more(deployed, 3)
    live = follower_of(deployed, followed_live)
    await catch_up(live)
    await deployed.anvil.mine(EPOCHS)
    await more(deployed, 1, first=3)

    await catch_up(live)
    steps = await catch_up(follower_of(deployed, followed_late, max_range=7))

    assert steps[0].to_number == deployed.deployment.block + 6
    assert [step.to_number - step.from_number for step in steps].count(0) >= EPOCHS
    assert await dump_of(followed_late) == await dump_of(followed_live)
    assert await digest_of(followed_late) == await digest_of(followed_live)
    for engine in (followed_live, followed_late):
        async with read(engine) as db:
            final = (await mirror.position(db)).finalized
            assert final == (await deployed.rpc.head("finalized")).number
            kept = (await db.execute(sa.select(sums.c.block_number).order_by(sums.c.block_number))).scalars().all()
            assert len([number for number in kept if number <= final]) <= 1 + (kept[-1] - kept[0]) // KEEP


async def test_follower_made_anew_before_every_step_writes_the_same(deployed: Deployed, databases: Databases) -> None:
    lives, dies = await databases(), await databases()
    living = follower_of(deployed, lives)
    for first in (0, 10, 20):
        await more(deployed, 4, first)
        await catch_up(living)
        while not (await follower_of(deployed, dies).step()).idle:
            pass
        await deployed.anvil.reorg(3)

    assert await whole(dies) == await whole(lives)


class Lost(Exception):
    """The connection broke while a transaction was being committed."""


class CommitFaults:
    """Makes the commits of writing transactions fail, for a while."""

    def __init__(self, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fault: str | None = None
        self._writes = False
        dialect = engine.sync_engine.dialect
        self._commit = dialect.do_commit
        monkeypatch.setattr(dialect, "do_commit", self._do_commit)
        sa.event.listen(engine.sync_engine, "commit", self._on_commit)

    def _on_commit(self, connection: sa.Connection) -> None:
        self._writes = not connection.get_execution_options().get("commonhold_read")

    def _do_commit(self, dbapi_connection: Any) -> None:
        if self._writes and self.fault == "failed, not stored":
            raise Lost
        self._commit(dbapi_connection)
        if self._writes and self.fault == "failed, but stored":
            raise Lost


async def test_commit_that_fails_or_only_seems_to_is_followed_by_the_same(
    deployed: Deployed, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, undisturbed = await databases(), await databases()
    faults = CommitFaults(engine, monkeypatch)
    follower, calm = follower_of(deployed, engine, max_range=4), follower_of(deployed, undisturbed, max_range=4)
    failed = 0
    for first in (0, 10):
        await more(deployed, 4, first)
        await catch_up(calm)
        while True:
            for fault in ("failed, not stored", "failed, but stored"):
                faults.fault = fault
                before = await whole(engine)
                try:
                    await follower.step()
                except Lost:
                    failed += 1
                    assert (await whole(engine) == before) == (fault == "failed, not stored")
            faults.fault = None
            if (await follower.step()).idle:
                break
        assert await whole(engine) == await whole(undisturbed)
        await deployed.anvil.reorg(3)

    assert failed >= 12


async def emit_unknown_event(deployed: Deployed) -> None:
    """Meter emits an event that no version of it has: its code is replaced by one LOG1."""
    meter = address_text(deployed.deployment.meter)
    await deployed.anvil.request("anvil_setCode", meter, "0x7f" + "ab" * 32 + "60006000a1")
    (account, *_) = await deployed.anvil.request("eth_accounts")
    await deployed.anvil.send({"from": account, "to": meter})


async def test_unknown_event_stops_the_mirror_before_its_block(deployed: Deployed, engine: AsyncEngine) -> None:
    follower = follower_of(deployed, engine)
    await catch_up(follower)
    await more(deployed, 1)
    before = await deployed.rpc.head()
    await emit_unknown_event(deployed)
    await follower.step()

    for _ in range(2):
        with pytest.raises(UnknownEvent, match=f"block {before.number + 1} .*Meter.* 0xabab"):
            await follower.step()

    async with read(engine) as db:
        assert (await mirror.position(db)).hash == before.hash


async def test_unknown_event_in_a_range_leaves_the_whole_range_out(deployed: Deployed, engine: AsyncEngine) -> None:
    await emit_unknown_event(deployed)
    await deployed.anvil.mine(EPOCHS)

    with pytest.raises(UnknownEvent):
        await catch_up(follower_of(deployed, engine))

    async with read(engine) as db:
        assert (await mirror.position(db)).number == deployed.deployment.block - 1
    assert await dump_of(engine) == []


async def test_reorg_below_the_final_block_stops_the_mirror(deployed: Deployed, engine: AsyncEngine) -> None:
    await more(deployed, 1)
    await deployed.anvil.mine(EPOCHS)
    follower = follower_of(deployed, engine)
    await catch_up(follower)
    before, final = await whole(engine), await deployed.rpc.head("finalized")
    await deployed.anvil.reorg(EPOCHS + 1)
    await deployed.anvil.mine()

    for _ in range(2):
        with pytest.raises(FinalityViolated, match=f"block {final.number} was final as {hex_text(final.hash)}"):
            await follower.step()

    assert await whole(engine) == before


async def test_reorg_down_to_the_final_block_is_followed(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    await more(deployed, 1)
    await deployed.anvil.mine(EPOCHS - 1)  # that block is the first that is not final
    follower = follower_of(deployed, engine)
    await catch_up(follower)
    await deployed.anvil.reorg(EPOCHS)
    await more(deployed, 1, first=3)

    steps = await catch_up(follower)

    assert steps[0].rewound == EPOCHS
    assert await dump_of(engine) == await dump_from_scratch(deployed, other)


async def test_lower_head_alone_is_not_a_reorg(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    await more(deployed, 3)
    follower = follower_of(deployed, engine)
    await catch_up(follower)
    before = await whole(engine)
    await deployed.anvil.request("anvil_rollback", 3)

    assert (await follower.step()).idle
    assert await whole(engine) == before

    # ... until another block stands where ours does.
    await more(deployed, 1, first=3)
    steps = await catch_up(follower)
    assert steps[0].rewound == 3
    assert await dump_of(engine) == await dump_from_scratch(deployed, other)


async def test_node_that_is_behind_the_final_block_is_waited_for(deployed: Deployed, engine: AsyncEngine) -> None:
    await deployed.anvil.mine(EPOCHS + 2)
    follower = follower_of(deployed, engine)
    await catch_up(follower)
    before = await whole(engine)
    await deployed.anvil.request("anvil_rollback", EPOCHS + 2)

    assert (await follower.step()).idle
    assert await whole(engine) == before


async def test_node_of_another_chain_is_refused(deployed: Deployed, engine: AsyncEngine) -> None:
    elsewhere = replace(deployed.deployment, chain_id=1)

    with pytest.raises(WrongChain, match=r"chain 31337.*chain 1"):
        await Follower(deployed.rpc, elsewhere, engine).step()


async def test_database_of_another_deployment_is_refused(deployed: Deployed, engine: AsyncEngine) -> None:
    await catch_up(follower_of(deployed, engine))
    before = await whole(engine)
    elsewhere = await deploy(deployed.rpc, key_of("deployer"), genesis(), salt=keccak256(b"elsewhere"))

    with pytest.raises(WrongChain) as refused:
        await Follower(deployed.rpc, elsewhere, engine).step()

    for deployment in (deployed.deployment, elsewhere):
        assert hex_text(deployment.fingerprint()) in str(refused.value)
    assert await whole(engine) == before


async def test_database_of_another_chain_is_refused(deployed: Deployed, engine: AsyncEngine) -> None:
    follower = follower_of(deployed, engine)
    await follower.step()
    async with write(engine) as db:
        await db.execute(cursor.update().values(chain_id=1))

    with suppress(WrongChain):
        assert (await follower.step()).idle  # it may have the next block at hand, and cannot write it
    with pytest.raises(WrongChain, match=r"on chain 1, expected .* on chain 31337"):
        await follower.step()


@pytest_asyncio.fixture
async def nowhere() -> AsyncIterator[Rpc]:
    """A node that nobody runs."""
    rpc = Rpc("http://127.0.0.1:9", timeout_s=1)
    yield rpc
    await rpc.close()


class Watched(Follower):
    """Stops the service's loop when it has nothing to do, or at its second failure."""

    stop: asyncio.Event
    failures = 0

    async def step(self) -> Progress:
        try:
            progress = await super().step()
        except Unavailable:
            self.failures += 1
            if self.failures == 2:
                self.stop.set()
            raise
        if progress.idle:
            self.stop.set()
        return progress


def stage_of(follower: Follower, every_s: float) -> Stage:
    """The loop that the service runs it in."""

    async def step() -> bool:
        return not (await follower.step()).idle

    return Stage("follow", step, every_s)


async def test_the_loop_waits_for_a_node_that_does_not_answer(
    deployed: Deployed, nowhere: Rpc, engine: AsyncEngine
) -> None:
    follower = Watched(nowhere, deployed.deployment, engine)
    follower.stop = asyncio.Event()
    stage = stage_of(follower, every_s=0.001)

    await worker.run([stage], follower.stop)

    assert stage.fault is None
    assert stage.waiting_for is not None
    assert "127.0.0.1:9" in stage.waiting_for


async def test_the_loop_follows_until_it_is_stopped(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    follower = Watched(deployed.rpc, deployed.deployment, engine)
    follower.stop = asyncio.Event()
    stage = stage_of(follower, every_s=60)

    await worker.run([stage], follower.stop)

    assert (stage.fault, stage.waiting_for) == (None, None)
    assert await dump_of(engine) == await dump_from_scratch(deployed, other)


async def test_the_loop_stops_at_what_a_retry_does_not_heal(deployed: Deployed, engine: AsyncEngine) -> None:
    await emit_unknown_event(deployed)
    stage = stage_of(follower_of(deployed, engine), every_s=0.01)

    async with asyncio.timeout(20):
        await worker.run([stage], asyncio.Event())

    assert stage.fault is not None
    assert "UnknownEvent" in stage.fault
