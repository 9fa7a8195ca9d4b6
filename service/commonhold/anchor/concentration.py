"""How concentrated a class is, in three numbers that competition law and decentralisation research use. Pure integers.

Shares are of the class's total, in which the commons counts: units that are nobody's belong to the denominator and to
no holder, so they only ever lower a number.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from commonhold.units import Units

WHOLE_BPS = 10_000


@dataclass(frozen=True, slots=True)
class Concentration:
    """`nakamoto` is None where all groups together hold no more than half."""

    groups: int
    total_units: Units
    held_units: Units  # by groups; the rest is in the commons
    largest_units: Units
    largest_bps_floor: int
    hhi_floor: int
    nakamoto: int | None


def concentration(held: Iterable[int], total: int) -> Concentration:
    """The numbers of a class with `total` units, of which each group holds one of `held`.

    HHI: the sum of squared percentages, 0 to 10,000, rounded down once at the end (Herfindahl-Hirschman; Merger
    Guidelines of the US DoJ and FTC, 2023, guideline 1: above 1,800 is highly concentrated). Nakamoto coefficient: the
    smallest number of groups that together hold more than half (Srinivasan and Lee, 2017).
    Raises ValueError when the groups hold more than there is, or less than nothing.
    """
    groups = sorted((units for units in held if units != 0), reverse=True)
    if any(units < 0 for units in groups) or sum(groups) > total:
        raise ValueError(f"groups hold {sum(groups)} units of {total}")
    if total == 0:
        return Concentration(0, Units(0), Units(0), Units(0), 0, 0, None)
    return Concentration(
        groups=len(groups),
        total_units=Units(total),
        held_units=Units(sum(groups)),
        largest_units=Units(groups[0] if groups else 0),
        largest_bps_floor=(groups[0] if groups else 0) * WHOLE_BPS // total,
        hhi_floor=sum(units * units for units in groups) * WHOLE_BPS // (total * total),
        nakamoto=_nakamoto(groups, total),
    )


def _nakamoto(descending: list[int], total: int) -> int | None:
    together = 0
    for count, units in enumerate(descending, start=1):
        together += units
        if 2 * together > total:
            return count
    return None
