"""Sending: refusals with their numbers before and after, one nonce after another, and nodes that fail meanwhile."""

import asyncio
from typing import Any

import pytest

from commonhold.chain import events
from commonhold.chain.contract import BadCallData
from commonhold.chain.deployment import WrongChain
from commonhold.chain.rpc import Rpc, RpcUnavailable
from commonhold.chain.send import ContractRefused, NoFunds, Sender, TransactionTimeout
from commonhold.units import UNIT, Address, address_text, class_id
from tests.actors import COMPUTE, Deployed, address_of, key_of
from tests.chain.lying import Forward, lying

pytestmark = pytest.mark.chain

ZERO = Address(bytes(20))


async def test_a_transaction_tells_its_block_its_gas_and_its_events(deployed: Deployed) -> None:
    mined = await deployed.send("provider", "Ledger", "setOperator", address_of("owner"), True)

    assert mined.block == await deployed.rpc.head()
    assert mined.events == (events.OperatorSet("Ledger", address_of("provider"), address_of("owner"), True),)
    assert 21_000 < mined.gas_used < 100_000


async def test_events_of_the_token_are_left_out(deployed: Deployed) -> None:
    assert (await deployed.send("deployer", "Coin", "transfer", address_of("owner"), 1)).events == ()


async def over_limit(deployed: Deployed) -> tuple[object, ...]:
    """Arguments of a transfer that puts the receiver's group, counted with its affiliate, over its holding limit of 30
    GPUs: it holds 25, the affiliate 5."""
    await deployed.admit("provider", "owner", "affiliate")
    await deployed.attach("affiliate", "owner")
    asset = await deployed.register_compute(
        gpus=31, split={"owner": 25 * UNIT, "affiliate": 5 * UNIT, "provider": UNIT}
    )
    return address_of("affiliate"), asset, UNIT // 2


async def test_a_refusal_names_the_custom_error_and_its_numbers_and_sends_nothing(deployed: Deployed) -> None:
    arguments = await over_limit(deployed)
    before = await deployed.rpc.nonce(address_of("provider"))

    with pytest.raises(ContractRefused) as refused:
        await deployed.send("provider", "Ledger", "transfer", *arguments)

    assert refused.value.status == 409
    assert refused.value.error == "OverHoldingLimit"
    assert refused.value.details == {
        "error": "OverHoldingLimit",
        "class_id": "0x" + class_id(COMPUTE).hex(),
        "root": address_text(address_of("owner")),
        "held": 30 * UNIT + UNIT // 2,
        "most": 30 * UNIT,
    }
    assert "held 30500000, most 30000000" in str(refused.value)
    assert await deployed.rpc.nonce(address_of("provider")) == before


async def test_sent_anyway_it_is_refused_in_a_block_with_the_same_numbers(deployed: Deployed) -> None:
    arguments = await over_limit(deployed)
    before = await deployed.rpc.head()

    with pytest.raises(ContractRefused) as refused:
        await deployed.send("provider", "Ledger", "transfer", *arguments, check=False)

    details = refused.value.details
    assert (details["error"], details["held"], details["most"]) == ("OverHoldingLimit", 30_500_000, 30_000_000)
    assert details["block"] == before.number + 1
    receipt = await deployed.rpc.receipt((await deployed.rpc.head()).hash)
    assert receipt is None  # a block's hash is no transaction's


async def test_the_same_move_under_the_limit_goes_through_unchecked_too(deployed: Deployed) -> None:
    receiver, asset, _ = await over_limit(deployed)
    await deployed.send("owner", "Ledger", "transfer", address_of("provider"), asset, UNIT)

    mined = await deployed.send("provider", "Ledger", "transfer", receiver, asset, UNIT, check=False)

    assert isinstance(mined.events[0], events.Transfer)
    assert mined.events[0].amount == UNIT


async def test_many_calls_at_once_take_one_nonce_each(deployed: Deployed) -> None:
    first = await deployed.rpc.nonce(address_of("stranger"))
    receivers = [Address(bytes([0, *[number] * 19])) for number in range(1, 9)]

    calls = (deployed.send("stranger", "Ledger", "setOperator", receiver, True) for receiver in receivers)
    mined = await asyncio.gather(*calls)

    told = {event.spender for one in mined for event in one.events if isinstance(event, events.OperatorSet)}
    assert told == set(receivers)
    assert len({one.block.number for one in mined}) == len(receivers)
    assert await deployed.rpc.nonce(address_of("stranger")) == first + len(receivers)


async def test_calls_that_wait_for_a_block_together_get_into_it_together(deployed: Deployed) -> None:
    receivers = [Address(bytes([0, *[number] * 19])) for number in range(1, 4)]
    await deployed.anvil.request("evm_setAutomine", False)
    try:
        calls = [
            asyncio.ensure_future(deployed.send("stranger", "Ledger", "setOperator", receiver, True))
            for receiver in receivers
        ]
        while int((await deployed.anvil.request("txpool_status"))["pending"], 16) < len(receivers):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await deployed.anvil.mine()
        mined = await asyncio.gather(*calls)
    finally:
        await deployed.anvil.request("evm_setAutomine", True)

    assert len({one.block.hash for one in mined}) == 1


