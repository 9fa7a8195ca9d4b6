"""A plain Merkle-Patricia trie with hashed keys, from the Yellow Paper's definition: what proofs are tested against."""

from collections.abc import Mapping

import rlp

from commonhold.units import Hash32, keccak256

Proof = list[bytes]


class Trie:
    """Made once of all its values; none of them is empty."""

    def __init__(self, values: Mapping[bytes, bytes]) -> None:
        self._items = {keccak256(key).hex(): value for key, value in values.items()}
        self.root: Hash32 = keccak256(rlp.encode(self._node(list(self._items), 0)))

    def prove(self, key: bytes) -> Proof:
        """The nodes on the way to the key, or to where it would be; those inside their parent are left out."""
        path, depth, keys = keccak256(key).hex(), 0, list(self._items)
        proof = [rlp.encode(self._node(keys, 0))]
        while True:
            shared = self._shared(keys, depth)
            if len(keys) < 2 or (shared and not path.startswith(keys[0][depth : depth + shared], depth)):
                return proof
            if shared:
                depth += shared
                self._append(proof, keys, depth)
            keys = [other for other in keys if other[depth] == path[depth]]
            depth += 1
            if not keys:
                return proof
            self._append(proof, keys, depth)

    def _append(self, proof: Proof, keys: list[str], depth: int) -> None:
        encoded = rlp.encode(self._node(keys, depth))
        if len(encoded) >= 32:
            proof.append(encoded)

    def _node(self, keys: list[str], depth: int) -> object:
        if not keys:
            return b""
        if len(keys) == 1:
            return [packed(keys[0][depth:], 2), self._items[keys[0]]]
        if shared := self._shared(keys, depth):
            return [packed(keys[0][depth : depth + shared], 0), self._reference(keys, depth + shared)]
        children = [[key for key in keys if key[depth] == digit] for digit in "0123456789abcdef"]
        return [*(self._reference(child, depth + 1) if child else b"" for child in children), b""]

    def _reference(self, keys: list[str], depth: int) -> object:
        node = self._node(keys, depth)
        encoded = rlp.encode(node)
        return node if len(encoded) < 32 else keccak256(encoded)

    def _shared(self, keys: list[str], depth: int) -> int:
        first, last = min(keys), max(keys)
        shared = 0
        while len(keys) > 1 and first[depth + shared] == last[depth + shared]:
            shared += 1
        return shared


def packed(digits: str, flag: int) -> bytes:
    odd = len(digits) % 2
    return bytes.fromhex(f"{flag + odd:x}{'' if odd else '0'}{digits}")
