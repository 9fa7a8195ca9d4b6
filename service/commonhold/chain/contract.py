"""The contracts' ABIs: our values to call data, and what a node returns to our values.

abi/*.json is written by the contracts' build. Addresses and hashes are bytes; a struct is given as a dataclass of
signing.py (or a tuple in the ABI's order) and comes back as a named tuple with the fields in snake case. For the files
of this folder and for tests.
"""

import json
import re
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from eth_abi.codec import ABICodec
from eth_abi.decoding import AddressDecoder, StringDecoder
from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as default_registry

from commonhold.chain.deployment import MADE, ContractName
from commonhold.errors import CommonholdError
from commonhold.units import Hash32, address_text, hex_text, keccak256

CONTRACTS: tuple[ContractName, ...] = (*MADE, "Coin")


class BadCallData(CommonholdError):
    """Arguments or returned bytes do not fit the ABI."""

    code = "bad_call_data"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One input or output. `kind` is the type with structs written out: (address,bytes)[]."""

    name: str
    kind: str
    indexed: bool
    components: tuple["Parameter", ...]
    struct: str  # name of the Solidity struct; empty: it is none


@dataclass(frozen=True, slots=True)
class Entry:
    """One function, event or custom error."""

    name: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]

    @property
    def hash(self) -> Hash32:
        """Hash of the signature: topic 0 of an event, and in its first 4 bytes the selector of the others."""
        return keccak256(f"{self.name}({','.join(p.kind for p in self.inputs)})".encode())


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract as built. Functions by name: none of ours is overloaded."""

    name: ContractName
    bytecode: bytes
    runtime: bytes  # what runs, with zeros where immutables are
    immutables: tuple[tuple[int, ...], ...]  # of each, where it stands in it, 32 bytes long
    constructor: tuple[Parameter, ...]
    functions: Mapping[str, Entry]
    events: Mapping[Hash32, Entry]
    errors: Mapping[bytes, Entry]


@lru_cache(maxsize=len(CONTRACTS))
def contract(name: ContractName) -> Contract:
    """The contract of this name, from the committed ABI."""
    built = json.loads((resources.files("commonhold.chain") / "abi" / f"{name}.json").read_text(encoding="utf-8"))
    kinds: dict[str, list[Entry]] = {"function": [], "event": [], "error": [], "constructor": []}
    for item in built["abi"]:
        kinds.setdefault(item["type"], []).append(
            Entry(item.get("name", ""), _parameters(item.get("inputs", ())), _parameters(item.get("outputs", ())))
        )

    functions = {entry.name: entry for entry in kinds["function"]}
    if len(functions) != len(kinds["function"]):
        raise BadCallData(f"ABI of {name}: a function is overloaded, expected one of each name")
    return Contract(
        name=name,
        bytecode=bytes.fromhex(built["bytecode"].removeprefix("0x")),
        runtime=bytes.fromhex(built["deployedBytecode"].removeprefix("0x")),
        immutables=tuple(tuple(places) for places in built["immutables"]),
        constructor=kinds["constructor"][0].inputs if kinds["constructor"] else (),
        functions=functions,
        events={entry.hash: entry for entry in kinds["event"]},
        errors={entry.hash[:4]: entry for entry in kinds["error"]},
    )


def encode_call(name: ContractName, function: str, args: Sequence[object]) -> bytes:
    """Call data. Raises BadCallData when the arguments do not fit."""
    entry = _function(name, function)
    return entry.hash[:4] + _encode(f"{name}.{function}", entry.inputs, args)


def decode_result(name: ContractName, function: str, data: bytes) -> Any:
    """What a call returned: None, one value, or a named tuple of several. Raises BadCallData."""
    outputs = _function(name, function).outputs
    values = decode_values(f"{name}.{function}", outputs, data)
    if len(outputs) < 2:
        return values[0] if values else None
    return _tuple_type(function, tuple(output.name for output in outputs))(*values)


def encode_deployment(name: ContractName, args: Sequence[object]) -> bytes:
    """Init code: the bytecode and the constructor's arguments. Raises BadCallData."""
    built = contract(name)
    return built.bytecode + _encode(f"constructor of {name}", built.constructor, args)


def decode_values(what: str, parameters: Sequence[Parameter], data: bytes) -> tuple[Any, ...]:
    """The values of `parameters` in `data`. Raises BadCallData, naming `what`."""
    try:
        values = _codec.decode([p.kind for p in parameters], data)
    except (DecodingError, OverflowError) as error:
        raise BadCallData(f"{what}: {len(data)} bytes do not decode as its ABI says: {error}") from error
    return tuple(_ours(p, value) for p, value in zip(parameters, values, strict=True))


