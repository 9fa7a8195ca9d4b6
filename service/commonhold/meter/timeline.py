"""Whether a segment fits what is stored: the rules that one segment alone cannot show. Pure.

In: a segment whose signature holds, the facts of its asset and lease, and the stored segments around it. Out: None, or
why not. The answer does not depend on the order in which honest segments arrive: each is checked against both
neighbours, and a segment that is still missing leaves a hole that it fits into later.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Self

from commonhold.meter.segment import Reading
from commonhold.signing import ZERO32, Segment
from commonhold.units import UNIT, Hash32, hex_text

# Node clocks, our clock and block timestamps differ, and a block may be stamped ahead of the time. Two minutes is above
# what a machine without NTP drifts in a day, and below any lease worth cheating for.
SKEW_MS = 120_000

Key = tuple[int, int, int]  # (asset, boot, sequence)


@dataclass(frozen=True, slots=True)
class Placed:
    """What of a stored segment its neighbours are checked against."""

    asset: int
    boot: int
    sequence: int
    lease: Hash32
    previous: Hash32
    head: Hash32
    started_at_ms: int
    ended_at_ms: int
    gpu_ms: int
    first: Reading
    digest: Hash32

    @classmethod
    def of(cls, segment: Segment, first: Reading, digest: Hash32) -> Self:
        return cls(
            segment.asset,
            segment.boot,
            segment.sequence,
            segment.lease,
            segment.previous,
            segment.head,
            segment.started_at_ms,
            segment.ended_at_ms,
            segment.gpu_ms,
            first,
            digest,
        )

    @property
    def key(self) -> Key:
        return (self.asset, self.boot, self.sequence)


@dataclass(frozen=True, slots=True)
class Appraised:
    """One appraisal of an asset: it covers times from `from_s` up to `until_s`."""

    from_s: int
    until_s: int
    level: int
    policy: str
    meter_key: bytes | None  # None: no node serves the asset

    def covers(self, started_at_ms: int, ended_at_ms: int) -> bool:
        return self.from_s * 1000 - SKEW_MS <= started_at_ms and ended_at_ms <= self.until_s * 1000


@dataclass(frozen=True, slots=True)
class Conflict:
    """The asset's node signed `taken` and another segment for the same place: evidence against it."""

    taken: Hash32
    what: str  # "key": same (asset, boot, sequence); "chain": same lease, same previous head

    @property
    def reason(self) -> str:
        place = "key (asset, boot, sequence)" if self.what == "key" else "place in the lease's chain"
        return f"another segment has this {place}: {hex_text(self.taken)}; both are kept as evidence"


_end = attrgetter("ended_at_ms")


@dataclass(slots=True)
class Timeline:
    """Stored segments, at least all that can matter to those that are asked about."""

    by_key: dict[Key, Placed] = field(default_factory=dict)
    _by_asset: dict[int, list[Placed]] = field(default_factory=lambda: defaultdict(list))
    _by_lease: dict[Hash32, list[Placed]] = field(default_factory=lambda: defaultdict(list))
    _next: dict[tuple[Hash32, Hash32], Placed] = field(default_factory=dict)  # (lease, previous) -> the one after it

    _with_head: dict[tuple[Hash32, Hash32], Placed] = field(default_factory=dict)

    def add(self, placed: Placed) -> None:
        """`placed` is among the stored ones; again is no change."""
        if placed.key not in self.by_key:
            self.by_key[placed.key] = placed
            insort(self._by_asset[placed.asset], placed, key=_end)
            insort(self._by_lease[placed.lease], placed, key=_end)
            self._next[placed.lease, placed.previous] = placed
            self._with_head[placed.lease, placed.head] = placed

    def conflict(self, new: Placed) -> Conflict | None:
        """The stored segment that `new` contradicts, if its digest is another than the one stored under its key."""
        if (same := self.by_key.get(new.key)) is not None:
            return Conflict(same.digest, "key")
        if (other := self._next.get((new.lease, new.previous))) is not None:
            return Conflict(other.digest, "chain")
        return None

    def misfit(self, new: Placed, *, units: int, lease_from_ms: int) -> str | None:
        """None when all of this holds of `new`, which conflicts with none, else what does not:

        (1) the asset was not metered for two leases at a time: no overlap, and later is later in the node's own count;
        (2) it links to its neighbours in the lease's chain, or leaves room for segments that are missing;
        (3) totals of the lease grow along time;
        (4) no more GPU time passed than wall-clock x GPUs, in its first interval and in the holes beside it. Its other
            intervals are `too_fast`'s to check.

        units: of the asset, 1,000,000 a GPU. lease_from_ms: no GPU time of the lease was before.
        """
        before, after = _neighbours(self._by_asset[new.asset], new)
        # (1) overlap
        if before and before.ended_at_ms > new.started_at_ms:
            return f"overlaps segment {before.sequence} of boot {before.boot}, which ends at {before.ended_at_ms}"
        if after and after.started_at_ms < new.ended_at_ms:
            return f"overlaps segment {after.sequence} of boot {after.boot}, which starts at {after.started_at_ms}"
        if (before and before.key > new.key) or (after and after.key < new.key):
            return "its boot and sequence are not in the order of its time"
        # (2) chain
        before, after = _neighbours(self._by_lease[new.lease], new)
        linked_before = before is not None and before.head == new.previous
        linked_after = after is not None and after.previous == new.head
        if before and new.previous == ZERO32:
            return f"starts the lease's chain, but segment {before.sequence} of boot {before.boot} is before it"
        if before and after and before.head == after.previous:
            return "lies between two segments of its lease that follow each other"
        if not linked_before and (new.lease, new.previous) in self._with_head:
            return "the segment before it in the chain is not the one before it in time"
        if not linked_after and (new.lease, new.head) in self._next:
            return "the segment after it in the chain is not the one after it in time"
        # (3) totals
        if before and before.gpu_ms > new.first.gpu_ms:
            return f"total falls from {before.gpu_ms} to {new.first.gpu_ms} GPU-ms"
        if after and new.gpu_ms > after.first.gpu_ms:
            return f"total is {new.gpu_ms} GPU-ms, the next segment's begins with {after.first.gpu_ms}"
        # (4) wall-clock
        known_gpu_ms = before.gpu_ms if before else 0
        if linked_before or new.previous == ZERO32:
            idle_until_ms = new.started_at_ms
        else:
            idle_until_ms = before.ended_at_ms if before else lease_from_ms
        found = too_fast((Reading(idle_until_ms, known_gpu_ms), new.first), units)
        if after and not found:
            idle_until_ms = after.started_at_ms if linked_after else new.ended_at_ms
            found = too_fast((Reading(idle_until_ms, new.gpu_ms), after.first), units)
        return found


def too_fast(readings: Iterable[Reading], units: int) -> str | None:
    """None unless between two readings that follow each other more GPU time passed than wall-clock x GPUs."""
    for (from_ms, had_ms), (until_ms, has_ms) in pairwise(readings):
        gpu_ms, wall_ms = has_ms - had_ms, until_ms - from_ms
        if gpu_ms * UNIT > wall_ms * units:
            return f"{gpu_ms} GPU-ms in {wall_ms} ms of wall-clock, at most {wall_ms * units // UNIT} are possible"
    return None


def _neighbours(ordered: list[Placed], new: Placed) -> tuple[Placed | None, Placed | None]:
    """The last that ends before `new` ends, and the next."""
    at = bisect_left(ordered, new.ended_at_ms, key=_end)
    return ordered[at - 1] if at else None, ordered[at] if at < len(ordered) else None
