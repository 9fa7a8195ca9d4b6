"""Allocation time is the union of intervals: held against a model that marks every millisecond."""

from hypothesis import given
from hypothesis import strategies as st

from commonhold.agent.busy import BusyTime

intervals = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 80)), max_size=12)


def replay(busy: BusyTime, spans: list[tuple[int, int]]) -> None:
    moments = [(start, 1) for start, _ in spans] + [(start + length, 0) for start, length in spans]
    for at, begins in sorted(moments, key=lambda m: (m[0], -m[1])):
        (busy.begin if begins else busy.end)(at)


@given(intervals, st.integers(1, 8))
def test_total_is_the_number_of_busy_milliseconds_times_gpus(spans: list[tuple[int, int]], gpus: int) -> None:
    busy = BusyTime(gpus)

    replay(busy, spans)

    marked = {ms for start, length in spans for ms in range(start, start + length)}
    assert busy.gpu_ms(1_000) == len(marked) * gpus
    assert busy.in_flight == 0


@given(intervals, st.integers(1, 8), st.integers(0, 500))
def test_total_never_exceeds_the_limit_and_asking_changes_nothing(
    spans: list[tuple[int, int]], gpus: int, limit: int
) -> None:
    plain, asked = BusyTime(gpus, limit_gpu_ms=limit), BusyTime(gpus, limit_gpu_ms=limit)

    replay(plain, spans)
    asked.begin(0)
    for ms in range(0, 50, 7):
        assert asked.gpu_ms(ms) == min(limit, ms * gpus)

    assert plain.gpu_ms(1_000) <= limit


def test_overlapping_requests_count_once() -> None:
    busy = BusyTime(2)

    busy.begin(100)
    busy.begin(150)
    busy.end(180)
    busy.end(200)

    assert busy.gpu_ms(900) == 200


def test_time_past_the_limit_does_not_come_back_when_the_limit_is_raised() -> None:
    busy = BusyTime(1, limit_gpu_ms=100)

    busy.begin(0)
    busy.raise_limit(1_000, 130)
    busy.end(150)

    assert busy.gpu_ms(150) == 120


def test_time_left_is_in_wall_clock_and_rounded_up() -> None:
    busy = BusyTime(8, limit_gpu_ms=100)

    busy.begin(0)

    assert (busy.left_ms(0), busy.left_ms(12), busy.left_ms(13)) == (13, 1, 0)
