"""Where a contract keeps a value: slots of its storage, for proofs.

abi/<Name>.storage.json is written by the contracts' build, so no slot is ever written down by hand. Source: Solidity
documentation, "Layout of State Variables in Storage": small values share slots, from the low end on; an element of a
mapping or of a dynamic array lies where a hash says.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError

from commonhold.chain.deployment import ContractName
from commonhold.errors import CommonholdError
from commonhold.units import keccak256

_SLOTS = 1 << 256


class NoSuchPlace(CommonholdError):
    """A contract has no such variable, member, key or element."""

    code = "no_such_place"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value of at most 32 bytes lies: `size` bytes of a slot, `offset` bytes from its low end."""

    slot: int
    offset: int
    size: int

    def of(self, word: int) -> int:
        """The value, as a number, in the word of its slot."""
        return word >> 8 * self.offset & (1 << 8 * self.size) - 1


def place(name: ContractName, variable: str, *path: int | bytes | str) -> Place:
    """Where `variable` of the contract lies, or what `path` leads to in it: keys of mappings (a number, bytes, text),
    positions in arrays, names of a struct's members. A dynamic array's own place holds how many elements it has.

    place("Ledger", "_balances", owner, asset); place("Ledger", "_assets", asset, "units"). Raises NoSuchPlace.
    """
    what = f"{name}.{variable}"
    layout = _layout(name)
    at = _member(layout["variables"], variable, what)
    slot, offset, kind = at["slot"], at["offset"], at["type"]
    for step in path:
        what += f"[{step.hex() if isinstance(step, bytes) else step}]"
        shape = layout["types"][kind]
        if shape["encoding"] == "mapping":
            slot, offset, kind = (
                int.from_bytes(keccak256(_key(shape["key"], step, what) + _word(slot))),
                0,
                shape["value"],
            )
        elif "members" in shape:
            member = _member(shape["members"], str(step), what)
            slot, offset, kind = slot + member["slot"], member["offset"], member["type"]
        elif "base" in shape and isinstance(step, int):
            first = int.from_bytes(keccak256(_word(slot))) if shape["encoding"] == "dynamic_array" else slot
            size: int = layout["types"][shape["base"]]["bytes"]
            if size >= 32:
                slot, offset = first + step * -(-size // 32), 0
            else:
                slot, offset = first + step // (32 // size), step % (32 // size) * size
            kind = shape["base"]
        else:
            raise NoSuchPlace(f"{what}: a value of type {kind} has nothing of this name or number")
        slot %= _SLOTS
    shape = layout["types"][kind]
    if "members" in shape or shape["encoding"] == "mapping" or shape["bytes"] > 32:
        raise NoSuchPlace(f"{what}: expected one value of at most 32 bytes, got a {kind}")
    return Place(slot, offset, shape["bytes"])


@cache  # as many as there are contracts
def _layout(name: ContractName) -> Mapping[str, Any]:
    text = (resources.files("commonhold.chain") / "abi" / f"{name}.storage.json").read_text(encoding="utf-8")
    layout: Mapping[str, Any] = json.loads(text)
    return layout


def _member(members: list[Mapping[str, Any]], label: str, what: str) -> Mapping[str, Any]:
    found = [member for member in members if member["label"] == label]
    if len(found) != 1:
        raise NoSuchPlace(f"{what}: expected one variable or member {label!r}, got {len(found)}")
    return found[0]


def _key(kind: str, key: int | bytes | str, what: str) -> bytes:
    """A mapping's key as it is hashed: text and dynamic bytes as they are, other values as one word of the ABI."""
    if kind in ("string", "bytes"):
        if isinstance(key, int):
            raise NoSuchPlace(f"{what}: expected a key of type {kind}, got a number")
        return key.encode() if isinstance(key, str) else key
    abi = "address" if kind.startswith("contract ") else "uint8" if kind.startswith("enum ") else kind
    try:
        return encode([abi], [key])
    except (EncodingError, TypeError) as error:
        raise NoSuchPlace(f"{what}: expected a key of type {kind}: {error}") from error


def _word(slot: int) -> bytes:
    return slot.to_bytes(32)