async def test_a_chain_that_went_back_leaves_no_gap_in_the_nonces(deployed: Deployed) -> None:
    await deployed.send("stranger", "Ledger", "setOperator", address_of("owner"), True)
    before = (await deployed.rpc.head()).number
    await deployed.anvil.reorg(1)

    mined = await deployed.send("stranger", "Ledger", "setOperator", address_of("owner"), True)

    assert mined.block.number == before + 1


async def test_an_account_without_funds_is_told_what_it_has_and_needs(deployed: Deployed) -> None:
    await deployed.fund("pauper", 5)

    with pytest.raises(NoFunds, match="has 5 wei for gas, the transaction needs up to") as failed:
        await deployed.send("pauper", "Ledger", "setOperator", address_of("owner"), True)

    assert (failed.value.status, failed.value.details["has_wei"]) == (503, 5)
    assert int(failed.value.details["needs_wei"] or 0) > 10**12


async def test_a_transaction_in_no_block_is_given_up_with_its_hash(deployed: Deployed) -> None:
    hasty = Sender(deployed.rpc, key_of("stranger"), deployed.deployment, timeout_s=0.2)
    await deployed.anvil.request("evm_setAutomine", False)
    try:
        with pytest.raises(TransactionTimeout, match=r"is in no block after 0\.2 s") as failed:
            await hasty.transact("Ledger", "setOperator", address_of("owner"), True)
        await deployed.anvil.mine()
    finally:
        await deployed.anvil.request("evm_setAutomine", True)

    assert str(failed.value.details["transaction"]) in str(failed.value)
    receipt = await deployed.rpc.receipt(bytes.fromhex(str(failed.value.details["transaction"])[2:]))  # type: ignore[arg-type]
    assert receipt is not None
    assert receipt.ok


class LostOnce:
    """A node whose answer to the first transaction is lost: taken all the same, or not."""

    def __init__(self, *, taken: bool, times: int = 1) -> None:
        self.taken, self.times = taken, times

    async def __call__(self, request: dict[str, Any], forward: Forward) -> Any:
        if request["method"] != "eth_sendRawTransaction" or not self.times:
            return await forward()
        self.times -= 1
        if self.taken:
            await forward()
        return 502, b""


@pytest.mark.parametrize("taken", [True, False])
async def test_a_lost_answer_to_a_transaction_sends_it_once(deployed: Deployed, taken: bool) -> None:
    before = await deployed.rpc.nonce(address_of("stranger"))
    async with lying(deployed.anvil.url, LostOnce(taken=taken)) as url, Rpc(url) as rpc:
        mined = await Sender(rpc, key_of("stranger"), deployed.deployment).transact(
            "Ledger", "setOperator", address_of("owner"), True
        )

    assert len(mined.events) == 1
    assert await deployed.rpc.nonce(address_of("stranger")) == before + 1


async def test_a_node_that_takes_nothing_is_unavailable(deployed: Deployed) -> None:
    async with lying(deployed.anvil.url, LostOnce(taken=False, times=9)) as url, Rpc(url) as rpc:
        with pytest.raises(RpcUnavailable, match="eth_sendRawTransaction: expected HTTP 200, got 502"):
            await Sender(rpc, key_of("stranger"), deployed.deployment).transact(
                "Ledger", "setOperator", address_of("owner"), True
            )


async def test_a_node_that_falls_silent_while_a_transaction_waits_changes_nothing(deployed: Deployed) -> None:
    silent = 3

    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        nonlocal silent
        if request["method"] == "eth_getTransactionReceipt" and silent:
            silent -= 1
            return 503, b""
        return await forward()

    async with lying(deployed.anvil.url, twist) as url, Rpc(url) as rpc:
        mined = await Sender(rpc, key_of("stranger"), deployed.deployment).transact(
            "Ledger", "setOperator", address_of("owner"), True
        )

    assert (len(mined.events), silent) == (1, 0)


async def test_nothing_is_sent_to_another_chain(deployed: Deployed) -> None:
    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        return await forward() | ({"result": "0x1"} if request["method"] == "eth_chainId" else {})

    async with lying(deployed.anvil.url, twist) as url, Rpc(url) as rpc:
        with pytest.raises(WrongChain, match="on chain 1, the deployment on chain 31337"):
            await Sender(rpc, key_of("stranger"), deployed.deployment).transact("Ledger", "setOperator", ZERO, True)


async def test_arguments_that_do_not_fit_are_refused_before_the_node_is_asked(deployed: Deployed) -> None:
    sender = deployed.sender("stranger")

    for arguments in ((), (1, True), (ZERO, "yes"), (b"\x01" * 19, True)):
        with pytest.raises(BadCallData, match=r"Ledger\.setOperator"):
            await sender.transact("Ledger", "setOperator", *arguments)
    with pytest.raises(BadCallData, match="Ledger has no function 'seize'"):
        await sender.transact("Ledger", "seize")


def test_the_key_is_in_no_repr(deployed: Deployed) -> None:
    sender = deployed.sender("stranger")

    assert repr(sender) == f"Sender({address_text(sender.address)})"
    assert key_of("stranger").hex() not in str(vars(sender))
