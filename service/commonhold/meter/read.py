"""What has been recorded, for recording more and for the stages after this one. Only reads."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from commonhold.chain.decode import decode_of
from commonhold.chain.events import AppraisalRenewed, Registered
from commonhold.chain.stamp import RawLog
from commonhold.db import ReadDb
from commonhold.meter.segment import Signature, SignedReceipt, SignedSegment, unpack
from commonhold.meter.tables import receipt, segment
from commonhold.meter.timeline import SKEW_MS, Appraised, Placed, Timeline
from commonhold.mirror import tables as mirrored
from commonhold.mirror.read import AssetRow, LeaseRow, former_keys
from commonhold.signing import Receipt, Segment
from commonhold.units import Address, BlockNumber, Hash32


@dataclass(frozen=True, slots=True)
class SessionKey:
    """One that a lease has or had."""

    number: int
    point: bytes  # x || y
    until: int | None  # the last second whose use it proves; None: it is the present one


_s = segment.c
_PLACED = (
    _s.asset,
    _s.boot,
    _s.sequence,
    _s.lease,
    _s.previous,
    _s.head,
    _s.started_at_ms,
    _s.ended_at_ms,
    _s.gpu_ms,
    sa.func.substr(_s.readings, 1, 16, type_=sa.LargeBinary).label("first"),
    _s.digest,
)


def _times(of: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Those between the first start and the last end, and one on each side."""
    mine = of == sa.bindparam("of")
    first, last = sa.bindparam("first", type_=sa.BigInteger), sa.bindparam("last", type_=sa.BigInteger)
    lowest = sa.select(sa.func.max(_s.ended_at_ms)).where(mine, _s.ended_at_ms <= first).scalar_subquery()
    highest = sa.select(sa.func.min(_s.ended_at_ms)).where(mine, _s.ended_at_ms >= last).scalar_subquery()
    return sa.select(*_PLACED).where(
        mine,
        _s.ended_at_ms >= sa.func.coalesce(lowest, first),
        _s.ended_at_ms <= sa.func.coalesce(highest, last),
    )


# Built once: what differs from batch to batch is bound.
_ASSET_TIMES, _LEASE_TIMES = _times(_s.asset), _times(_s.lease)
_RUN = sa.select(*_PLACED).where(
    _s.asset == sa.bindparam("of"),
    _s.boot == sa.bindparam("boot"),
    _s.sequence.between(sa.bindparam("first"), sa.bindparam("last")),
)
_KEYED = sa.select(*_PLACED).where(
    _s.asset == sa.bindparam("of"), sa.tuple_(_s.boot, _s.sequence).in_(sa.bindparam("keys", expanding=True))
)
_LINKED = sa.union_all(
    *(
        sa.select(*_PLACED).where(_s.lease == sa.bindparam("of"), linked)
        for linked in (
            _s.previous.in_(sa.bindparam("either", expanding=True)),
            _s.head.in_(sa.bindparam("before", expanding=True)),
        )
    )
)


async def around(db: ReadDb, segments: Sequence[Segment]) -> Timeline:
    """The stored segments that can matter to any of `segments`: of their keys, times, chains, and next to them."""
    timeline = Timeline()
    of_asset: dict[int, list[Segment]] = defaultdict(list)
    of_lease: dict[Hash32, list[Segment]] = defaultdict(list)
    for s in segments:
        of_asset[s.asset].append(s)
        of_lease[s.lease].append(s)
    for asset, some in of_asset.items():
        _place(timeline, await db.execute(_ASSET_TIMES, {"of": asset, **_span(some)}))
        _place(timeline, await _keyed(db, asset, some))
    for lease, some in of_lease.items():
        _place(timeline, await db.execute(_LEASE_TIMES, {"of": lease, **_span(some)}))
        before = {s.previous for s in some}
        heads = {"of": lease, "before": [*before], "either": [*before.union(s.head for s in some)]}
        _place(timeline, await db.execute(_LINKED, heads))
    return timeline


async def appraised(db: ReadDb, asset: AssetRow, started_at_ms: int, ended_at_ms: int) -> Appraised | None:
    """The appraisal of `asset` that covers that time; None when none does."""
    newest = Appraised(asset.appraised_at, asset.expires_at, asset.level, asset.policy, asset.meter_key)
    if started_at_ms >= newest.from_s * 1000 - SKEW_MS:
        return newest if newest.covers(started_at_ms, ended_at_ms) else None
    # Late time from before the last renewal: rare, so that the log may be searched.
    history = await _appraisals(db, asset.asset)
    return next((one for one in reversed(history) if one.covers(started_at_ms, ended_at_ms)), None)


async def newest_receipt(db: ReadDb, lease: Hash32) -> SignedReceipt | None:
    """The receipt of `lease` with the highest total; None: there is none."""
    found = sa.select(receipt).where(receipt.c.lease == lease).order_by(receipt.c.gpu_ms.desc()).limit(1)
    row = (await db.execute(found)).one_or_none()
    return None if row is None else signed_receipt(row)


