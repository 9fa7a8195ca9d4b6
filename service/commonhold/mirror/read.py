"""What the mirror says, for the stages after it: plain values, one question a function.

All answers of one `ReadDb` are true at the same block, the one that `position` names; those asked with `at`, at an
earlier block, which `at_block` has looked up. `part`: only these places of a list.
"""

from typing import Any, TypeVar

import sqlalchemy as sa

from commonhold.db import ReadDb
from commonhold.errors import CommonholdError, Unavailable
from commonhold.mirror import history
from commonhold.mirror import tables as t
from commonhold.mirror.values import Anchor as Anchor
from commonhold.mirror.values import AssetRow as AssetRow
from commonhold.mirror.values import ClassRow as ClassRow
from commonhold.mirror.values import Credit as Credit
from commonhold.mirror.values import Delivered as Delivered
from commonhold.mirror.values import FormerKey as FormerKey
from commonhold.mirror.values import Holding as Holding
from commonhold.mirror.values import LeaseRow as LeaseRow
from commonhold.mirror.values import Member as Member
from commonhold.mirror.values import Offer as Offer
from commonhold.mirror.values import Past as Past
from commonhold.mirror.values import Position as Position
from commonhold.units import Address, AssetId, BlockNumber, CreditId, Hash32, Seconds, Units, Window

R = TypeVar("R")


class MirrorEmpty(Unavailable):
    """No follower has started on this database."""

    code = "mirror_empty"


class BlockNotMirrored(CommonholdError):
    """A block before the deployment, or after the last one that is mirrored."""

    status = 404
    code = "block_not_mirrored"


async def position(db: ReadDb) -> Position:
    """Where the mirror stands. Raises MirrorEmpty."""
    c = t.cursor.c
    found = await _one(db, Position, sa.select(c.number, c.hash, c.timestamp, c.finalized))
    if found is None:
        raise MirrorEmpty("mirror empty: no follower has started on this database")
    return found


async def at_block(db: ReadDb, number: int) -> Past:
    """The block as one to read at. Raises MirrorEmpty and BlockNotMirrored."""
    row = (await db.execute(sa.select(t.cursor.c.first, t.cursor.c.number))).one_or_none()
    if row is None:
        raise MirrorEmpty("mirror empty: no follower has started on this database")
    first, last = row
    if not first <= number <= last:
        raise BlockNotMirrored(
            f"block {number}: expected one from the deployment's, {first}, to the last mirrored, {last}",
            details={"first": first, "last": last},
        )
    return Past(BlockNumber(number))


async def block_hash(db: ReadDb, number: int) -> Hash32 | None:
    """The block's hash; None: it is not kept, of final blocks without events."""
    found = (await db.execute(sa.select(t.block.c.hash).where(t.block.c.number == number))).scalar_one_or_none()
    return None if found is None else Hash32(found)


async def counts(db: ReadDb) -> dict[str, int]:
    """How many rows there are of what people ask for, by the names that the API gives them."""
    named = {
        "members": t.member,
        "classes": t.asset_class,
        "assets": t.asset,
        "holdings": t.holding,
        "offers": t.offer,
        "leases": t.lease,
        "anchors": t.anchor,
    }
    each = [sa.select(sa.func.count()).select_from(table).scalar_subquery() for table in named.values()]
    return dict(zip(named, (await db.execute(sa.select(*each))).one(), strict=True))


async def member(db: ReadDb, address: Address, at: Past | None = None) -> Member | None:
    """The member; None: never admitted."""
    rows = _rows(t.member, at, address=address)
    return await _one(db, Member, sa.select(rows).where(rows.c.address == address))


async def members(db: ReadDb, at: Past | None = None, part: slice | None = None) -> list[Member]:
    """All members, in order of admission."""
    rows = _rows(t.member, at)
    return await _all(db, Member, sa.select(rows).order_by(rows.c.since, rows.c.address), part)


async def root_of(db: ReadDb, address: Address, at: Past | None = None) -> Address:
    """The root of the account's group; the account itself when it is no member."""
    found = await member(db, address, at)
    return address if found is None else Address(found.root)


