"""What the mirror says, for the stages after it: plain values, one question a function.

All answers of one `ReadDb` are true at the same block, the one that `position` names.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from commonhold.db import ReadDb
from commonhold.errors import Unavailable
from commonhold.mirror import tables as t
from commonhold.units import Address, AssetId, BlockNumber, CreditId, GpuMs, Hash32, Seconds, Units, Wei, Window

R = TypeVar("R")


class MirrorEmpty(Unavailable):
    """No follower has started on this database."""

    code = "mirror_empty"


@dataclass(frozen=True, slots=True)
class Position:
    """The block that the rows are true at. No rewind goes below `finalized`."""

    number: BlockNumber
    hash: Hash32
    timestamp: int
    finalized: BlockNumber


@dataclass(frozen=True, slots=True)
class Member:
    address: Address
    nullifier: Hash32 | None  # None: it took another's place
    controller: Address | None  # None: nobody controls it, it is its group's root
    root: Address
    since: int  # start of the unbroken membership
    until: int  # 0: it was replaced
    counted: bool  # a root that is among the groups
    refuses_gifts: bool
    successor: Address | None  # who took its place
    detach_ready_at: int | None
    recovery_to: Address | None
    recovery_ready_at: int | None


@dataclass(frozen=True, slots=True)
class ClassRow:
    class_id: Hash32
    name: str
    kind: int  # 0 DATA, 1 MODEL, 2 COMPUTE
    unit: str
    hold_bps: int
    use_bps: int
    min_level: int
    floor_units: Units
    total_units: Units


@dataclass(frozen=True, slots=True)
class AssetRow:
    asset: AssetId
    class_id: Hash32
    operator: Address
    units: Units
    level: int
    policy: str
    content_hash: Hash32
    result_hash: Hash32
    meter_key: bytes | None  # x || y; None: no node serves it
    appraised_at: int
    expires_at: int
    retired: bool
    commons_price_wei: Wei  # of 1.000000 units
    accrued_wei: Wei
    claimed_wei: Wei
    shared_wei: Wei  # among the groups, of what the commons earned
    uri: str


@dataclass(frozen=True, slots=True)
class Holding:
    asset: AssetId
    owner: Address  # the ledger's own address: the commons
    units: Units
    counted: bool  # in what its group holds; False: of a retired asset, and synced


@dataclass(frozen=True, slots=True)
class Offer:
    credit_id: CreditId
    asset: AssetId
    window: Window
    tranche: int
    price_wei: Wei  # per second of one unit; 0: granted, not sold


@dataclass(frozen=True, slots=True)
class Credit:
    credit_id: CreditId
    holder: Address
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease, with what its credits were for."""

    lease: Hash32
    holder: Address
    credit_id: CreditId
    seconds: Seconds
    starts_at: int
    level: int
    session_key: bytes  # x || y, the present one
    key_number: int
    changes: int
    part_of: Hash32 | None
    redeemed_block: BlockNumber
    settled_ms: GpuMs
    paid_wei: Wei
    refunded_wei: Wei | None
    asset: AssetId
    window: Window
    tranche: int
    price_wei: Wei


@dataclass(frozen=True, slots=True)
class FormerKey:
    """A session key that was replaced; it proves use until `until`."""

    lease: Hash32
    number: int
    session_key: bytes
    until: int


@dataclass(frozen=True, slots=True)
class Delivered:
    class_id: Hash32
    window: Window
    root: Address
    level: int
    gpu_ms: GpuMs


@dataclass(frozen=True, slots=True)
class Anchor:
    submitter: Address
    epoch: int
    root: Hash32
    previous: Hash32
    count: int
    gpu_ms: GpuMs
    uri: str
    block_number: BlockNumber


async def position(db: ReadDb) -> Position:
    """Where the mirror stands. Raises MirrorEmpty."""
    c = t.cursor.c
    found = await _one(db, Position, sa.select(c.number, c.hash, c.timestamp, c.finalized))
    if found is None:
        raise MirrorEmpty("mirror empty: no follower has started on this database")
    return found


async def member(db: ReadDb, address: Address) -> Member | None:
    """The member; None: never admitted."""
    return await _one(db, Member, sa.select(t.member).where(t.member.c.address == address))


async def members(db: ReadDb) -> list[Member]:
    """All members, in order of admission."""
    return await _all(db, Member, sa.select(t.member).order_by(t.member.c.since, t.member.c.address))


async def root_of(db: ReadDb, address: Address) -> Address:
    """The root of the account's group; the account itself when it is no member."""
    root = (await db.execute(sa.select(t.member.c.root).where(t.member.c.address == address))).scalar_one_or_none()
    return address if root is None else Address(root)


async def asset_class(db: ReadDb, class_id: Hash32) -> ClassRow | None:
    """The class; None: there is none."""
    return await _one(db, ClassRow, sa.select(t.asset_class).where(t.asset_class.c.class_id == class_id))


async def classes(db: ReadDb) -> list[ClassRow]:
    """All classes, by name."""
    return await _all(db, ClassRow, sa.select(t.asset_class).order_by(t.asset_class.c.name))


async def asset(db: ReadDb, asset: AssetId) -> AssetRow | None:
    """The asset; None: there is none."""
    return await _one(db, AssetRow, sa.select(t.asset).where(t.asset.c.asset == asset))


async def assets(db: ReadDb) -> list[AssetRow]:
    """All assets, by class and id."""
    return await _all(db, AssetRow, sa.select(t.asset).order_by(t.asset.c.class_id, t.asset.c.asset))


