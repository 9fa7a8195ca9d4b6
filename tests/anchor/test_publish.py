"""Epochs: what goes in, and that each is anchored once, whatever fails on the way, stored or not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.anchor import merkle
from commonhold.anchor.batch import Epoch, data, epochs, proof_of
from commonhold.anchor.data import EpochData, growth
from commonhold.anchor.publish import AnchorDiffers, publish
from commonhold.anchor.tables import epoch as epoch_table
from commonhold.chain.decode import decode
from commonhold.chain.events import Anchored
from commonhold.chain.rpc import Rpc
from commonhold.chain.send import Sender, TransactionTimeout
from commonhold.db import read, write
from commonhold.errors import BadInput, NotFound, Unavailable
from commonhold.units import Hash32
from tests.actors import Deployed, address_of, key_of
from tests.anchor.proxy import Lie, between, honest
from tests.anchor.scene import Scene, small
from tests.api.service import running

pytestmark = pytest.mark.chain
SUBMITTER = address_of("submitter")
Result = Callable[[], Awaitable[Any]]
sqlite_only = pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)


@pytest_asyncio.fixture
async def scene(engine: AsyncEngine, deployed: Deployed, tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(engine, deployed, tmp_path) as service:
        yield await small(service)


async def closed(scene: Scene) -> Epoch:
    """One more epoch, of one segment and its receipt."""
    await scene.report(scene.node.work(scene.leases[0]))
    await scene.acknowledge(scene.leases[0])
    found = await scene.close()
    assert found is not None
    return found


async def on_chain(deployed: Deployed) -> list[Anchored]:
    head = await deployed.rpc.head()
    logs = await deployed.rpc.logs(deployed.deployment.followed, deployed.deployment.block, head.number)
    found = (decode(log, deployed.deployment) for log in logs)
    return [event for event in found if isinstance(event, Anchored)]


async def states(engine: AsyncEngine) -> list[str]:
    async with read(engine) as db:
        return [one.state for one in await epochs(db, SUBMITTER)]


async def test_epoch_has_everything_once(scene: Scene) -> None:
    engine, (one, two) = scene.service.state.engine, scene.leases
    first_segment = scene.node.work(one)
    await scene.report(first_segment)
    receipt = await scene.acknowledge(one)
    first = await scene.close()
    await scene.report(scene.node.work(two), scene.node.work(one))
    second = await scene.close()
    third = await scene.close()

    assert first is not None
    assert second is not None
    assert third is None
    assert (first.number, first.count, second.number, second.count) == (0, 2, 1, 2)
    assert first.gpu_ms + second.gpu_ms == sum(scene.node.totals.values())
    async with read(engine) as db:
        published = [EpochData.from_bytes(await data(db, SUBMITTER, number) or b"") for number in (0, 1)]
        proof = await proof_of(db, receipt.digest(scene.node.domain))
        with pytest.raises(NotFound):
            await proof_of(db, Hash32(bytes(32)))
    assert [merkle.tree(one.leaves()).root for one in published] == [first.root, second.root]
    highest: dict[Hash32, int] = {}
    assert [growth(one.leaves(), highest) for one in published] == [first.gpu_ms, second.gpu_ms]
    assert published[0].segments == (first_segment,)
    assert published[0].receipts == (receipt,)
    assert (proof.epoch, proof.root) == (0, first.root)
    assert merkle.verify(first.root, proof.leaf, proof.siblings)


async def test_published_bytes_read_back_and_no_others(scene: Scene) -> None:
    await closed(scene)
    async with read(scene.service.state.engine) as db:
        found = await data(db, SUBMITTER, 0) or b""

    assert EpochData.from_bytes(found).to_bytes() == found
    for other in (b"", b"[]", b"{}", found[:-1], found + b" ", found.replace(b"epoch-v1", b"epoch-v2")):
        with pytest.raises(BadInput):
            EpochData.from_bytes(other)


@contextmanager
def commit_fails(engine: AsyncEngine, number: int, *, stored: bool) -> Iterator[list[int]]:
    """The commit with this number, from 1, raises OSError: after it was done, or instead."""
    dialect: Any = engine.sync_engine.dialect
    commit, rollback, seen = dialect.do_commit, dialect.do_rollback, [0]

    def do_commit(connection: Any) -> None:
        seen[0] += 1
        if seen[0] != number:
            return commit(connection)
        (commit if stored else rollback)(connection)
        raise OSError("connection lost")

    dialect.do_commit = do_commit
    try:
        yield seen
    finally:
        dialect.do_commit = commit


async def repaired(scene: Scene, sender: Sender) -> None:
    """What a worker does next: it publishes again, the mirror follows, and it publishes again."""
    for _ in range(2):
        await publish(scene.service.state.engine, sender, base_uri="http://service")
        await scene.service.mirrored()
    await publish(scene.service.state.engine, sender, base_uri="http://service")


async def test_failing_commits_end_with_one_anchor(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("submitter")
    for case, (number, stored) in enumerate((n, s) for n in (1, 2, 3, 4) for s in (False, True)):
        one = await closed(scene)

        with commit_fails(engine, number, stored=stored) as seen, pytest.raises(OSError, match="connection lost"):
            await publish(engine, sender, base_uri="http://service")
        assert seen[0] >= number
        await repaired(scene, sender)

        anchors = await on_chain(scene.deployed)
        assert [event.epoch for event in anchors] == list(range(case + 1)), (number, stored)
        assert anchors[-1].root == one.root
        assert await states(engine) == ["anchored"] * (case + 1)


@sqlite_only
async def test_failing_node_ends_with_one_anchor(scene: Scene) -> None:
    engine, deployed = scene.service.state.engine, scene.deployed
    methods = ("eth_estimateGas", "eth_sendRawTransaction", "eth_getTransactionReceipt")
    async with between(deployed.anvil.url) as proxy, Rpc(proxy.url) as rpc:
        for case, (method, stored) in enumerate((method, stored) for method in methods for stored in (False, True)):
            one = await closed(scene)
            sender = Sender(rpc, key_of("submitter"), deployed.deployment, timeout_s=0.5)

            proxy.lie = failing(method, stored=stored)
            with pytest.raises(Unavailable):
                await publish(engine, sender, base_uri="http://service")
            proxy.lie = honest
            await repaired(scene, sender)

            anchors = await on_chain(deployed)
            assert [event.epoch for event in anchors] == list(range(case + 1)), (method, stored)
            assert (anchors[-1].root, anchors[-1].count) == (one.root, one.count)
            assert await states(engine) == ["anchored"] * (case + 1)


def failing(method: str, *, stored: bool) -> Lie:
    """The node does not answer this method: after it did what was asked, or before."""

    async def fail(called: str, _params: list[Any], result: Result) -> Any:
        if called == method and not stored:
            raise OSError
        found = await result()
        if called == method:
            raise OSError
        return found

    return fail


@sqlite_only
async def test_anchor_that_a_reorg_took_is_sent_again(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("submitter")
    one = await closed(scene)
    before = await scene.deployed.anvil.snapshot()
    await publish(engine, sender, base_uri="http://service")
    await scene.service.mirrored()
    assert await publish(engine, sender, base_uri="http://service") != []
    assert await states(engine) == ["anchored"]

    await scene.deployed.anvil.revert(before)
    await scene.deployed.anvil.advance(1)  # another block stands where the anchor was
    await scene.service.mirrored()
    await repaired(scene, scene.deployed.sender("submitter"))

    (anchor,) = await on_chain(scene.deployed)
    assert anchor.root == one.root
    assert await states(engine) == ["anchored"]


@sqlite_only
async def test_reorg_that_the_mirror_has_not_seen_is_waited_for(scene: Scene) -> None:
    engine, deployed = scene.service.state.engine, scene.deployed
    await closed(scene)
    before = await deployed.anvil.snapshot()
    await publish(engine, deployed.sender("submitter"), base_uri="http://service")
    await scene.service.mirrored()
    await closed(scene)

    await deployed.anvil.revert(before)
    await deployed.anvil.advance(1)
    with pytest.raises(Unavailable, match="the chain is at epoch 0"):
        await publish(engine, deployed.sender("submitter"), base_uri="http://service")
    await scene.service.mirrored()
    await repaired(scene, deployed.sender("submitter"))

    assert [event.epoch for event in await on_chain(deployed)] == [0, 1]
    assert await states(engine) == ["anchored", "anchored"]


async def estimating_without_the_pool(called: str, _params: list[Any], result: Result) -> Any:
    """As go-ethereum does: on the newest block, not on what waits to follow it."""
    return hex(200_000) if called == "eth_estimateGas" else await result()


@sqlite_only
async def test_an_anchor_sent_twice_into_one_block_is_waited_for(scene: Scene) -> None:
    """The first try was not mined in time, so it was sent again: the second one fails, and no state shows why."""
    engine, deployed = scene.service.state.engine, scene.deployed
    await closed(scene)
    await deployed.anvil.request("evm_setAutomine", False)
    async with between(deployed.anvil.url) as proxy, Rpc(proxy.url) as rpc:
        proxy.lie = estimating_without_the_pool
        hasty = Sender(rpc, key_of("submitter"), deployed.deployment, timeout_s=0.5)
        with pytest.raises(TransactionTimeout):
            await publish(engine, hasty, base_uri="http://service")
        patient = Sender(rpc, key_of("submitter"), deployed.deployment, timeout_s=30)
        again = asyncio.create_task(publish(engine, patient, base_uri="http://service"))
        async with asyncio.timeout(30):
            while int((await deployed.anvil.request("txpool_status"))["pending"], 16) < 2:  # noqa: ASYNC110 - a node's
                await asyncio.sleep(0.02)
        await deployed.anvil.mine()
        await deployed.anvil.request("evm_setAutomine", True)
        with pytest.raises(Unavailable, match="is tried again"):
            await again
    await repaired(scene, deployed.sender("submitter"))

    assert [event.epoch for event in await on_chain(deployed)] == [0]


@sqlite_only
async def test_anchor_is_final_when_no_reorg_can_take_it(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("submitter")
    await closed(scene)
    await repaired(scene, sender)
    await scene.deployed.anvil.mine(100)
    await scene.service.mirrored()

    assert await publish(engine, sender, base_uri="http://service") == []
    assert await states(engine) == ["final"]


@sqlite_only
async def test_another_anchor_under_our_key_stops_publishing(scene: Scene) -> None:
    await closed(scene)
    await scene.deployed.send("submitter", "Meter", "anchor", 0, Hash32(b"\1" * 32), 1, 1, "")
    await scene.service.mirrored()

    with pytest.raises(AnchorDiffers, match="the chain has root"):
        await publish(scene.service.state.engine, scene.deployed.sender("submitter"), base_uri="http://service")


@sqlite_only
async def test_new_database_goes_on_after_the_anchors_of_the_old_one(scene: Scene) -> None:
    await scene.deployed.send("submitter", "Meter", "anchor", 0, Hash32(b"\1" * 32), 1, 1, "")
    await scene.service.mirrored()

    assert (await closed(scene)).number == 1
    await repaired(scene, scene.deployed.sender("submitter"))
    assert [event.epoch for event in await on_chain(scene.deployed)] == [0, 1]


@sqlite_only
async def test_uri_of_the_intent_is_kept(scene: Scene) -> None:
    engine, sender = scene.service.state.engine, scene.deployed.sender("submitter")
    await closed(scene)
    with commit_fails(engine, 2, stored=True), pytest.raises(OSError, match="connection lost"):
        await publish(engine, sender, base_uri="http://old")
    async with write(engine) as db:
        assert (await db.execute(sa.select(epoch_table.c.state))).scalars().all() == ["sending"]

    await publish(engine, sender, base_uri="http://new")

    assert [event.uri for event in await on_chain(scene.deployed)] == ["http://old/v1/epochs/0/data"]
