"""The events of Access: credits, leases and the escrow."""

from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import ZERO, Lease, add
from commonhold.anchor.audit.step import Step, Unknown, on, shown, use_keys
from commonhold.chain import events
from commonhold.units import UNIT, Hash32, credit_parts


@on(events.Opened)
def opened(step: Step, event: events.Opened) -> None:
    """Credits of an asset in a window have a price."""
    step.asset(event.asset)
    step.need(("offer", event.id))
    same = credit_parts(event.id) == (event.asset, event.window, event.tranche)
    new = event.id not in step.state.offers
    step.check(Rule.CAPACITY, same and new, lambda: f"credit {event.id} was opened twice or misnamed")
    step.state.offers[event.id] = event


@on(events.Bought)
def bought(step: Step, event: events.Bought) -> None:
    """The escrow has what was paid."""
    due = _offer(step, event.id).price * event.amount
    step.check(
        Rule.PAID,
        event.paid == due > 0,
        lambda: f"{event.amount} of credit {event.id} were bought for {event.paid}, {due} are due",
    )
    step.state.escrow += event.paid


def credits_moved(step: Step, event: events.Transfer) -> None:
    """Credits have another holder, or none; a group other than the sender's has acquired them."""
    state, (asset, window, _) = step.state, credit_parts(_offer(step, event.id).id)
    registered = step.asset(asset).registered
    class_id = registered.class_id
    from_root, root = step.root(event.sender), step.root(event.receiver)
    step.need(("credit", event.id, event.sender), ("credit", event.id, event.receiver), ("issued", asset, window))
    step.need(*use_keys(class_id, event.id, from_root, root), ("held", class_id, root))

    step.move(state.credits, event.id, event.sender, event.receiver, event.amount)
    if event.receiver == ZERO:
        add(state.burnt, (event.id, event.sender), event.amount)
        return
    step.check_active(event.receiver)
    if event.sender == ZERO:
        issued = add(state.issued, (asset, window), event.amount)
        most = registered.units * state.window_seconds // UNIT
        step.check(
            Rule.CAPACITY,
            issued <= most,
            lambda: f"{issued} s of asset {asset} were issued in window {window}, it has {most}",
        )
    if root == from_root or window < step.now_s // state.window_seconds:
        return
    acquired = state.acquired.setdefault((class_id, window), {})
    if event.sender != ZERO:
        add(acquired, from_root, -event.amount)
    add(acquired, root, event.amount)
    step.check_use(state.acquired, class_id, window, root)
    over = state.held_by(class_id, root) > state.most_units(class_id, step.block)
    step.check(Rule.USE, not over, lambda: f"group {shown(root)} acquired credits while over its holding limit")


@on(events.Redeemed)
def redeemed(step: Step, event: events.Redeemed) -> None:
    """The credits that were just burnt are a lease."""
    state, (asset, window, _) = step.state, credit_parts(_offer(step, event.id).id)
    class_id, root = step.asset(asset).registered.class_id, step.root(event.holder)
    step.need(("lease", event.lease), *use_keys(class_id, event.id, root))

    name = f"lease {shown(event.lease)}"
    left = add(state.burnt, (event.id, event.holder), -event.amount)
    step.check(Rule.LEASES, left == 0, lambda: f"{name} burnt other credits")
    step.check(Rule.LEASES, event.lease not in state.leases, lambda: f"{name} was redeemed twice")
    starts_at = max(step.now_s, window * state.window_seconds)
    step.check(
        Rule.LEASES, event.starts_at == starts_at, lambda: f"{name} starts at {event.starts_at}, expected {starts_at}"
    )
    state.leases[event.lease] = Lease(event, step.block)
    add(state.redeemed.setdefault((class_id, window), {}), root, event.amount)
    step.check_use(state.redeemed, class_id, window, root)


@on(events.Released)
def released(step: Step, event: events.Released) -> None:
    """The operator was paid out of the escrow."""
    state = step.state
    lease_of(step, event.lease).released += event.amount
    state.escrow -= event.amount
    # From the middle of the chain on, what was in the escrow before is unknown: the token's balances show what it grew.
    held = state.known is not None or state.escrow >= 0
    step.check(Rule.ESCROW, held, lambda: f"{-state.escrow} wei more were released than buyers paid")


def lease_of(step: Step, lease: Hash32) -> Lease:
    """Raises Unknown."""
    step.need(("lease", lease))
    if (found := step.state.leases.get(lease)) is None:
        raise Unknown(f"lease {shown(lease)}")
    return found


def _offer(step: Step, credit: int) -> events.Opened:
    step.need(("offer", credit))
    if (found := step.state.offers.get(credit)) is None:
        raise Unknown(f"credit {credit}")
    return found
