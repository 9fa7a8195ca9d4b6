"""What a node returns is checked before it is believed. The nodes that lie here are real servers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from commonhold.chain.deployment import WrongChain
from commonhold.chain.jsonrpc import JsonRpc
from commonhold.chain.revert import ContractRefused
from commonhold.chain.rpc import BlockGone, Rpc, RpcInconsistent, RpcRefused, RpcUnavailable, View
from commonhold.errors import BadInput
from commonhold.units import UNIT, Address, Hash32
from tests.actors import Deployed, address_of
from tests.chain.lying import Broken, Forward, Twist, changed, lying

pytestmark = pytest.mark.chain

STRANGER = Address(b"\x01" * 20)


async def asked(
    deployed: Deployed, twist: Twist, ask: Callable[[Rpc], Awaitable[Any]], *, timeout_s: float = 10
) -> Any:
    """What `ask` gets from a node that lies as `twist` says."""
    async with lying(deployed.anvil.url, twist) as url, Rpc(url, timeout_s=timeout_s) as rpc:
        return await ask(rpc)


# --- what a true node says ---


async def test_a_head_is_the_newest_block_and_every_block_names_its_parent(deployed: Deployed) -> None:
    await deployed.anvil.mine(2)

    head = await deployed.rpc.head()
    parent = await deployed.rpc.block(head.parent)

    assert parent is not None
    assert (await deployed.rpc.block(head.number), parent.number) == (head, head.number - 1)
    assert (await deployed.rpc.head("finalized")).number <= (await deployed.rpc.head("safe")).number <= head.number


async def test_a_block_that_is_not_there_is_none(deployed: Deployed) -> None:
    assert await deployed.rpc.block(10**9) is None
    assert await deployed.rpc.block(Hash32(b"\x07" * 32)) is None


async def test_logs_by_range_and_by_block_are_the_same(deployed: Deployed) -> None:
    first = (await deployed.rpc.head()).number + 1
    await deployed.lease()
    head = await deployed.rpc.head()

    by_range = await deployed.rpc.logs(deployed.deployment.followed, first, head.number)
    by_block = []
    for number in range(first, head.number + 1):
        block = await deployed.rpc.block(number)
        assert block is not None
        by_block += await deployed.rpc.logs_of(block.hash, deployed.deployment.followed)

    assert by_range == by_block
    assert len(by_range) >= 8


async def test_a_call_names_its_block(deployed: Deployed) -> None:
    d, before = deployed.deployment, await deployed.rpc.head()
    await deployed.admit("owner")
    after = await deployed.rpc.head()

    assert await deployed.rpc.call("Members", d.members, "isActive", address_of("owner"), at=before) is False
    assert await deployed.rpc.call("Members", d.members, "isActive", address_of("owner"), at=after) is True


async def test_a_call_gives_bytes_numbers_and_named_tuples(deployed: Deployed) -> None:
    await deployed.admit("provider")
    asset = await deployed.register_compute(gpus=2)
    at, d = await deployed.rpc.head(), deployed.deployment

    found = await deployed.rpc.call("Ledger", d.ledger, "assetOf", asset, at=at)
    member = await deployed.rpc.call("Members", d.members, "memberOf", address_of("provider"), at=at)

    assert (found.operator, found.units, found.level) == (address_of("provider"), 2 * UNIT, 3)
    assert await deployed.rpc.call("Ledger", d.ledger, "tokenURI", asset, at=at) == "http://127.0.0.1:9/"
    assert (member.controller, member.since > 0) == (bytes(20), True)


async def test_a_call_that_is_refused_gives_the_error_and_who_asked(deployed: Deployed) -> None:
    at, d = await deployed.rpc.head(), deployed.deployment

    with pytest.raises(ContractRefused) as refused:
        await deployed.rpc.call("Ledger", d.ledger, "merge", STRANGER, STRANGER, at=at, sender=STRANGER)

    assert refused.value.details == {"error": "OnlyMembers", "sender": "0x" + "01" * 20}


async def test_what_was_read_at_a_replaced_block_is_not_answered(deployed: Deployed) -> None:
    await deployed.anvil.mine(2)
    gone = await deployed.rpc.head()
    await deployed.anvil.reorg(2)

    with pytest.raises(BlockGone, match=gone.hash.hex()):
        await deployed.rpc.call("Members", deployed.deployment.members, "threshold", at=gone)
    with pytest.raises(BlockGone):
        await deployed.rpc.logs_of(gone.hash, deployed.deployment.followed)


async def test_the_node_of_the_deployment_passes_the_check(deployed: Deployed) -> None:
    await deployed.rpc.check(deployed.deployment)


# --- wrong chain ---


async def test_a_node_of_another_chain_is_refused_naming_both(deployed: Deployed) -> None:
    with pytest.raises(WrongChain, match="on chain 31337, the deployment on chain 1"):
        await deployed.rpc.check(replace(deployed.deployment, chain_id=1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"block_hash": Hash32(b"\x05" * 32)}, "the deployment's is 0x0505"),
        ({"meter": STRANGER}, "no contract at 0x0101"),
    ],
)
async def test_a_node_of_another_branch_or_deployment_is_refused(
    deployed: Deployed, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(WrongChain, match=reason):
        await deployed.rpc.check(replace(deployed.deployment, **change))


async def test_a_call_to_an_account_without_code_is_no_answer(deployed: Deployed) -> None:
    with pytest.raises(RpcInconsistent, match="expected contract Members at 0x0101"):
        await deployed.rpc.call("Members", STRANGER, "threshold", at=await deployed.rpc.head())


# --- logs that were not asked for ---

Logs = list[dict[str, Any]]
BAD_LOGS: dict[str, tuple[Callable[[Logs], object], str]] = {
    "outside_range": (lambda logs: [{**logs[0], "blockNumber": "0x1"}], "expected a block from"),
    "other_address": (lambda logs: [*logs, {**logs[0], "address": "0x" + "01" * 20}], "which was not asked for"),
    "twice": (lambda logs: [*logs, logs[-1]], "given twice"),
    "two_branches": (
        lambda logs: [logs[0], {**logs[0], "logIndex": "0x7", "blockHash": "0x" + "07" * 32}],
        "another log of that number",
    ),
    "removed": (lambda logs: [{**logs[0], "removed": True}], "expected no removed log"),
    "no_list": (lambda logs: {}, "expected a list of logs"),
    "short_topic": (lambda logs: [{**logs[0], "topics": ["0x01"]}], "expected 32 bytes"),
    "five_topics": (lambda logs: [{**logs[0], "topics": logs[0]["topics"][:1] * 5}], "at most 4 topics"),
    "odd_data": (lambda logs: [{**logs[0], "data": "0x1"}], "hexadecimal digits"),
    "no_index": (lambda logs: [{k: v for k, v in logs[0].items() if k != "logIndex"}], "expected a number"),
    "pending": (lambda logs: [{**logs[0], "blockHash": None}], "expected 32 bytes"),
}


@pytest.mark.parametrize("name", BAD_LOGS)
async def test_logs_that_contradict_the_question_are_not_used(deployed: Deployed, name: str) -> None:
    change, reason = BAD_LOGS[name]
    await deployed.admit("owner")
    at, ours = (await deployed.rpc.head()).number, deployed.deployment.followed

    with pytest.raises(RpcInconsistent, match=reason):
        await asked(deployed, changed("eth_getLogs", change), lambda rpc: rpc.logs(ours, at, at))


async def test_logs_of_another_block_than_asked_by_hash_are_not_used(deployed: Deployed) -> None:
    await deployed.admit("owner")
    block, ours = await deployed.rpc.head(), deployed.deployment.followed
    twist = changed("eth_getLogs", lambda logs: [{**logs[0], "blockHash": "0x" + "07" * 32}])

    with pytest.raises(RpcInconsistent, match="expected one of block"):
        await asked(deployed, twist, lambda rpc: rpc.logs_of(block.hash, ours))


async def test_no_logs_from_a_node_that_is_behind_are_not_believed(deployed: Deployed) -> None:
    behind = await deployed.anvil.request("eth_getBlockByNumber", "latest", False)
    await deployed.admit("owner")
    head = await deployed.rpc.head()

    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        answer = await forward()
        results = {"eth_getLogs": [], "eth_getBlockByNumber": behind}
        return answer | {"result": results.get(request["method"], answer["result"])}

    with pytest.raises(RpcInconsistent, match=f"expected at least {head.number}"):
        await asked(deployed, twist, lambda rpc: rpc.logs(deployed.deployment.followed, head.number, head.number))


async def test_another_block_than_asked_for_is_not_used(deployed: Deployed) -> None:
    head = await deployed.rpc.head()
    first = await deployed.anvil.request("eth_getBlockByNumber", "0x1", False)
    twist = changed("eth_getBlockByHash", lambda _: first)

    with pytest.raises(RpcInconsistent, match="expected block"):
        await asked(deployed, twist, lambda rpc: rpc.block(head.hash))


async def test_a_node_without_a_finalized_block_is_not_taken_for_an_empty_chain(deployed: Deployed) -> None:
    with pytest.raises(RpcInconsistent, match="has no finalized block"):
        await asked(deployed, changed("eth_getBlockByNumber", lambda _: None), lambda rpc: rpc.head("finalized"))


# --- a node that takes no block hashes (EIP-1898) ---


def numbers_only(then: Callable[[], Awaitable[None]] | None = None) -> Twist:
    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        if request["method"] != "eth_call":
            return await forward()
        if isinstance(request["params"][-1], dict):
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "invalid argument 1"}}
        answer = await forward()
        if then:
            await then()
        return answer

    return twist


async def test_a_node_that_takes_only_numbers_is_asked_by_number(deployed: Deployed) -> None:
    at, members = await deployed.rpc.head(), deployed.deployment.members

    got = await asked(deployed, numbers_only(), lambda rpc: rpc.call("Members", members, "threshold", at=at))

    assert got == 2


async def test_many_calls_are_answered_as_one_by_one(deployed: Deployed) -> None:
    d, at = deployed.deployment, await deployed.rpc.head()
    views: list[View] = [
        ("Members", d.members, "threshold", ()),
        ("Ledger", d.ledger, "balanceOf", (address_of("provider"), 7)),
        ("Members", d.members, "memberOf", (address_of("provider"),)),
    ]

    one_by_one = [await deployed.rpc.call(*view[:3], *view[3], at=at) for view in views]

    assert await deployed.rpc.calls(views, at=at) == one_by_one
    assert await asked(deployed, numbers_only(), lambda rpc: rpc.calls(views, at=at)) == one_by_one
    assert await deployed.rpc.calls([], at=at) == []


async def test_an_answer_by_number_is_not_used_when_the_block_was_replaced_meanwhile(deployed: Deployed) -> None:
    await deployed.anvil.mine(2)
    at, members = await deployed.rpc.head(), deployed.deployment.members

    with pytest.raises(BlockGone):
        await asked(
            deployed,
            numbers_only(then=lambda: deployed.anvil.reorg(1)),
            lambda rpc: rpc.call("Members", members, "threshold", at=at),
        )


# --- a node that does not answer ---

BAD_ANSWERS: dict[str, tuple[Any, str]] = {
    "http_500": ((500, b"oops"), "expected HTTP 200, got 500"),
    "http_429": ((429, b"{}"), "expected HTTP 200, got 429"),
    "no_json": ((200, b"<html>"), "expected JSON"),
    "a_list": ((200, b"[]"), "expected a JSON-RPC answer"),
    "other_id": ((200, b'{"jsonrpc":"2.0","id":99,"result":"0x1"}'), "with our id"),
    "no_result": ((200, b'{"jsonrpc":"2.0","id":1}'), "a result or an error"),
    "error_without_code": ((200, b'{"jsonrpc":"2.0","id":1,"error":"no"}'), "a code and a message"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_an_answer_that_is_no_json_rpc_makes_the_node_unavailable(deployed: Deployed, name: str) -> None:
    answer, reason = BAD_ANSWERS[name]

    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        return answer

    with pytest.raises(RpcUnavailable, match=reason) as failed:
        await asked(deployed, twist, lambda rpc: rpc.chain_id())
    assert failed.value.status == 503


async def test_a_number_that_is_none_is_not_used(deployed: Deployed) -> None:
    with pytest.raises(RpcInconsistent, match="expected a number"):
        await asked(deployed, changed("eth_chainId", lambda _: 31337), lambda rpc: rpc.chain_id())


async def test_a_node_that_hangs_is_unavailable_after_the_timeout(deployed: Deployed) -> None:
    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(RpcUnavailable, match=r"no answer in 0\.1 s"):
        await asked(deployed, twist, lambda rpc: rpc.chain_id(), timeout_s=0.1)


async def test_a_node_that_is_not_there_is_unavailable_and_named_without_its_path() -> None:
    async with Rpc("http://127.0.0.1:1/v2/secret-key") as rpc:
        with pytest.raises(RpcUnavailable, match=r"node 127\.0\.0\.1:1, eth_chainId") as failed:
            await rpc.chain_id()

    assert "secret" not in str(failed.value)


async def test_an_error_of_the_node_is_told_with_its_number(deployed: Deployed) -> None:
    with pytest.raises(RpcRefused, match="no_such_method: error -32601") as refused:
        await deployed.anvil.request("no_such_method")

    assert not refused.value.is_revert


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1:8545", "http://", "http://127.0.0.1:99999", "http://[::1"]
)
def test_a_url_that_is_none_of_http_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        Rpc(url)


async def test_an_answer_that_is_far_too_long_or_trickles_in_is_cut_off(deployed: Deployed) -> None:
    said: list[Any] = [(200, b'"' + b"0" * 2_000 + b'"'), Broken((b" ",) * 99, promised=100, pause_s=0.1)]

    async def twist(_request: Any, _forward: Any) -> Any:
        return said[0]

    async with lying(deployed.anvil.url, twist) as url:
        node = JsonRpc(url, timeout_s=0.2, max_answer=1_000)
        with pytest.raises(RpcUnavailable, match="an answer of more than 1000 bytes"):
            await node.request("eth_chainId")
        del said[0]
        with pytest.raises(RpcUnavailable, match=r"no whole answer in 1\.2 s"):
            await node.request("eth_chainId")
        await node.close()

    assert node.traffic.requests == 2
    assert node.traffic.spent_s > 1
