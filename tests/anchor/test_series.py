"""Concentration along the chain: where samples are taken, and that there are never many."""

from commonhold.anchor.audit.series import ACQUIRED, DELIVERED, MOST, Owned, used
from commonhold.anchor.audit.state import Class, Member, State
from commonhold.chain.events import ClassCreated
from commonhold.signing import ZERO32
from commonhold.units import Address, Hash32, Units

CLASS = Hash32(b"c" * 32)
ONE, TWO = Address(b"1" * 20), Address(b"2" * 20)


def state() -> State:
    created = ClassCreated(CLASS, "compute/h100-sxm", 2, "GPU", 3_000, 2_000, 3, Units(100))
    found = State(window_seconds=100, horizon=4, ledger=Address(b"L" * 20))
    found.classes[CLASS] = Class(created, total=10)
    found.members = {account: Member(ZERO32, 1, 2) for account in (ONE, TWO)}
    found.held[CLASS] = {ONE: 6, TWO: 2}
    return found


def test_sample_is_of_the_state_at_the_end_of_its_span() -> None:
    one, owned = state(), Owned(every_s=100)
    owned.before(one, 50)
    owned.before(one, 199)  # the first span ended at 100
    one.held[CLASS] = {ONE: 8}
    owned.before(one, 950)  # nothing happened from 200 on: one sample tells of it
    owned.sample(one, 950)

    times = [(point.time_s, point.numbers.largest_units) for point in owned.points[CLASS]]

    assert times == [(100, 6), (200, 8), (950, 8)]
    assert owned.points[CLASS][0].numbers.largest_bps_floor == 6_000  # of the total: the commons has 2
    assert owned.points[CLASS][0].lorenz == [(0, 0), (5_000, 2_500), (10_000, 10_000)]


def test_series_is_bounded_however_long_the_chain_is() -> None:
    one, owned = state(), Owned(every_s=100)
    for span in range(100_000):
        owned.before(one, span * 100)

    points = [point.time_s for point in owned.points[CLASS]]
    assert MOST // 4 < len(points) <= MOST
    assert points == sorted(set(points))
    assert points[-1] > 9_000_000


def test_use_is_by_window() -> None:
    one = state()
    one.acquired = {(CLASS, 3): {ONE: 30, TWO: 10}, (CLASS, 5): {TWO: 7}}
    one.delivered = {(CLASS, 3, ONE, 3): 1_000, (CLASS, 3, ONE, 4): 500, (CLASS, 3, TWO, 3): 500}

    found = used(one)

    acquired = [(point.time_s, point.numbers.total_units, point.numbers.nakamoto) for point in found[ACQUIRED][CLASS]]
    assert acquired == [(300, 40, 1), (500, 7, 1)]
    (delivered,) = found[DELIVERED][CLASS]
    assert delivered.numbers.largest_bps_floor == 7_500  # all levels together
    assert delivered.numbers.gini_bps_floor == 2_500
    assert delivered.to_json()["lorenz_bps"][-1] == (10_000, 10_000)


def test_very_many_windows_are_put_together() -> None:
    one = state()
    one.acquired = {(CLASS, window): {ONE: 1, TWO: 2} for window in range(1_000)}

    points = used(one)[ACQUIRED][CLASS]

    assert len(points) <= MOST
    assert sum(point.numbers.total_units for point in points) == 3_000
