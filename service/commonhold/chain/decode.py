"""Logs to events. In: a log that rpc.py has checked; out: one value of events.py.

Nothing is skipped: a log of our contracts that is not understood is an error, which stops whoever follows the chain.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import cache, partial
from operator import itemgetter
from struct import Struct
from typing import Any, Final, NamedTuple, cast, get_args

from commonhold.chain import events, governing
from commonhold.chain.contract import BadCallData, Entry, contract, decode_values, snake
from commonhold.chain.deployment import FOLLOWED, ContractName, Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.stamp import RawLog
from commonhold.errors import CommonholdError
from commonhold.units import address_text, hex_text

# Events that two contracts have: the value says which of them told it.
_SHARED = (
    events.Transfer,
    events.OperatorSet,
    events.Approval,
    events.EIP712DomainChanged,
    governing.SettingChanged,
    governing.SettingScheduled,
    governing.SettingCancelled,
    governing.Abdicated,
    governing.SignerScheduled,
    governing.SignerAdded,
    governing.SignerRemoved,
)
_KINDS: Final[dict[str, Any]] = {kind.__name__: kind for kind in get_args(ChainEvent)}

Values = tuple[Any, ...]  # of an event's fields, but for the contract's name

# Types of one word: how `struct` cuts it, zeros first where it has some, and what becomes of the rest.
_WORDS: dict[str, tuple[str, Callable[[Any], object] | None]] = {
    "address": ("12s20s", None),
    "bytes32": ("32s", None),
    "bool": ("31sB", lambda byte: (False, True)[byte]),
} | {f"uint{8 * size}": (f"{32 - size}s{size}s", int.from_bytes) for size in range(1, 32)}
_WORDS |= {
    "uint256": ("32s", int.from_bytes),
    "uint64": ("24sQ", None),
    "uint32": ("28sI", None),
    "uint8": ("31sB", None),
}


class UnknownEvent(CommonholdError):
    """A log that this version does not understand."""

    code = "unknown_event"


def decode(log: RawLog, deployment: Deployment) -> ChainEvent:
    """The event that `log` is. Raises UnknownEvent, naming contract, topic, block and log index."""
    name = deployment.contract_at(log.address)
    if name is None or name not in FOLLOWED:
        raise UnknownEvent(f"{_where(log)} is by {name or 'none of our contracts'}, expected one that is followed")
    return decode_of(name, log)


def decode_of(name: ContractName, log: RawLog) -> ChainEvent:
    """The event that `log` is, which the contract `name` emitted. Raises UnknownEvent."""
    made = makers(name).get(log.topics[0]) if log.topics else None
    values = cut(b"".join(log.topics), log.data) if made else None
    return by_abi(name, log) if made is None or values is None else made(*values)


def cut(topics: bytes, data: bytes) -> Values | None:
    """The values of the event that a log of ours is, where they all have one word: for `makers`. None: by_abi must read
    it, or say why it does not fit.

    topics: one after the other.
    """
    plan = _plans().get(topics[:32])
    if plan is None or len(topics) != plan.topics or len(data) < plan.data:
        return None
    pieces = plan.pieces(topics + data)
    if plan.zeros is not None and plan.zeros(pieces) != plan.zero:
        return None
    values = [pieces[at] for at in plan.places]
    try:
        for at, read in plan.reads:
            values[at] = read(values[at])
    except IndexError:  # a bool that is neither
        return None
    return tuple(values)


def by_abi(name: ContractName, log: RawLog) -> ChainEvent:
    """As `decode_of`, by the ABI library: for what has lists or text, and to say what is wrong with the rest."""
    entry = contract(name).events.get(log.topics[0]) if log.topics else None
    made = _KINDS.get(entry.name) if entry else None
    if entry is None or made is None:
        topic = hex_text(log.topics[0]) if log.topics else "none"
        raise UnknownEvent(f"{_where(log)} of {name} has topic {topic}, which is no event that this version knows")

    indexed = [parameter for parameter in entry.inputs if parameter.indexed]
    others = [parameter for parameter in entry.inputs if not parameter.indexed]
    if len(log.topics) != 1 + len(indexed):
        raise UnknownEvent(
            f"{_where(log)} {name}.{entry.name}, has {len(log.topics)} topics, expected {1 + len(indexed)}"
        )
    try:
        values = decode_values("topics", indexed, b"".join(log.topics[1:]))
        values += decode_values("data", others, log.data)
    except BadCallData as error:
        raise UnknownEvent(f"{_where(log)} {name}.{entry.name}: {error}") from error

    named = {snake(parameter.name): value for parameter, value in zip((*indexed, *others), values, strict=True)}
    if made in _SHARED:
        named["contract"] = name
    event: ChainEvent = made(**named)
    return event


@cache
def makers(name: ContractName) -> dict[bytes, Callable[..., ChainEvent]]:
    """By topic, what makes the contract's events of the values that `cut` gives: 50 times as fast as by_abi."""
    found: dict[bytes, Callable[..., ChainEvent]] = {}
    for topic, entry in contract(name).events.items():
        made = _KINDS.get(entry.name)
        if made is not None and topic in _plans():
            found[topic] = partial(made, cast("Any", name)) if made in _SHARED else made
    return found


