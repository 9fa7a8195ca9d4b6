"""Members' events into rows: who takes part, and who counts with whom."""

from typing import assert_never

import sqlalchemy as sa

from commonhold.chain import events
from commonhold.mirror.rows import Row, Rows
from commonhold.mirror.step import MirrorBroken, known
from commonhold.mirror.tables import member
from commonhold.units import Address, hex_text

GroupEvent = (
    events.Admitted
    | events.Renewed
    | events.Lapsed
    | events.Attached
    | events.DetachStarted
    | events.DetachChallenged
    | events.DetachCancelled
    | events.Detached
    | events.RecoveryStarted
    | events.RecoveryVetoed
    | events.Recovered
    | events.GiftsRefused
)


async def apply(rows: Rows, event: GroupEvent) -> None:
    """The rows say what `event` tells."""
    match event:
        case events.Admitted():
            await rows.insert(member, **_new(event.member, event.since, event.until), nullifier=event.nullifier)
        case events.Attached():
            await _attached(rows, event)
        case events.Detached():
            await _detached(rows, event)
        case events.Recovered():
            await _recovered(rows, event)
        case events.Renewed():
            old = await known(rows, member, address=event.member)
            counted = old["counted"] or old["controller"] is None
            await rows.update(member, old, since=event.since, until=event.until, counted=counted)
        case events.Lapsed():
            await rows.update(member, await known(rows, member, address=event.member), counted=False)
        case events.DetachStarted() | events.DetachChallenged():
            old = await known(rows, member, address=event.member)
            await rows.update(member, old, detach_ready_at=event.ready_at)
        case events.DetachCancelled():
            await rows.update(member, await known(rows, member, address=event.member), detach_ready_at=None)
        case events.RecoveryStarted():
            old = await known(rows, member, address=event.member)
            await rows.update(member, old, recovery_to=event.successor, recovery_ready_at=event.ready_at)
        case events.RecoveryVetoed():
            old = await known(rows, member, address=event.member)
            await rows.update(member, old, recovery_to=None, recovery_ready_at=None)
        case events.GiftsRefused():
            old = await known(rows, member, address=event.member)
            await rows.update(member, old, refuses_gifts=event.refused)
        case _:
            assert_never(event)


def _new(address: Address, since: int, until: int) -> dict[str, object]:
    return {
        "address": address,
        "controller": None,
        "root": address,
        "since": since,
        "until": until,
        "counted": True,
        "refuses_gifts": False,
        "successor": None,
        "detach_ready_at": None,
        "recovery_to": None,
        "recovery_ready_at": None,
    }


async def _attached(rows: Rows, event: events.Attached) -> None:
    """The group of `old_root` joins the group of `new_root`; its root gets a controller."""
    await known(rows, member, address=event.new_root)
    for old in await _group(rows, event.old_root):
        if old["address"] == event.old_root:
            await rows.update(member, old, root=event.new_root, controller=event.new_root, counted=False)
        else:
            await rows.update(member, old, root=event.new_root)


async def _detached(rows: Rows, event: events.Detached) -> None:
    """The member, with all whose controllers lead to it, is a group of its own."""
    group = {old["address"]: old for old in await _group(rows, event.old_root)}
    for address, old in group.items():
        if address == event.member:
            changes = {"controller": None, "since": event.since, "counted": True, "detach_ready_at": None}
            await rows.update(member, old, root=event.member, **changes)
        elif event.member in _controllers(group, address):
            await rows.update(member, old, root=event.member)


async def _recovered(rows: Rows, event: events.Recovered) -> None:
    """The successor stands where the member stood, and the member below it."""
    old = await known(rows, member, address=event.member)
    is_root = old["root"] == event.member
    root = event.successor if is_root else old["root"]
    group = await _group(rows, event.member) if is_root else [old]
    place = {"controller": old["controller"], "root": root, "counted": old["counted"]}
    place["refuses_gifts"] = old["refuses_gifts"]
    await rows.insert(member, **_new(event.successor, event.since, event.until) | place, nullifier=None)
    for each in group:
        if each["address"] != event.member:
            await rows.update(member, each, root=root)
    gone = {"until": 0, "counted": False, "refuses_gifts": False}
    ended = {"detach_ready_at": None, "recovery_to": None, "recovery_ready_at": None}
    successor = {"controller": event.successor, "successor": event.successor}
    await rows.update(member, old, root=root, **gone, **ended, **successor)


async def _group(rows: Rows, root: Address) -> list[Row]:
    """All members of a group, its root among them."""
    await rows.flush()  # the group is asked for in the database
    found = await rows.db.execute(sa.select(member.c.address).where(member.c.root == root).order_by(member.c.address))
    addresses = list(found.scalars())
    if root not in addresses:
        raise MirrorBroken(f"{hex_text(root)} is not the root of a group")
    return [await known(rows, member, address=address) for address in addresses]


def _controllers(group: dict[bytes, Row], address: bytes) -> list[bytes]:
    """The account's controller, that one's, and so on to the root."""
    found: list[bytes] = []
    while (controller := group[address]["controller"]) is not None:
        found.append(controller)
        address = controller
    return found
