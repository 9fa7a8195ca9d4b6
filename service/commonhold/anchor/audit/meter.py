"""The events of Meter: what was delivered, and the anchors."""

from commonhold.anchor.audit.access import lease_of
from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import add
from commonhold.anchor.audit.step import Step, on, shown
from commonhold.chain import events
from commonhold.signing import ZERO32
from commonhold.units import credit_parts, keccak256


@on(events.Settled)
def settled(step: Step, event: events.Settled) -> None:
    """A lease's total has grown, and what it delivered is counted for a class, window, group and level."""
    state, lease = step.state, lease_of(step, event.lease)
    (asset, window, _), name = credit_parts(lease.redeemed.id), f"lease {shown(event.lease)}"
    step.need(("offer", lease.redeemed.id))
    registered, appraised = step.asset(asset).registered, step.asset(asset).now
    root = step.root(lease.redeemed.holder)
    step.need(("delivered", event.class_id, event.window, event.root, event.level))

    grown = event.gpu_ms - lease.settled_ms
    step.check(
        Rule.SETTLED,
        event.added_ms == grown > 0,
        lambda: f"{name} was settled from {lease.settled_ms} to {event.gpu_ms} ms, {event.added_ms} were added",
    )
    most = lease.redeemed.amount * 1000
    step.check(Rule.SETTLED, event.gpu_ms <= most, lambda: f"{name} was settled with {event.gpu_ms} ms of {most}")
    passed = (step.now_s - lease.redeemed.starts_at) * registered.units // 1000
    step.check(
        Rule.SETTLED,
        event.gpu_ms <= passed,
        lambda: f"{name} was settled with {event.gpu_ms} ms, {passed} had passed",
    )
    level = min(lease.redeemed.level, appraised.level)
    same = (event.class_id, event.window, event.root, event.level) == (registered.class_id, window, root, level)
    step.check(Rule.SETTLED, same, lambda: f"{name} was counted for another class, window, group or level")
    due = lease.price * event.gpu_ms // 1000 - lease.paid
    step.check(Rule.PAID, event.paid == due, lambda: f"{name} paid {event.paid} wei, {due} are due")
    lease.settled_ms, lease.paid = event.gpu_ms, lease.paid + event.paid
    add(state.delivered, (event.class_id, event.window, event.root, event.level), event.added_ms)
    add(state.hours, (event.class_id, event.window, event.level, appraised.policy), event.added_ms)


@on(events.Anchored)
def anchored(step: Step, event: events.Anchored) -> None:
    """An epoch more of the submitter is fixed."""
    state, submitter = step.state, event.submitter
    step.need(("anchor", submitter))
    name, due = f"anchor {event.epoch} of {shown(submitter)}", state.next_epoch.get(submitter, 0)
    step.check(Rule.ANCHORS, event.epoch == due, lambda: f"{name} came when {due} was due")
    linked = event.previous == state.last(submitter)
    step.check(Rule.ANCHORS, linked, lambda: f"{name} does not link to the one before")
    step.check(Rule.ANCHORS, event.root != ZERO32 and event.count > 0, lambda: f"{name} is of nothing")
    words = (event.epoch.to_bytes(32), event.root, event.count.to_bytes(32), event.gpu_ms.to_bytes(32))
    state.next_epoch[submitter] = event.epoch + 1
    state.last_anchor[submitter] = keccak256(event.previous + b"".join(words))
    state.anchors[submitter, event.epoch] = (event, step.block)
