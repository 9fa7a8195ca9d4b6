"""What a contract's storage holds, proven: from a block's state root down to one word, by eth_getProof (EIP-1186).

Pure, no node. In: a root that is believed (a header that recomputes has one), and the nodes of the tries on the way;
out: the account or the word, which may be proven to be absent. What the node says beside its proofs is only compared.
Source: Ethereum Yellow Paper, 4.1 and appendix D: keys of both tries are hashed, so all are 32 bytes long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import rlp

from commonhold.chain.answers import RpcInconsistent, to_bytes, to_number, to_object
from commonhold.chain.trie import EMPTY_ROOT
from commonhold.units import Address, Hash32, address_text, hex_text, keccak256

NO_CODE: Final = keccak256(b"")

_BRANCH: Final = 17  # items of a node with sixteen children and a value; the other kinds have two


class BadProof(ValueError):
    """The nodes do not lead from the root to the key, or say something else than the answer does."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the state trie. One that is absent has no nonce, balance, storage or code."""

    nonce: int
    balance_wei: int
    storage_root: Hash32
    code_hash: Hash32


ABSENT: Final = Account(0, 0, EMPTY_ROOT, NO_CODE)


def account(state_root: Hash32, address: Address, found: object) -> Account:
    """The account in an answer of eth_getProof. Raises BadProof."""
    answer = _object(found)
    where = f"account {address_text(address)}"
    value = value_at(state_root, address, _nodes(answer.get("accountProof"), where), where)
    proven = ABSENT if value is None else _account(value, where)
    _same(where, "nonce", answer.get("nonce"), proven.nonce)
    _same(where, "balance", answer.get("balance"), proven.balance_wei)
    if value is not None:  # of an absent one, nodes say zeros or the hashes of nothing
        for name, proved in (("storageHash", proven.storage_root), ("codeHash", proven.code_hash)):
            _same(where, name, answer.get(name), int.from_bytes(proved))
    return proven


def words(storage_root: Hash32, slots: Sequence[int], found: object) -> list[int]:
    """The words in these slots, in an answer of eth_getProof that was asked for them in this order. Raises BadProof."""
    proofs = _object(found).get("storageProof")
    if not isinstance(proofs, list) or len(proofs) != len(slots):
        raise BadProof(
            f"expected {len(slots)} storage proofs, got {len(proofs) if isinstance(proofs, list) else proofs!r:.80}"
        )
    return [_word(storage_root, slot, _object(proof)) for slot, proof in zip(slots, proofs, strict=True)]


def value_at(root: Hash32, key: bytes, nodes: Sequence[bytes], where: str) -> bytes | None:
    """What the trie with this root has under the hash of `key`; None: nothing, which is proven as well.

    `nodes`: RLP, from the root down; those inside their parent may be left out. Raises BadProof, naming `where`.
    """
    path = keccak256(key).hex()
    rest = list(reversed(nodes))
    reference: Any = bytes(root)
    if root == EMPTY_ROOT:
        return None
    while True:
        if reference == b"":  # a branch without this child
            return None
        node = reference if isinstance(reference, list) else _node(reference, rest, where)
        if len(node) == _BRANCH:
            if not path:
                return bytes(node[16]) or None
            reference, path = node[int(path[0], 16)], path[1:]
            continue
        if len(node) != 2 or not isinstance(node[0], bytes) or not node[0]:
            raise BadProof(f"{where}: expected a trie's node, got a list of {len(node)}")
        part, leaf = _unpacked(node[0])
        if leaf:
            return bytes(node[1]) if part == path else None
        if not path.startswith(part):  # an extension that leads elsewhere
            return None
        reference, path = node[1], path[len(part) :]


def _node(reference: bytes, rest: list[bytes], where: str) -> list[Any]:
    """The next node of the proof, which must be the one that its parent (or the root) names."""
    if not rest:
        raise BadProof(f"{where}: the proof ends before node {hex_text(reference)}")
    encoded = rest.pop()
    if keccak256(encoded) != reference:
        raise BadProof(
            f"{where}: a node of the proof hashes to {hex_text(keccak256(encoded))}, expected {hex_text(reference)}"
        )
    try:
        node = rlp.decode(encoded)
    except rlp.DecodingError as error:
        raise BadProof(f"{where}: a node of the proof is no RLP: {error}") from error
    if not isinstance(node, list):
        raise BadProof(f"{where}: expected a trie's node, got a string of {len(node)} bytes")
    return node


def _unpacked(packed: bytes) -> tuple[str, bool]:
    """The part of a path that a node stands for, as hexadecimal digits, and whether the node is a leaf."""
    digits = packed.hex()
    flag = int(digits[0], 16)
    return digits[1:] if flag & 1 else digits[2:], bool(flag & 2)


def _account(value: bytes, where: str) -> Account:
    try:
        nonce, balance, storage_root, code_hash = rlp.decode(value)
        return Account(
            int.from_bytes(nonce), int.from_bytes(balance), _hash(storage_root, where), _hash(code_hash, where)
        )
    except (rlp.DecodingError, TypeError, ValueError) as error:
        raise BadProof(f"{where}: expected nonce, balance, storage root and code hash: {error}") from error


def _word(storage_root: Hash32, slot: int, proof: Mapping[str, Any]) -> int:
    where = f"storage slot {slot:#x}"
    try:
        asked = to_number(proof.get("key"))
    except RpcInconsistent as error:
        raise BadProof(f"{where}: {error}") from error
    if asked != slot:
        raise BadProof(f"{where}: the proof is of slot {asked:#x}")
    value = value_at(storage_root, slot.to_bytes(32), _nodes(proof.get("proof"), where), where)
    try:
        proven = 0 if value is None else int.from_bytes(rlp.decode(value))
    except (rlp.DecodingError, TypeError) as error:
        raise BadProof(f"{where}: expected a word, got {value!r:.80}") from error
    _same(where, "value", proof.get("value"), proven)
    return proven


def _same(where: str, name: str, said: object, proven: int) -> None:
    try:
        number = to_number(said)
    except RpcInconsistent as error:
        raise BadProof(f"{where}, {name}: {error}") from error
    if number != proven:
        raise BadProof(f"{where}: the node says {name} {number:#x}, its proof {proven:#x}")


def _nodes(value: object, where: str) -> list[bytes]:
    if not isinstance(value, list):
        raise BadProof(f"{where}: expected a list of nodes, got {value!r:.80}")
    try:
        return [to_bytes(each) for each in value]
    except RpcInconsistent as error:
        raise BadProof(f"{where}: {error}") from error


def _object(value: object) -> Mapping[str, Any]:
    try:
        return to_object(value)
    except RpcInconsistent as error:
        raise BadProof(str(error)) from error


def _hash(value: bytes, where: str) -> Hash32:
    if len(value) != 32:
        raise BadProof(f"{where}: expected a hash of 32 bytes, got {len(value)}")
    return Hash32(value)
