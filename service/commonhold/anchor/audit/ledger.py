"""The events of Ledger: what there is, and who owns it."""

from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import ZERO, Appraisal, Asset, Class, add
from commonhold.anchor.audit.step import Step, Unknown, on, shown
from commonhold.chain import events

COMPUTE = 2  # Types.sol, Kind


@on(events.ClassCreated)
def class_created(step: Step, event: events.ClassCreated) -> None:
    """A class more, of which nothing exists yet."""
    new = event.class_id not in step.state.classes
    step.check(Rule.DEVICES, new, lambda: f"class {event.name} was created twice")
    step.state.classes[event.class_id] = Class(event)


@on(events.Registered)
def registered(step: Step, event: events.Registered) -> None:
    """An asset more; its class has more units, which the transfers after this share out."""
    state = step.state
    if (c := state.classes.get(event.class_id)) is None:
        raise Unknown(f"class {shown(event.class_id)}")
    step.need(("asset", event.asset), *(("device", device) for device in event.devices))

    step.check(Rule.DEVICES, event.asset not in state.assets, lambda: f"asset {event.asset} was registered twice")
    _check_appraisal(step, event, c)
    for device in event.devices:
        if not state.found.check(Rule.DEVICES, device not in state.devices):
            step.fault(Rule.DEVICES, f"device {shown(device)} stands under two assets")
        state.devices[device] = event.asset
    if c.created.kind != COMPUTE:
        known = event.content_hash in state.contents
        step.check(Rule.DEVICES, not known, lambda: f"content {shown(event.content_hash)} stands under two assets")
        state.contents[event.content_hash] = event.asset
    if c.start_block != step.block:
        c.start_block, c.start_total = step.block, c.total
    c.total += event.units
    state.assets[event.asset] = Asset(event, [_appraisal(step, event)])


@on(events.AppraisalRenewed)
def appraisal_renewed(step: Step, event: events.AppraisalRenewed) -> None:
    """An asset stands under a new appraisal."""
    asset = step.asset(event.asset)
    later = event.expires_at > asset.now.expires_at
    step.check(Rule.ASSETS, later, lambda: f"renewal of {event.asset} is not later")
    _check_appraisal(step, event, step.state.classes[asset.registered.class_id])
    asset.appraisals.append(_appraisal(step, event))


def units_moved(step: Step, event: events.Transfer) -> None:
    """Units have another owner; a group other than the sender's has grown."""
    state, class_id = step.state, step.asset(event.id).registered.class_id
    from_root, root = step.root(event.sender), step.root(event.receiver)
    step.need(("holding", event.id, event.sender), ("holding", event.id, event.receiver))
    step.need(("held", class_id, from_root), ("held", class_id, root))

    step.move(state.holdings, event.id, event.sender, event.receiver, event.amount)
    if event.receiver == state.ledger:
        minted = event.sender == ZERO
        step.check(Rule.BALANCES, minted, lambda: f"units of {event.id} went to the commons after registration")
        return
    step.check_active(event.receiver)
    if root == from_root:
        return
    held = state.held.setdefault(class_id, {})
    if event.sender != ZERO:
        add(held, from_root, -event.amount)
    now, most = add(held, root, event.amount), state.most_units(class_id, step.block)
    step.check(
        Rule.HOLDING,
        now <= most,
        lambda: f"group {shown(root)} grew to {now} units of a class, at most {most} are allowed",
    )


def _check_appraisal(step: Step, event: events.Registered | events.AppraisalRenewed, c: Class) -> None:
    step.check(
        Rule.ASSETS,
        event.level >= c.created.min_level,
        lambda: f"asset {event.asset} has level {event.level}, its class demands {c.created.min_level}",
    )
    step.check(Rule.ASSETS, event.expires_at > step.now_s, lambda: f"asset {event.asset} came with a lapsed appraisal")


def _appraisal(step: Step, event: events.Registered | events.AppraisalRenewed) -> Appraisal:
    return Appraisal(
        from_s=step.now_s,
        expires_at=event.expires_at,
        level=event.level,
        policy=event.policy,
        content_hash=event.content_hash,
        result_hash=event.result_hash,
        meter_key=event.meter_key_x + event.meter_key_y,
    )
