"""Concentration along the chain: of what groups own at points in time, of what they acquired and were delivered in
windows. However long the chain is, a series has a bounded number of points.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from commonhold.anchor.audit.state import State
from commonhold.anchor.concentration import Concentration, concentration, lorenz
from commonhold.units import Address, Hash32

MOST: Final = 120  # points of a series; more than a plot of a page's width can show apart

OWNED, ACQUIRED, DELIVERED = "owned", "acquired", "delivered"


@dataclass(frozen=True, slots=True)
class Point:
    """How concentrated something was at a time (owned) or in windows that begin at that time (acquired, delivered)."""

    time_s: int
    numbers: Concentration
    lorenz: list[tuple[int, int]]

    def to_json(self) -> dict[str, Any]:
        """Plain values. Units of what is counted: units of the class, seconds, GPU-ms."""
        n = asdict(self.numbers)
        return {
            "time_s": self.time_s,
            "groups": n["groups"],
            "total": n["total_units"],
            "held": n["held_units"],
            "largest_bps": n["largest_bps_floor"],
            "hhi": n["hhi_floor"],
            "nakamoto": n["nakamoto"],
            "gini_bps": n["gini_bps_floor"],
            "gini_all_bps": n["gini_all_bps_floor"],
            "lorenz_bps": self.lorenz,
        }


@dataclass(slots=True)
class Owned:
    """Samples ownership at the ends of spans of `every_s`, which double whenever there are too many points."""

    every_s: int
    points: dict[Hash32, list[Point]] = field(default_factory=dict)
    _next_s: int = 0
    _taken: int = 0

    def before(self, state: State, now_s: int) -> None:
        """To be called before an event of time `now_s` changes the state: takes a sample when a span has ended."""
        if now_s < self._next_s:
            return
        if self._next_s and state.classes:
            self.sample(state, self._next_s)
        self._next_s = (now_s // self.every_s + 1) * self.every_s

    def sample(self, state: State, time_s: int) -> None:
        """One point more of every class of which something exists."""
        population = state.groups()
        for class_id, c in state.classes.items():
            if c.total:
                point = _point(time_s, state.held.get(class_id, {}), c.total, population)
                if point:
                    self.points.setdefault(class_id, []).append(point)
        self._taken += 1
        if self._taken >= MOST:
            self._taken //= 2
            self.every_s *= 2
            for points in self.points.values():
                del points[-2::-2]  # the newest stays


def used(state: State) -> dict[str, dict[Hash32, list[Point]]]:
    """Acquired seconds and delivered GPU-ms of each class by window; of very many windows, some together."""
    delivered: dict[tuple[Hash32, int], Counter[Address]] = {}
    for (class_id, window, root, _), gpu_ms in state.delivered.items():
        delivered.setdefault((class_id, window), Counter())[root] += gpu_ms
    return {ACQUIRED: _by_window(state, state.acquired), DELIVERED: _by_window(state, delivered)}


def _by_window(state: State, sums: Mapping[tuple[Hash32, int], Mapping[Address, int]]) -> dict[Hash32, list[Point]]:
    windows = [window for _, window in sums]
    if not windows:
        return {}
    first = min(windows)
    together = -(-(max(windows) - first + 1) // MOST)
    merged: dict[tuple[Hash32, int], Counter[Address]] = {}
    for (class_id, window), per_root in sums.items():
        merged.setdefault((class_id, (window - first) // together), Counter()).update(per_root)
    population = state.groups()
    found: dict[Hash32, list[Point]] = {}
    for (class_id, place), per_group in sorted(merged.items()):
        time_s = (first + place * together) * state.window_seconds
        if per_group and (point := _point(time_s, per_group, sum(per_group.values()), population)):
            found.setdefault(class_id, []).append(point)
    return found


def _point(time_s: int, held: Mapping[Address, int], total: int, population: int) -> Point | None:
    """None where the sums do not come out: a check of its own says so."""
    try:
        return Point(time_s, concentration(held.values(), total, population), lorenz(held.values()))
    except ValueError:
        return None