async def group_sizes(db: ReadDb) -> dict[Address, int]:
    """How many members each group has, by its root."""
    c = t.member.c
    found = await db.execute(sa.select(c.root, sa.func.count()).group_by(c.root))
    return {Address(root): int(size) for root, size in found}


async def asset_class(db: ReadDb, class_id: Hash32, at: Past | None = None) -> ClassRow | None:
    """The class; None: there is none."""
    rows = _rows(t.asset_class, at, class_id=class_id)
    return await _one(db, ClassRow, sa.select(rows).where(rows.c.class_id == class_id))


async def classes(db: ReadDb, at: Past | None = None) -> list[ClassRow]:
    """All classes, by name."""
    rows = _rows(t.asset_class, at)
    return await _all(db, ClassRow, sa.select(rows).order_by(rows.c.name))


async def asset(db: ReadDb, asset: AssetId, at: Past | None = None) -> AssetRow | None:
    """The asset; None: there is none."""
    rows = _rows(t.asset, at, asset=asset)
    return await _one(db, AssetRow, sa.select(rows).where(rows.c.asset == asset))


async def assets(db: ReadDb, at: Past | None = None, part: slice | None = None) -> list[AssetRow]:
    """All assets, by class and id."""
    rows = _rows(t.asset, at)
    return await _all(db, AssetRow, sa.select(rows).order_by(rows.c.class_id, rows.c.asset), part)


async def gateways(db: ReadDb) -> list[str]:
    """Where the assets that nodes serve are used, ascending, each once."""
    c = t.asset.c
    return list(
        (await db.execute(sa.select(c.uri).where(c.meter_key.is_not(None)).distinct().order_by(c.uri))).scalars()
    )


async def devices(db: ReadDb, asset: AssetId, at: Past | None = None) -> list[Hash32]:
    """The device commitments of an asset, ascending."""
    rows = _rows(t.device, at)
    found = sa.select(rows.c.device).where(rows.c.asset == asset).order_by(rows.c.device)
    return [Hash32(device) for device in (await db.execute(found)).scalars()]


async def holding(db: ReadDb, asset: AssetId, owner: Address, at: Past | None = None) -> Units:
    """Units of the asset that the account owns."""
    c = _rows(t.holding, at, asset=asset, owner=owner).c
    return Units(await _sum(db, sa.select(c.units).where(c.asset == asset, c.owner == owner)))


async def owner_of(db: ReadDb, asset: AssetId, at: Past | None = None, part: slice | None = None) -> list[Holding]:
    """Who owns the asset, the largest owner first."""
    rows = _rows(t.holding, at, asset=asset)
    owners = sa.select(*t.shown_in(rows, t.holding)).where(rows.c.asset == asset)
    return await _all(db, Holding, owners.order_by(rows.c.units.desc(), rows.c.owner), part)


async def holdings(
    db: ReadDb,
    *,
    asset: AssetId | None = None,
    owner: Address | None = None,
    at: Past | None = None,
    part: slice | None = None,
) -> list[Holding]:
    """Holdings of one asset, one owner, both or all, by asset and owner."""
    rows = _rows(t.holding, at, asset=asset, owner=owner)
    wanted = _given((rows.c.asset, asset), (rows.c.owner, owner))
    found = sa.select(*t.shown_in(rows, t.holding)).where(*wanted)
    return await _all(db, Holding, found.order_by(rows.c.asset, rows.c.owner), part)


async def held_by(db: ReadDb, class_id: Hash32, root: Address, at: Past | None = None) -> Units:
    """Units of the class that the group of `root` owns, as ILedger.heldBy."""
    units, of, owned = _owned(class_id, at)
    return Units(await _sum(db, owned.with_only_columns(sa.func.sum(units)).where(of == root)))


async def group_holdings(
    db: ReadDb, class_id: Hash32, at: Past | None = None, part: slice | None = None
) -> list[tuple[Address, Units]]:
    """(root, units) of every group that owns some of the class, the largest first. The commons is nobody's."""
    each, root, owned = _owned(class_id, at)
    units = sa.func.sum(each)
    found = owned.with_only_columns(root, units).group_by(root).order_by(units.desc(), root)
    return [(Address(row[0]), Units(int(row[1]))) for row in await db.execute(_cut(found, part))]


