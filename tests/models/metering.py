"""What a meter accepts, in plain Python: a set of segments and a predicate over all of it. No neighbours, no SQL."""

from itertools import pairwise

from commonhold.meter.segment import Reading, SignedSegment
from commonhold.meter.timeline import SKEW_MS
from commonhold.signing import ZERO32, Domain, Segment
from commonhold.units import UNIT, Hash32

Key = tuple[int, int, int]


class Meter:
    """All segments are of known assets and leases, in time, and signed by their nodes."""

    def __init__(self, domain: Domain, units: int, lease_starts_at: int) -> None:
        self._domain, self._units, self._lease_from_ms = domain, units, lease_starts_at * 1000 - SKEW_MS
        self.stored: dict[Key, SignedSegment] = {}
        self.evidence: dict[Hash32, str] = {}

    def record(self, signed: SignedSegment) -> str:
        """Name of the answer's class."""
        s, digest = signed.segment, signed.digest(self._domain)
        same = self.stored.get((s.asset, s.boot, s.sequence))
        if same and same.digest(self._domain) == digest:
            return "Duplicate"
        if same:
            self.evidence.setdefault(digest, "key")
            return "Rejected"
        if any((one.segment.lease, one.segment.previous) == (s.lease, s.previous) for one in self.stored.values()):
            self.evidence.setdefault(digest, "chain")
            return "Rejected"
        if not self._consistent([*self.stored.values(), signed]):
            return "Rejected"
        self.stored[s.asset, s.boot, s.sequence] = signed
        return "Recorded"

    def gaps(self) -> list[tuple[int, int, int, int]]:
        """(asset, boot, first missing, last missing), sorted."""
        found = []
        for asset, boot in sorted({(asset, boot) for asset, boot, _ in self.stored}):
            there = {sequence for a, b, sequence in self.stored if (a, b) == (asset, boot)}
            missing = [n for n in range(max(there)) if n not in there]
            starts = [n for n in missing if n - 1 not in missing]
            found += [(asset, boot, n, next(m for m in range(n, max(there)) if m + 1 in there)) for n in starts]
        return found

    def _consistent(self, all_of_them: list[SignedSegment]) -> bool:
        by_time = sorted(all_of_them, key=lambda signed: signed.segment.ended_at_ms)
        for asset in {signed.segment.asset for signed in by_time}:
            run = [signed.segment for signed in by_time if signed.segment.asset == asset]
            if any(a.ended_at_ms > b.started_at_ms or _count(a) >= _count(b) for a, b in pairwise(run)):
                return False
        leases = {signed.segment.lease for signed in by_time}
        return all(self._chain_holds([one for one in by_time if one.segment.lease == lease]) for lease in leases)

    def _chain_holds(self, run: list[SignedSegment]) -> bool:
        heads = {one.segment.head for one in run}
        time: list[Reading] = []  # (wall-clock ms, GPU-ms), each compared with the one before
        for at, one in enumerate(run):
            s = one.segment
            before = run[at - 1].segment if at else None
            linked = before is not None and before.head == s.previous
            if not linked and s.previous in heads:
                return False
            if s.previous == ZERO32 and before:
                return False
            if linked or s.previous == ZERO32:
                time.append(Reading(s.started_at_ms, before.gpu_ms if before else 0))
            elif before is None:
                time.append(Reading(self._lease_from_ms, 0))
            time += one.readings
        return all(self._possible(a, b) for a, b in pairwise(time))

    def _possible(self, a: Reading, b: Reading) -> bool:
        gpu_ms, wall_ms = b.gpu_ms - a.gpu_ms, b.ended_at_ms - a.ended_at_ms
        return wall_ms >= 0 and 0 <= gpu_ms * UNIT <= wall_ms * self._units


def _count(s: Segment) -> tuple[int, int]:
    return s.boot, s.sequence
