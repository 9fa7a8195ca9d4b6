"""RLP, and the root of the trie in which a block keeps its receipts. Pure; for verify.py.

Source: Ethereum Yellow Paper, appendices B (RLP) and D (Merkle-Patricia trie). Only what a list of values needs: keys
are the RLP of 0, 1, 2, ..., so no key is a prefix of another, and no branch has a value.
"""

from collections.abc import Sequence
from typing import Final

from commonhold.units import Hash32, keccak256

Nibbles = tuple[int, ...]

EMPTY_ROOT: Final = keccak256(b"\x80")


def rlp_bytes(value: bytes) -> bytes:
    """RLP of a byte string."""
    if len(value) == 1 and value[0] < 0x80:
        return value
    return rlp_prefix(len(value), 0x80) + value


def rlp_number(value: int) -> bytes:
    """RLP of a number >= 0: its big-endian bytes without leading zeros."""
    return rlp_bytes(value.to_bytes((value.bit_length() + 7) // 8))


def rlp_list(encoded: bytes) -> bytes:
    """RLP of a list, from its items' RLP, one after the other."""
    return rlp_prefix(len(encoded), 0xC0) + encoded


def rlp_prefix(length: int, kind: int) -> bytes:
    """What stands before `length` bytes of a string (kind 0x80) or of a list's items (0xc0)."""
    if length < 56:
        return bytes((kind + length,))
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((kind + 55 + len(size),)) + size


def list_root(values: Sequence[bytes]) -> Hash32:
    """Root of the trie whose keys are the positions of the values, as RLP."""
    if not values:
        return EMPTY_ROOT
    items = sorted((_nibbles(rlp_number(position)), value) for position, value in enumerate(values))
    return keccak256(_node(items, 0))


def _node(items: Sequence[tuple[Nibbles, bytes]], depth: int) -> bytes:
    """RLP of the node over `items`, sorted, whose keys are equal up to `depth`."""
    if len(items) == 1:
        key, value = items[0]
        return rlp_list(rlp_bytes(_packed(key[depth:], leaf=True)) + rlp_bytes(value))
    first, last = items[0][0], items[-1][0]
    fork = depth
    while first[fork] == last[fork]:  # sorted: what these two share, all share
        fork += 1
    children: list[list[tuple[Nibbles, bytes]]] = [[] for _ in range(16)]
    for item in items:
        children[item[0][fork]].append(item)
    branch = rlp_list(b"".join(_reference(_node(c, fork + 1)) if c else b"\x80" for c in children) + b"\x80")
    if fork == depth:
        return branch
    return rlp_list(rlp_bytes(_packed(first[depth:fork], leaf=False)) + _reference(branch))


def _reference(node: bytes) -> bytes:
    """A node as another holds it: itself when shorter than a hash, else its hash."""
    return node if len(node) < 32 else b"\xa0" + keccak256(node)


def _nibbles(key: bytes) -> Nibbles:
    return tuple(half for byte in key for half in (byte >> 4, byte & 15))


def _packed(nibbles: Nibbles, *, leaf: bool) -> bytes:
    """Nibbles as bytes, with a flag for the kind of node and for an odd number of them."""
    odd = len(nibbles) % 2
    flag = 2 * leaf + odd
    halves = (flag, *nibbles) if odd else (flag, 0, *nibbles)
    return bytes(halves[i] << 4 | halves[i + 1] for i in range(0, len(halves), 2))
