"""Concentration, against values that can be checked by hand."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonhold.anchor.concentration import concentration


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


@given(st.lists(st.integers(0, 2**62), max_size=12), st.integers(0, 2**62))
def test_same_as_exact_fractions(held: list[int], commons: int) -> None:
    total = sum(held) + commons
    got = concentration(held, total)

    if total:
        exact = sum((Fraction(100 * units, total) ** 2 for units in held), Fraction(0))
        assert got.hhi_floor == exact.numerator // exact.denominator
        assert got.largest_bps_floor == max(held, default=0) * 10_000 // total
    smallest = next((n for n in range(1, len(held) + 1) if 2 * sum(sorted(held)[-n:]) > total), None)
    assert got.nakamoto == smallest