async def devices(db: ReadDb, asset: AssetId) -> list[Hash32]:
    """The device commitments of an asset, ascending."""
    found = sa.select(t.device.c.device).where(t.device.c.asset == asset).order_by(t.device.c.device)
    return [Hash32(device) for device in (await db.execute(found)).scalars()]


async def holding(db: ReadDb, asset: AssetId, owner: Address) -> Units:
    """Units of the asset that the account owns."""
    c = t.holding.c
    return Units(await _sum(db, sa.select(c.units).where(c.asset == asset, c.owner == owner)))


async def holdings(db: ReadDb, *, asset: AssetId | None = None, owner: Address | None = None) -> list[Holding]:
    """Holdings of one asset, one owner, both or all, by asset and owner."""
    c = t.holding.c
    wanted = _given((c.asset, asset), (c.owner, owner))
    return await _all(db, Holding, sa.select(t.holding).where(*wanted).order_by(c.asset, c.owner))


async def held_by(db: ReadDb, class_id: Hash32, root: Address) -> Units:
    """Units of the class that the group of `root` owns, as ILedger.heldBy."""
    owned = _owned(class_id).add_columns(sa.func.sum(t.holding.c.units))
    return Units(await _sum(db, owned.where(t.member.c.root == root)))


async def group_holdings(db: ReadDb, class_id: Hash32) -> list[tuple[Address, Units]]:
    """(root, units) of every group that owns some of the class, the largest first. The commons is nobody's."""
    units = sa.func.sum(t.holding.c.units)
    root = t.member.c.root
    found = await db.execute(_owned(class_id).add_columns(root, units).group_by(root).order_by(units.desc(), root))
    return [(Address(row[0]), Units(int(row[1]))) for row in found]


async def offer(db: ReadDb, credit_id: CreditId) -> Offer | None:
    """The tranche that these credits are of; None: not open."""
    return await _one(db, Offer, sa.select(t.offer).where(t.offer.c.credit_id == credit_id))


async def offers(db: ReadDb, asset: AssetId | None = None) -> list[Offer]:
    """All tranches, or those of one asset, by id: asset, window, tranche."""
    wanted = _given((t.offer.c.asset, asset))
    return await _all(db, Offer, sa.select(t.offer).where(*wanted).order_by(t.offer.c.credit_id))


async def credits(db: ReadDb, holder: Address) -> list[Credit]:
    """Credits of an account, by id."""
    c = t.credit.c
    return await _all(db, Credit, sa.select(t.credit).where(c.holder == holder).order_by(c.credit_id))


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
    """Credits ever issued for the asset and window: held and redeemed ones."""
    total = 0
    for table in (t.credit, t.lease):
        of = sa.select(sa.func.sum(table.c.seconds)).join_from(table, t.offer)
        total += await _sum(db, of.where(t.offer.c.asset == asset, t.offer.c.window == window))
    return Seconds(total)


async def lease(db: ReadDb, lease: Hash32) -> LeaseRow | None:
    """The lease; None: there is none."""
    return await _one(db, LeaseRow, _leases().where(t.lease.c.lease == lease))


async def leases(db: ReadDb, holder: Address | None = None, asset: AssetId | None = None) -> list[LeaseRow]:
    """Leases of one holder, one asset, both or all, in order of redemption."""
    wanted = _given((t.lease.c.holder, holder), (t.offer.c.asset, asset))
    return await _all(db, LeaseRow, _leases().where(*wanted).order_by(t.lease.c.redeemed_block, t.lease.c.lease))


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


async def anchors(db: ReadDb, submitter: Address | None = None) -> list[Anchor]:
    """All anchors, or those of one submitter, by epoch."""
    c = t.anchor.c
    return await _all(
        db, Anchor, sa.select(t.anchor).where(*_given((c.submitter, submitter))).order_by(c.submitter, c.epoch)
    )


def _owned(class_id: Hash32) -> sa.Select[Any]:
    """FROM the holdings of a class with their owners' groups. The commons has no member row, so it is left out."""
    joined = t.holding.join(t.asset).join(t.member, t.member.c.address == t.holding.c.owner)
    return sa.select().select_from(joined).where(t.asset.c.class_id == class_id, t.holding.c.counted)


def _leases() -> sa.Select[Any]:
    o = t.offer.c
    return sa.select(t.lease, o.asset, o.window, o.tranche, o.price_wei).join_from(t.lease, t.offer)


async def _group_seconds(db: ReadDb, table: sa.Table, class_id: Hash32, window: Window, root: Address) -> int:
    """Sum of `seconds` of a class and window in `table` (credit or lease) over the members of a group."""
    joined = table.join(t.offer).join(t.asset).join(t.member, t.member.c.address == table.c.holder)
    wanted = (t.asset.c.class_id == class_id, t.offer.c.window == window, t.member.c.root == root)
    return await _sum(db, sa.select(sa.func.sum(table.c.seconds)).select_from(joined).where(*wanted))


def _given(*pairs: tuple[sa.Column[Any], object]) -> list[sa.ColumnElement[bool]]:
    return [column == value for column, value in pairs if value is not None]


async def _sum(db: ReadDb, statement: sa.Select[Any]) -> int:
    """One number, 0 for none; PostgreSQL sums 64-bit integers to a decimal."""
    return int((await db.execute(statement)).scalar() or 0)


async def _one(db: ReadDb, cls: type[R], statement: sa.Select[Any]) -> R | None:
    row = (await db.execute(statement)).one_or_none()
    return None if row is None else cls(*row)


async def _all(db: ReadDb, cls: type[R], statement: sa.Select[Any]) -> list[R]:
    return [cls(*row) for row in await db.execute(statement)]
