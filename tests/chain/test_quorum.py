"""Nodes that must agree: what a quorum says is believed, who says something else is named, too few are waited for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.endpoints import Endpoints
from commonhold.chain.quorum import NoQuorum, Quorum, connect
from commonhold.errors import BadInput
from commonhold.mirror.follow import Follower
from tests.actors import Deployed
from tests.chain.lying import Remembering, lying
from tests.chain.test_endpoints import Node, saying, silent
from tests.conftest import Databases
from tests.mirror.following import catch_up, dump_of

pytestmark = pytest.mark.chain


@dataclass
class Some:
    """Nodes before the real one, of which `rpc` wants a quorum."""

    nodes: list[Node]
    rpc: Endpoints
    now: float = 0.0

    @property
    def names(self) -> list[str]:
        return [health.host for health in self.rpc.health()]


@asynccontextmanager
async def some(deployed: Deployed, count: int, quorum: int, *, verify_logs: bool = True) -> AsyncIterator[Some]:
    nodes = [Node() for _ in range(count)]
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(lying(deployed.anvil.url, node)) for node in nodes]
        rpc = connect(urls, quorum=quorum, verify_logs=verify_logs, clock=lambda: found.now, jitter=lambda: 0.0)
        found = Some(nodes, rpc)
        await stack.enter_async_context(rpc)
        yield found


async def test_a_quorum_says_what_one_honest_node_says(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    async with some(deployed, 3, 2) as trio:
        await catch_up(Follower(trio.rpc, deployed.deployment, engine))
        await deployed.admit("owner")
        await catch_up(Follower(trio.rpc, deployed.deployment, engine))
        await deployed.anvil.reorg(1)
        await catch_up(Follower(trio.rpc, deployed.deployment, engine))

        assert isinstance(trio.rpc, Quorum)
        assert [health.differs for health in trio.rpc.health()] == [None] * 3
        assert all(node.asked > 3 for node in trio.nodes)
    await catch_up(Follower(deployed.rpc, deployed.deployment, other))
    assert await dump_of(engine) == await dump_of(other)


async def test_a_node_on_another_fork_is_outvoted_and_named(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    liar = Remembering()
    async with some(deployed, 3, 2) as trio:
        trio.nodes[0].twist = liar
        before = await deployed.anvil.snapshot()
        await deployed.admit("owner")
        await deployed.anvil.mine(2)
        await catch_up(Follower(trio.rpc.endpoints[0].rpc, deployed.deployment, await databases()))
        await trio.rpc.endpoints[0].rpc.head("finalized")
        await deployed.anvil.revert(before)
        await deployed.admit("stranger")
        await deployed.anvil.mine(1)
        liar.replays = True

        await catch_up(Follower(trio.rpc, deployed.deployment, engine))

        (first, second, third) = trio.rpc.health()
        assert first.outvoted > 0
        assert f"node {trio.names[0]}: block" in str(first.differs)
        assert "a quorum of 2 says 0x" in str(first.differs)
        assert (second.outvoted, third.outvoted) == (0, 0)
    await catch_up(Follower(deployed.rpc, deployed.deployment, other))
    assert await dump_of(engine) == await dump_of(other)


async def test_a_node_that_says_another_final_block_is_dropped(deployed: Deployed) -> None:
    async with some(deployed, 3, 2) as trio:
        other = await deployed.anvil.request("eth_getBlockByNumber", "0x0", False)
        forged = other | {"hash": "0x" + "11" * 32}
        async with some(deployed, 3, 2, verify_logs=False) as unverified:
            unverified.nodes[1].twist = saying("eth_getBlockByNumber", lambda _: forged)
            await unverified.rpc.head("finalized")

            dropped = [health.dropped for health in unverified.rpc.health()]
        trio.nodes[1].twist = saying("eth_getBlockByNumber", lambda _: forged)
        await trio.rpc.head("finalized")
        lied = [health.dropped for health in trio.rpc.health()]

    assert (dropped[0], dropped[2]) == (None, None)
    assert "block 0 is 0x1111" in str(dropped[1])
    assert "from its fields" in str(lied[1])


async def test_two_that_disagree_are_both_named_and_nothing_is_believed(
    deployed: Deployed, engine: AsyncEngine
) -> None:
    liar = Remembering()
    async with some(deployed, 2, 2) as pair:
        pair.nodes[1].twist = liar
        await deployed.anvil.mine(5)
        for number in range((await deployed.rpc.head()).number + 1):
            await pair.rpc.endpoints[1].rpc.header(number)
        await pair.rpc.endpoints[1].rpc.head()
        await deployed.anvil.reorg(5)
        liar.replays = True

        with pytest.raises(NoQuorum, match="a quorum of 2 does not agree: 0x") as caught:
            await pair.rpc.head()

        assert all(name in str(caught.value) for name in pair.names)


async def test_a_fork_of_a_few_blocks_is_believed_up_to_it(deployed: Deployed) -> None:
    liar = Remembering()
    async with some(deployed, 2, 2) as pair:
        pair.nodes[1].twist = liar
        await deployed.anvil.mine(2)
        for number in range((await deployed.rpc.head()).number + 1):
            await pair.rpc.endpoints[1].rpc.header(number)
        head = await pair.rpc.endpoints[1].rpc.head()
        await deployed.anvil.reorg(2)
        liar.replays = True

        assert (await pair.rpc.head()).number == head.number - 2


async def test_one_that_lags_does_not_hold_up_the_others(deployed: Deployed) -> None:
    async with some(deployed, 3, 2) as trio:
        old = await deployed.anvil.request("eth_getBlockByNumber", "latest", False)
        await deployed.anvil.mine(4)
        trio.nodes[2].twist = saying(
            "eth_getBlockByNumber", lambda block: block if int(block["number"], 16) < int(old["number"], 16) else old
        )

        assert await trio.rpc.head() == await deployed.rpc.head()
        assert [health.head for health in trio.rpc.health()][2] == int(old["number"], 16)


async def test_fewer_than_a_quorum_are_waited_for(deployed: Deployed, engine: AsyncEngine) -> None:
    async with some(deployed, 3, 2) as trio:
        follower = Follower(trio.rpc, deployed.deployment, engine)
        await catch_up(follower)
        await deployed.admit("owner")
        before = await dump_of(engine)
        trio.nodes[0].twist = trio.nodes[1].twist = silent

        with pytest.raises(NoQuorum, match=r"1 of 3 endpoints tell the latest block, expected a quorum of 2: .*503"):
            await catch_up(follower)
        assert await dump_of(engine) == before

        trio.nodes[1].twist, trio.now = None, 100.0
        assert len(await catch_up(follower)) == 1


@pytest.mark.parametrize("method", ["drops", "forges", "adds"])
async def test_told_logs_are_those_of_the_quorum(deployed: Deployed, databases: Databases, method: str) -> None:
    def lie(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if method == "drops" or not logs:
            return logs[1:]
        if method == "forges":
            return [*logs[:-1], logs[-1] | {"data": logs[-1]["data"][:-1] + "7"}]
        return [*logs, logs[-1] | {"logIndex": hex(int(logs[-1]["logIndex"], 16) + 1)}]

    engine, other = await databases(), await databases()
    await deployed.admit("owner")
    async with some(deployed, 3, 2, verify_logs=False) as trio:
        trio.nodes[0].twist = saying("eth_getLogs", lie)
        await catch_up(Follower(trio.rpc, deployed.deployment, engine))

        (first, second, third) = trio.rpc.health()
        assert "the logs of blocks" in str(first.differs)
        assert (second.differs, third.differs) == (None, None)
    await catch_up(Follower(deployed.rpc, deployed.deployment, other))
    assert await dump_of(engine) == await dump_of(other)


async def test_a_liar_among_a_quorum_is_dropped_and_the_rest_go_on(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    await deployed.admit("owner")
    async with some(deployed, 3, 2) as trio:
        trio.nodes[0].twist = saying("eth_getBlockReceipts", lambda receipts: receipts[:-1])
        await catch_up(Follower(trio.rpc, deployed.deployment, engine))

        assert [health.dropped is None for health in trio.rpc.health()] == [False, True, True]
        trio.nodes[1].twist = silent
        with pytest.raises(NoQuorum, match="receipts of block"):
            await trio.rpc.head()
    await catch_up(Follower(deployed.rpc, deployed.deployment, other))
    assert await dump_of(engine) == await dump_of(other)


async def test_answers_of_a_quorum_are_those_of_the_node(deployed: Deployed) -> None:
    d, at = deployed.deployment, await deployed.rpc.head()
    async with some(deployed, 2, 2) as pair:
        assert await pair.rpc.chain_id() == d.chain_id
        assert await pair.rpc.block(at.hash) == at
        assert await pair.rpc.block(at.number + 1) is None
        assert await pair.rpc.header(0) == await deployed.rpc.header(0)
        assert await pair.rpc.logs(d.followed, 0, at.number) == await deployed.rpc.logs(d.followed, 0, at.number)
        assert await pair.rpc.logs_of(at.hash, d.followed) == await deployed.rpc.logs_of(at.hash, d.followed)
        assert not await pair.rpc.disown(at.number, at.parent)
        await pair.rpc.check(d)


@pytest.mark.parametrize("quorum", [0, 3])
def test_a_quorum_that_cannot_be_is_refused(quorum: int) -> None:
    with pytest.raises(BadInput, match=f"RPC quorum of {quorum}: expected at least 1, and as many endpoints, got 2"):
        connect(["http://127.0.0.1:1", "http://127.0.0.1:2"], quorum=quorum)
