"""The pure rules: integer arithmetic that rounds against the holder, and refusals that carry their numbers."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from commonhold.errors import LimitExceeded, NotFound, Refused
from commonhold.limits import rules
from commonhold.limits.rules import Allowed, ClassLimits, Denied
from commonhold.units import UNIT, Address

ROOT = Address(b"\x11" * 20)
WEEK = 604_800

units = st.integers(0, 2**63 - 1)
bps = st.integers(1, 10_000)
limits = st.builds(ClassLimits, st.just("compute/h100-sxm"), units, units, units, bps, bps)


def h100(total: int, *, hold_bps: int = 3_000, use_bps: int = 1_000, floor: int = 10 * UNIT) -> ClassLimits:
    return ClassLimits("compute/h100-sxm", total, total, floor, hold_bps, use_bps)


@given(limits, units, units)
def test_a_holding_is_allowed_exactly_when_its_share_is_within_the_limit(
    limits: ClassLimits, held: int, added: int
) -> None:
    base = max(min(limits.total_units, limits.start_total_units), limits.floor_units)

    decision = rules.hold(limits, root=ROOT, held=held, added=added)

    assert isinstance(decision, Allowed) == (Fraction(held + added) * 10_000 <= Fraction(base) * limits.hold_bps)


@given(limits, units, units)
def test_the_headroom_of_an_allowed_increase_is_the_most_that_still_fits(
    limits: ClassLimits, held: int, added: int
) -> None:
    decision = rules.hold(limits, root=ROOT, held=held, added=added)

    if isinstance(decision, Allowed):
        assert isinstance(rules.hold(limits, root=ROOT, held=held + added, added=decision.headroom), Allowed)
        assert isinstance(rules.hold(limits, root=ROOT, held=held + added, added=decision.headroom + 1), Denied)


@given(limits, units, units, st.integers(1, 31_536_000))
def test_use_is_allowed_exactly_when_its_share_of_the_window_is_within_the_limit(
    limits: ClassLimits, redeemed: int, added: int, window_seconds: int
) -> None:
    base = max(min(limits.total_units, limits.start_total_units), limits.floor_units)
    share = Fraction(base) * window_seconds * limits.use_bps / (UNIT * 10_000)

    decision = rules.redeem(limits, root=ROOT, redeemed=redeemed, added=added, window=1, window_seconds=window_seconds)

    assert isinstance(decision, Allowed) == (redeemed + added <= share)


def test_the_floor_makes_a_young_class_usable() -> None:
    assert rules.hold(h100(0), root=ROOT, held=0, added=3 * UNIT) == Allowed(0)


def test_a_total_that_grew_within_the_block_does_not_widen_the_limit() -> None:
    inflated = ClassLimits("compute/h100-sxm", 1_000 * UNIT, 10 * UNIT, 10 * UNIT, 3_000, 1_000)

    assert isinstance(rules.hold(inflated, root=ROOT, held=3 * UNIT, added=1), Denied)


def test_a_refusal_says_what_which_expected_and_got() -> None:
    denied = rules.hold(h100(4 * UNIT), root=ROOT, held=2_800_000, added=500_000)

    assert isinstance(denied, Denied)
    assert denied.code == "OverHoldingLimit"
    assert "would hold 3.300000 of compute/h100-sxm" in denied.reason
    assert "holding limit is 3.000000 (30% of 10.000000)" in denied.reason
    assert denied.numbers["headroom_units"] == 200_000


def test_a_group_over_its_holding_limit_acquires_nothing() -> None:
    denied = rules.acquire(
        h100(4 * UNIT), root=ROOT, held=3 * UNIT + 1, acquired=0, added=1, window=7, window_seconds=WEEK
    )

    assert isinstance(denied, Denied)
    assert denied.code == "HoldsOverLimit"


def test_a_group_at_its_holding_limit_still_acquires() -> None:
    decision = rules.acquire(
        h100(4 * UNIT), root=ROOT, held=3 * UNIT, acquired=0, added=604_800, window=7, window_seconds=WEEK
    )

    assert decision == Allowed(0)


def test_an_asset_is_never_oversold() -> None:
    most = rules.capacity_seconds(4 * UNIT, WEEK)

    assert rules.issue(asset=1, window=7, issued=most - 1, added=1, units=4 * UNIT, window_seconds=WEEK) == Allowed(0)
    denied = rules.issue(asset=1, window=7, issued=most, added=1, units=4 * UNIT, window_seconds=WEEK)
    assert isinstance(denied, Denied)
    assert denied.numbers == {"asset": "1", "window": 7, "issued_s": most, "capacity_s": most, "asked_s": 1}


def test_refusals_become_errors_with_their_numbers() -> None:
    limit = Denied("OverUseLimit", "too much", {"most_s": 5}).error()

    assert isinstance(limit, LimitExceeded)
    assert limit.details == {"rule": "OverUseLimit", "most_s": 5}
    assert isinstance(Denied("UnknownAsset", "no asset 7").error(), NotFound)
    assert isinstance(Denied("NotActiveMember", "lapsed").error(), Refused)
