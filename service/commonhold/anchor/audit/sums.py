"""What must add up inside the replayed state, whatever the events were."""

from collections import Counter
from collections.abc import Iterator

from commonhold.anchor.audit.state import State
from commonhold.units import Hash32, credit_parts


def differences(state: State) -> Iterator[str]:
    """Each sum that does not come out."""
    yield from (f"credits {credit} burnt without a lease: {n}" for (credit, _), n in state.burnt.items())
    yield from _units(state)
    yield from _credits(state)
    settled = sum(row.settled_ms for row in state.leases.values())
    if not settled == sum(state.delivered.values()) == sum(state.hours.values()):
        yield f"leases settled {settled} ms, classes were delivered {sum(state.delivered.values())} ms"
    yield from _escrow(state)


def _units(state: State) -> Iterator[str]:
    """Balances of an asset are its units; of a class, what groups hold and the commons are its total; and a group holds
    what its members hold."""
    of_asset, commons, unsynced = Counter[int](), Counter[Hash32](), Counter[Hash32]()
    held = {class_id: Counter[bytes]() for class_id in state.classes}
    for (asset, owner), units in state.holdings.items():
        of_asset[asset] += units
        class_id = state.assets[asset].registered.class_id
        if owner == state.ledger:
            commons[class_id] += 0 if state.assets[asset].retired else units
        elif (asset, owner) not in state.uncounted:
            held[class_id][state.root_of(owner)] += units
            unsynced[class_id] += units if state.assets[asset].retired else 0
    registered = Counter[Hash32]()
    for asset, a in state.assets.items():
        registered[a.registered.class_id] += 0 if a.retired else a.registered.units
        if of_asset[asset] != a.registered.units:
            yield f"asset {asset} has {a.registered.units} units, its balances add up to {of_asset[asset]}"
    for class_id, c in state.classes.items():
        groups = state.held.get(class_id, {})
        if dict(held[class_id]) != groups:
            yield f"class {c.created.name}: groups hold other sums than their members"
        counted = commons[class_id] + sum(groups.values()) - unsynced[class_id]
        if not c.total == registered[class_id] == counted:
            yield (
                f"class {c.created.name}: total {c.total}, assets {registered[class_id]}, "
                f"by groups {sum(groups.values())}, in the commons {commons[class_id]}"
            )


def _credits(state: State) -> Iterator[str]:
    """Credits issued are held or redeemed."""
    there = Counter[tuple[int, int]]()
    for (credit, _), seconds in state.credits.items():
        there[credit_parts(credit)[:2]] += seconds
    for row in state.leases.values():
        there[credit_parts(row.redeemed.id)[:2]] += row.redeemed.amount
    there.update(state.paid_back)
    for key in state.issued | there:
        if state.issued.get(key, 0) != there[key]:
            yield f"asset {key[0]}, window {key[1]}: {state.issued.get(key, 0)} s issued, {there[key]} s there"


def _escrow(state: State) -> Iterator[str]:
    """All that leases paid has accrued to assets, and what was claimed of an asset is what its holders were paid."""
    accrued = sum(asset.accrued for asset in state.assets.values())
    paid = sum(row.paid for row in state.leases.values())
    if accrued != paid:
        yield f"assets earned {accrued} wei, settlements tell of {paid}"
    shared = sum(asset.shared for asset in state.assets.values())
    if (claimed := sum(state.commons_claims.values())) > shared:
        yield f"groups claimed {claimed} wei of the commons' revenue, {shared} were shared"
