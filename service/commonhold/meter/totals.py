"""How much was used, in integer GPU-ms: by lease, and by class, window, level and policy.

No sum is without the level and policy of the appraisals behind it. `metered` is what nodes signed, `receipted` what
developers signed as well, `settled` what the chain has counted.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from commonhold.db import ReadDb
from commonhold.meter.read import signed_receipt
from commonhold.meter.segment import SignedReceipt
from commonhold.meter.tables import receipt, segment, settlement
from commonhold.mirror import tables as t
from commonhold.units import AssetId, BlockNumber, GpuMs, Hash32, Seconds, Window


@dataclass(frozen=True, slots=True)
class LeaseTotal:
    """`metered_ms` can exceed the lease's limit, seconds x 1,000: used is used."""

    lease: Hash32
    asset: AssetId
    window: Window
    seconds: Seconds
    metered_ms: GpuMs
    receipted_ms: GpuMs
    settled_ms: GpuMs


@dataclass(frozen=True, slots=True)
class Metered:
    """What nodes signed for the leases of one class and window, under appraisals of one level and policy."""

    class_id: Hash32
    window: Window
    level: int
    policy: str
    gpu_ms: GpuMs
    segments: int


@dataclass(frozen=True, slots=True)
class Closing:
    """When leases can be settled no more: `settle_delay` after their window."""

    window_seconds: int
    settle_delay: int

    def until(self, window: Any) -> Any:
        """The last second at which leases of that window, a number or a column, can be settled."""
        return (window + 1) * self.window_seconds + self.settle_delay


async def closing_soon(db: ReadDb, closing: Closing, within_s: int) -> int:
    """How many leases have a receipt that the chain has counted less of, and can be settled for `within_s` at most."""
    joined = t.lease.join(t.offer, t.offer.c.credit_id == t.lease.c.credit_id)
    chain_s = sa.select(t.cursor.c.timestamp).scalar_subquery()
    until = closing.until(t.offer.c.window)
    unsettled = (until >= chain_s, until < chain_s + within_s, _highest(receipt) > t.lease.c.settled_ms)
    found = sa.select(sa.func.count()).select_from(joined).where(*unsettled)
    return int((await db.execute(found)).scalar_one())


async def lease_totals(db: ReadDb, asset: AssetId | None = None) -> list[LeaseTotal]:
    """One row for every mirrored lease, or for those of one asset, in order of redemption."""
    metered = _highest(segment)
    receipted = _highest(receipt)
    o, held = t.offer.c, t.lease.c
    columns = (held.lease, o.asset, o.window, held.seconds, metered, receipted, held.settled_ms)
    found = sa.select(*columns).join_from(t.lease, t.offer).order_by(held.redeemed_block, held.lease)
    if asset is not None:
        found = found.where(o.asset == asset)
    return [LeaseTotal(*row) for row in await db.execute(found)]


async def metered(db: ReadDb) -> list[Metered]:
    """GPU time by class, window, level and policy.

    A segment counts what its lease's total grew by since the segment before it, so the sum over a lease is its total:
    a lost segment's time is in the next one.
    """
    c = segment.c
    before = sa.func.lag(c.gpu_ms, 1, 0).over(partition_by=c.lease, order_by=c.ended_at_ms)
    grown = sa.select(c.lease, c.level, c.policy, (c.gpu_ms - before).label("gpu_ms")).subquery()
    joined = grown.join(t.lease, t.lease.c.lease == grown.c.lease).join(t.offer).join(t.asset)
    by = (t.asset.c.class_id, t.offer.c.window, grown.c.level, grown.c.policy)
    gpu_ms = sa.cast(sa.func.sum(grown.c.gpu_ms), sa.BigInteger)
    found = sa.select(*by, gpu_ms, sa.func.count()).select_from(joined).group_by(*by).order_by(*by)
    return [Metered(*row) for row in await db.execute(found)]


async def pending_settlements(
    db: ReadDb, most: int, closing: Closing | None = None, redeemed_until: BlockNumber | None = None
) -> list[SignedReceipt]:
    """The highest receipt of every lease that the chain has counted less of, at most `most`: those first that were not
    tried, or not for long, then the longest waiting.

    Not among them: one of more than its lease's seconds, or of a lease that has not begun or is closed, which the chain
    refuses, and a batch with it; one that was sent in a block, or put off to one, that the mirror is not at yet; one
    of a lease that was redeemed after block `redeemed_until`, where that is given.
    """
    c, sent = receipt.c, settlement.c
    rank = sa.func.row_number().over(partition_by=c.lease, order_by=c.gpu_ms.desc())
    joined = receipt.join(t.lease, t.lease.c.lease == c.lease)
    chain_s = sa.select(t.cursor.c.timestamp).scalar_subquery()
    fits = [c.gpu_ms > t.lease.c.settled_ms, c.gpu_ms <= t.lease.c.seconds * 1000, t.lease.c.starts_at <= chain_s]
    if redeemed_until is not None:
        fits.append(t.lease.c.redeemed_block <= redeemed_until)
    if closing is not None:
        joined = joined.join(t.offer, t.offer.c.credit_id == t.lease.c.credit_id)
        fits.append(closing.until(t.offer.c.window) >= chain_s)
    ranked = sa.select(receipt, rank.label("rank")).select_from(joined).where(*fits).subquery()
    seen = sa.select(t.cursor.c.number).scalar_subquery()
    under_way = sa.exists().where(
        sent.lease == ranked.c.lease, sent.gpu_ms >= ranked.c.gpu_ms, sent.block_number > seen
    )
    newest = sa.select(ranked).where(ranked.c.rank == 1, ~under_way)
    tried = sa.select(sent.block_number).where(sent.lease == ranked.c.lease).scalar_subquery()
    newest = newest.order_by(sa.func.coalesce(tried, 0), ranked.c.received_at, ranked.c.lease).limit(most)
    return [signed_receipt(row) for row in await db.execute(newest)]


def _highest(table: sa.Table) -> sa.ScalarSelect[Any]:
    highest = sa.select(sa.func.coalesce(sa.func.max(table.c.gpu_ms), 0)).where(table.c.lease == t.lease.c.lease)
    return highest.correlate(t.lease).scalar_subquery()