async def receipts(db: ReadDb, lease: Hash32) -> list[SignedReceipt]:
    """All receipts of `lease`, oldest first."""
    found = await db.execute(sa.select(receipt).where(receipt.c.lease == lease).order_by(receipt.c.gpu_ms))
    return [signed_receipt(row) for row in found]


async def session_keys(db: ReadDb, lease: LeaseRow) -> list[SessionKey]:
    """The session keys that receipts of the lease can be signed by: its present one first, then those before it."""
    former = await former_keys(db, lease.lease) if lease.key_number else []
    present = SessionKey(lease.key_number, lease.session_key, None)
    return [present, *(SessionKey(key.number, key.session_key, key.until) for key in reversed(former))]


async def segments(db: ReadDb, lease: Hash32) -> list[SignedSegment]:
    """All segments of `lease`, in order of time."""
    found = await db.execute(sa.select(segment).where(_s.lease == lease).order_by(_s.ended_at_ms))
    return [signed_segment(row) for row in found]


async def used_ms(db: ReadDb, lease: Hash32) -> int:
    """The lease's total as of its last segment: what its node says was used."""
    found = sa.select(sa.func.max(_s.gpu_ms)).where(_s.lease == lease)
    return int((await db.execute(found)).scalar() or 0)


def signed_segment(row: sa.Row[Any]) -> SignedSegment:
    """The segment of a whole row of `segment`."""
    readings = unpack(row.readings)
    statement = Segment(
        asset=row.asset,
        boot=row.boot,
        sequence=row.sequence,
        lease=row.lease,
        previous=row.previous,
        head=row.head,
        started_at_ms=row.started_at_ms,
        ended_at_ms=row.ended_at_ms,
        gpu_ms=row.gpu_ms,
        readings=len(readings),
    )
    return SignedSegment(statement, readings, Signature(row.signature))


def signed_receipt(row: sa.Row[Any]) -> SignedReceipt:
    """The receipt of a whole row of `receipt`."""
    statement = Receipt(Hash32(row.lease), row.gpu_ms, Hash32(row.head))
    return SignedReceipt(statement, Signature(row.node_signature), Signature(row.session_signature))


def _span(segments: Sequence[Segment]) -> dict[str, int]:
    return {"first": min(s.started_at_ms for s in segments), "last": max(s.ended_at_ms for s in segments)}


async def _keyed(db: ReadDb, asset: int, segments: Sequence[Segment]) -> sa.Result[Any]:
    """Those with the keys of `segments`, which are of `asset`."""
    keys = {(s.boot, s.sequence) for s in segments}
    (first_boot, first), (last_boot, last) = min(keys), max(keys)
    if first_boot == last_boot and last - first < len(keys):  # no holes, as nearly always: a range asks for no others
        return await db.execute(_RUN, {"of": asset, "boot": first_boot, "first": first, "last": last})
    return await db.execute(_KEYED, {"of": asset, "keys": [*keys]})


def _place(timeline: Timeline, rows: Iterable[sa.Row[Any]]) -> None:
    for row in rows:
        timeline.add(
            Placed(
                asset=row.asset,
                boot=row.boot,
                sequence=row.sequence,
                lease=row.lease,
                previous=row.previous,
                head=row.head,
                started_at_ms=row.started_at_ms,
                ended_at_ms=row.ended_at_ms,
                gpu_ms=row.gpu_ms,
                first=unpack(row.first)[0],
                digest=row.digest,
            )
        )


async def _appraisals(db: ReadDb, asset: int) -> list[Appraised]:
    """All appraisals of an asset, oldest first, from the chain's log."""
    event, block = mirrored.event, mirrored.block
    wanted = (
        event.c.contract == "Ledger",
        event.c.name.in_(("Registered", "AppraisalRenewed")),
        sa.func.substr(event.c.topics, 33, 32, type_=sa.LargeBinary) == asset.to_bytes(32),
    )
    found = sa.select(event, block.c.timestamp).join(block, block.c.number == event.c.block_number).where(*wanted)
    history: list[Appraised] = []
    for row in await db.execute(found.order_by(event.c.block_number, event.c.log_index)):
        told = decode_of("Ledger", _raw_log(row))
        if isinstance(told, Registered | AppraisalRenewed):
            key = told.meter_key_x + told.meter_key_y
            history.append(
                Appraised(row.timestamp, told.expires_at, told.level, told.policy, key if any(key) else None)
            )
    return history


def _raw_log(row: sa.Row[Any]) -> RawLog:
    topics = tuple(Hash32(row.topics[i : i + 32]) for i in range(0, len(row.topics), 32))
    return RawLog(
        address=Address(bytes(20)),  # not stored: the contract's name is
        topics=topics,
        data=row.data,
        block_number=BlockNumber(row.block_number),
        block_hash=Hash32(row.block_hash),
        transaction_hash=Hash32(row.transaction_hash),
        log_index=row.log_index,
    )
