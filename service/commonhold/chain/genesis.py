"""What is fixed, or begins, when the contracts are made: the constructors' parameters, and their JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from commonhold.errors import BadInput
from commonhold.units import Address, address_text, to_address, to_units, units_text

KINDS: Final = ("DATA", "MODEL", "COMPUTE")


@dataclass(frozen=True, slots=True)
class ClassParams:
    """One class as Ledger takes it. Meanings, and who may change which by how much: ILedger.sol, ISettings.sol."""

    name: str
    kind: int  # of KINDS
    unit: str
    hold_bps: int
    use_bps: int
    min_level: int
    floor_units: int


@dataclass(frozen=True, slots=True)
class Genesis:
    """Times in seconds. What the council may change later is said in ISettings.sol; all else stays."""

    attesters: Sequence[Address]
    attester_threshold: int
    admissions_per_day: int
    appraisers: Sequence[Address]
    appraiser_threshold: int
    classes: Sequence[ClassParams]
    window_seconds: int
    horizon: int  # windows ahead that can be opened
    token: Address | None  # of payment; None: a development coin is made, all of it the deployer's
    max_classes: int = 16
    detach_delay: int = 30 * 86_400
    recovery_delay: int = 14 * 86_400
    grace_period: int = 30 * 86_400  # from an appraisal's end until its asset can be retired
    settle_delay: int = 7 * 86_400  # from a window's end until what was not delivered is refunded
    timelock_delay: int = 2 * 86_400
    voting_delay: int = 86_400
    voting_period: int = 7 * 86_400
    quorum_bps: int = 2_000

    def to_json(self) -> dict[str, Any]:
        """Every field, addresses in EIP-55 text."""
        plain: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("attesters", "appraisers"):
            plain[name] = [address_text(address) for address in plain[name]]
        plain["token"] = None if self.token is None else address_text(self.token)
        plain["classes"] = [_class_json(params) for params in self.classes]
        return plain

    @classmethod
    def from_json(cls, body: object) -> "Genesis":
        """Every field once, none else. Raises BadInput, naming the field."""
        plain = _exactly(cls, body, "genesis")
        made: dict[str, Any] = {}
        for name, value in plain.items():
            if name in ("attesters", "appraisers"):
                made[name] = tuple(_address(name, item) for item in _list(name, value))
            elif name == "classes":
                made[name] = tuple(_class(item) for item in _list(name, value))
            elif name == "token":
                made[name] = None if value is None else _address(name, value)
            else:
                made[name] = _whole(name, value)
        return cls(**made)


def example() -> dict[str, Any]:
    """The JSON of a genesis, for people to fill in."""
    genesis = Genesis(
        attesters=(),
        attester_threshold=2,
        admissions_per_day=100,
        appraisers=(),
        appraiser_threshold=2,
        classes=(ClassParams("compute/h100-sxm", 2, "GPU", 1_000, 1_000, 3, 64_000_000),),
        window_seconds=604_800,
        horizon=4,
        token=None,
    )
    token = "0x... or null: a development coin is made"
    return genesis.to_json() | {"attesters": ["0x..."], "appraisers": ["0x..."], "token": token}


def loads(text: str) -> Genesis:
    """The genesis in a JSON text. Raises BadInput."""
    try:
        return Genesis.from_json(json.loads(text))
    except ValueError as error:
        raise BadInput(f"expected JSON, got: {error}") from error


def _class_json(params: ClassParams) -> dict[str, Any]:
    plain: dict[str, Any] = {field.name: getattr(params, field.name) for field in fields(params)}
    floor = plain.pop("floor_units")
    return plain | {"kind": KINDS[params.kind], "floor": units_text(floor)}


def _class(body: object) -> ClassParams:
    expected = {field.name for field in fields(ClassParams)} - {"floor_units"} | {"floor"}
    if not isinstance(body, dict) or body.keys() != expected:
        got = sorted(body) if isinstance(body, dict) else type(body).__name__
        raise BadInput(f"classes: expected the fields {sorted(expected)}, got {got}")
    if body["kind"] not in KINDS:
        raise BadInput(f"classes: kind: expected one of {', '.join(KINDS)}, got {body['kind']!r:.60}")
    return ClassParams(
        name=_text("name", body["name"]),
        kind=KINDS.index(body["kind"]),
        unit=_text("unit", body["unit"]),
        hold_bps=_whole("hold_bps", body["hold_bps"]),
        use_bps=_whole("use_bps", body["use_bps"]),
        min_level=_whole("min_level", body["min_level"]),
        floor_units=to_units(_text("floor", body["floor"])),
    )


def _exactly(cls: type[Any], body: object, what: str) -> dict[str, object]:
    expected = {field.name for field in fields(cls)}
    if not isinstance(body, dict):
        raise BadInput(f"{what}: expected a JSON object, got: {type(body).__name__}")
    if missing := sorted(expected - body.keys()):
        raise BadInput(f"{what}: missing: {', '.join(missing)}")
    if extra := sorted(body.keys() - expected):
        raise BadInput(f"{what}: unknown: {', '.join(extra)}")
    return body


def _list(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise BadInput(f"{name}: expected a list, got {value!r:.60}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{name}: expected text, got {value!r:.60}")
    return value


def _address(name: str, value: object) -> Address:
    try:
        return to_address(_text(name, value))
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error


def _whole(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise BadInput(f"{name}: expected a whole number below 2^63, got {value!r:.60}")
    return value