async def offer(db: ReadDb, credit_id: CreditId) -> Offer | None:
    """The tranche that these credits are of; None: not open."""
    return await _one(db, Offer, sa.select(t.offer).where(t.offer.c.credit_id == credit_id))


async def offers(db: ReadDb, asset: AssetId | None = None, part: slice | None = None) -> list[Offer]:
    """All tranches, or those of one asset, by id: asset, window, tranche."""
    wanted = _given((t.offer.c.asset, asset))
    return await _all(db, Offer, sa.select(t.offer).where(*wanted).order_by(t.offer.c.credit_id), part)


async def credits(db: ReadDb, holder: Address, at: Past | None = None, part: slice | None = None) -> list[Credit]:
    """Credits of an account, by id."""
    rows = _rows(t.credit, at, holder=holder)
    found = sa.select(*t.shown_in(rows, t.credit)).where(rows.c.holder == holder)
    return await _all(db, Credit, found.order_by(rows.c.credit_id), part)


async def credit_seconds(db: ReadDb, credit_id: CreditId, holder: Address) -> Seconds:
    """Credits of one id that the account holds."""
    c = t.credit.c
    return Seconds(await _sum(db, sa.select(c.seconds).where(c.credit_id == credit_id, c.holder == holder)))


async def acquired_by(db: ReadDb, class_id: Hash32, window: Window, root: Address) -> Seconds:
    """Seconds of the class and window that the group of `root` holds or has redeemed, as IAccess.acquiredBy for windows
    that have not ended."""
    held = await _group_seconds(db, t.credit, class_id, window, root)
    return Seconds(held + await _group_seconds(db, t.lease, class_id, window, root))


async def redeemed_by(db: ReadDb, class_id: Hash32, window: Window, root: Address) -> Seconds:
    """Seconds of the class and window that the group of `root` has redeemed, as IAccess.redeemedBy."""
    return Seconds(await _group_seconds(db, t.lease, class_id, window, root))


async def issued(db: ReadDb, asset: AssetId, window: Window) -> Seconds:
    """Credits ever issued for the asset and window: held and redeemed ones. As IAccess.issued for windows that have not
    ended: those refunded then are no more."""
    total = 0
    for table in (t.credit, t.lease):
        of = sa.select(sa.func.sum(table.c.seconds)).join_from(table, t.offer)
        total += await _sum(db, of.where(t.offer.c.asset == asset, t.offer.c.window == window))
    return Seconds(total)


async def lease(db: ReadDb, lease: Hash32, at: Past | None = None) -> LeaseRow | None:
    """The lease; None: there is none."""
    rows, found = _leases(at, lease=lease)
    return await _one(db, LeaseRow, found.where(rows.c.lease == lease))


async def leases(
    db: ReadDb,
    holder: Address | None = None,
    asset: AssetId | None = None,
    at: Past | None = None,
    part: slice | None = None,
) -> list[LeaseRow]:
    """Leases of one holder, one asset, both or all, in order of redemption."""
    rows, found = _leases(at, holder=holder)
    wanted = _given((rows.c.holder, holder), (t.offer.c.asset, asset))
    return await _all(db, LeaseRow, found.where(*wanted).order_by(rows.c.redeemed_block, rows.c.lease), part)


async def newest_leases(db: ReadDb, most: int) -> list[LeaseRow]:
    """The last leases, at most `most`, in order of redemption."""
    rows, found = _leases(None)
    newest = found.order_by(rows.c.redeemed_block.desc(), rows.c.lease.desc()).limit(most)
    return (await _all(db, LeaseRow, newest))[::-1]


async def redemptions_since(db: ReadDb, root: Address, since_s: int) -> int:
    """How many leases members of the group of `root` have redeemed in blocks after that time."""
    joined = t.lease.join(t.member, t.member.c.address == t.lease.c.holder)
    joined = joined.join(t.block, t.block.c.number == t.lease.c.redeemed_block)  # blocks with events stay
    found = sa.select(sa.func.count()).select_from(joined)
    return int((await db.execute(found.where(t.member.c.root == root, t.block.c.timestamp > since_s))).scalar_one())


