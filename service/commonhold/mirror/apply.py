"""One event of the chain into rows. The only file that changes what the mirror says.

In: events in the order of the chain, each with its block. Nothing is decided here: the contracts have decided, and what
cannot follow from the rows before means that the mirror has missed something. Called by follow.py; commits nothing.
"""

from collections.abc import Sequence
from typing import assert_never

import sqlalchemy as sa

from commonhold.chain import events
from commonhold.chain.events import ChainEvent
from commonhold.chain.stamp import BlockStamp
from commonhold.db import Db
from commonhold.errors import CommonholdError
from commonhold.mirror import digest
from commonhold.mirror.rows import Row, RowExists, Rows
from commonhold.mirror.tables import (
    anchor,
    asset,
    asset_class,
    credit,
    delivered,
    device,
    holding,
    lease,
    member,
    offer,
)
from commonhold.signing import ZERO32
from commonhold.units import hex_text

ZERO_ADDRESS = bytes(20)

# What the database says of a row that breaks its rules.
_BREAKS = (sa.exc.IntegrityError, sa.exc.DataError, OverflowError)


# By contract, the table of its balances, and the columns of it: of what, whose, how much.
_BALANCES = {"Ledger": ("holding", "asset", "owner", "units"), "Access": ("credit", "credit_id", "holder", "seconds")}


class MirrorBroken(CommonholdError):
    """An event does not fit the rows: the mirror stops, since skipping it would leave a hole."""

    status = 500
    code = "mirror_broken"


async def apply(db: Db, stamp: BlockStamp, event: ChainEvent) -> None:
    """The rows say what `event`, all that happened in block `stamp`, tells.

    Raises MirrorBroken; the transaction can then only be rolled back.
    """
    await apply_all(db, [(stamp, event)])


async def apply_all(db: Db, told: Sequence[tuple[BlockStamp, ChainEvent]], *, more: bool = False) -> None:
    """The rows say what all these events of whole blocks tell, in their order; so do the history and the digest. Each
    row is read once and written once. `more`: as digest.advance.

    Raises MirrorBroken, naming the event, or the blocks where only the sum of the events breaks a rule of the database;
    the transaction can then only be rolled back.
    """
    if not told:
        return
    rows = Rows(db)
    await _load_balances(rows, [event for _, event in told if isinstance(event, events.Transfer)])
    for stamp, event in told:
        rows.enter(stamp.number)
        try:
            if isinstance(event, events.Transfer):
                _transfer(rows, event)
            else:
                await _apply(rows, stamp, event)
            if len(told) == 1:
                await rows.flush()
        except (MirrorBroken, RowExists) as error:
            raise MirrorBroken(f"block {stamp.number} ({hex_text(stamp.hash)}): {error}; event: {event}") from error
        except _BREAKS as error:
            raise MirrorBroken(
                f"block {stamp.number} ({hex_text(stamp.hash)}): {_cause(error)}; event: {event}"
            ) from error
    first, last = told[0][0], told[-1][0]
    try:
        changed = await rows.finish()
    except _BREAKS as error:
        raise MirrorBroken(
            f"blocks {first.number} to {last.number} ({hex_text(last.hash)}): {_cause(error)}"
        ) from error
    if changed:
        await digest.advance(db, last.number, changed, more=more)


async def _load_balances(rows: Rows, transfers: Sequence[events.Transfer]) -> None:
    """What nearly all events are about is read together."""
    for contract, table in (("Ledger", holding), ("Access", credit)):
        moved = [event for event in transfers if event.contract == contract and event.amount]
        owners = {(event.id, owner) for event in moved for owner in (event.sender, event.receiver)}
        await rows.load(table, [key for key in owners if key[1] != ZERO_ADDRESS])


def _cause(error: Exception) -> object:
    return error.orig if isinstance(error, sa.exc.DBAPIError) else error


async def _apply(rows: Rows, stamp: BlockStamp, event: ChainEvent) -> None:
    match event:
        case events.Admitted():
            await rows.insert(
                member,
                address=event.member,
                nullifier=event.nullifier,
                controller=None,
                root=event.member,
                since=event.since,
                until=event.until,
            )
        case events.Renewed():
            await rows.update(member, await _known(rows, member, address=event.member), until=event.until)
        case events.Attached():
            await _attached(rows, event)
        case events.ClassCreated():
            await _class_created(rows, event)
        case events.Registered():
            await _registered(rows, stamp, event)
        case events.AppraisalRenewed():
            await rows.update(
                asset,
                await _known(rows, asset, asset=event.asset),
                level=event.level,
                policy=_text(event.policy),
                content_hash=event.content_hash,
                result_hash=event.result_hash,
                meter_key=_point(event.meter_key_x, event.meter_key_y),
                appraised_at=stamp.timestamp,
                expires_at=event.expires_at,
            )
        case events.Transfer():
            _transfer(rows, event)
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
                session_key=event.key_x + event.key_y,
                redeemed_block=stamp.number,
                settled_ms=0,
                paid_wei=0,
            )
        case events.Released():
            old = await _known(rows, lease, lease=event.lease)
            await rows.update(lease, old, paid_wei=old["paid_wei"] + event.amount)
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
                uri=_text(event.uri),
                block_number=stamp.number,
            )
        case events.Bought() | events.OperatorSet() | events.Approval() | events.EIP712DomainChanged():
            pass  # kept in the log; a purchase is a Transfer of its own, and permissions are the wallets' affair
        case _:
            assert_never(event)


