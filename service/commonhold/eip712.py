"""The types that EIP-712 statements are made of: to the words that are hashed, to the JSON that wallets show, and back.
Pure; signing.py puts them together.
"""

import re
from functools import cache
from typing import Any

from commonhold.errors import BadInput
from commonhold.units import Hash32, address_text, hex_text, keccak256, to_address, to_hash32

Fields = tuple[tuple[str, str], ...]  # (name, type) in order


@cache  # one entry a kind of statement
def layout(name: str, fields: Fields) -> tuple[Hash32, Fields]:
    """The type hash, and (attribute, type) of each field."""
    type_hash = keccak256(f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})".encode())
    return type_hash, tuple((python_name(field), kind) for field, kind in fields)


@cache  # one entry a name in FIELDS
def python_name(name: str) -> str:
    """classId -> class_id."""
    return re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), name)


def word(kind: str, value: Any) -> bytes:
    """One 32-byte word of encodeData; refuses what does not fit its type."""
    if kind == "string":
        return keccak256(value.encode())
    if kind == "bytes32[]":
        return keccak256(b"".join(word("bytes32", item) for item in value))
    if kind == "address":
        if len(value) != 20:
            raise ValueError(f"address of {len(value)} bytes, expected 20")
        return bytes(value).rjust(32, b"\0")
    if kind == "bytes32":
        if len(value) != 32:
            raise ValueError(f"bytes32 of {len(value)} bytes, expected 32")
        return bytes(value)
    if not 0 <= value < 1 << _bits(kind):
        raise ValueError(f"{value} does not fit {kind}")
    return int(value).to_bytes(32)


@cache  # uint8 to uint256
def _bits(kind: str) -> int:
    return int(kind.removeprefix("uint"))


def from_json(struct: str, name: str, kind: str, value: Any) -> Any:
    """The inverse of `json_value`; numbers may be JSON integers as well. Raises BadInput."""
    if kind == "bytes32[]" and isinstance(value, list):
        return tuple(from_json(struct, name, "bytes32", item) for item in value)
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "address" and isinstance(value, str):
        return to_address(value)
    if kind == "bytes32" and isinstance(value, str):
        return to_hash32(value)
    if kind.startswith("uint") and not isinstance(value, bool):
        bits = int(kind.removeprefix("uint"))
        number = value if isinstance(value, int) else int(value) if re.fullmatch(r"\d{1,78}", str(value)) else -1
        if 0 <= number < 1 << bits:
            return number
    raise BadInput(f"{struct}: {name}: expected {kind}, got {str(value)[:80]!r}")


def json_value(kind: str, value: Any) -> Any:
    """A field's value as wallets show it."""
    if kind == "string":
        return value
    if kind == "bytes32[]":
        return [hex_text(item) for item in value]
    if kind == "address":
        return address_text(value)
    return hex_text(value) if kind == "bytes32" else str(value)
