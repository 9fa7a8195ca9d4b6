"""The events of Members: who takes part, and in which group."""

from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import Member, PerRoot, add
from commonhold.anchor.audit.step import Key, Step, Unknown, on, shown
from commonhold.chain import events
from commonhold.units import Address, credit_parts


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
    since = member.since if member.until > step.now_s else step.now_s
    step.check(Rule.MEMBERS, event.since == since, lambda: f"{shown(event.member)} is a member since {event.since}")
    member.since, member.until = event.since, event.until
    member.counted = member.counted or member.controller is None


@on(events.Lapsed)
def lapsed(step: Step, event: events.Lapsed) -> None:
    """A root counts among the groups no more, until it is renewed."""
    member = _member(step, event.member)
    step.check(Rule.MEMBERS, member.until <= step.now_s, lambda: f"{shown(event.member)} was taken out too early")
    member.counted = False


@on(events.GiftsRefused)
def gifts_refused(step: Step, event: events.GiftsRefused) -> None:
    """A member takes only what it asks for, or what it is sent as well."""
    _member(step, event.member).refuses_gifts = event.refused


@on(events.DetachStarted, events.DetachChallenged)
def detaching(step: Step, event: events.DetachStarted | events.DetachChallenged) -> None:
    """A member may leave its group, at a time to come."""
    member = _member(step, event.member)
    step.check(Rule.GROUPS, event.ready_at > step.now_s, lambda: f"{shown(event.member)} may leave at once")
    member.detach_ready_at = event.ready_at


@on(events.DetachCancelled)
def detach_cancelled(step: Step, event: events.DetachCancelled) -> None:
    """A member stays in its group."""
    _member(step, event.member).detach_ready_at = None


@on(events.Detached)
def detached(step: Step, event: events.Detached) -> None:
    """A member is a group, with all that it controls; what they hold and use is theirs."""
    state, member = step.state, _member(step, event.member)
    old_root, above = step.root(event.member), step.counting(event.member)[1:]
    windows = _open_windows(step)
    step.need(*_sums(step, windows, event.member, *above))
    ready = member.detach_ready_at is not None and member.detach_ready_at <= step.now_s
    step.check(Rule.GROUPS, ready, lambda: f"{shown(event.member)} left its group before its time")
    step.check(Rule.GROUPS, old_root == event.old_root, lambda: f"{shown(event.member)} left another group")
    member.controller, member.since, member.counted, member.detach_ready_at = None, event.since, True, None
    if state.known is not None:  # its own totals, and so those of all it controls, were counted apart
        for totals in _totals(step, windows):
            for account in above:
                add(totals, account, -totals.get(event.member, 0))
        return
    for (asset, owner), units in state.holdings.items():
        if (asset, owner) not in state.uncounted and state.root_of(owner) == event.member:
            held = state.held.setdefault(state.assets[asset].registered.class_id, {})
            add(held, old_root, -units)
            add(held, event.member, units)
    leases = ((row.redeemed.id, row.redeemed.holder, row.redeemed.amount) for row in state.leases.values())
    sums = (state.acquired, state.redeemed)
    for credit, holder, seconds, used in (
        *((credit, holder, n, sums[:1]) for (credit, holder), n in state.credits.items()),
        *((*lease, sums) for lease in leases),
    ):
        asset, window, _ = credit_parts(credit)
        if window >= step.now_s // state.window_seconds and state.root_of(holder) == event.member:
            for each in used:
                of = each.setdefault((state.assets[asset].registered.class_id, window), {})
                add(of, old_root, -seconds)
                add(of, event.member, seconds)


@on(events.RecoveryStarted)
def recovering(step: Step, event: events.RecoveryStarted) -> None:
    """Another account may take a member's place, at a time to come."""
    member = _member(step, event.member)
    step.check(Rule.MEMBERS, event.ready_at > step.now_s, lambda: f"{shown(event.member)} may be replaced at once")
    member.recovery_to, member.recovery_ready_at = event.successor, event.ready_at


@on(events.RecoveryVetoed)
def recovery_vetoed(step: Step, event: events.RecoveryVetoed) -> None:
    """The member's own key said no."""
    member = _member(step, event.member)
    member.recovery_to = member.recovery_ready_at = None


@on(events.Recovered)
def recovered(step: Step, event: events.Recovered) -> None:
    """The successor stands where the member stood, above it; the totals of a root are its successor's."""
    state, member = step.state, _member(step, event.member)
    windows = _open_windows(step)
    step.need(("member", event.successor), *_sums(step, windows, event.member, event.successor))
    due = (member.recovery_to, member.until) == (event.successor, event.until)
    ready = member.recovery_ready_at is not None and member.recovery_ready_at <= step.now_s
    step.check(Rule.MEMBERS, due and ready, lambda: f"{shown(event.member)} was replaced by another, or too early")
    new = event.successor not in state.members
    step.check(Rule.MEMBERS, new, lambda: f"successor {shown(event.successor)} was a member")
    # What was used in windows that are over stays with the account.
    for sums in _totals(step, windows):
        if event.member in sums and state.known is not None:
            sums[event.successor] = sums[event.member]
        elif event.member in sums and member.controller is None:
            sums[event.successor] = sums.pop(event.member)
    state.members[event.successor] = Member(
        None, event.since, event.until, member.controller, member.counted, member.refuses_gifts
    )
    state.members[event.member] = Member(
        member.nullifier, member.since, 0, event.successor, counted=False, successor=event.successor
    )


@on(events.Attached)
def attached(step: Step, event: events.Attached) -> None:
    """Two groups are one; what both held and used is the new root's."""
    state = step.state
    roots = (step.root(event.member), step.root(event.controller))
    _member(step, event.old_root)
    windows = _open_windows(step)
    step.need(*_sums(step, windows, event.old_root, event.new_root))

    said = (event.old_root, event.new_root)
    step.check(Rule.GROUPS, roots == said, lambda: f"{shown(event.member)} was attached to another group")
    state.members[event.old_root].controller = event.new_root
    state.members[event.old_root].counted = False
    for sums in _totals(step, windows):
        add(sums, event.new_root, sums.get(event.old_root, 0))
        if state.known is None:
            sums.pop(event.old_root, None)


def _open_windows(step: Step) -> range:
    """The present window, and those that can be sold already: nothing moves the totals of another."""
    first = step.now_s // step.state.window_seconds
    return range(first, first + step.state.horizon + 1)


def _totals(step: Step, windows: range) -> list[PerRoot]:
    """What is held, of each class, and what was acquired and redeemed of it in each window."""
    state = step.state
    used = [all_of[key] for all_of in (state.acquired, state.redeemed) for key in all_of if key[1] in windows]
    return [*state.held.values(), *used]


def _sums(step: Step, windows: range, *accounts: Address) -> list[Key]:
    held: list[Key] = [("held", class_id, account) for class_id in step.state.classes for account in accounts]
    used: list[Key] = [
        ("use", class_id, window, account)
        for class_id in step.state.classes
        for window in windows
        for account in accounts
    ]
    return held + used


def _member(step: Step, account: Address) -> Member:
    step.need(("member", account))
    if (found := step.state.members.get(account)) is None:
        raise Unknown(f"member {shown(account)}")
    return found