async def _attached(rows: Rows, event: events.Attached) -> None:
    """The group of `old_root` joins the group of `new_root`; its root gets a controller."""
    await _known(rows, member, address=event.new_root)
    await rows.flush()  # the group is asked for in the database
    group = await rows.db.execute(sa.select(member).where(member.c.root == event.old_root).order_by(member.c.address))
    joining = group.mappings().all()
    if event.old_root not in (old["address"] for old in joining):
        raise MirrorBroken(f"{hex_text(event.old_root)} is not the root of a group")
    for old in [await _known(rows, member, address=found["address"]) for found in joining]:
        if old["address"] == event.old_root:
            await rows.update(member, old, root=event.new_root, controller=event.new_root)
        else:
            await rows.update(member, old, root=event.new_root)


async def _class_created(rows: Rows, event: events.ClassCreated) -> None:
    await rows.insert(
        asset_class,
        class_id=event.class_id,
        name=_text(event.name),
        kind=event.kind,
        unit=_text(event.unit),
        hold_bps=event.hold_bps,
        use_bps=event.use_bps,
        min_level=event.min_level,
        floor_units=event.floor_units,
        total_units=0,
    )


async def _registered(rows: Rows, stamp: BlockStamp, event: events.Registered) -> None:
    """A new asset; its units count in the total of the class. Its holdings are Transfers of their own."""
    counted_in = await _known(rows, asset_class, class_id=event.class_id)
    await rows.update(asset_class, counted_in, total_units=counted_in["total_units"] + event.units)
    await rows.insert(
        asset,
        asset=event.asset,
        class_id=event.class_id,
        operator=event.registrant,
        units=event.units,
        level=event.level,
        policy=_text(event.policy),
        content_hash=event.content_hash,
        result_hash=event.result_hash,
        meter_key=_point(event.meter_key_x, event.meter_key_y),
        appraised_at=stamp.timestamp,
        expires_at=event.expires_at,
        uri=_text(event.uri),
    )
    for commitment in event.devices:
        await rows.insert(device, device=commitment, asset=event.asset)


def _transfer(rows: Rows, event: events.Transfer) -> None:
    """Nearly all events are these, and what they are about was loaded.

    Zero moves nothing, and ERC-6909 lets anyone move zero of an id that does not exist.
    """
    if event.amount == 0:
        return
    table, of, by, what = _BALANCES[event.contract]
    for owner, amount in ((event.sender, -event.amount), (event.receiver, event.amount)):
        if owner == ZERO_ADDRESS:
            continue
        key = (table, event.id, owner)
        old = rows.loaded(key)
        total = amount if old is None else old[what] + amount
        if total < 0:
            raise MirrorBroken(f"{table} {what}: expected at least {-amount}, got {total - amount}")
        rows.change(key, old, {of: event.id, by: owner, what: total} if total else None)


async def _settled(rows: Rows, event: events.Settled) -> None:
    """What was delivered, in total for the lease and added up for the group; the payment is a Released of its own."""
    old = await _known(rows, lease, lease=event.lease)
    before = event.gpu_ms - event.added_ms
    if old["settled_ms"] != before:
        raise MirrorBroken(
            f"lease {hex_text(event.lease)}: expected {before} ms settled before, got {old['settled_ms']}"
        )
    await rows.update(lease, old, settled_ms=event.gpu_ms)
    await _add(
        rows,
        delivered,
        "gpu_ms",
        event.added_ms,
        class_id=event.class_id,
        window=event.window,
        root=event.root,
        level=event.level,
    )


async def _add(rows: Rows, table: sa.Table, column: str, amount: int, **key: bytes | int) -> None:
    """The sum in `column` changed by `amount`. A row with nothing in it is none."""
    old = await rows.get(table, **key)
    total = amount + (0 if old is None else old[column])
    if total < 0:
        raise MirrorBroken(f"{table.name} {column}: expected at least {-amount}, got {total - amount}")
    if old is None:
        await rows.insert(table, **key, **{column: total})
    elif total == 0:
        await rows.delete(table, old)
    else:
        await rows.update(table, old, **{column: total})


async def _known(rows: Rows, table: sa.Table, **key: bytes | int) -> Row:
    row = await rows.get(table, **key)
    if row is None:
        shown = ", ".join(hex_text(part) if isinstance(part, bytes) else str(part) for part in key.values())
        raise MirrorBroken(f"no {table.name} {shown}")
    return row


def _point(x: bytes, y: bytes) -> bytes | None:
    return None if x == y == ZERO32 else x + y


def _text(text: str) -> str:
    """Text that every database can store. Anyone may write a NUL into a URI; PostgreSQL refuses it."""
    return text.replace("\0", "\ufffd")