async def former_keys(db: ReadDb, lease: Hash32) -> list[FormerKey]:
    """The session keys that the lease had before its present one, the oldest first."""
    c = t.former_key.c
    return await _all(db, FormerKey, sa.select(t.former_key).where(c.lease == lease).order_by(c.number))


async def delivered(db: ReadDb) -> list[Delivered]:
    """GPU-milliseconds settled, per class, window, group (as it was when settled) and assurance level."""
    c = t.delivered.c
    return await _all(db, Delivered, sa.select(t.delivered).order_by(c.class_id, c.window, c.root, c.level))


async def anchors(db: ReadDb, submitter: Address | None = None, part: slice | None = None) -> list[Anchor]:
    """All anchors, or those of one submitter, by epoch."""
    c = t.anchor.c
    found = sa.select(t.anchor).where(*_given((c.submitter, submitter))).order_by(c.submitter, c.epoch)
    return await _all(db, Anchor, found, part)


async def newest_anchors(db: ReadDb, most: int) -> list[Anchor]:
    """The last anchors on the chain, of whichever submitter, at most `most`; by submitter and epoch."""
    c = t.anchor.c
    newest = sa.select(t.anchor).order_by(c.block_number.desc(), c.epoch.desc(), c.submitter.desc()).limit(most)
    return sorted(await _all(db, Anchor, newest), key=lambda row: (row.submitter, row.epoch))


def _rows(table: sa.Table, at: Past | None, **fixed: object) -> sa.FromClause:
    """The table, or what it was. fixed: as of `history.as_of`; None: any."""
    if at is None:
        return table
    return history.as_of(table, at.number, **{name: value for name, value in fixed.items() if value is not None})


def _owned(class_id: Hash32, at: Past | None) -> tuple[sa.ColumnElement[Any], sa.ColumnElement[Any], sa.Select[Any]]:
    """Units, root, and FROM the holdings of a class with their owners' groups. The commons has no member row, so it is
    left out. An asset never leaves its class."""
    h, m = _rows(t.holding, at), _rows(t.member, at)
    joined = h.join(t.asset, t.asset.c.asset == h.c.asset).join(m, m.c.address == h.c.owner)
    counted = sa.select(h.c.units).select_from(joined).where(t.asset.c.class_id == class_id, h.c.counted)
    return h.c.units, m.c.root, counted


def _leases(at: Past | None, **fixed: object) -> tuple[sa.FromClause, sa.Select[Any]]:
    """The leases, and with them what their credits were for, which never changes."""
    rows, o = _rows(t.lease, at, **fixed), t.offer.c
    joined = rows.join(t.offer, o.credit_id == rows.c.credit_id)
    return rows, sa.select(rows, o.asset, o.window, o.tranche, o.price_wei).select_from(joined)


async def _group_seconds(db: ReadDb, table: sa.Table, class_id: Hash32, window: Window, root: Address) -> int:
    """Sum of `seconds` of a class and window in `table` (credit or lease) over the members of a group."""
    joined = table.join(t.offer).join(t.asset).join(t.member, t.member.c.address == table.c.holder)
    wanted = (t.asset.c.class_id == class_id, t.offer.c.window == window, t.member.c.root == root)
    return await _sum(db, sa.select(sa.func.sum(table.c.seconds)).select_from(joined).where(*wanted))


def _given(*pairs: tuple[sa.ColumnElement[Any], object]) -> list[sa.ColumnElement[bool]]:
    return [column == value for column, value in pairs if value is not None]


async def _sum(db: ReadDb, statement: sa.Select[Any]) -> int:
    """One number, 0 for none; PostgreSQL sums 64-bit integers to a decimal."""
    return int((await db.execute(statement)).scalar() or 0)


async def _one(db: ReadDb, cls: type[R], statement: sa.Select[Any]) -> R | None:
    row = (await db.execute(statement)).one_or_none()
    return None if row is None else cls(*row)


async def _all(db: ReadDb, cls: type[R], statement: sa.Select[Any], part: slice | None = None) -> list[R]:
    return [cls(*row) for row in await db.execute(_cut(statement, part))]


def _cut(statement: sa.Select[Any], part: slice | None) -> sa.Select[Any]:
    return statement if part is None else statement.offset(part.start).limit(part.stop - part.start)
