"""Several nodes used as one: real servers that are silent, behind, of another chain, or lie."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.deployment import WrongChain
from commonhold.chain.endpoints import STANDS_S, Endpoints
from commonhold.chain.revert import ContractRefused
from commonhold.chain.rpc import Rpc, RpcBehind, RpcInconsistent, RpcLied, RpcRefused, RpcUnavailable
from commonhold.errors import BadInput
from commonhold.mirror.follow import Follower
from commonhold.units import Address, Hash32
from tests.actors import Deployed, address_of
from tests.chain.lying import Forward, Twist, lying
from tests.mirror.following import catch_up, digest_of

pytestmark = pytest.mark.chain

STRANGER = Address(b"\x01" * 20)
Request = dict[str, Any]


@dataclass
class Node:
    """A node before the real one: honest until `twist` is set. `asked` counts its requests."""

    twist: Twist | None = None
    asked: int = 0

    async def __call__(self, request: Request, forward: Forward) -> Any:
        self.asked += 1
        return await (self.twist(request, forward) if self.twist else forward())


async def silent(_request: Request, _forward: Forward) -> Any:
    return 503, b""


def saying(method: str, change: Callable[[Any], Any]) -> Twist:
    async def twist(request: Request, forward: Forward) -> Any:
        answer = await forward()
        if request["method"] == method and answer.get("result") is not None:
            answer["result"] = change(answer["result"])
        return answer

    return twist


def refusing(method: str) -> Twist:
    async def twist(request: Request, forward: Forward) -> Any:
        if request["method"] == method:
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32005, "message": "limit exceeded"}}
        return await forward()

    return twist


@dataclass
class Two:
    first: Node
    second: Node
    rpc: Endpoints
    now: float = 0.0
    jitter: float = 0.0


@asynccontextmanager
async def two(deployed: Deployed) -> AsyncIterator[Two]:
    first, second = Node(), Node()
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(lying(deployed.anvil.url, node)) for node in (first, second)]
        nodes = Two(first, second, Endpoints(urls, timeout_s=5, clock=lambda: nodes.now, jitter=lambda: nodes.jitter))
        await stack.enter_async_context(nodes.rpc)
        yield nodes


async def test_the_first_is_asked_while_it_answers(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        assert await nodes.rpc.chain_id() == deployed.deployment.chain_id
        await nodes.rpc.head()

        assert (nodes.first.asked, nodes.second.asked) == (2, 0)
        assert [health.errors for health in nodes.rpc.health()] == [0, 0]


async def test_a_silent_one_rests_longer_each_time_and_is_asked_again(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        nodes.first.twist = silent
        for now, asked in [(0.0, 1), (0.5, 1), (1.0, 2), (2.0, 2), (2.9, 2), (3.0, 3)]:
            nodes.now = now
            await nodes.rpc.chain_id()
            assert nodes.first.asked == asked, now
        assert [health.resting for health in nodes.rpc.health()] == [True, False]

        nodes.first.twist, nodes.now = None, 100.0
        await nodes.rpc.chain_id()

        assert nodes.first.asked == 4
        assert [(health.errors, health.resting) for health in nodes.rpc.health()] == [(3, False), (0, False)]


async def test_a_pause_is_up_to_half_as_long_by_chance(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        nodes.jitter, nodes.first.twist = 1.0, silent
        for now, asked in [(0.0, 1), (0.4, 1), (0.5, 2), (1.4, 2), (1.5, 3)]:
            nodes.now = now
            await nodes.rpc.chain_id()
            assert nodes.first.asked == asked, now


async def test_a_node_that_is_syncing_is_waited_for_and_is_no_other_chain(deployed: Deployed) -> None:
    first = await deployed.anvil.request("eth_getBlockByNumber", "0x0", False)

    async def syncing(request: Request, forward: Forward) -> Any:
        answer = await forward()
        if request["method"] == "eth_getBlockByNumber":
            answer["result"] = first if request["params"][0] in ("latest", "0x0") else None
        return answer

    async with two(deployed) as nodes:
        nodes.first.twist = syncing
        with pytest.raises(RpcBehind, match=r"is at block 0, expected at least the deployment's \d+: it is syncing"):
            await nodes.rpc.endpoints[0].rpc.check(deployed.deployment)

        await nodes.rpc.check(deployed.deployment)
        assert [(health.resting, health.dropped) for health in nodes.rpc.health()] == [(True, None), (False, None)]

        nodes.second.twist = syncing
        with pytest.raises(RpcBehind):
            await nodes.rpc.check(deployed.deployment)

        nodes.first.twist, nodes.now = None, 100.0
        assert await nodes.rpc.head() == await deployed.rpc.head()


async def test_one_that_stands_still_is_left_when_another_is_ahead(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        stale = await nodes.rpc.head()
        old = await deployed.anvil.request("eth_getBlockByNumber", "latest", False)
        nodes.now = STANDS_S
        assert await nodes.rpc.head() == stale  # nobody is ahead
        await deployed.anvil.mine(2)
        nodes.first.twist = saying("eth_getBlockByNumber", lambda _: old)
        assert await nodes.rpc.head() == stale  # the others are not asked each time

        nodes.now = 2 * STANDS_S
        found = await nodes.rpc.head()

        assert found == await deployed.rpc.head()
        assert found.number == stale.number + 2
        health = nodes.rpc.health()
        assert [each.head for each in health] == [stale.number, found.number]
        assert [each.resting for each in health] == [True, False]


async def test_one_whose_final_block_is_another_is_dropped_when_one_has_ours(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        ours = await deployed.rpc.header(1)
        other = await deployed.anvil.request("eth_getBlockByNumber", "0x2", False)
        nodes.first.twist = saying("eth_getBlockByNumber", lambda _: other)

        assert not await nodes.rpc.endpoints[1].rpc.disown(1, ours.hash)
        with pytest.raises(RpcInconsistent):
            await nodes.rpc.endpoints[0].rpc.header(1)
        with pytest.raises(RpcUnavailable, match=r"block 1 was final as 0x00.*, not every node says so"):
            await nodes.rpc.disown(1, Hash32(bytes(32)))
        nodes.first.twist = None
        assert not await nodes.rpc.disown(1, Hash32(bytes(32)))  # nobody has it: nobody is believed more than another
        assert [each.dropped for each in nodes.rpc.health()] == [None, None]


async def test_requests_and_their_time_are_counted_for_each(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        await nodes.rpc.head()

        (first, second) = nodes.rpc.health()
        assert (first.requests, second.requests, second.latency_ms) == (1, 0, None)
        assert first.latency_ms is not None
        assert first.spent_ms >= 0


async def test_endpoints_of_one_host_have_names_of_their_own(deployed: Deployed) -> None:
    async with Endpoints([f"{deployed.anvil.url}/a", f"{deployed.anvil.url}/b"]) as rpc:
        names = [health.host for health in rpc.health()]

    assert names == [names[0], f"{names[0]}#2"]


async def test_when_all_are_silent_the_resting_are_asked_too(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        nodes.first.twist = nodes.second.twist = silent
        for _ in range(2):
            with pytest.raises(RpcUnavailable, match="503"):
                await nodes.rpc.chain_id()

        nodes.second.twist = None

        assert await nodes.rpc.chain_id() == deployed.deployment.chain_id


async def test_one_that_fell_behind_is_passed_over(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        before = await deployed.anvil.request("eth_getBlockByNumber", "latest", False)
        await deployed.anvil.mine(3)
        head = await nodes.rpc.head()
        nodes.first.twist = saying("eth_getBlockByNumber", lambda _: before)

        assert await nodes.rpc.head() == head
        assert nodes.rpc.health()[0].resting

        nodes.second.twist = nodes.first.twist
        assert (await nodes.rpc.head()).number == head.number - 3  # the chain itself went back, or nobody knows better


async def test_a_question_that_one_does_not_take_goes_to_the_other(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        nodes.first.twist = refusing("eth_chainId")

        assert await nodes.rpc.chain_id() == deployed.deployment.chain_id
        assert not nodes.rpc.health()[0].resting

        nodes.second.twist = nodes.first.twist
        with pytest.raises(RpcRefused, match="limit exceeded"):
            await nodes.rpc.chain_id()


async def test_a_contract_that_refuses_is_an_answer(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        d, at = deployed.deployment, await nodes.rpc.head()

        with pytest.raises(ContractRefused):
            await nodes.rpc.call("Ledger", d.ledger, "merge", STRANGER, STRANGER, at=at, sender=STRANGER)

        assert nodes.second.asked == 0
        assert nodes.rpc.health()[0].errors == 0


async def test_a_liar_is_dropped_for_good_and_named(deployed: Deployed, engine: AsyncEngine) -> None:
    async with two(deployed) as nodes:
        liar = nodes.rpc.health()[0].host
        nodes.first.twist = saying("eth_getBlockReceipts", lambda receipts: receipts[:-1])
        await deployed.admit("owner")

        await catch_up(Follower(nodes.rpc, deployed.deployment, engine))

        (first, second) = nodes.rpc.health()
        assert f"node {liar}: receipts of block" in str(first.dropped)
        assert second.dropped is None
        asked, nodes.first.twist, nodes.now = nodes.first.asked, None, 10_000.0
        await nodes.rpc.head()
        assert nodes.first.asked == asked
        told = await digest_of(engine)
        assert (await catch_up(Follower(deployed.rpc, deployed.deployment, engine))) == []
        assert told == await digest_of(engine)


async def test_when_all_have_lied_the_mirror_stops_and_names_them(deployed: Deployed, engine: AsyncEngine) -> None:
    async with two(deployed) as nodes:
        nodes.first.twist = nodes.second.twist = saying("eth_getBlockReceipts", lambda _: [])
        follower = Follower(nodes.rpc, deployed.deployment, engine)

        with pytest.raises(RpcLied, match="the 0 it gave hash to"):
            await catch_up(follower)
        with pytest.raises(RpcLied, match="no endpoint is left") as caught:
            await follower.step()

    assert all(health.host in str(caught.value) for health in nodes.rpc.health())


async def test_one_that_lies_while_the_other_is_silent_stops_nothing(deployed: Deployed, engine: AsyncEngine) -> None:
    async with two(deployed) as nodes:
        follower = Follower(nodes.rpc, deployed.deployment, engine)
        await follower.step()
        nodes.first.twist = silent
        nodes.second.twist = saying("eth_getBlockByNumber", lambda block: block | {"gasUsed": "0x1"})
        await deployed.anvil.mine()
        with pytest.raises(RpcUnavailable):
            await catch_up(follower)
        assert [health.dropped is None for health in nodes.rpc.health()] == [True, False]

        nodes.first.twist = None
        await catch_up(follower)

        nodes.first.twist = nodes.second.twist
        with pytest.raises(RpcLied):
            await nodes.rpc.head()


async def test_one_of_another_chain_is_refused_at_once(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        nodes.second.twist = saying("eth_chainId", lambda _: "0x1")

        with pytest.raises(WrongChain, match="is on chain 1"):
            await nodes.rpc.check(deployed.deployment)


async def test_one_that_was_silent_at_first_is_checked_before_it_is_asked(deployed: Deployed) -> None:
    async with two(deployed) as nodes:
        nodes.first.twist = silent
        await nodes.rpc.check(deployed.deployment)
        nodes.first.twist, nodes.now = saying("eth_chainId", lambda _: "0x1"), 100.0

        await nodes.rpc.head()

        assert "is on chain 1" in str(nodes.rpc.health()[0].dropped)
        with pytest.raises(WrongChain):
            await nodes.rpc.check(replace(deployed.deployment, chain_id=5))


async def test_transactions_are_sent_through_the_one_that_answers(deployed: Deployed) -> None:
    from commonhold.chain.send import Sender
    from tests.actors import key_of

    async with two(deployed) as nodes:
        nodes.first.twist = silent
        sender = Sender(nodes.rpc, key_of("stranger"), deployed.deployment, timeout_s=20)

        mined = await sender.transact("Ledger", "setOperator", address_of("owner"), True)

    assert len(mined.events) == 1


async def test_everything_that_rpc_reads_is_passed_on(deployed: Deployed) -> None:
    questions: list[Callable[[Rpc], Awaitable[Any]]] = []
    at, d = await deployed.rpc.head(), deployed.deployment
    questions += [lambda rpc: rpc.block(at.hash), lambda rpc: rpc.header(at.number), lambda rpc: rpc.fees()]
    questions += [lambda rpc: rpc.logs(d.followed, d.block, at.number), lambda rpc: rpc.logs_of(at.hash, d.followed)]
    questions += [lambda rpc: rpc.code(d.ledger, at), lambda rpc: rpc.balance(d.deployer, at)]
    questions += [lambda rpc: rpc.nonce(d.deployer), lambda rpc: rpc.gas(d.deployer, d.deployer, b"", what="a call")]
    async with two(deployed) as nodes:
        for question in questions:
            assert await question(nodes.rpc) == await question(deployed.rpc)


def test_no_endpoint_at_all_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one URL"):
        Endpoints([])
