"""Every way in which a node lies or fails, alone and beside an honest one: no wrong row, the node named, not ready."""

import asyncio
import copy
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import worker
from commonhold.chain.endpoints import STANDS_S, Endpoints
from commonhold.chain.rpc import Rpc, RpcInconsistent
from commonhold.errors import Unavailable
from commonhold.mirror.follow import FinalityViolated, Follower
from commonhold.worker import Stage
from tests.actors import Deployed
from tests.api.conftest import sqlite_only
from tests.chain.lying import Broken, Forward, Remembering, Twist, changed, lying
from tests.chain.test_endpoints import saying
from tests.conftest import Databases
from tests.mirror.following import catch_up, dump_of

pytestmark = [pytest.mark.chain, sqlite_only]

Json = dict[str, Any]
TIMEOUT_S = 1.0  # of the liars' answers; the honest ones come in milliseconds


def one_log(nth: int, lie: Callable[[list[Json], int], object]) -> Twist:
    """A node that lies about one log of all, the n-th that it passes on."""
    passed = 0

    async def twist(request: Json, forward: Forward) -> Any:
        nonlocal passed
        answer = await forward()
        if request["method"] == "eth_getBlockReceipts":
            answer = copy.deepcopy(answer)
            for receipt in answer["result"]:
                at, passed = nth - passed, passed + len(receipt["logs"])
                if 0 <= at < len(receipt["logs"]):
                    lie(receipt["logs"], at)
        return answer

    return twist


def forge(logs: list[Json], at: int) -> None:
    data = logs[at]["data"]
    logs[at]["data"] = data[:-1] + ("1" if data[-1] != "1" else "2") if len(data) > 2 else "0x01"


def about(method: str, said: Any) -> Twist:
    """A node that answers one method with what is no answer."""

    async def twist(request: Json, forward: Forward) -> Any:
        return said if request["method"] == method else await forward()

    return twist


async def hangs(request: Json, forward: Forward) -> Any:
    if request["method"] == "eth_getBlockReceipts":
        await asyncio.Event().wait()
    return await forward()


HALF = Broken((b'[{"jsonrpc": "2.0", "id": 1, "result": ',), promised=1_000)

# What lies: a fault that stays, the node dropped.
LIARS: dict[str, Callable[[], Twist]] = {
    "drops_the_first_log": lambda: one_log(0, lambda logs, at: logs.pop(at)),
    "drops_a_later_log": lambda: one_log(11, lambda logs, at: logs.pop(at)),
    "forges_a_log": lambda: one_log(7, forge),
    "doubles_a_log": lambda: one_log(5, lambda logs, at: logs.append(logs[at])),
    "answers_an_empty_list": lambda: changed("eth_getBlockReceipts", lambda _: []),
    "answers_no_list": lambda: changed("eth_getBlockReceipts", lambda _: {"logs": []}),
    "hides_logs_from_the_bloom": lambda: saying("eth_getBlockByNumber", lambda b: b | {"logsBloom": "0x" + "00" * 256}),
    "is_of_another_chain": lambda: changed("eth_chainId", lambda _: "0x1"),
}
# What fails: waited for.
FAILING: dict[str, Callable[[], Twist]] = {
    "hangs": lambda: hangs,
    "cuts_the_connection": lambda: about("eth_getBlockReceipts", HALF),
    "answers_text": lambda: about("eth_getBlockReceipts", (200, b"<html>")),
    "has_no_receipts": lambda: changed("eth_getBlockReceipts", lambda _: None),
    "has_no_block": lambda: changed("eth_getBlockByNumber", lambda _: None),
}


async def followed(follower: Follower) -> Stage:
    """The service's loop, until nothing is new, it stopped, or it has waited twice."""
    stop, waited = asyncio.Event(), 0

    async def step() -> bool:
        nonlocal waited
        try:
            progress = await follower.step()
        except Unavailable:
            waited += 1
            if waited == 2:
                stop.set()
            raise
        if progress.idle:
            stop.set()
        return not progress.idle

    stage = Stage("follow", step, 0.01, integrity=True)
    await worker.run([stage], stop)
    return stage


# One of another chain is refused when the service starts, so the operator hears of it (tests/chain/test_endpoints.py).
@pytest.mark.parametrize("name", sorted((LIARS | FAILING).keys() - {"is_of_another_chain"}))
async def test_beside_an_honest_node_no_row_is_wrong_and_the_mirror_goes_on(
    deployed: Deployed, databases: Databases, name: str
) -> None:
    engine, honest = await databases(), await databases()
    async with AsyncExitStack() as stack:
        liar = await stack.enter_async_context(lying(deployed.anvil.url, (LIARS | FAILING)[name]()))
        rpc = await stack.enter_async_context(Endpoints([deployed.anvil.url, liar], timeout_s=TIMEOUT_S))
        await rpc.check(deployed.deployment)
        rpc.endpoints.reverse()  # so that the liar is asked first

        stage = await followed(Follower(rpc, deployed.deployment, engine))

        health = rpc.health()[0]
        assert (stage.fault, stage.waiting_for) == (None, None)
        assert health.errors > 0
        assert (health.dropped is not None) == (name in LIARS)
        assert health.dropped is None or health.host in health.dropped
    await catch_up(Follower(deployed.rpc, deployed.deployment, honest))
    assert await dump_of(engine) == await dump_of(honest)