class _Plan(NamedTuple):
    """How the words of an event are cut out."""

    topics: int  # bytes
    data: int  # bytes, at least
    pieces: Callable[[bytes], Values]
    zeros: Callable[[Values], object] | None  # of the pieces, those that must be zeros; None: there are none
    zero: object  # what `zeros` gives then
    places: tuple[int, ...]  # of the fields among the pieces
    reads: tuple[tuple[int, Callable[[Any], object]], ...]  # fields that are more than bytes or small numbers


@cache
def _plans() -> dict[bytes, _Plan]:
    """By topic. An event that two contracts have in two forms has none."""
    found: dict[bytes, tuple[Entry, _Plan]] = {}
    differ: set[bytes] = set()
    for name in FOLLOWED:
        for topic, entry in contract(name).events.items():
            plan = _plan(entry)
            if plan is not None:
                differ |= {topic} if topic in found and found[topic][0] != entry else set()
                found[topic] = entry, plan
    return {topic: plan for topic, (_, plan) in found.items() if topic not in differ}


def _plan(entry: Entry) -> _Plan | None:
    """None: not all its values have one word."""
    made = _KINDS.get(entry.name)
    parameters = sorted(entry.inputs, key=lambda parameter: not parameter.indexed)
    if made is None or not parameters or not all(parameter.kind in _WORDS for parameter in parameters):
        return None
    names = [field.name for field in fields(made)][made in _SHARED :]
    places: dict[str, int] = {}
    zeros: list[int] = []
    reads: list[tuple[int, Callable[[Any], object]]] = []
    layout, count = ">32x", 0
    for parameter in parameters:
        form, read = _WORDS[parameter.kind]
        if form != "32s":
            zeros.append(count)
            count += 1
        places[snake(parameter.name)] = count
        count += 1
        layout += form
        if read is not None and snake(parameter.name) in names:
            reads.append((names.index(snake(parameter.name)), read))
    if set(names) != set(places):
        return None
    struct = Struct(layout)
    pick = itemgetter(*zeros) if zeros else None
    topics = 32 * (1 + sum(parameter.indexed for parameter in parameters))
    return _Plan(
        topics=topics,
        data=struct.size - topics,
        pieces=struct.unpack_from,
        zeros=pick,
        zero=pick(struct.unpack(bytes(struct.size))) if pick else None,
        places=tuple(places[name] for name in names),
        reads=tuple(reads),
    )


def _where(log: RawLog) -> str:
    return f"log {log.log_index} of block {log.block_number} ({hex_text(log.block_hash)}), {address_text(log.address)},"
