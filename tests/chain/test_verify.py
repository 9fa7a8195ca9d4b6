"""Headers and receipts of a real EVM recompute, in every form that forks gave them; changed ones do not."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from commonhold.chain import verify
from commonhold.chain.node import start_anvil
from commonhold.chain.rpc import RpcLied
from commonhold.units import Address, address_text
from tests.actors import ANVIL, Deployed

pytestmark = pytest.mark.chain

Json = dict[str, Any]
ZERO = "0x" + "00" * 32
FEE = hex(10**11)
EMPTY = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"

# The first block of Ethereum's main network: a header of the oldest form.
FIRST_OF_MAINNET: Json = {
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
    "parentHash": ZERO,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": EMPTY,
    "receiptsRoot": EMPTY,
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": ZERO,
    "nonce": "0x0000000000000042",
    "transactions": [],
}


def test_first_block_of_mainnet_recomputes() -> None:
    header = verify.header(FIRST_OF_MAINNET, "node")

    assert header.stamp.number == 0
    assert verify.logs(header, [], [Address(bytes(20))], "node") == []


@pytest.mark.parametrize("hardfork", ["berlin", "london", "paris", "shanghai", "cancun", "prague", "osaka"])
async def test_headers_of_every_fork_recompute(hardfork: str) -> None:
    async with start_anvil(ANVIL, hardfork=hardfork) as anvil:
        await anvil.mine(2)
        block = await anvil.request("eth_getBlockByNumber", "0x2", False)

    assert verify.header(block, "node").stamp.number == 2


def test_a_fork_that_appends_a_field_is_told_from_a_lie() -> None:
    block = FIRST_OF_MAINNET | {"hash": ZERO, "lunchRoot": ZERO}

    with pytest.raises(RpcLied, match=r"node n: block 0 says its hash is 0x00.*, expected 0xd4e5.*not know: lunchRoot"):
        verify.header(block, "n")


@pytest.mark.parametrize("field", ["timestamp", "number", "logsBloom", "receiptsRoot", "parentHash"])
def test_no_field_of_a_header_can_be_changed(field: str) -> None:
    value = FIRST_OF_MAINNET[field]
    changed = FIRST_OF_MAINNET | {field: value[:-1] + ("1" if value[-1] == "0" else "0")}

    with pytest.raises(RpcLied, match="from its fields"):
        verify.header(changed, "node")


@pytest_asyncio.fixture
async def busy(deployed: Deployed) -> tuple[Json, list[Json]]:
    """A block with 140 transactions of every type and outcome, among them one of ours with several logs."""
    anvil, ours = deployed.anvil, deployed.deployment
    (sender, *_) = await anvil.request("eth_accounts")
    await deployed.admit("provider")
    await deployed.register_data()
    ledger = address_text(ours.ledger)
    set_operator = "0x558a7297" + bytes(12).hex() + "11" * 20 + (1).to_bytes(32).hex()
    await anvil.request("evm_setAutomine", False)
    try:
        for number in range(140):
            # One fee for all: anvil sorts by it before the nonce.
            kind: Json = [
                {"type": "0x2", "maxFeePerGas": FEE, "maxPriorityFeePerGas": FEE},
                {"type": "0x1", "gasPrice": FEE, "accessList": []},
                {"gasPrice": FEE},
            ][number % 3]
            call: Json = {"from": sender, "to": "0x" + "22" * 20, "gas": hex(60_000)}
            if number % 5 == 0:
                call |= {"to": ledger, "data": set_operator}
            elif number % 5 == 1:
                call |= {"to": ledger, "data": "0xffffffff"}  # fails
            sent = await anvil.request("eth_sendTransaction", call | kind)
        await anvil.mine()
    finally:
        await anvil.request("evm_setAutomine", True)
    block = await anvil.request("eth_getBlockByHash", (await anvil.receipt(sent))["blockHash"], False)
    return block, await anvil.request("eth_getBlockReceipts", block["hash"])


async def test_receipts_of_every_type_and_outcome_recompute_and_give_our_logs(
    deployed: Deployed, busy: tuple[Json, list[Json]]
) -> None:
    block, receipts = busy
    header = verify.header(block, "node")

    found = verify.logs(header, receipts, deployed.deployment.followed, "node")

    assert len(receipts) == 140
    assert {receipt["type"] for receipt in receipts} == {"0x0", "0x1", "0x2"}
    assert {receipt["status"] for receipt in receipts} == {"0x0", "0x1"}
    assert found == await deployed.rpc.logs_of(header.stamp.hash, deployed.deployment.followed)
    assert len(found) == 28
    assert header.may_concern(deployed.deployment.followed)
    assert not header.may_concern([Address(b"\x99" * 20)])


def _spaced(log: Json) -> None:
    log["data"] = log["data"][:-2] + "  "


LIES: dict[str, tuple[Callable[[list[Json]], Any], str]] = {
    "log_dropped": (lambda receipts: receipts[0]["logs"].pop(), "hash to 0x"),
    "log_twice": (lambda receipts: receipts[0]["logs"].append(receipts[0]["logs"][0]), "hash to 0x"),
    "data_forged": (lambda receipts: receipts[0]["logs"][0].update(data="0x" + "00" * 32), "hash to 0x"),
    "topic_forged": (lambda receipts: receipts[0]["logs"][0]["topics"].reverse(), "hash to 0x"),
    "address_forged": (lambda receipts: receipts[0]["logs"][0].update(address="0x" + "22" * 20), "hash to 0x"),
    "data_with_spaces": (lambda receipts: _spaced(receipts[0]["logs"][0]), "Non-hexadecimal"),
    "receipts_exchanged": (lambda receipts: receipts.insert(0, receipts.pop(1)), "hash to 0x"),
    "receipt_dropped": (lambda receipts: receipts.pop(), "hash to 0x"),
    "nothing": (lambda receipts: receipts.clear(), "the 0 it gave hash to"),
    "outcome_forged": (lambda receipts: receipts[0].update(status="0x0"), "hash to 0x"),
    "type_forged": (lambda receipts: receipts[0].update(type="0x1"), "hash to 0x"),
    "other_transaction": (lambda receipts: receipts[0].update(transactionHash=ZERO), "other transactions"),
    "topic_missing": (lambda receipts: receipts[0]["logs"][0].pop("topics"), "expected receipts"),
    "topic_cut": (lambda receipts: receipts[0]["logs"][0].update(topics=["0x01"]), "expected receipts"),
    "logs_no_list": (lambda receipts: receipts[0].update(logs=None), "expected a list"),
}


async def test_no_lie_about_receipts_is_believed(deployed: Deployed, busy: tuple[Json, list[Json]]) -> None:
    block, receipts = busy
    header = verify.header(block, "liar")
    for name, (lie, reason) in LIES.items():
        told = copy.deepcopy(receipts)
        lie(told)

        where = rf"node liar: receipts of block {header.stamp.number} 0x{header.stamp.hash.hex()}.*{reason}"
        with pytest.raises(RpcLied) as caught:
            verify.logs(header, told, deployed.deployment.followed, "liar")
        assert re.search(where, str(caught.value)), name


async def test_a_log_is_ours_however_its_address_is_written(deployed: Deployed, busy: tuple[Json, list[Json]]) -> None:
    block, receipts = busy
    header, ours = verify.header(block, "node"), deployed.deployment.followed
    expected = verify.logs(header, receipts, ours, "node")
    for number, log in enumerate(log for receipt in receipts for log in receipt["logs"]):
        written = log["address"][2:]
        log["address"] = ("0x" + written.upper(), "??" + written)[number % 2]

    assert verify.logs(header, receipts, ours, "node") == expected
