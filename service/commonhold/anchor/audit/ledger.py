"""The events of Ledger: what there is, and who owns it."""

from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import ZERO, Appraisal, Asset, Class, Setting, add
from commonhold.anchor.audit.step import Step, Unknown, on, shown
from commonhold.chain import events

COMPUTE = 2  # Types.sol, Kind
CLASS_SETTINGS = {"holdBps": "hold_bps", "useBps": "use_bps", "minLevel": "min_level", "floorUnits": "floor_units"}


@on(events.ClassCreated)
def class_created(step: Step, event: events.ClassCreated) -> None:
    """A class more, of which nothing exists yet."""
    new = event.class_id not in step.state.classes
    step.check(Rule.DEVICES, new, lambda: f"class {event.name} was created twice")
    step.state.classes[event.class_id] = Class(event)
    for name, column in CLASS_SETTINGS.items():
        step.state.settings["Ledger", name, event.class_id] = Setting(getattr(event, column))


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
        under = state.assets.get(before) if (before := state.devices.get(device)) else None
        # Where the audit began in the middle, a device of an asset that was retired since is read as it stood before.
        free = before is None or (under is not None and under.retired)
        if not state.found.check(Rule.DEVICES, free):
            step.fault(Rule.DEVICES, f"device {shown(device)} stands under two assets")
        state.devices[device] = event.asset
    if c.created.kind != COMPUTE:
        known = event.content_hash in state.contents
        step.check(Rule.DEVICES, not known, lambda: f"content {shown(event.content_hash)} stands under two assets")
        state.contents[event.content_hash] = event.asset
    if c.start_block != step.block:
        c.start_block, c.start_total = step.block, c.total
    c.total += event.units
    state.assets[event.asset] = Asset(event, [_appraisal(step, event)], event.registrant)


@on(events.CommonsPriced)
def commons_priced(step: Step, event: events.CommonsPriced) -> None:
    """What units of the commons cost; after the first time only less."""
    asset = step.asset(event.asset)
    lower = event.price < asset.commons_price or asset.commons_price == 0
    step.check(Rule.ASSETS, lower, lambda: f"units of {event.asset} in the commons cost more than before")
    asset.commons_price = event.price


@on(events.Retired)
def retired(step: Step, event: events.Retired) -> None:
    """An asset is in the total of its class no more; its devices and content may stand under another."""
    state, asset = step.state, step.asset(event.asset)
    lapsed = asset.now.expires_at < step.now_s and not asset.retired
    step.check(Rule.ASSETS, lapsed, lambda: f"asset {event.asset} was retired while its appraisal held, or twice")
    c, asset.retired = state.classes[event.class_id], True
    if c.start_block != step.block:
        c.start_block, c.start_total = step.block, c.total
    c.total -= event.units
    for device in [device for device, of in state.devices.items() if of == event.asset]:
        del state.devices[device]
    state.contents = {content: of for content, of in state.contents.items() if of != event.asset}


@on(events.Synced)
def synced(step: Step, event: events.Synced) -> None:
    """What a holder has of a retired asset counts in its group no more."""
    state, asset = step.state, step.asset(event.asset)
    counting, class_id = step.counting(event.holder), asset.registered.class_id
    step.need(("holding", event.asset, event.holder), *(("held", class_id, account) for account in counting))
    has = state.holdings.get((event.asset, event.holder), 0)
    right = asset.retired and has == event.units and (event.asset, event.holder) not in state.uncounted
    step.check(Rule.BALANCES, right, lambda: f"{shown(event.holder)} was synced with {event.units} of {event.asset}")
    state.uncounted.add((event.asset, event.holder))
    for account in counting if event.units else ():
        add(state.held.setdefault(class_id, {}), account, -event.units)


@on(events.Accrued)
def accrued(step: Step, event: events.Accrued) -> None:
    """The units of an asset have earned something."""
    step.asset(event.asset).accrued += event.amount


@on(events.Claimed)
def claimed(step: Step, event: events.Claimed) -> None:
    """A holder was paid out of the escrow."""
    asset = step.asset(event.asset)
    asset.claimed += event.amount
    add(step.state.claims, (event.asset, event.account), event.amount)
    _check_claimed(step, event.asset, asset)
    paid_out(step, event.amount)


@on(events.CommonsShared)
def commons_shared(step: Step, event: events.CommonsShared) -> None:
    """What the commons has earned is all groups' in equal parts."""
    asset = step.asset(event.asset)
    asset.shared += event.amount
    _check_claimed(step, event.asset, asset)


@on(events.CommonsClaimed)
def commons_claimed(step: Step, event: events.CommonsClaimed) -> None:
    """A group was paid out of the escrow."""
    add(step.state.commons_claims, event.root, event.amount)
    paid_out(step, event.amount)


@on(events.UnitsRecovered)
def units_recovered(step: Step, event: events.UnitsRecovered) -> None:
    """Who took a member's place has what it had: the units came by a transfer before."""
    asset = step.asset(event.asset)
    if asset.operator == event.member:
        asset.operator = event.successor


@on(events.Taken, events.OverLimit)
def told(step: Step, event: events.Taken | events.OverLimit) -> None:
    """Units out of the commons are a transfer of their own; who is over a limit follows from the sums."""


def paid_out(step: Step, amount: int) -> None:
    """The escrow has less."""
    state = step.state
    state.escrow -= amount
    # From the middle of the chain on, what was in the escrow before is unknown: the token's balances show what it grew.
    held = state.known is not None or state.escrow >= 0
    step.check(Rule.ESCROW, held, lambda: f"{-state.escrow} wei more left the escrow than buyers paid")


def _check_claimed(step: Step, of: int, asset: Asset) -> None:
    within = asset.claimed + asset.shared <= asset.accrued
    step.check(Rule.PAID, within or step.state.known is not None, lambda: f"asset {of} paid more than it earned")


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
    losing, winning = step.counting(event.sender), step.counting(event.receiver)
    step.need(("holding", event.id, event.sender), ("holding", event.id, event.receiver))
    step.need(*(("held", class_id, account) for account in (*losing, *winning)))
    root = winning[-1]

    step.move(state.holdings, event.id, event.sender, event.receiver, event.amount)
    held, retired = state.held.setdefault(class_id, {}), step.asset(event.id).retired
    if retired:
        state.uncounted |= {(event.id, event.sender), (event.id, event.receiver)} - {(event.id, ZERO)}
    nobodys = (ZERO, state.ledger)
    for account in losing if event.sender not in nobodys and not retired else ():
        add(held, account, -event.amount)
    if event.receiver == state.ledger:
        return
    replaced = state.members.get(event.sender)
    if replaced is None or replaced.successor is None:  # what is recovered comes to whoever stands there
        step.check_active(event.receiver)
    if retired:
        return
    for account in winning:
        add(held, account, event.amount)
    if root == losing[-1]:
        return
    now, most = held.get(root, 0), state.most_units(class_id, step.block)
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
