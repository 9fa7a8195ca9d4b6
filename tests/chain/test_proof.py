"""Proofs of accounts and of storage: of a real EVM, of published vectors, and of tries made here; changed ones fail."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from commonhold.chain import proof
from commonhold.chain.endpoints import Endpoints
from commonhold.chain.layout import NoSuchPlace, Place, place
from commonhold.chain.proof import ABSENT, BadProof
from commonhold.chain.rpc import BlockGone, NotProvable, Rpc, RpcInconsistent, RpcLied
from commonhold.chain.trie import EMPTY_ROOT
from commonhold.units import UNIT, Address, class_id, keccak256
from tests.actors import DATA, ROOT, Deployed, address_of
from tests.chain.lying import Forward, Twist, changed, lying
from tests.chain.tries import Trie

Json = dict[str, Any]
VECTORS = ROOT / "tests" / "vectors" / "chain"


def vector(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def test_published_trie_proves_each_account_and_no_other() -> None:
    found = vector("secure_trie")
    values = {bytes.fromhex(key[2:]): bytes.fromhex(value[2:]) for key, value in found["data"]}
    trie = Trie(values)

    assert trie.root.hex() == found["root"][2:]
    for key, value in values.items():
        assert proof.value_at(trie.root, key, trie.prove(key), "here") == value
    for number in range(40):
        key = number.to_bytes(20)
        assert proof.value_at(trie.root, key, trie.prove(key), "here") is None


def test_published_answer_of_a_node_proves_its_account_and_an_empty_slot() -> None:
    answer = vector("account_proof")["answer"]
    root = keccak256(bytes.fromhex(answer["accountProof"][0][2:]))

    account = proof.account(root, Address(bytes.fromhex("aa" + 19 * "00")), answer)

    assert (account.nonce, account.balance_wei) == (1, 1)
    assert account.storage_root.hex() == answer["storageHash"][2:]
    assert proof.words(account.storage_root, [1], answer) == [0]


KEYS = st.integers(0, 300).map(lambda number: number.to_bytes(32))


@settings(deadline=None, max_examples=50)
# Values of one byte make nodes that lie inside their parent.
@given(st.dictionaries(KEYS, st.binary(min_size=1, max_size=40), min_size=1, max_size=30), KEYS)
def test_a_trie_proves_what_it_has_and_what_it_has_not(values: dict[bytes, bytes], other: bytes) -> None:
    trie = Trie(values)
    for key in (*values, other):
        nodes = trie.prove(key)

        assert proof.value_at(trie.root, key, nodes, "here") == values.get(key)
        for cut in range(len(nodes)):
            with pytest.raises(BadProof):
                proof.value_at(trie.root, key, [*nodes[:cut], nodes[cut] + b"\0", *nodes[cut + 1 :]], "here")
            with pytest.raises(BadProof):
                proof.value_at(trie.root, key, nodes[:cut], "here")


def test_an_empty_trie_proves_that_there_is_nothing() -> None:
    assert proof.value_at(EMPTY_ROOT, b"key", [], "here") is None


@pytest.mark.parametrize("node", [b"text", [b"", b""], [b"\x20", b"1", b"2"], [[], b""]])
def test_what_is_no_node_proves_nothing(node: object) -> None:
    encoded = rlp.encode(node)
    with pytest.raises(BadProof, match=r"expected a trie's node"):
        proof.value_at(keccak256(encoded), b"key", [encoded], "here")


def test_what_is_no_rlp_proves_nothing() -> None:
    with pytest.raises(BadProof, match="is no RLP"):
        proof.value_at(keccak256(b"\xb9"), b"key", [b"\xb9"], "here")


@pytest.mark.chain
async def test_storage_of_a_real_chain_is_proven_by_the_names_of_its_variables(deployed: Deployed) -> None:
    asset, lease = await deployed.lease(3_600)
    d, at = deployed.deployment, await deployed.rpc.head()
    text = class_id(DATA)
    provider, stranger = address_of("provider"), address_of("stranger")
    places = [
        place("Ledger", "_balances", provider, asset),
        place("Ledger", "_balances", stranger, asset),
        place("Ledger", "_assets", asset, "head", "units"),
        place("Ledger", "_assets", asset, "head", "level"),
        place("Ledger", "_assets", asset, "operator"),
        place("Ledger", "_classIds"),
        place("Ledger", "_classIds", 1),
    ]

    held, none, units, level, operator, classes, second = await deployed.rpc.storage(d.ledger, places, at=at)

    asked = [
        await deployed.rpc.call("Ledger", d.ledger, "balanceOf", who, asset, at=at) for who in (provider, stranger)
    ]
    assert [held, none] == asked
    assert (units, level, operator) == (8 * UNIT, 3, int.from_bytes(provider))
    assert (classes, second) == (3, int.from_bytes(text))
    assert await deployed.rpc.storage(d.access, [place("Access", "_leases", lease, "gpuMs")], at=at) == [0]
    account = await deployed.rpc.account(d.ledger, at=at)
    assert account.code_hash == keccak256(await deployed.rpc.code(d.ledger, at))
    assert await deployed.rpc.account(Address(b"\x07" * 20), at=at) == ABSENT


@pytest.mark.chain
async def test_many_places_are_asked_for_in_parts_and_come_back_in_order(deployed: Deployed) -> None:
    await deployed.lease(3_600)
    ledger, at = deployed.deployment.ledger, await deployed.rpc.head()
    slots = [*range(250, 0, -1), 1, 0]

    found = await deployed.rpc.storage(ledger, [Place(slot, 0, 32) for slot in slots], at=at)

    (first,) = await deployed.rpc.storage(ledger, [Place(0, 0, 32)], at=at)
    assert found[-1] == first == 3  # _classIds lies first in Ledger's layout
    assert found[-2] == found[-3]
    assert len(found) == len(slots)


def forged(value: str) -> Callable[[Json], Any]:
    def change(answer: Json) -> None:
        answer["storageProof"][0]["value"] = value

    return change


def cut(answer: Json) -> None:
    answer["storageProof"][0]["proof"].pop()


def bent(answer: Json) -> None:
    last = answer["storageProof"][0]["proof"][-1]
    answer["storageProof"][0]["proof"][-1] = last[:-1] + ("0" if last[-1] != "0" else "1")


def richer(answer: Json) -> None:
    answer["balance"] = hex(int(answer["balance"], 16) + 1)


def elsewhere(answer: Json) -> None:
    answer["storageHash"] = "0x" + "11" * 32


def swapped(answer: Json) -> None:
    answer["storageProof"].reverse()


LIES: dict[str, Callable[[Json], Any]] = {
    "says_another_value": forged("0x1"),
    "says_no_value": forged("0x0"),
    "says_what_is_no_number": forged("much"),
    "cuts_the_proof": cut,
    "changes_a_node": bent,
    "says_another_balance": richer,
    "says_another_storage_root": elsewhere,
    "answers_another_slot": swapped,
    "proves_fewer": lambda answer: answer["storageProof"].pop(),
    "leaves_the_account_out": lambda answer: answer["accountProof"].clear(),
    "says_no_list": lambda answer: answer.update(accountProof=None, storageProof=None),
    "says_no_proof": lambda answer: answer.update(storageProof=[1, 2]),
}


def about_proofs(lie: Callable[[Json], Any]) -> Twist:
    async def twist(request: Json, forward: Forward) -> Any:
        answer = await forward()
        if request["method"] == "eth_getProof":
            answer = copy.deepcopy(answer)
            lie(answer["result"])
        return answer

    return twist


@pytest.mark.chain
@pytest.mark.parametrize("name", LIES)
async def test_a_forged_proof_is_a_lie_and_the_node_is_named_and_dropped(deployed: Deployed, name: str) -> None:
    await deployed.admit("provider")
    asset = await deployed.register_data()
    at, ledger = await deployed.rpc.head(), deployed.deployment.ledger
    places = [place("Ledger", "_balances", address_of("provider"), asset), place("Ledger", "_classIds")]

    async with lying(deployed.anvil.url, about_proofs(LIES[name])) as url:
        async with Rpc(url) as rpc:
            with pytest.raises(RpcLied) as caught:
                await rpc.storage(ledger, places, at=at)
        async with Endpoints([url, deployed.anvil.url]) as both:
            told = await both.storage(ledger, places, at=at)
            health = both.health()

    assert rpc.host in str(caught.value)
    assert told == [10 * UNIT, 3]
    assert health[0].dropped is not None
    assert health[1].dropped is None


@pytest.mark.chain
async def test_proofs_of_a_block_that_is_gone_or_of_a_chain_that_is_not_verified_are_refused(
    deployed: Deployed,
) -> None:
    await deployed.anvil.mine(2)
    at, ledger = await deployed.rpc.head(), deployed.deployment.ledger
    async with Rpc(deployed.anvil.url, verify_logs=False) as unverified:
        with pytest.raises(NotProvable):
            await unverified.account(ledger, at=at)
    await deployed.anvil.reorg(1)

    with pytest.raises(BlockGone):
        await deployed.rpc.account(ledger, at=at)


@pytest.mark.chain
async def test_a_node_that_gives_another_block_for_a_hash_is_not_believed(deployed: Deployed) -> None:
    first = await deployed.anvil.request("eth_getBlockByNumber", "0x0", False)
    at = await deployed.rpc.head()

    async with lying(deployed.anvil.url, changed("eth_getBlockByHash", lambda _: first)) as url, Rpc(url) as rpc:
        with pytest.raises(RpcInconsistent, match="expected block"):
            await rpc.account(deployed.deployment.ledger, at=at)


def test_a_place_that_is_not_there_is_refused() -> None:
    for variable, path in [
        ("balances", ()),
        ("_balances", ()),
        ("_balances", (b"short",)),
        ("_assets", (1, "name")),
        ("_assets", (1,)),
        ("_classIds", (0, 0)),
    ]:
        with pytest.raises(NoSuchPlace, match=rf"Ledger\.{variable}"):
            place("Ledger", variable, *path)


def test_places_of_mappings_are_where_solidity_puts_them() -> None:
    # Solidity documentation: keccak256(h(k) . p), from the outermost key in.
    outer = keccak256(bytes(12) + b"\x11" * 20 + (1).to_bytes(32))  # OpenZeppelin's ERC20: _allowances is its second
    assert place("Coin", "_allowances", b"\x11" * 20, b"\x22" * 20) == Place(
        int.from_bytes(keccak256(bytes(12) + b"\x22" * 20 + outer)), 0, 32
    )
    assert Place(0, 20, 2).of(0xABCD << 160 | 7) == 0xABCD
