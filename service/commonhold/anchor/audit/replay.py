"""The chain's events into plain dictionaries, for the audit. Shares nothing with mirror/apply.py: two ways, one state.

Every rule that the contracts hold by structure is checked again where an event touches it; what breaks one is found
(rules.py) and the replay goes on, so that an audit shows all of it. An event's handler is in the file of the contract
that tells it; an event without one is a fault, so a contract that can do more cannot pass unseen.
"""

from commonhold.anchor.audit import access, council, ledger, members, meter  # noqa: F401, they fill the table
from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import State
from commonhold.anchor.audit.step import HANDLERS, Step, Unknown, on
from commonhold.chain import events
from commonhold.chain.events import ChainEvent


def replay(state: State, event: ChainEvent, block: int, now_s: int) -> None:
    """`state` is what it is after `event`, in block `block` of time `now_s`; what breaks a rule is in `state.found`.

    Raises Missing, with nothing changed, where `state` began in the middle of the chain.
    """
    step, name = Step(state, block, now_s), type(event).__name__
    handler = HANDLERS.get(type(event))
    if handler is None:
        step.fault(Rule.KNOWN, f"{name} is an event that this audit has no rule for")
        return
    try:
        handler(step, event)
    except Unknown as unknown:
        step.fault(Rule.KNOWN, f"{name} is about something unknown: {unknown}")
    state.found.by_rule[Rule.KNOWN].times += 1
    state.count += 1


@on(events.Transfer)
def moved(step: Step, event: events.Transfer) -> None:
    """Units or credits moved; ERC-6909 lets anyone move nothing of anything."""
    if event.amount:
        (ledger.units_moved if event.contract == "Ledger" else access.credits_moved)(step, event)


@on(events.OperatorSet, events.Approval, events.EIP712DomainChanged)
def allowed(step: Step, event: events.OperatorSet | events.Approval | events.EIP712DomainChanged) -> None:
    """Permissions: the transfers made under them are what counts."""
