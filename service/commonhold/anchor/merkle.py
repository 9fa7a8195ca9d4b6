"""The tree of an epoch, in OpenZeppelin's standard-v1 format, so that its published tools and its Solidity library
check it. Pure: the service builds trees, the node and the audit check proofs.

Leaves are (kind, lease, digest, gpu_ms): the ES256 digest of a segment or receipt, with what it says about its lease.
No package on PyPI writes this format, so it is written here and held against the npm package in tests/anchor.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from commonhold.errors import BadInput, NotFound
from commonhold.units import Hash32, hex_text, keccak256

LEAF_ENCODING = ("uint8", "bytes32", "bytes32", "uint64")


class LeafKind(IntEnum):
    """What a leaf is of, as its first value."""

    SEGMENT = 1
    RECEIPT = 2


@dataclass(frozen=True, slots=True)
class Leaf:
    """One segment or receipt, as the tree commits to it."""

    kind: LeafKind
    lease: Hash32
    digest: Hash32  # of what the keys signed, SHA-256
    gpu_ms: int  # the lease's total as of this segment or receipt

    def hash(self) -> Hash32:
        """keccak-256, twice, of the ABI encoding: an inner node can never pass for a leaf.

        Source: @openzeppelin/merkle-tree, standardLeafHash.
        """
        encoded = self.kind.to_bytes(32) + self.lease + self.digest + self.gpu_ms.to_bytes(32)
        return keccak256(keccak256(encoded))

    def to_json(self) -> list[str]:
        """The values in the order of LEAF_ENCODING, numbers as decimal text."""
        return [str(int(self.kind)), hex_text(self.lease), hex_text(self.digest), str(self.gpu_ms)]


@dataclass(frozen=True, slots=True)
class Tree:
    """`nodes[0]` is the root, the children of node i are 2i + 1 and 2i + 2, the leaves come last in falling order."""

    nodes: tuple[Hash32, ...]
    leaves: tuple[Leaf, ...]  # in the caller's order
    places: tuple[int, ...]  # of each leaf in `nodes`

    @property
    def root(self) -> Hash32:
        """What is anchored."""
        return self.nodes[0]

    def proof(self, digest: Hash32) -> tuple[Leaf, tuple[Hash32, ...]]:
        """The leaf of what has `digest`, and its siblings from the bottom up. Raises NotFound."""
        for leaf, place in zip(self.leaves, self.places, strict=True):
            if leaf.digest == digest:
                return leaf, tuple(self._siblings(place))
        raise NotFound(f"digest {hex_text(digest)}: not in the tree with root {hex_text(self.root)}")

    def _siblings(self, place: int) -> Iterable[Hash32]:
        while place > 0:
            yield self.nodes[place + 1 if place % 2 else place - 1]
            place = (place - 1) // 2

    def dump(self) -> dict[str, Any]:
        """The JSON that `StandardMerkleTree.load` reads."""
        return {
            "format": "standard-v1",
            "leafEncoding": list(LEAF_ENCODING),
            "tree": [hex_text(node) for node in self.nodes],
            "values": [
                {"value": leaf.to_json(), "treeIndex": place}
                for leaf, place in zip(self.leaves, self.places, strict=True)
            ],
        }


def tree(leaves: Sequence[Leaf]) -> Tree:
    """The tree over `leaves`, which are sorted by hash: the root does not depend on their order.

    Raises BadInput when there are none. Source: @openzeppelin/merkle-tree, MerkleTreeImpl.prepare and makeMerkleTree.
    """
    if not leaves:
        raise BadInput("tree without leaves: expected at least one")
    hashes = [leaf.hash() for leaf in leaves]
    order = sorted(range(len(leaves)), key=hashes.__getitem__)
    size = 2 * len(leaves) - 1
    nodes = [Hash32(b"")] * size
    places = [0] * len(leaves)
    for rank, index in enumerate(order):
        places[index] = size - 1 - rank
        nodes[places[index]] = hashes[index]
    for i in range(size - 1 - len(leaves), -1, -1):
        nodes[i] = _node(nodes[2 * i + 1], nodes[2 * i + 2])
    return Tree(tuple(nodes), tuple(leaves), tuple(places))


def verify(root: Hash32, leaf: Leaf, proof: Iterable[Hash32]) -> bool:
    """True when `leaf` is in the tree with `root`. Source: OpenZeppelin, MerkleProof.verify."""
    node = leaf.hash()
    for sibling in proof:
        node = _node(node, sibling)
    return node == root


def _node(one: bytes, other: bytes) -> Hash32:
    """Of a sorted pair: a proof needs no sides."""
    return keccak256(one + other if one < other else other + one)