@pytest.mark.parametrize("name", [*LIARS, *FAILING])
async def test_alone_it_writes_no_wrong_row_and_readiness_is_withdrawn(
    deployed: Deployed, databases: Databases, name: str
) -> None:
    engine, honest = await databases(), await databases()
    async with AsyncExitStack() as stack:
        liar = await stack.enter_async_context(lying(deployed.anvil.url, (LIARS | FAILING)[name]()))
        rpc = await stack.enter_async_context(Endpoints([liar], timeout_s=TIMEOUT_S))
        stage = await followed(Follower(rpc, deployed.deployment, engine))

        open_faults, said = worker.integrity_faults([stage]), worker.faults([stage])["follow"]
        assert rpc.health()[0].host in said
        assert (open_faults != {}) == (name in LIARS)
    # A wrong row would stay: the honest node is only asked for what comes after.
    await catch_up(Follower(deployed.rpc, deployed.deployment, engine))
    await catch_up(Follower(deployed.rpc, deployed.deployment, honest))
    assert await dump_of(engine) == await dump_of(honest)


async def test_an_old_head_holds_the_mirror_up_until_another_is_asked(deployed: Deployed, databases: Databases) -> None:
    engine, honest = await databases(), await databases()
    old = await deployed.anvil.request("eth_getBlockByNumber", "latest", False)
    await deployed.admit("owner")
    now = 0.0

    async def stale(request: Json, forward: Forward) -> Any:
        answer = await forward()
        if request["params"][:1] == ["latest"]:
            answer["result"] = old
        return answer

    async with AsyncExitStack() as stack:
        liar = await stack.enter_async_context(lying(deployed.anvil.url, stale))
        rpc = Endpoints([liar, deployed.anvil.url], clock=lambda: now, jitter=lambda: 0.0)
        follower = Follower(await stack.enter_async_context(rpc), deployed.deployment, engine)
        await catch_up(follower)
        now = STANDS_S

        assert len(await catch_up(follower)) == 1
        assert rpc.health()[0].resting
    await catch_up(Follower(deployed.rpc, deployed.deployment, honest))
    assert await dump_of(engine) == await dump_of(honest)


async def test_a_dead_branch_below_a_final_block_is_not_taken_for_final(
    deployed: Deployed, databases: Databases
) -> None:
    """One node says what the newest block is, another which is final."""
    engine, honest, dead = await databases(), await databases(), Remembering()
    before = await deployed.anvil.snapshot()
    await deployed.admit("owner")
    head = (await deployed.rpc.head()).number
    async with lying(deployed.anvil.url, dead) as url, Rpc(url) as rpc:
        await catch_up(Follower(rpc, deployed.deployment, await databases()))
        await rpc.header(head)
    await deployed.anvil.revert(before)
    await deployed.admit("stranger")
    await deployed.anvil.mine(9)
    dead.replays = True

    async def mixed(request: Json, forward: Forward) -> Any:
        return await (forward() if request["params"][:1] == ["finalized"] else dead(request, forward))

    async with lying(deployed.anvil.url, mixed) as url, Rpc(url) as rpc:
        with pytest.raises(RpcInconsistent, match=f"is final, above its head {head}"):
            await catch_up(Follower(rpc, deployed.deployment, engine))

    await catch_up(Follower(deployed.rpc, deployed.deployment, engine))
    await catch_up(Follower(deployed.rpc, deployed.deployment, honest))
    assert await dump_of(engine) == await dump_of(honest)


async def test_another_fork_below_the_final_block_is_not_followed(deployed: Deployed, databases: Databases) -> None:
    engine, honest = await databases(), await databases()
    liar, before = Remembering(), await deployed.anvil.snapshot()
    async with lying(deployed.anvil.url, liar) as url:
        await deployed.admit("owner")
        await deployed.anvil.mine(9)
        async with Rpc(url) as rpc:
            await catch_up(Follower(rpc, deployed.deployment, await databases()))
            for number in range((await rpc.head()).number + 1):
                await rpc.header(number)
        await deployed.anvil.revert(before)
        await deployed.admit("stranger")
        await deployed.anvil.mine(8)
        liar.replays = True
        await catch_up(Follower(deployed.rpc, deployed.deployment, engine))

        async with Endpoints([url]) as alone:
            with pytest.raises(FinalityViolated):
                await Follower(alone, deployed.deployment, engine).step()
        async with Endpoints([url, deployed.anvil.url]) as two:
            await two.check(deployed.deployment)
            stage = await followed(Follower(two, deployed.deployment, engine))
            health = two.health()

    assert (stage.fault, stage.waiting_for) == (None, None)
    assert "which was final as 0x" in str(health[0].dropped)
    assert health[1].dropped is None
    await catch_up(Follower(deployed.rpc, deployed.deployment, honest))
    assert await dump_of(engine) == await dump_of(honest)


async def test_an_old_newest_block_at_the_final_height_is_not_another_final_block(
    deployed: Deployed, engine: AsyncEngine
) -> None:
    before = await deployed.anvil.snapshot()
    await deployed.anvil.mine(1)
    old = await deployed.anvil.request("eth_getBlockByNumber", "latest", False)
    await deployed.anvil.revert(before)
    await deployed.admit("owner")
    await deployed.anvil.mine(6)
    await catch_up(Follower(deployed.rpc, deployed.deployment, engine))

    keeps = False

    async def kept(request: dict[str, Any], forward: Forward) -> Any:
        """Something before the node has kept its newest block."""
        if keeps and (request["method"], request["params"][:1]) == ("eth_getBlockByNumber", ["latest"]):
            return {"jsonrpc": "2.0", "id": request["id"], "result": old}
        return await forward()

    async with lying(deployed.anvil.url, kept) as url, Rpc(url) as rpc:
        follower = Follower(rpc, deployed.deployment, engine)
        assert (await follower.step()).idle
        keeps = True
        with pytest.raises(RpcInconsistent, match=r"its newest block .* is not on its branch"):
            await follower.step()
    assert (await Follower(deployed.rpc, deployed.deployment, engine).step()).idle