@cache  # as many as the ABIs have names; every event asks for its own
def snake(name: str) -> str:
    """classId -> class_id."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def plain(value: object) -> str | int | bool:
    """A decoded value as machine-readable text or number: addresses in EIP-55 form, other bytes in hexadecimal."""
    if isinstance(value, bytes):
        return address_text(value) if len(value) == 20 else hex_text(value)
    if isinstance(value, (bool, int, str)):
        return value
    return json.dumps([plain(item) for item in value]) if isinstance(value, Iterable) else str(value)


class _AddressBytes(AddressDecoder):
    """Addresses come back as 20 bytes, not as text."""

    decoder_fn = staticmethod(bytes)  # type: ignore[assignment]


class _AnyText(StringDecoder):
    """Whatever bytes an account chose: a contract does not check them, and no text may stop the mirror. What is not
    UTF-8, and the zero character, which PostgreSQL refuses, become U+FFFD."""

    @staticmethod
    def decoder_fn(data: bytes, handle_string_errors: str = "replace") -> str:
        return data.decode("utf-8", errors="replace").replace("\0", "\ufffd")


def _make_codec() -> ABICodec:
    registry = default_registry.copy()  # type: ignore[no-untyped-call]
    for kind, decoder in (("address", _AddressBytes), ("string", _AnyText)):
        registry.unregister_decoder(kind)
        registry.register_decoder(BaseEquals(kind), decoder, label=kind)  # type: ignore[no-untyped-call]
    return ABICodec(registry)


_codec = _make_codec()


def _parameters(items: Iterable[Mapping[str, Any]]) -> tuple[Parameter, ...]:
    return tuple(_parameter(item) for item in items)


def _parameter(item: Mapping[str, Any]) -> Parameter:
    components = _parameters(item.get("components", ()))
    kind, struct = item["type"], ""
    if components:  # "tuple[]" of "struct IMembers.Signature[]"
        kind = f"({','.join(component.kind for component in components)}){kind.removeprefix('tuple')}"
        struct = re.split(r"[ .\[]", item["internalType"].split(".")[-1].removeprefix("struct "))[0]
    return Parameter(item["name"], kind, item.get("indexed", False), components, struct)


def _function(name: ContractName, function: str) -> Entry:
    found = contract(name).functions.get(function)
    if found is None:
        raise BadCallData(f"{name} has no function {function!r}")
    return found


def _encode(what: str, inputs: Sequence[Parameter], args: Sequence[object]) -> bytes:
    if len(args) != len(inputs):
        raise BadCallData(f"{what}: expected {len(inputs)} arguments, got {len(args)}")
    try:
        values = [_theirs(parameter, value) for parameter, value in zip(inputs, args, strict=True)]
        return _codec.encode([parameter.kind for parameter in inputs], values)
    except (EncodingError, AttributeError, TypeError, ValueError) as error:
        raise BadCallData(f"{what}: arguments do not fit its ABI: {error}") from error


def _theirs(parameter: Parameter, value: Any) -> Any:
    """Our value as eth_abi takes it: structs and lists as tuples."""
    if parameter.kind.endswith("]"):
        return tuple(_theirs(_element(parameter), item) for item in value)
    if not parameter.components:
        return value
    if is_dataclass(value):
        value = tuple(getattr(value, snake(component.name)) for component in parameter.components)
    return tuple(_theirs(component, item) for component, item in zip(parameter.components, value, strict=True))


def _ours(parameter: Parameter, value: Any) -> Any:
    """A value of eth_abi as ours: structs as named tuples."""
    if parameter.kind.endswith("]"):
        return tuple(_ours(_element(parameter), item) for item in value)
    if not parameter.components:
        return value
    made = _tuple_type(parameter.struct, tuple(component.name for component in parameter.components))
    return made(*(_ours(component, item) for component, item in zip(parameter.components, value, strict=True)))


def _element(parameter: Parameter) -> Parameter:
    kind = parameter.kind[: parameter.kind.rindex("[")]
    return Parameter(parameter.name, kind, parameter.indexed, parameter.components, parameter.struct)


@cache  # as many as the ABIs have structs
def _tuple_type(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name or "values", [snake(field) for field in fields], rename=True)
