"""Every question that is asked by a call can be asked by a proof, and a storage that says otherwise is found out."""

from typing import Any

import pytest

from commonhold.anchor.audit.questions import Question
from commonhold.anchor.audit.run import Options, audit
from commonhold.anchor.audit.slots import KEPT_IN, answer, places_of
from commonhold.chain.contract import contract
from commonhold.chain.rpc import Rpc
from commonhold.errors import BadInput
from commonhold.units import Hash32, address_text, hex_text
from tests.actors import Deployed, address_of
from tests.anchor.proxy import between
from tests.anchor.use import put, use

ZEROS = {"address": bytes(20), "bytes32": bytes(32), "bool": True, "string": "x" * 40}


def test_every_kept_view_has_places_in_the_build() -> None:
    for (name, function), kept in KEPT_IN.items():
        entry = contract(name).functions[function]
        args = tuple(ZEROS.get(parameter.kind, 0) for parameter in entry.inputs)

        assert len(places_of(Question(name, function, args, 0), {bytes(32): 1})) == len(kept.members)


@pytest.mark.parametrize("text", ["", "short", "x" * 31, "x" * 32, "x" * 64, "ü" * 50])
def test_text_is_compared_by_its_words(text: str) -> None:
    question = Question("Ledger", "tokenURI", (1,), text)
    data = text.encode()
    words = [data[at : at + 32].ljust(32, b"\0") for at in range(0, len(data), 32)]
    stored = [2 * len(data) + 1, *map(int.from_bytes, words)]
    if len(data) < 32:
        stored = [int.from_bytes(data.ljust(32, b"\0")) + 2 * len(data)]

    assert len(places_of(question, {})) == len(stored)
    assert answer(question, stored, {}) == text
    assert question.differs(answer(question, [stored[0] + 2, *stored[1:]], {}))


@pytest.mark.chain
async def test_proofs_agree_with_the_events_and_trust_no_call(deployed: Deployed) -> None:
    await use(deployed)
    at = await deployed.rpc.head()

    async def lie(method: str, params: list[Any], result: Any) -> Any:
        found = await result()
        return hex_text((1).to_bytes(32)) if method == "eth_call" and _asks_balance(params) else found

    async with between(deployed.anvil.url) as proxy, Rpc(proxy.url) as rpc:
        proxy.lie = lie
        called = await audit(rpc, deployed.deployment, options=Options(block_hash=at.hash))
        proven = await audit(rpc, deployed.deployment, options=Options(block_hash=at.hash, proofs=True))

    failed = [check.name for check in called.checks if not check.ok]
    assert failed == ["holdings as the contract says", "credits as the contract says"]
    assert [check.detail for check in proven.checks if not check.ok] == []
    assert proven.code.keys() == proven.contracts.keys()


def _asks_balance(params: list[Any]) -> bool:
    data = params[0].get("data", params[0].get("input", ""))
    balance_of = next(e for e in contract("Ledger").functions.values() if e.name == "balanceOf")
    return bool(data.startswith(hex_text(balance_of.hash[:4])))


@pytest.mark.chain
async def test_storage_that_no_event_told_of_is_found_by_proof(deployed: Deployed) -> None:
    asset, _ = await use(deployed)
    await put(deployed, 10**9, "Ledger", "_balances", address_of("owner"), asset)

    options = Options(block_hash=(await deployed.rpc.head()).hash, proofs=True)
    report = await audit(deployed.rpc, deployed.deployment, options=options)

    (failed,) = [check for check in report.checks if not check.ok]
    assert failed.name == "holdings as the contract says"
    assert f"Ledger.balanceOf({address_text(address_of('owner'))}, {asset}) is 1000000000" in failed.detail


@pytest.mark.chain
async def test_block_that_the_node_does_not_know_is_refused(deployed: Deployed) -> None:
    with pytest.raises(BadInput, match="the node does not know it"):
        await audit(deployed.rpc, deployed.deployment, options=Options(block_hash=Hash32(b"\1" * 32)))
