"""Segments and receipts into rows: each once, and nothing that its neighbours contradict.

In: what nodes and developers send, in any order and as often as they like. Out: one answer for each, so that one bad
item holds up no other. Called by the API; commits nothing: an answer is true once the caller has committed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from commonhold.db import Db
from commonhold.meter import gaps, read
from commonhold.meter.segment import SignedReceipt, SignedSegment, pack
from commonhold.meter.tables import equivocation, node, receipt, segment
from commonhold.meter.timeline import SKEW_MS, Appraised, Conflict, Placed, Timeline, too_fast
from commonhold.mirror import read as mirror
from commonhold.signing import Domain, Segment
from commonhold.units import UNIT, AssetId, Hash32, hex_text

MAX_BATCH = 1_000  # segments in one transaction; all their keys fit one statement on SQLite (32,766 variables)


@dataclass(frozen=True, slots=True)
class Recorded:
    digest: Hash32


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same is recorded already: as good as Recorded."""

    digest: Hash32


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not recorded. `code` is "invalid", "unknown", "expired", "misfit" or "equivocation".

    Only an "unknown" one (asset, lease or renewal not mirrored yet, a clock ahead) may be accepted when sent again.
    """

    code: str
    reason: str


Outcome = Recorded | Duplicate | Rejected


async def record(db: Db, signed: SignedSegment, *, now_s: int, domain: Domain) -> Outcome:
    """`signed` is stored once, or why it is not. `domain` is the Meter contract's."""
    return (await record_all(db, [signed], now_s=now_s, domain=domain))[0]


async def record_all(db: Db, batch: Sequence[SignedSegment], *, now_s: int, domain: Domain) -> list[Outcome]:
    """One answer for each of `batch`, in its order. Time that was used is recorded even past the lease's limit.

    Raises ValueError above MAX_BATCH. A segment is recorded when all of this holds:

    (1) asset and lease are mirrored, and the lease is of the asset;
    (2) one appraisal covers its time; it is not before the lease, and not in the future;
    (3) form, hash chain and signature hold (SignedSegment.verify), by the key of that appraisal;
    (4) it is not recorded yet, and no other segment has its key or its place in the chain (else both are kept);
    (5) it fits its neighbours in time (Timeline.misfit), and no GPU time passed faster than wall-clock x GPUs.
    """
    if len(batch) > MAX_BATCH:
        raise ValueError(f"{len(batch)} segments in one batch, at most {MAX_BATCH}")
    # A node's writers take turns from here on: what is read below cannot change before the caller commits.
    for asset in sorted({signed.segment.asset for signed in batch}):
        if await mirror.asset(db, AssetId(asset)) is not None:
            await _take(db, asset, now_s)
    timeline = await read.around(db, [signed.segment for signed in batch])

    outcomes: list[Outcome] = []
    facts = _Facts(db, now_s)
    rows: list[dict[str, object]] = []
    evidence: list[dict[str, object]] = []
    for signed in batch:
        appraised = await facts.check(signed.segment)
        outcome: Outcome | Conflict = (
            appraised if isinstance(appraised, Rejected) else _decide(signed, appraised, facts, timeline, domain)
        )
        if isinstance(outcome, Conflict):
            evidence.append(_evidence(signed, outcome, domain, now_s))
            outcome = Rejected("equivocation", outcome.reason)
        elif isinstance(outcome, Recorded) and isinstance(appraised, Appraised):
            rows.append(_row(signed, outcome.digest, appraised, now_s))
        outcomes.append(outcome)

    if rows:
        await db.execute(sa.insert(segment), rows)
        added = [signed.segment for signed, done in zip(batch, outcomes, strict=True) if isinstance(done, Recorded)]
        await gaps.restate(db, added)
    for values in evidence:
        await db.execute(_insert(db)(equivocation).values(values).on_conflict_do_nothing())
    return outcomes


async def record_receipt(db: Db, signed: SignedReceipt, *, now_s: int, domain: Domain) -> Outcome:
    """`signed` is stored once, or why it is not: both keys have signed it, and the lease's receipts only grow.

    A session key that was replaced proves what could be used until then, and no more.
    """
    statement = signed.receipt
    lease = await mirror.lease(db, statement.lease)
    asset = await mirror.asset(db, lease.asset) if lease else None
    if lease is None or asset is None:
        return Rejected("unknown", f"no lease {hex_text(statement.lease)}")
    if asset.meter_key is None:
        return Rejected("invalid", f"no node serves asset {asset.asset}")
    defects = []
    for key in await read.session_keys(db, lease):
        defect = signed.verify(domain, asset.meter_key, key.point)
        if defect is None:
            break
        defects.append(defect)
    else:
        return Rejected("invalid", defects[0])
    if key.until is not None and statement.gpu_ms * UNIT > (key.until - lease.starts_at) * 1000 * asset.units:
        return Rejected(
            "invalid", f"session key {key.number} of the lease was replaced: it proves use until {key.until}"
        )
    digest = signed.digest(domain)
    await _take(db, lease.asset, now_s)
    newest = await read.newest_receipt(db, statement.lease)
    if newest and newest.receipt.gpu_ms >= statement.gpu_ms:
        return await _older_receipt(db, signed, digest, newest.receipt.gpu_ms)
    row = {
        "lease": statement.lease,
        "gpu_ms": statement.gpu_ms,
        "head": statement.head,
        "node_signature": signed.node_signature,
        "session_signature": signed.session_signature,
        "digest": digest,
        "received_at": now_s,
    }
    await db.execute(sa.insert(receipt).values(row))
    return Recorded(digest)


