"""A node that lies about one log is caught before a row of the block is written, and named."""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.rpc import Rpc, RpcInconsistent, RpcLied
from commonhold.mirror.follow import Follower
from tests.actors import Deployed
from tests.chain.lying import Forward, Twist, changed, lying
from tests.mirror.following import catch_up, digest_of, dump_of

pytestmark = pytest.mark.chain

Json = dict[str, Any]


def about(block_hash: str, lie: Callable[[list[Json]], Any]) -> Twist:
    """A node that lies about the receipts of one block."""

    async def twist(request: Json, forward: Forward) -> Any:
        answer = await forward()
        if request["method"] == "eth_getBlockReceipts" and request["params"] == [block_hash]:
            answer = copy.deepcopy(answer)
            lie(answer["result"])
        return answer

    return twist


LIES: dict[str, Callable[[list[Json]], Any]] = {
    "drops_one_log": lambda receipts: receipts[0]["logs"].pop(0),
    "forges_one_log": lambda receipts: receipts[0]["logs"][0].update(data="0x" + "00" * 32),
    "reorders_two_logs": lambda receipts: receipts[0]["logs"].append(receipts[0]["logs"].pop(0)),
    "answers_nothing": lambda receipts: receipts.clear(),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("final", [True, False])
async def test_a_lie_stops_the_mirror_before_the_block_and_names_the_node(
    deployed: Deployed, engine: AsyncEngine, name: str, final: bool
) -> None:
    await deployed.admit("owner")
    busy = await deployed.rpc.header((await deployed.rpc.head()).number)
    await deployed.register_data()  # several logs in one block
    block = await deployed.rpc.head()
    if final:
        await deployed.anvil.mine(6)

    async with lying(deployed.anvil.url, about("0x" + block.hash.hex(), LIES[name])) as url, Rpc(url) as rpc:
        follower = Follower(rpc, deployed.deployment, engine)
        with pytest.raises(RpcLied) as caught:
            await catch_up(follower)

    said = str(caught.value)
    assert rpc.host in said
    assert f"block {block.number} 0x{block.hash.hex()}" in said
    assert "expected 0x" in said
    assert not any(f'"block_number":{block.number},' in line for line in await dump_of(engine))
    assert busy.number < block.number
    honest = Follower(deployed.rpc, deployed.deployment, engine)
    assert (await catch_up(honest))[-1].to_number >= block.number


async def test_a_header_that_hides_its_logs_is_a_lie(deployed: Deployed, engine: AsyncEngine) -> None:
    twist = changed("eth_getBlockByNumber", lambda block: block | {"logsBloom": "0x" + "00" * 256})

    async with lying(deployed.anvil.url, twist) as url, Rpc(url) as rpc:
        with pytest.raises(RpcLied, match="from its fields"):
            await catch_up(Follower(rpc, deployed.deployment, engine))


async def test_receipts_that_are_not_there_are_waited_for(deployed: Deployed, engine: AsyncEngine) -> None:
    async with lying(deployed.anvil.url, changed("eth_getBlockReceipts", lambda _: None)) as url, Rpc(url) as rpc:
        with pytest.raises(RpcInconsistent, match="has no receipts of block"):
            await catch_up(Follower(rpc, deployed.deployment, engine))


async def test_a_block_without_our_logs_costs_its_header_only(deployed: Deployed, engine: AsyncEngine) -> None:
    await deployed.anvil.mine(150)
    asked: Counter[str] = Counter()

    async def twist(request: Json, forward: Forward) -> Any:
        asked[request["method"]] += 1
        return await forward()

    async with lying(deployed.anvil.url, twist) as url, Rpc(url) as rpc:
        await catch_up(Follower(rpc, deployed.deployment, engine))

    with_events = {line.split('"block_number":')[1].split(",")[0] for line in await dump_of(engine) if "event" in line}
    assert asked["eth_getBlockReceipts"] == len(with_events)
    assert asked["eth_getLogs"] == 0
    assert asked["eth_getBlockByNumber"] > 150


@pytest.mark.parametrize("most", [1, 7])
async def test_a_node_that_takes_small_batches_gets_small_ones(deployed: Deployed, most: int) -> None:
    head, started = await deployed.rpc.head(), await deployed.rpc.header(0)
    sizes: Counter[int] = Counter()

    async def twist(request: Json, forward: Forward) -> Any:
        return await forward()

    async with lying(deployed.anvil.url, twist, most=most, sizes=sizes) as url, Rpc(url) as rpc:
        span = await rpc.span(deployed.deployment.followed, started, head.number)

    assert span == await deployed.rpc.span(deployed.deployment.followed, started, head.number)
    assert sum(sizes.values()) < 200


async def test_a_node_without_block_receipts_is_asked_for_each(deployed: Deployed, engine: AsyncEngine) -> None:
    async def twist(request: Json, forward: Forward) -> Any:
        if request["method"] == "eth_getBlockReceipts":
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no such method"}}
        return await forward()

    async with lying(deployed.anvil.url, twist) as url, Rpc(url) as rpc:
        await catch_up(Follower(rpc, deployed.deployment, engine))
    one_by_one = await digest_of(engine)
    await deployed.admit("owner")
    await catch_up(Follower(deployed.rpc, deployed.deployment, engine))

    assert len(await dump_of(engine)) > 10
    assert one_by_one != await digest_of(engine)


async def test_unverified_says_the_same_of_an_honest_node(deployed: Deployed) -> None:
    await deployed.anvil.mine(10)
    ours, d = deployed.deployment.followed, deployed.deployment
    head, before = await deployed.rpc.head(), await deployed.rpc.header(d.block - 1)

    async with Rpc(deployed.anvil.url, verify_logs=False) as rpc:
        told = await rpc.span(ours, before, head.number)
        one = await rpc.span(ours, before, before.number + 1)

    verified = await deployed.rpc.span(ours, before, head.number)
    assert told.logs == verified.logs
    assert set(verified.blocks) <= set(told.blocks)
    assert one == await deployed.rpc.span(ours, before, before.number + 1)
