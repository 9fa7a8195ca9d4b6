"""A mirror that verifies follows a made-up chain to the right balances, and refuses a block with a changed log."""

from collections import Counter
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.bulk import TRANSFER
from commonhold.chain.jsonrpc import JsonRpc, RpcRefused
from commonhold.chain.rpc import Rpc, RpcLied
from commonhold.db import read
from commonhold.mirror.follow import Follower
from commonhold.mirror.tables import holding
from commonhold.units import hex_text
from tests.actors import Deployed
from tests.bench.made_up import header_hash
from tests.bench.made_up_node import BAD_PARAMETERS, NO_METHOD, served
from tests.conftest import MADE_UP_EVENTS
from tests.mirror.following import catch_up

pytestmark = pytest.mark.chain


async def transfers(url: str, ledger: bytes) -> list[tuple[int, bytes, bytes, int]]:
    """(asset, from, to, units) of each Transfer that the node's receipts tell of."""
    node = JsonRpc(url)
    head = int(await node.request("eth_blockNumber"), 16)
    blocks = await node.batch([("eth_getBlockReceipts", (hex(number),)) for number in range(head + 1)])
    await node.close()
    logs = [log for receipts in blocks for receipt in receipts for log in receipt["logs"]]
    return [
        (
            int(log["topics"][3], 16),
            *(bytes.fromhex(log["topics"][at][26:]) for at in (1, 2)),
            int(log["data"][66:], 16),
        )
        for log in logs
        if (log["address"], log["topics"][0]) == (hex_text(ledger), hex_text(TRANSFER))
    ]


async def test_balances_are_those_of_a_plain_count(
    made_up_chain: Path, deployed: Deployed, engine: AsyncEngine
) -> None:
    async with served(made_up_chain, MADE_UP_EVENTS) as url, Rpc(url) as rpc:
        moved = await transfers(url, deployed.deployment.ledger)
        head = await rpc.head()

        steps = await catch_up(Follower(rpc, deployed.deployment, engine))

    assert steps[-1].to_number == head.number
    assert len(moved) > MADE_UP_EVENTS
    held: Counter[tuple[int, bytes]] = Counter()
    for asset, sender, receiver, units in moved:
        if sender != bytes(20):
            held[asset, sender] -= units
            assert held[asset, sender] >= 0
        held[asset, receiver] += units
    assert len(held) > MADE_UP_EVENTS // 3
    async with read(engine) as db:
        rows = await db.execute(sa.select(holding.c.asset, holding.c.owner, holding.c.units))
        assert {(asset, owner): units for asset, owner, units in rows} == +held


async def test_final_blocks_have_as_many_events_as_asked_for(
    made_up_chain: Path, deployed: Deployed, engine: AsyncEngine
) -> None:
    async with served(made_up_chain, MADE_UP_EVENTS // 2) as url, Rpc(url) as rpc:
        final, safe, head = [(await rpc.head(tier)).number for tier in ("finalized", "safe", "latest")]
        follower = Follower(rpc, deployed.deployment, engine, tier="finalized")

        steps = await catch_up(follower)

        assert await rpc.block(head) is not None
        assert await rpc.block(head + 1) is None
    assert (steps[-1].to_number, safe, head) == (final, final + 32, final + 64)
    more = 150 + 50  # a block's, and the real part's
    assert MADE_UP_EVENTS // 2 <= follower.tally.events < MADE_UP_EVENTS // 2 + more


def change(chain: Path) -> int:
    """One digit of the units that a log of a made-up block tells of is another. The number of the block."""
    index = orjson.loads(chain.read_bytes())
    number: int = index["events"].count(0) + 5
    first, end = index["places"][2 * number + 1 : 2 * number + 3]
    with chain.with_suffix(".data").open("r+b") as data:
        data.seek(first)
        at = first + data.read(end - first).index(b'"data":"0x') + len('"data":"0x') + 127
        data.seek(at)
        digit = data.read(1)
        data.seek(at)
        data.write(b"7" if digit != b"7" else b"8")
    return number


async def test_a_changed_log_is_refused(made_up_chain: Path, deployed: Deployed, engine: AsyncEngine) -> None:
    number = change(made_up_chain)

    async with served(made_up_chain, MADE_UP_EVENTS) as url, Rpc(url) as rpc:
        with pytest.raises(RpcLied, match=f"receipts of block {number} .* which the block's header commits to"):
            await catch_up(Follower(rpc, deployed.deployment, engine))


async def test_headers_are_hashed_as_real_ones_are(deployed: Deployed) -> None:
    real = await deployed.anvil.request("eth_getBlockByNumber", "latest", False)

    assert header_hash(real) == real["hash"]


async def test_what_the_node_does_not_know_is_an_error(made_up_chain: Path) -> None:
    async with served(made_up_chain, MADE_UP_EVENTS) as url:
        node = JsonRpc(url)
        codes = []
        for method, *params in (("eth_call", {}, "latest"), ("eth_getBlockByNumber", "latest", True)):
            with pytest.raises(RpcRefused) as caught:
                await node.request(method, *params)
            codes.append(caught.value.rpc_code)
        unknown = await node.request("eth_getBlockByHash", "0x" + "12" * 32, False)
        await node.close()

    assert codes == [NO_METHOD, BAD_PARAMETERS]
    assert unknown is None
