"""The events of Access and Meter into rows: offers, leases, what was delivered, anchors."""

from typing import assert_never

from commonhold.chain import events
from commonhold.chain.stamp import BlockStamp
from commonhold.mirror.rows import Row, Rows
from commonhold.mirror.step import MirrorBroken, add, known, text
from commonhold.mirror.tables import anchor, delivered, former_key, lease, offer
from commonhold.units import hex_text

UsedEvent = (
    events.Opened
    | events.Bought
    | events.Redeemed
    | events.LeaseSplit
    | events.ToppedUp
    | events.KeyRotated
    | events.Refunded
    | events.CreditsRefunded
    | events.LeaseRecovered
    | events.Settled
    | events.Anchored
)


async def apply(rows: Rows, stamp: BlockStamp, event: UsedEvent) -> None:
    """The rows say what `event`, in block `stamp`, tells."""
    match event:
        case events.Opened():
            await rows.insert(
                offer,
                credit_id=event.id,
                asset=event.asset,
                window=event.window,
                tranche=event.tranche,
                price_wei=event.price,
            )
        case events.Redeemed():
            # The burn of the credits is a Transfer of its own.
            await rows.insert(
                lease,
                lease=event.lease,
                holder=event.holder,
                credit_id=event.id,
                seconds=event.amount,
                starts_at=event.starts_at,
                level=event.level,
                session_key=event.key_x + event.key_y,
                part_of=None,
                redeemed_block=stamp.number,
                **_UNUSED,
            )
        case events.LeaseSplit():
            await _split(rows, stamp, event)
        case events.ToppedUp():
            old = await known(rows, lease, lease=event.lease)
            await rows.update(lease, old, seconds=old["seconds"] + event.amount, **_changed(old))
        case events.KeyRotated():
            await _rotated(rows, event)
        case events.Refunded():
            await rows.update(lease, await known(rows, lease, lease=event.lease), refunded_wei=event.amount)
        case events.LeaseRecovered():
            await rows.update(lease, await known(rows, lease, lease=event.lease), holder=event.successor)
        case events.Settled():
            await _settled(rows, event)
        case events.Anchored():
            await rows.insert(
                anchor,
                submitter=event.submitter,
                epoch=event.epoch,
                root=event.root,
                previous=event.previous,
                count=event.count,
                gpu_ms=event.gpu_ms,
                uri=text(event.uri),
                block_number=stamp.number,
            )
        case events.Bought() | events.CreditsRefunded():
            pass  # kept in the log: both are Transfers of their own
        case _:
            assert_never(event)


_UNUSED = {"key_number": 0, "changes": 0, "settled_ms": 0, "paid_wei": 0, "refunded_wei": None}


def _changed(old: Row) -> dict[str, int]:
    return {"changes": old["changes"] + 1}


async def _split(rows: Rows, stamp: BlockStamp, event: events.LeaseSplit) -> None:
    """Part of a lease is one of its own, of the same holder, credit and level."""
    old = await known(rows, lease, lease=event.lease)
    if old["seconds"] < event.amount:
        raise MirrorBroken(f"lease {hex_text(event.lease)}: expected {event.amount} s at least, got {old['seconds']}")
    await rows.update(lease, old, seconds=old["seconds"] - event.amount, **_changed(old))
    await rows.insert(
        lease,
        lease=event.part,
        holder=old["holder"],
        credit_id=old["credit_id"],
        seconds=event.amount,
        starts_at=event.starts_at,
        level=old["level"],
        session_key=event.key_x + event.key_y,
        part_of=event.lease,
        redeemed_block=stamp.number,
        **_UNUSED,
    )


async def _rotated(rows: Rows, event: events.KeyRotated) -> None:
    """The lease has another session key; the one before is kept, with its end."""
    old = await known(rows, lease, lease=event.lease)
    if old["key_number"] + 1 != event.number:
        raise MirrorBroken(f"lease {hex_text(event.lease)}: expected key {old['key_number'] + 1}, got {event.number}")
    former = {"number": old["key_number"], "session_key": old["session_key"], "until": event.until}
    await rows.insert(former_key, lease=event.lease, **former)
    key = {"session_key": event.key_x + event.key_y, "key_number": event.number}
    await rows.update(lease, old, **key, **_changed(old))


async def _settled(rows: Rows, event: events.Settled) -> None:
    """What was delivered and paid: in total for the lease, and the time added up for the group."""
    old = await known(rows, lease, lease=event.lease)
    before = event.gpu_ms - event.added_ms
    if old["settled_ms"] != before:
        raise MirrorBroken(
            f"lease {hex_text(event.lease)}: expected {before} ms settled before, got {old['settled_ms']}"
        )
    await rows.update(lease, old, settled_ms=event.gpu_ms, paid_wei=old["paid_wei"] + event.paid)
    await add(
        rows,
        delivered,
        "gpu_ms",
        event.added_ms,
        class_id=event.class_id,
        window=event.window,
        root=event.root,
        level=event.level,
    )
