"""The events of Access: credits, leases and the escrow."""

from dataclasses import replace

from commonhold.anchor.audit.ledger import paid_out
from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import ZERO, Lease, add
from commonhold.anchor.audit.step import Step, Unknown, on, shown, use_keys
from commonhold.chain import events
from commonhold.units import UNIT, Address, Hash32, credit_parts


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
    losing, winning = step.counting(event.sender), step.counting(event.receiver)
    root = winning[-1]
    step.need(("credit", event.id, event.sender), ("credit", event.id, event.receiver), ("issued", asset, window))
    step.need(*use_keys(class_id, event.id, *losing, *winning), ("held", class_id, root))

    step.move(state.credits, event.id, event.sender, event.receiver, event.amount)
    if event.receiver == ZERO:
        add(state.burnt, (event.id, event.sender), event.amount)
        return
    replaced = state.members.get(event.sender)
    if replaced is None or replaced.successor is None:  # what is recovered comes to whoever stands there
        step.check_active(event.receiver)
    if event.sender == ZERO:
        issued = add(state.issued, (asset, window), event.amount)
        most = registered.units * state.window_seconds // UNIT
        step.check(
            Rule.CAPACITY,
            issued <= most,
            lambda: f"{issued} s of asset {asset} were issued in window {window}, it has {most}",
        )
    if window < step.now_s // state.window_seconds:
        return
    acquired = state.acquired.setdefault((class_id, window), {})
    for account in losing if event.sender != ZERO else ():
        add(acquired, account, -event.amount)
    for account in winning:
        add(acquired, account, event.amount)
    if root == losing[-1]:
        return
    step.check_use(state.acquired, class_id, window, root)
    over = state.held_by(class_id, root) > state.most_units(class_id, step.block)
    step.check(Rule.USE, not over, lambda: f"group {shown(root)} acquired credits while over its holding limit")


@on(events.Redeemed)
def redeemed(step: Step, event: events.Redeemed) -> None:
    """The credits that were just burnt are a lease."""
    state, (asset, window, _) = step.state, credit_parts(_offer(step, event.id).id)
    class_id, counting = step.asset(asset).registered.class_id, step.counting(event.holder)
    step.need(("lease", event.lease), *use_keys(class_id, event.id, *counting))

    name = f"lease {shown(event.lease)}"
    left = add(state.burnt, (event.id, event.holder), -event.amount)
    step.check(Rule.LEASES, left == 0, lambda: f"{name} burnt other credits")
    step.check(Rule.LEASES, event.lease not in state.leases, lambda: f"{name} was redeemed twice")
    starts_at = max(step.now_s, window * state.window_seconds)
    step.check(
        Rule.LEASES, event.starts_at == starts_at, lambda: f"{name} starts at {event.starts_at}, expected {starts_at}"
    )
    state.leases[event.lease] = Lease(event, step.block, price=state.offers[event.id].price)
    _count_redeemed(step, class_id, window, counting, event.amount)


@on(events.LeaseSplit)
def split(step: Step, event: events.LeaseSplit) -> None:
    """Part of a lease is one of its own."""
    state, lease = step.state, lease_of(step, event.lease)
    step.need(("lease", event.part))
    left = lease.redeemed.amount - event.amount
    fits = left * 1000 >= lease.settled_ms and event.amount > 0 and event.part not in state.leases
    step.check(Rule.LEASES, fits, lambda: f"lease {shown(event.lease)} gave {event.amount} s away, {left} are left")
    starts_at = max(step.now_s, lease.redeemed.starts_at)
    step.check(Rule.LEASES, event.starts_at == starts_at, lambda: f"lease {shown(event.part)} starts at another time")
    part = replace(
        lease.redeemed,
        lease=event.part,
        amount=event.amount,
        starts_at=event.starts_at,
        key_x=event.key_x,
        key_y=event.key_y,
    )
    state.leases[event.part] = Lease(part, step.block, price=lease.price, part_of=event.lease)
    lease.redeemed = replace(lease.redeemed, amount=left)
    lease.changes += 1


