"""Ledger's events into rows: classes, assets, who holds how much of what, and what it earned."""

from typing import assert_never

import sqlalchemy as sa

from commonhold.chain import events
from commonhold.chain.stamp import BlockStamp
from commonhold.mirror import governed
from commonhold.mirror.rows import Rows
from commonhold.mirror.step import ZERO_ADDRESS, MirrorBroken, add, known, point, text
from commonhold.mirror.tables import asset, asset_class, claim, commons_claim, device, holding

OwnedEvent = (
    events.ClassCreated
    | events.Registered
    | events.AppraisalRenewed
    | events.CommonsPriced
    | events.Taken
    | events.Retired
    | events.Synced
    | events.Accrued
    | events.Claimed
    | events.CommonsShared
    | events.CommonsClaimed
    | events.UnitsRecovered
    | events.OverLimit
)


async def apply(rows: Rows, stamp: BlockStamp, event: OwnedEvent) -> None:
    """The rows say what `event`, in block `stamp`, tells."""
    match event:
        case events.ClassCreated():
            await _class_created(rows, event)
        case events.Registered():
            await _registered(rows, stamp, event)
        case events.AppraisalRenewed():
            await rows.update(
                asset,
                await known(rows, asset, asset=event.asset),
                level=event.level,
                policy=text(event.policy),
                content_hash=event.content_hash,
                result_hash=event.result_hash,
                meter_key=point(event.meter_key_x, event.meter_key_y),
                appraised_at=stamp.timestamp,
                expires_at=event.expires_at,
            )
        case events.CommonsPriced():
            await rows.update(asset, await known(rows, asset, asset=event.asset), commons_price_wei=event.price)
        case events.Retired():
            await _retired(rows, event)
        case events.Synced():
            await _synced(rows, event)
        case events.Accrued():
            old = await known(rows, asset, asset=event.asset)
            await rows.update(asset, old, accrued_wei=old["accrued_wei"] + event.amount)
        case events.Claimed():
            old = await known(rows, asset, asset=event.asset)
            await rows.update(asset, old, claimed_wei=old["claimed_wei"] + event.amount)
            await add(rows, claim, "amount_wei", event.amount, asset=event.asset, account=event.account)
        case events.CommonsShared():
            old = await known(rows, asset, asset=event.asset)
            await rows.update(asset, old, shared_wei=old["shared_wei"] + event.amount)
        case events.CommonsClaimed():
            await add(rows, commons_claim, "amount_wei", event.amount, root=event.root)
        case events.UnitsRecovered():
            # The units are Transfers of their own.
            old = await known(rows, asset, asset=event.asset)
            if old["operator"] == event.member:
                await rows.update(asset, old, operator=event.successor)
        case events.Taken() | events.OverLimit():
            pass  # kept in the log: what was taken is a Transfer of its own, and who is over follows from the rows
        case _:
            assert_never(event)


async def transfer(rows: Rows, event: events.Transfer) -> None:
    """Units of an asset that is retired, or was not until this transaction; those of others are balances.py's. Who
    comes into units of a retired asset counts none."""
    if event.amount == 0:
        return
    for owner, amount in ((event.sender, -event.amount), (event.receiver, event.amount)):
        if owner == ZERO_ADDRESS:
            continue
        old = await rows.get(holding, asset=event.id, owner=owner)
        units = amount + (0 if old is None else old["units"])
        if units < 0:
            raise MirrorBroken(f"holding.units: expected at least {-amount}, got {units - amount}")
        if old is None:
            counted = not (await known(rows, asset, asset=event.id))["retired"]
            await rows.insert(holding, asset=event.id, owner=owner, units=units, counted=counted)
        elif units == 0:
            await rows.delete(holding, old)
        else:
            await rows.update(holding, old, units=units)


async def _class_created(rows: Rows, event: events.ClassCreated) -> None:
    limits = {column: getattr(event, column) for column in governed.CLASS_COLUMNS.values()}
    await rows.insert(
        asset_class,
        class_id=event.class_id,
        name=text(event.name),
        kind=event.kind,
        unit=text(event.unit),
        **limits,
        total_units=0,
    )
    for name, column in governed.CLASS_COLUMNS.items():
        await governed.begin(rows, name, event.class_id, limits[column])


async def _registered(rows: Rows, stamp: BlockStamp, event: events.Registered) -> None:
    """A new asset; its units count in the total of the class. Its holdings are Transfers of their own."""
    counted_in = await known(rows, asset_class, class_id=event.class_id)
    await rows.update(asset_class, counted_in, total_units=counted_in["total_units"] + event.units)
    await rows.insert(
        asset,
        asset=event.asset,
        class_id=event.class_id,
        operator=event.registrant,
        units=event.units,
        level=event.level,
        policy=text(event.policy),
        content_hash=event.content_hash,
        result_hash=event.result_hash,
        meter_key=point(event.meter_key_x, event.meter_key_y),
        appraised_at=stamp.timestamp,
        expires_at=event.expires_at,
        retired=False,
        commons_price_wei=0,
        accrued_wei=0,
        claimed_wei=0,
        shared_wei=0,
        uri=text(event.uri),
    )
    for commitment in event.devices:
        await rows.insert(device, device=commitment, asset=event.asset)


async def _retired(rows: Rows, event: events.Retired) -> None:
    """The units leave the class, and the devices are free."""
    counted_in = await known(rows, asset_class, class_id=event.class_id)
    if counted_in["total_units"] < event.units:
        raise MirrorBroken(f"class total: expected at least {event.units}, got {counted_in['total_units']}")
    await rows.update(asset_class, counted_in, total_units=counted_in["total_units"] - event.units)
    await rows.update(asset, await known(rows, asset, asset=event.asset), retired=True)
    await rows.flush()  # the devices are asked for in the database
    found = await rows.db.execute(sa.select(device.c.device).where(device.c.asset == event.asset))
    for commitment in found.scalars().all():
        await rows.delete(device, await known(rows, device, device=commitment))


async def _synced(rows: Rows, event: events.Synced) -> None:
    old = await rows.get(holding, asset=event.asset, owner=event.holder)
    if old is not None:
        await rows.update(holding, old, counted=False)
