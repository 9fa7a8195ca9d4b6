"""How concentrated a class is, in numbers of competition law, economics and decentralisation research. Pure integers.

Shares are of the class's total, in which the commons counts: units that are nobody's belong to the denominator and to
no holder, so they only ever lower a number. Gini and Lorenz are about the groups among each other, without the commons.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from commonhold.units import Units

WHOLE_BPS = 10_000


@dataclass(frozen=True, slots=True)
class Concentration:
    """`nakamoto` is None where all groups together hold no more than half; the Gini numbers where nobody holds any."""

    groups: int
    total_units: Units
    held_units: Units  # by groups; the rest is in the commons
    largest_units: Units
    largest_bps_floor: int
    hhi_floor: int
    nakamoto: int | None
    gini_bps_floor: int | None  # among the groups that hold some
    gini_all_bps_floor: int | None  # among all groups, those that hold none as well


def concentration(held: Iterable[int], total: int, population: int = 0) -> Concentration:
    """The numbers of a class with `total` units, of which each group holds one of `held`.

    HHI: the sum of squared percentages, 0 to 10,000, rounded down once at the end (Herfindahl-Hirschman; Merger
    Guidelines of the US DoJ and FTC, 2023, guideline 1: above 1,800 is highly concentrated). Nakamoto coefficient: the
    smallest number of groups that together hold more than half (Srinivasan and Lee, 2017). Gini: half the mean absolute
    difference of two groups over the mean, 0 when all hold the same, 1 - 1/n when one of n holds all.
    population: how many groups there are; fewer than hold some: those.
    Raises ValueError when the groups hold more than there is, or less than nothing.
    """
    groups = sorted((units for units in held if units != 0), reverse=True)
    if any(units < 0 for units in groups) or sum(groups) > total:
        raise ValueError(f"groups hold {sum(groups)} units of {total}")
    if total == 0:
        return Concentration(0, Units(0), Units(0), Units(0), 0, 0, None, None, None)
    return Concentration(
        groups=len(groups),
        total_units=Units(total),
        held_units=Units(sum(groups)),
        largest_units=Units(groups[0] if groups else 0),
        largest_bps_floor=(groups[0] if groups else 0) * WHOLE_BPS // total,
        hhi_floor=sum(units * units for units in groups) * WHOLE_BPS // (total * total),
        nakamoto=_nakamoto(groups, total),
        gini_bps_floor=_gini(groups, len(groups)),
        gini_all_bps_floor=_gini(groups, max(population, len(groups))),
    )


def lorenz(held: Iterable[int], points: int = 20) -> list[tuple[int, int]]:
    """The Lorenz curve of the groups that hold some: which share of all that is held the poorest share of them holds.

    In basis points, rounded down, from (0, 0) to (10,000, 10,000): a point for each group, at most `points` + 1 in all,
    evenly spaced, on straight lines between groups. Empty when nobody holds any.
    """
    groups = sorted(units for units in held if units > 0)
    sums = [0]
    for units in groups:
        sums.append(sums[-1] + units)
    if not groups:
        return []
    steps = min(points, len(groups))
    curve = []
    for step in range(steps + 1):
        whole, rest = divmod(step * len(groups), steps)
        below = sums[whole] * steps + (groups[whole] * rest if rest else 0)
        curve.append((step * WHOLE_BPS // steps, below * WHOLE_BPS // (sums[-1] * steps)))
    return curve


def _nakamoto(descending: list[int], total: int) -> int | None:
    together = 0
    for count, units in enumerate(descending, start=1):
        together += units
        if 2 * together > total:
            return count
    return None


def _gini(descending: list[int], population: int) -> int | None:
    """Basis points, rounded down. Those who hold nothing come before all others in rank."""
    if not descending:
        return None
    ranked = sum(rank * units for rank, units in zip(range(population, 0, -1), descending, strict=False))
    together = sum(descending)
    return (2 * ranked - (population + 1) * together) * WHOLE_BPS // (population * together)