@on(events.ToppedUp)
def topped_up(step: Step, event: events.ToppedUp) -> None:
    """The credits that were just burnt are part of a lease."""
    state, lease = step.state, lease_of(step, event.lease)
    r = lease.redeemed
    asset, window, _ = credit_parts(r.id)
    class_id, counting = step.asset(asset).registered.class_id, step.counting(r.holder)
    step.need(*use_keys(class_id, r.id, *counting))
    left = add(state.burnt, (r.id, r.holder), -event.amount)
    step.check(Rule.LEASES, left == 0, lambda: f"lease {shown(event.lease)} burnt other credits")
    lease.redeemed = replace(r, amount=r.amount + event.amount)
    lease.changes += 1
    _count_redeemed(step, class_id, window, counting, event.amount)


@on(events.KeyRotated)
def key_rotated(step: Step, event: events.KeyRotated) -> None:
    """A lease has another session key; the one before proves use a little longer."""
    lease = lease_of(step, event.lease)
    next_one = event.number == lease.key_number + 1 and event.until > step.now_s
    step.check(Rule.LEASES, next_one, lambda: f"lease {shown(event.lease)} came to key {event.number}")
    lease.former_keys.append((lease.redeemed.key_x + lease.redeemed.key_y, event.until))
    lease.redeemed = replace(lease.redeemed, key_x=event.key_x, key_y=event.key_y)
    lease.key_number = event.number
    lease.changes += 1


@on(events.Refunded)
def refunded(step: Step, event: events.Refunded) -> None:
    """What was not delivered is paid back, once."""
    lease = lease_of(step, event.lease)
    due = lease.price * lease.redeemed.amount - lease.paid
    right = event.amount == due and lease.refunded is None
    step.check(Rule.PAID, right, lambda: f"lease {shown(event.lease)} was paid back {event.amount} wei, {due} are due")
    lease.refunded = event.amount
    paid_out(step, event.amount)


@on(events.CreditsRefunded)
def credits_refunded(step: Step, event: events.CreditsRefunded) -> None:
    """Credits of a window that is over, which were just burnt, are paid back."""
    state, offer = step.state, _offer(step, event.id)
    left = add(state.burnt, (event.id, event.holder), -event.credits)
    over = offer.window < step.now_s // state.window_seconds
    right = left == 0 and over and event.amount == offer.price * event.credits
    step.check(Rule.PAID, right, lambda: f"{event.credits} of credit {event.id} were paid back {event.amount} wei")
    add(state.paid_back, (offer.asset, offer.window), event.credits)
    paid_out(step, event.amount)


@on(events.LeaseRecovered)
def lease_recovered(step: Step, event: events.LeaseRecovered) -> None:
    """Who took a member's place has its lease, and counts it already: it stands above the member."""
    state, lease = step.state, lease_of(step, event.lease)
    asset, window, _ = credit_parts(lease.redeemed.id)
    class_id = step.asset(asset).registered.class_id
    if state.known is not None and window >= step.now_s // state.window_seconds:
        step.need(*use_keys(class_id, lease.redeemed.id, event.member))
        for used in (state.acquired, state.redeemed):
            add(used.setdefault((class_id, window), {}), event.member, -lease.redeemed.amount)
    right = lease.redeemed.holder == event.member
    step.check(Rule.LEASES, right, lambda: f"lease {shown(event.lease)} was not {shown(event.member)}'s")
    lease.redeemed = replace(lease.redeemed, holder=event.successor)


def _count_redeemed(step: Step, class_id: Hash32, window: int, counting: list[Address], seconds: int) -> None:
    redeemed = step.state.redeemed.setdefault((class_id, window), {})
    for account in counting:
        add(redeemed, account, seconds)
    step.check_use(step.state.redeemed, class_id, window, counting[-1])


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
