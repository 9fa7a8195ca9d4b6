"""The events of Members: who takes part, and in which group."""

from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import Member, add
from commonhold.anchor.audit.step import Key, Step, Unknown, on, shown
from commonhold.chain import events
from commonhold.units import Address


@on(events.Admitted)
def admitted(step: Step, event: events.Admitted) -> None:
    """A member more, in a group of its own."""
    step.need(("member", event.member))
    state = step.state
    new = event.member not in state.members and event.nullifier not in state.nullifiers
    step.check(Rule.MEMBERS, new, lambda: f"admitted twice: {shown(event.member)}")
    state.members[event.member] = Member(event.nullifier, event.since, event.until)
    state.nullifiers.add(event.nullifier)


@on(events.Renewed)
def renewed(step: Step, event: events.Renewed) -> None:
    """A membership lasts longer."""
    member = _member(step, event.member)
    step.check(Rule.MEMBERS, event.until > member.until, lambda: f"membership of {shown(event.member)} was shortened")
    member.until = event.until


@on(events.Attached)
def attached(step: Step, event: events.Attached) -> None:
    """Two groups are one; what both held and used is the new root's."""
    state = step.state
    roots = (step.root(event.member), step.root(event.controller))
    _member(step, event.old_root)
    first = step.now_s // state.window_seconds
    windows = range(first, first + state.horizon + 1)
    step.need(*_sums(step, windows, event.old_root, event.new_root))

    said = (event.old_root, event.new_root)
    step.check(Rule.GROUPS, roots == said, lambda: f"{shown(event.member)} was attached to another group")
    state.members[event.old_root].controller = event.new_root
    for class_id in state.classes:
        held = state.held.setdefault(class_id, {})
        add(held, event.new_root, held.pop(event.old_root, 0))
        for window in windows:
            for used in (state.acquired, state.redeemed):
                if seconds := used.get((class_id, window)):
                    add(seconds, event.new_root, seconds.pop(event.old_root, 0))


def _sums(step: Step, windows: range, *roots: Address) -> list[Key]:
    held: list[Key] = [("held", class_id, root) for class_id in step.state.classes for root in roots]
    used: list[Key] = [
        ("use", class_id, window, root) for class_id in step.state.classes for window in windows for root in roots
    ]
    return held + used


def _member(step: Step, account: Address) -> Member:
    step.need(("member", account))
    if (found := step.state.members.get(account)) is None:
        raise Unknown(f"member {shown(account)}")
    return found
