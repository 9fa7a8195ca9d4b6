"""Logs to events. In: a log that rpc.py has checked; out: one value of events.py.

Nothing is skipped: a log of our contracts that is not understood is an error, which stops whoever follows the chain.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import get_args

from commonhold.chain import events, governing
from commonhold.chain.contract import BadCallData, Entry, contract, decode_values, snake
from commonhold.chain.deployment import FOLLOWED, ContractName, Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.stamp import RawLog
from commonhold.errors import CommonholdError
from commonhold.units import Hash32, address_text, hex_text

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
_KINDS: dict[str, Callable[..., ChainEvent]] = {kind.__name__: kind for kind in get_args(ChainEvent)}

Slicer = Callable[[RawLog], ChainEvent | None]

# Types of one word: how many zero bytes it begins with, and what the rest becomes.
_WORDS: dict[str, tuple[int, Callable[[bytes], object]]] = {
    "address": (12, bytes),
    "bytes32": (0, bytes),
} | {f"uint{bits}": (32 - bits // 8, int.from_bytes) for bits in range(8, 257, 8)}


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
    made = _slicers(name).get(log.topics[0]) if log.topics else None
    event = made(log) if made else None
    return event or by_abi(name, log)


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
def _slicers(name: ContractName) -> dict[Hash32, Slicer]:
    """For each event whose values all have one word: the function that cuts them out, 50 times as fast as by_abi."""
    found = {topic: _slicer(name, entry) for topic, entry in contract(name).events.items()}
    return {topic: slicer for topic, slicer in found.items() if slicer is not None}


def _slicer(name: ContractName, entry: Entry) -> Slicer | None:
    """None: by_abi must read it. The slicer's None: it does not fit, by_abi says why."""
    made = _KINDS.get(entry.name)
    parameters = sorted(entry.inputs, key=lambda parameter: not parameter.indexed)
    if made is None or not all(parameter.kind in _WORDS for parameter in parameters):
        return None
    topics = 1 + sum(parameter.indexed for parameter in parameters)
    size = 32 * (1 + len(parameters) - topics)
    places = {snake(parameter.name): place for place, parameter in enumerate(parameters)}
    shared = (name,) if made in _SHARED else ()
    names = [field.name for field in fields(made)][len(shared) :]  # type: ignore[arg-type]
    if set(names) != set(places):
        return None
    plan = [(places[field], *_WORDS[parameters[places[field]].kind]) for field in names]

    def slicer(log: RawLog) -> ChainEvent | None:
        data = log.data
        if len(log.topics) != topics or len(data) < size:
            return None
        words = (*log.topics[1:], *[data[at : at + 32] for at in range(0, size, 32)])
        values: list[object] = [*shared]
        for place, zeros, read in plan:
            word = words[place]
            if zeros and any(word[:zeros]):
                return None
            values.append(read(word[zeros:]))
        return made(*values)

    return slicer


def _where(log: RawLog) -> str:
    return f"log {log.log_index} of block {log.block_number} ({hex_text(log.block_hash)}), {address_text(log.address)},"
