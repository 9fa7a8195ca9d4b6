"""anvil is started on a free port, and only the one that was started is ended."""

import os
import socket
from pathlib import Path

import pytest

from commonhold.chain import node
from commonhold.chain.node import Anvil, NodeNotStarted, start_anvil
from commonhold.chain.rpc import Rpc
from commonhold.errors import CommonholdError
from tests.actors import ANVIL

pytestmark = pytest.mark.chain


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_two_chains_at_once_are_two_and_end_apart() -> None:
    async with start_anvil(ANVIL, chain_id=7) as first:
        async with start_anvil(ANVIL) as second:
            assert (await first.request("eth_chainId"), await second.request("eth_chainId")) == ("0x7", "0x7a69")

        assert (runs(first.pid), runs(second.pid)) == (True, False)
        assert await first.request("eth_blockNumber") == "0x0"
    assert not runs(first.pid)


async def test_it_ends_with_a_failing_block_too() -> None:
    with pytest.raises(KeyError):
        async with start_anvil(ANVIL) as anvil:
            raise KeyError(anvil.pid)

    assert not runs(anvil.pid)


async def test_slots_decide_what_is_safe_and_finalized() -> None:
    async with start_anvil(ANVIL, slots_in_an_epoch=2) as anvil, Rpc(anvil.url) as rpc:
        await anvil.mine(10)

        heads = [
            (await rpc.head("latest")).number,
            (await rpc.head("safe")).number,
            (await rpc.head("finalized")).number,
        ]

    assert heads == [10, 8, 6]


async def test_time_advances_blocks_are_replaced_and_a_snapshot_brings_all_back(anvil: Anvil) -> None:
    async with Rpc(anvil.url) as rpc:
        before = await rpc.head()
        name = await anvil.snapshot()
        await anvil.advance(1_000)
        await anvil.mine(2)
        later = await rpc.head()
        await anvil.reorg(2)
        after = await rpc.head()
        await anvil.revert(name)
        again = await rpc.head()

    assert later.timestamp - before.timestamp >= 1_000
    assert (after.number, after.hash == later.hash) == (later.number, False)
    assert again == before


async def test_what_is_sent_is_in_the_newest_block(anvil: Anvil) -> None:
    (account, *_) = await anvil.request("eth_accounts")
    for _ in range(20):
        receipt = await anvil.send({"from": account, "to": account})

        assert receipt["blockHash"] == (await anvil.request("eth_getBlockByNumber", "latest", False))["hash"]


async def test_what_gets_into_no_block_is_told(anvil: Anvil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "MINED_S", 0.05)

    with pytest.raises(CommonholdError, match=r"0x0{64} is in no block after 0\.05 s"):
        await anvil.receipt("0x" + "00" * 32)


async def test_a_port_that_is_taken_is_told() -> None:
    taken = socket.create_server(("127.0.0.1", 0))

    with taken, pytest.raises(NodeNotStarted, match=r"anvil ended with status \d+, saying: .+"):
        async with start_anvil(ANVIL, port=taken.getsockname()[1]):
            pass


async def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(NodeNotStarted, match=r"nothing: expected a program, got: No such file"):
        async with start_anvil(tmp_path / "nothing"):
            pass


async def test_an_option_that_it_does_not_know_is_told() -> None:
    with pytest.raises(NodeNotStarted, match="status 2, saying: error: unexpected argument '--no-such'"):
        async with start_anvil(ANVIL, no_such=True):
            pass
