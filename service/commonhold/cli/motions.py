"""What can be proposed, in words: a file's or a command's text to calls of the timelock, and calls back to text. Pure.

{"description": "why", "calls": [{"do": "change", "name": "useBps", "class": "compute/h100-sxm", "value": 900}]}
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from commonhold.chain.contract import BadCallData, Entry, contract, decode_values, encode_call, plain
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.genesis import KINDS, ClassParams
from commonhold.chain.governing import Governed
from commonhold.errors import BadInput
from commonhold.signing import ZERO32
from commonhold.units import Hash32, class_id, hex_text, to_address, to_hash32, to_units
from commonhold.voting import Call, Motion, setting_name

# What each call is made with; `of`, whose it is, only where both quorums have it.
FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "change": ("name", "class", "of", "value"),
    "cancel": ("name", "class", "of"),
    "abdicate": ("name", "class", "of"),
    "add-signer": ("of", "signer"),
    "remove-signer": ("of", "signer"),
    "create-class": ("name", "kind", "unit", "hold_bps", "use_bps", "min_level", "floor_units"),
}
OF_CLASS: Final = ("holdBps", "useBps", "minLevel", "floorUnits")
QUORUMS: Final[Mapping[str, Governed]] = {"attesters": "Members", "appraisers": "Ledger"}
_OF_CONTRACT: Final[Mapping[str, Governed | None]] = {"admissionsPerDay": "Members", "threshold": None, "signers": None}
_FUNCTIONS: Final = {"add-signer": "addSigner", "remove-signer": "removeSigner"}


def parse(deployment: Deployment, text: str, *, toml: bool) -> Motion:
    """The motion in the text of a file: JSON, or TOML. Raises BadInput, naming the call and the field."""
    try:
        body = tomllib.loads(text) if toml else json.loads(text)
    except ValueError as error:
        raise BadInput(f"expected {'TOML' if toml else 'JSON'}, got: {error}") from error
    if not isinstance(body, dict) or body.keys() != {"description", "calls"}:
        raise BadInput(
            f"expected description and calls, got {', '.join(body) if isinstance(body, dict) else body!r:.80}"
        )
    calls, why = body["calls"], body["description"]
    if not isinstance(calls, list) or not calls:
        raise BadInput("calls: expected a list of at least one call")
    if not isinstance(why, str) or not why.strip():
        raise BadInput("description: expected text that says why")
    return Motion([_numbered(deployment, at, one) for at, one in enumerate(calls)], why)


def call(deployment: Deployment, fields: object) -> Call:
    """One call, from its fields by name: `do`, and what FIELDS has for it. Raises BadInput."""
    if not isinstance(fields, Mapping):
        raise BadInput(f"expected a call such as do = change, got {fields!r:.80}")
    do = fields.get("do")
    if not isinstance(do, str) or do not in FIELDS:
        raise BadInput(f"do {do!r:.40}: expected one of {', '.join(FIELDS)}")
    if extra := sorted(set(fields) - {"do", *FIELDS[do]}):
        raise BadInput(f"{do}: unknown {', '.join(extra)}; expected only {', '.join(FIELDS[do])}")
    if do == "create-class":
        return _call(deployment, "Ledger", "createClass", _class(fields))
    if do in _FUNCTIONS:
        return _call(deployment, quorum(do, fields.get("of")), _FUNCTIONS[do], to_address(_text(do, "signer", fields)))
    name, subject, governed = _setting(do, fields)
    if do == "change":
        return _call(deployment, governed, "change", setting_name(name), subject, _value(name, fields))
    return _call(deployment, governed, do, setting_name(name), subject)


def setting(name: str, class_name: str | None, of: str | None) -> tuple[Governed, Hash32, Hash32]:
    """(contract, name, subject) of a setting as people say it. Raises BadInput."""
    given = {"name": name, "class": class_name, "of": of}
    _, subject, governed = _setting("setting", {key: item for key, item in given.items() if item is not None})
    return governed, setting_name(name), subject


def words(deployment: Deployment, one: Call, classes: Mapping[bytes, str]) -> str:
    """What a call would do, for people; `classes`: names by id. A call that is none of FIELDS is told byte by byte."""
    name = deployment.contract_at(one.target)
    entry = None if name is None else _entry(name, one.data[:4])
    if entry is not None:
        try:
            values = decode_values(entry.name, entry.inputs, one.data[4:])
        except BadCallData:
            values = ()
        if len(values) == len(entry.inputs):
            words = (_word(p.name, value, classes) for p, value in zip(entry.inputs, values, strict=True))
            shown = [text if p.components else f"{p.name} {text}" for p, text in zip(entry.inputs, words, strict=True)]
            return f"{name}.{entry.name}: {', '.join(shown)}"
    return f"{hex_text(one.target)}: {hex_text(one.data)}" + (f" with {one.value} wei" if one.value else "")


def _entry(name: ContractName, selector: bytes) -> Entry | None:
    """The function with this selector; where the contract passes it on to Registry, with Registry's names of what it
    takes."""
    both: tuple[ContractName, ...] = (name, "Registry") if name == "Ledger" else (name,)
    entries = [entry for each in both for entry in contract(each).functions.values() if entry.hash[:4] == selector]
    named = [entry for entry in entries if all(parameter.name for parameter in entry.inputs)]
    return next(iter(named or entries), None)


def _numbered(deployment: Deployment, at: int, fields: object) -> Call:
    try:
        return call(deployment, fields)
    except BadInput as error:
        raise BadInput(f"call {at}: {error}") from error


def _call(deployment: Deployment, name: Governed, function: str, *args: object) -> Call:
    try:
        return Call(deployment.address_of(name), encode_call(name, function, args))
    except BadCallData as error:
        raise BadInput(str(error)) from error


def _setting(do: str, fields: Mapping[str, Any]) -> tuple[str, Hash32, Governed]:
    name = _text(do, "name", fields)
    if name in OF_CLASS:
        if "of" in fields:
            raise BadInput(f"{do} {name}: expected no `of`, it is of a class")
        return name, _class_of(do, name, fields), "Ledger"
    if name not in _OF_CONTRACT or (do == "change" and name == "signers"):
        known = [known for known in (*OF_CLASS, *_OF_CONTRACT) if do != "change" or known != "signers"]
        raise BadInput(f"{do}: no setting {name[:40]!r}; expected one of {', '.join(known)}")
    if "class" in fields:
        raise BadInput(f"{do} {name}: expected no class, it is of a contract")
    governed = _OF_CONTRACT[name]
    if governed is None:
        return name, ZERO32, quorum(f"{do} {name}", fields.get("of"))
    if "of" in fields and quorum(f"{do} {name}", fields.get("of")) != governed:
        raise BadInput(f"{do} {name}: is of the attesters, got {fields['of']!r:.40}")
    return name, ZERO32, governed


def _class_of(do: str, name: str, fields: Mapping[str, Any]) -> Hash32:
    if "class" not in fields:
        raise BadInput(f"{do} {name}: expected a class, such as compute/h100-sxm")
    text = _text(do, "class", fields)
    return to_hash32(text) if text.startswith("0x") else class_id(text)


def quorum(what: str, of: object) -> Governed:
    """The contract whose signers `of` names: attesters or appraisers. Raises BadInput."""
    if not isinstance(of, str) or of not in QUORUMS:
        raise BadInput(f"{what}: expected `of` to be {' or '.join(QUORUMS)}, got {of!r:.40}")
    return QUORUMS[of]


def _value(name: str, fields: Mapping[str, Any]) -> int:
    """A whole number; floorUnits as units are written, such as "100.0"."""
    value = fields.get("value")
    if name == "floorUnits":
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadInput(f'change {name}: expected units as text, such as "100.0", got {value!r:.40}')
        return to_units(str(value))
    return _whole(f"change {name}", "value", value)


def _class(fields: Mapping[str, Any]) -> ClassParams:
    do = "create-class"
    kind = _text(do, "kind", fields)
    if kind not in KINDS:
        raise BadInput(f"{do}: kind {kind[:40]!r}, expected one of {', '.join(KINDS)}")
    return ClassParams(
        name=_text(do, "name", fields),
        kind=KINDS.index(kind),
        unit=_text(do, "unit", fields),
        hold_bps=_whole(do, "hold_bps", fields.get("hold_bps")),
        use_bps=_whole(do, "use_bps", fields.get("use_bps")),
        min_level=_whole(do, "min_level", fields.get("min_level")),
        floor_units=to_units(str(fields.get("floor_units"))),
    )


def _text(do: str, name: str, fields: Mapping[str, Any]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{do}: {name}: expected text, got {value!r:.40}")
    return value


def _whole(do: str, name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise BadInput(f"{do}: {name}: expected a whole number, got {value!r:.40}")
    return value


def _word(name: str, value: Any, classes: Mapping[bytes, str]) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{field} {plain(item)}" for field, item in zip(value._fields, value, strict=True))  # type: ignore[attr-defined]
    if name == "name" and isinstance(value, bytes):
        return value.rstrip(b"\0").decode("ascii", errors="replace")
    if name == "subject":
        return "itself" if value == ZERO32 else classes.get(value, hex_text(value))
    return str(plain(value))