async def _older_receipt(db: Db, signed: SignedReceipt, digest: Hash32, newest_ms: int) -> Outcome:
    c = receipt.c
    same = sa.select(c.digest).where(c.lease == signed.receipt.lease, c.gpu_ms == signed.receipt.gpu_ms)
    found = (await db.execute(same)).scalar_one_or_none()
    if found is None:
        return Rejected("misfit", f"receipt of {signed.receipt.gpu_ms} GPU-ms, one of {newest_ms} is recorded")
    # Readings without use move the head and not the total: the time is acknowledged either way.
    return Duplicate(Hash32(found))


class _Facts:
    """What the mirror says of the assets and leases of one batch, each read once."""

    def __init__(self, db: Db, now_s: int) -> None:
        self._db, self._now_ms = db, now_s * 1000
        self._assets: dict[AssetId, mirror.AssetRow | None] = {}
        self._leases: dict[Hash32, mirror.LeaseRow | None] = {}

    async def check(self, s: Segment) -> Appraised | Rejected:
        """The appraisal that covers the segment, after (1) and (2)."""
        # (1) known
        asset_id, lease_id = AssetId(s.asset), s.lease
        if asset_id not in self._assets:
            self._assets[asset_id] = await mirror.asset(self._db, asset_id)
        if lease_id not in self._leases:
            self._leases[lease_id] = await mirror.lease(self._db, lease_id)
        asset, lease = self._assets[asset_id], self._leases[lease_id]
        if asset is None:
            return Rejected("unknown", f"no asset {s.asset}")
        if lease is None:
            return Rejected("unknown", f"no lease {hex_text(lease_id)}")
        if lease.asset != asset.asset:
            return Rejected("invalid", f"lease {hex_text(lease_id)} is of asset {lease.asset}, not {s.asset}")
        # (2) its time
        if s.started_at_ms < lease.starts_at * 1000 - SKEW_MS:
            return Rejected("invalid", f"starts at {s.started_at_ms} ms, the lease at {lease.starts_at} s")
        if s.ended_at_ms > self._now_ms + SKEW_MS:
            return Rejected("unknown", f"ends at {s.ended_at_ms} ms, now is {self._now_ms} ms")
        appraised = await read.appraised(self._db, asset, s.started_at_ms, s.ended_at_ms)
        if appraised is None:
            mirrored_ms = (await mirror.position(self._db)).timestamp * 1000
            if s.ended_at_ms > max(asset.expires_at * 1000, mirrored_ms):
                return Rejected("unknown", f"ends at {s.ended_at_ms} ms, renewals are known up to {mirrored_ms} ms")
            return Rejected(
                "expired",
                f"no appraisal of asset {s.asset} covers {s.started_at_ms} to {s.ended_at_ms} ms, "
                f"the last one is from {asset.appraised_at} to {asset.expires_at} s",
            )
        return appraised

    def units(self, s: Segment) -> int:
        row = self._assets[AssetId(s.asset)]
        return row.units if row else 0

    def lease_from_ms(self, s: Segment) -> int:
        row = self._leases[s.lease]
        return row.starts_at * 1000 - SKEW_MS if row else 0


def _decide(
    signed: SignedSegment, appraised: Appraised, facts: _Facts, timeline: Timeline, domain: Domain
) -> Recorded | Duplicate | Rejected | Conflict:
    s = signed.segment
    # (3) what one segment alone shows
    if appraised.meter_key is None:
        return Rejected("invalid", f"no node serves asset {s.asset}")
    if defect := signed.verify(domain, appraised.meter_key):
        return Rejected("invalid", defect)
    # (4) once
    digest = signed.digest(domain)
    stored = timeline.by_key.get((s.asset, s.boot, s.sequence))
    if stored and stored.digest == digest:
        return Duplicate(digest)
    new = Placed.of(s, signed.readings[0], digest)
    if conflict := timeline.conflict(new):
        return conflict
    # (5) neighbours
    units = facts.units(s)
    misfit = timeline.misfit(new, units=units, lease_from_ms=facts.lease_from_ms(s))
    if misfit := misfit or too_fast(signed.readings, units):
        return Rejected("misfit", misfit)
    timeline.add(new)
    return Recorded(digest)


async def _take(db: Db, asset: int, now_s: int) -> None:
    """Whoever else writes for this node waits until we commit (a lock of one row; SQLite has one writer anyway)."""
    values = {"asset": asset, "heard_at": now_s}
    later = sa.case((node.c.heard_at > now_s, node.c.heard_at), else_=now_s)
    statement = (
        _insert(db)(node).values(values).on_conflict_do_update(index_elements=["asset"], set_={"heard_at": later})
    )
    await db.execute(statement)


def _insert(db: Db) -> Callable[[sa.Table], postgresql.Insert | sqlite.Insert]:
    return postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert


def _row(signed: SignedSegment, digest: Hash32, appraised: Appraised, now_s: int) -> dict[str, object]:
    s = signed.segment
    return {
        "asset": s.asset,
        "boot": s.boot,
        "sequence": s.sequence,
        "lease": s.lease,
        "previous": s.previous,
        "head": s.head,
        "started_at_ms": s.started_at_ms,
        "ended_at_ms": s.ended_at_ms,
        "gpu_ms": s.gpu_ms,
        "readings": pack(signed.readings),
        "digest": digest,
        "signature": signed.signature,
        "level": appraised.level,
        "policy": appraised.policy,
        "received_at": now_s,
    }


def _evidence(signed: SignedSegment, conflict: Conflict, domain: Domain, now_s: int) -> dict[str, object]:
    return {
        "digest": signed.digest(domain),
        "taken": conflict.taken,
        "asset": signed.segment.asset,
        "what": conflict.what,
        "body": json.dumps(signed.to_json(), sort_keys=True, separators=(",", ":")).encode(),
        "received_at": now_s,
    }
