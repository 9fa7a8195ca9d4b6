"""Logs to events. In: a log that rpc.py has checked; out: one value of events.py.

Nothing is skipped: a log of our contracts that is not understood is an error, which stops whoever follows the chain.
"""

from commonhold.chain import events
from commonhold.chain.contract import BadCallData, contract, decode_values, snake
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.stamp import RawLog
from commonhold.errors import CommonholdError
from commonhold.units import address_text, hex_text

# Events that two contracts have: the value says which of them told it.
_SHARED = (events.Transfer, events.OperatorSet, events.Approval, events.EIP712DomainChanged)


class UnknownEvent(CommonholdError):
    """A log that this version does not understand."""

    code = "unknown_event"


def decode(log: RawLog, deployment: Deployment) -> ChainEvent:
    """The event that `log` is. Raises UnknownEvent, naming contract, topic, block and log index."""
    name = deployment.contract_at(log.address)
    if name is None or name == "Coin":
        raise UnknownEvent(f"{_where(log)} is by {name or 'none of our contracts'}, expected one that is followed")
    return decode_of(name, log)


def decode_of(name: ContractName, log: RawLog) -> ChainEvent:
    """The event that `log` is, which the contract `name` emitted. Raises UnknownEvent."""
    entry = contract(name).events.get(log.topics[0]) if log.topics else None
    made = getattr(events, entry.name, None) if entry else None
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

    fields = {snake(parameter.name): value for parameter, value in zip((*indexed, *others), values, strict=True)}
    if made in _SHARED:
        fields["contract"] = name
    event: ChainEvent = made(**fields)
    return event


def _where(log: RawLog) -> str:
    return f"log {log.log_index} of block {log.block_number} ({hex_text(log.block_hash)}), {address_text(log.address)},"
