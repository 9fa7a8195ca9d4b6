"""Concentration, against values that can be checked by hand."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonhold.anchor.concentration import concentration, lorenz


@pytest.mark.parametrize(
    ("held", "total", "largest_bps", "hhi", "nakamoto"),
    [
        # US Merger Guidelines (2010), 5.3, footnote 9: four firms of 30, 30, 20 and 20 percent have an HHI of 2,600.
        ([30, 30, 20, 20], 100, 3_000, 2_600, 2),
        # A monopoly: 10,000, by definition the largest value.
        ([7], 7, 10_000, 10_000, 1),
        # n equal firms: 10,000 / n.
        ([1] * 4, 4, 2_500, 2_500, 3),
        ([1] * 10, 10, 1_000, 1_000, 6),
        # Half is not more than half.
        ([50, 50], 100, 5_000, 5_000, 2),
        ([51, 49], 100, 5_100, 5_002, 1),
        # The commons counts in the total and is nobody's: 30, 30, 20 of 100, and 20 unowned.
        ([30, 30, 20], 100, 3_000, 2_200, 2),
        ([25, 25], 100, 2_500, 1_250, None),
        ([], 100, 0, 0, None),
        ([], 0, 0, 0, None),
        ([0, 10, 0], 10, 10_000, 10_000, 1),
        # Thirds: 3 x 33.33..^2 = 3,333.33.., rounded down once.
        ([1, 1, 1], 3, 3_333, 3_333, 2),
    ],
)
def test_known_values(held: list[int], total: int, largest_bps: int, hhi: int, nakamoto: int | None) -> None:
    got = concentration(held, total)

    assert (got.largest_bps_floor, got.hhi_floor, got.nakamoto) == (largest_bps, hhi, nakamoto)


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="11 units of 10"):
        concentration([11], 10)


def gini(held: list[int], *, zeros: bool = False) -> int | None:
    """The definition: mean absolute difference of all pairs over twice the mean (Sen, On Economic Inequality, 1973)."""
    held = [units for units in held if units or zeros]
    if not sum(held):
        return None
    differences = sum(abs(one - other) for one in held for other in held)
    exact = Fraction(differences, 2 * len(held) * sum(held))
    return 10_000 * exact.numerator // exact.denominator


@pytest.mark.parametrize(
    ("held", "population", "gini_bps", "gini_all_bps"),
    [
        ([], 5, None, None),
        ([7], 1, 0, 0),
        ([7], 4, 0, 7_500),  # one of n holds all: 1 - 1/n
        ([5, 5, 5, 5], 4, 0, 0),
        ([1, 2, 3, 4], 4, 2_500, 2_500),  # (2 x 30 - 5 x 10) / (4 x 10)
        ([10, 20, 30, 40, 50], 5, 2_666, 2_666),  # 4/15
        ([1, 3], 2, 2_500, 2_500),
        ([1, 3], 4, 2_500, 6_250),  # two more that hold nothing
    ],
)
def test_known_gini(held: list[int], population: int, gini_bps: int | None, gini_all_bps: int | None) -> None:
    got = concentration(held, sum(held) or 1, population)

    assert (got.gini_bps_floor, got.gini_all_bps_floor) == (gini_bps, gini_all_bps)


@pytest.mark.parametrize(
    ("held", "curve"),
    [
        ([], []),
        ([7], [(0, 0), (10_000, 10_000)]),
        ([5, 5, 5, 5], [(0, 0), (2_500, 2_500), (5_000, 5_000), (7_500, 7_500), (10_000, 10_000)]),
        ([4, 3, 2, 1], [(0, 0), (2_500, 1_000), (5_000, 3_000), (7_500, 6_000), (10_000, 10_000)]),
        ([0, 9, 0, 1], [(0, 0), (5_000, 1_000), (10_000, 10_000)]),
    ],
)
def test_known_lorenz_curve(held: list[int], curve: list[tuple[int, int]]) -> None:
    assert lorenz(held) == curve


@given(st.lists(st.integers(1, 2**62), min_size=1, max_size=60), st.integers(1, 20))
def test_lorenz_curve_is_the_plain_one(held: list[int], points: int) -> None:
    curve, ordered = lorenz(held, points), sorted(held)

    assert len(curve) == min(points, len(held)) + 1
    for step, (population, share) in enumerate(curve):
        place = Fraction(step * len(held), len(curve) - 1)
        whole = place.numerator // place.denominator
        below = sum(ordered[:whole]) + (place - whole) * (ordered[whole] if whole < len(held) else 0)
        exact = below / sum(held) * 10_000
        assert share == exact.numerator // exact.denominator
        assert share <= population + 1  # the poorest share of groups never holds more than its share
    # Twice the area between the curve and the diagonal is the Gini coefficient, where every group is a point.
    if len(curve) == len(held) + 1:
        area = sum(Fraction(a + b, 2) for (_, a), (_, b) in pairwise(curve)) / len(held)
        found = concentration(held, sum(held)).gini_bps_floor
        assert found is not None
        assert abs(10_000 - 2 * area - found) <= 3


@given(st.lists(st.integers(0, 2**62), max_size=12), st.integers(0, 2**62))
def test_same_as_exact_fractions(held: list[int], commons: int) -> None:
    total = sum(held) + commons
    got = concentration(held, total, population=len(held) + 3)

    if total:
        exact = sum((Fraction(100 * units, total) ** 2 for units in held), Fraction(0))
        assert got.hhi_floor == exact.numerator // exact.denominator
        assert got.largest_bps_floor == max(held, default=0) * 10_000 // total
    assert got.gini_bps_floor == gini(held)
    assert got.gini_all_bps_floor == gini(held + [0] * 3, zeros=True)
    smallest = next((n for n in range(1, len(held) + 1) if 2 * sum(sorted(held)[-n:]) > total), None)
    assert got.nakamoto == smallest
