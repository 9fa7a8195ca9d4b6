"""The node's meter writes what the service accepts: chained, growing, without overlap, also across crashes."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from commonhold.agent.clock import NodeClock, next_boot_ms
from commonhold.agent.meter import NodeMeter
from commonhold.agent.spool import Spool, SpoolBroken, SpoolInUse, open_spool
from commonhold.meter.segment import SignedSegment
from commonhold.meter.timeline import Placed, Timeline, too_fast
from commonhold.p256 import p256_point, verify_es256
from commonhold.signing import ZERO32, preimage
from commonhold.units import UNIT, AssetId, Hash32
from tests.gateway.peers import METER

KEY = ec.generate_private_key(ec.SECP256R1())
POINT = p256_point(KEY.public_key())
ONE, TWO = Hash32(b"\x01" * 32), Hash32(b"\x02" * 32)
BOOT = 1_700_000_000_000
PLENTY = 1_000_000


class Machine:
    """A node's meter on one folder, under a clock that the test moves; it can lose power."""

    def __init__(self, folder: Path, gpus: int = 1) -> None:
        self.folder, self.gpus, self.wall_ms = folder, gpus, BOOT
        self.spool: Spool | None = None
        self.start()

    def start(self) -> None:
        self.spool = open_spool(self.folder)
        self._started_ms = self.wall_ms
        clock = NodeClock(next_boot_ms(self.wall_ms, self.spool.last_ms), lambda: self.wall_ms * 1_000_000)
        self.meter = NodeMeter(
            domain=METER,
            key=KEY,
            asset=AssetId(7),
            gpus=self.gpus,
            spool=self.spool,
            clock=clock,
            max_readings=4,
            max_segment_ms=1_000,
        )

    def lose_power(self) -> None:
        assert self.spool is not None
        self.spool.close()

    def use(self, lease: Hash32, ms: int, limit_ms: int = PLENTY) -> None:
        self.meter.begin(lease, limit_ms)
        self.wall_ms += ms
        self.meter.end(lease)

    @property
    def segments(self) -> list[SignedSegment]:
        assert self.spool is not None
        return self.spool.unsent


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    started = Machine(tmp_path)
    yield started
    started.lose_power()


def check(segments: list[SignedSegment]) -> None:
    """All that a service checks, by its own rules: signatures, chains, growth, sequence, overlap, speed."""
    timeline = Timeline()
    heads: dict[Hash32, Hash32] = {}
    totals: dict[Hash32, int] = {}
    sequences: dict[int, int] = {}
    last_ms = 0
    for signed in segments:
        s = signed.segment
        assert signed.verify(METER, POINT) is None
        assert s.previous == heads.get(s.lease, ZERO32)
        assert s.sequence == sequences.get(s.boot, 0)
        assert s.started_at_ms >= last_ms
        assert s.gpu_ms - totals.get(s.lease, 0) <= s.ended_at_ms - s.started_at_ms
        placed = Placed.of(s, signed.readings[0], signed.digest(METER))
        assert timeline.conflict(placed) is None
        assert timeline.misfit(placed, units=UNIT, lease_from_ms=0) is None
        assert too_fast(signed.readings, UNIT) is None
        timeline.add(placed)
        heads[s.lease], totals[s.lease], sequences[s.boot] = s.head, s.gpu_ms, s.sequence + 1
        last_ms = s.ended_at_ms


def test_receipt_is_for_all_time_used_and_its_head_is_the_last_segments(machine: Machine) -> None:
    machine.use(ONE, 40)
    machine.wall_ms += 500
    machine.use(ONE, 60)

    signed = machine.meter.receipt(ONE)

    assert (signed.receipt.gpu_ms, signed.receipt.head) == (100, machine.segments[-1].segment.head)
    assert verify_es256(POINT, preimage(METER, signed.receipt), signed.node_signature)
    check(machine.segments)


def test_receipt_during_a_request_is_followed_by_the_rest(machine: Machine) -> None:
    machine.meter.begin(ONE, PLENTY)
    machine.wall_ms += 30
    first = machine.meter.receipt(ONE)
    machine.wall_ms += 30
    machine.meter.end(ONE)
    second = machine.meter.receipt(ONE)

    assert (first.receipt.gpu_ms, second.receipt.gpu_ms) == (30, 60)
    check(machine.segments)


def test_receipt_of_a_lease_that_was_never_used_is_for_nothing(machine: Machine) -> None:
    signed = machine.meter.receipt(TWO)

    assert (signed.receipt.gpu_ms, signed.receipt.head) == (0, ZERO32)
    assert machine.segments == []


def test_reading_is_taken_each_tick_while_time_passes_and_segment_is_sealed_when_full(machine: Machine) -> None:
    machine.meter.begin(ONE, PLENTY)
    sealed = []
    for _ in range(9):
        machine.wall_ms += 10
        sealed.append(machine.meter.tick())

    assert sealed == [False, False, False, True, False, False, False, True, False]
    assert [s.segment.readings for s in machine.segments] == [4, 4]
    check(machine.segments)


def test_old_segment_is_sealed_although_it_is_not_full(machine: Machine) -> None:
    machine.use(ONE, 10)
    assert machine.meter.tick() is False
    machine.wall_ms += 1_000

    assert machine.meter.tick() is True
    assert machine.segments[0].segment.ended_at_ms == BOOT + 10


def test_segments_of_two_leases_do_not_overlap(machine: Machine) -> None:
    for lease in (ONE, TWO, ONE, TWO, TWO, ONE):
        machine.use(lease, 20)
        machine.wall_ms += 3
    machine.meter.seal_all()

    check(machine.segments)
    assert [s.segment.lease for s in machine.segments] == [ONE, TWO, ONE, TWO, ONE]


def test_two_leases_cannot_have_the_gpus_at_once(machine: Machine) -> None:
    machine.meter.begin(ONE, PLENTY)

    with pytest.raises(ValueError, match="another lease"):
        machine.meter.begin(TWO, PLENTY)


def test_request_shorter_than_a_millisecond_leaves_no_trace(machine: Machine) -> None:
    machine.use(ONE, 0)
    machine.wall_ms += 50
    machine.use(TWO, 5)
    machine.use(ONE, 5)
    machine.meter.seal_all()

    check(machine.segments)
    assert [s.segment.gpu_ms for s in machine.segments] == [5, 5]


def test_time_past_the_budget_is_not_charged(machine: Machine) -> None:
    machine.use(ONE, 70, limit_ms=50)

    assert machine.meter.used_ms(ONE) == 50
    machine.use(ONE, 20, limit_ms=100)
    assert machine.meter.receipt(ONE).receipt.gpu_ms == 70
    check(machine.segments)


def test_crash_loses_no_more_than_the_reading_that_was_not_taken(machine: Machine) -> None:
    machine.use(ONE, 10)
    machine.meter.seal(ONE)
    machine.meter.begin(ONE, PLENTY)
    for _ in range(2):
        machine.wall_ms += 10
        machine.meter.tick()
    machine.wall_ms += 7

    machine.lose_power()
    machine.wall_ms += 1_000
    machine.start()

    assert machine.meter.used_ms(ONE) == 30
    assert [s.segment.gpu_ms for s in machine.segments] == [10, 30]
    machine.use(ONE, 5)
    assert machine.meter.receipt(ONE).receipt.gpu_ms == 35
    check(machine.segments)


def test_clock_set_back_between_boots_does_not_turn_stamps_back(machine: Machine) -> None:
    machine.use(ONE, 100)
    machine.meter.seal_all()
    before = machine.meter.boot
    machine.lose_power()
    machine.wall_ms -= 50_000
    machine.start()

    assert machine.meter.boot == before + 101
    machine.use(ONE, 10)
    machine.meter.seal_all()
    check(machine.segments)


def test_restart_at_every_step_ends_in_the_same_totals(tmp_path: Path) -> None:
    lived, crashed = Machine(tmp_path / "lived"), Machine(tmp_path / "crashed")

    for step in range(12):
        for machine in (lived, crashed):
            machine.use((ONE, TWO)[step % 2], 10 + step)
            machine.meter.tick()
            machine.wall_ms += 5
        crashed.lose_power()
        crashed.start()

    for machine in (lived, crashed):
        machine.meter.seal_all()
        check(machine.segments)
    assert [lived.meter.used_ms(lease) for lease in (ONE, TWO)] == [
        crashed.meter.used_ms(lease) for lease in (ONE, TWO)
    ]
    lived.lose_power()
    crashed.lose_power()


def test_acknowledged_refused_and_included_segments_stay_so_after_a_restart(machine: Machine) -> None:
    for _ in range(4):
        machine.use(ONE, 10)
        machine.meter.seal(ONE)
    spool, keys = machine.spool, [(s.segment.boot, s.segment.sequence) for s in machine.segments]
    assert spool is not None
    spool.add_acknowledged(keys[0])
    spool.add_acknowledged(keys[1])
    spool.add_included(keys[0], 3, [ZERO32])
    spool.add_refused(keys[2], "invalid", "because")
    machine.lose_power()
    machine.start()

    again = machine.spool
    assert again is not None
    assert [s.segment.sequence for s in again.unproven] == [1]
    assert [s.segment.sequence for s in again.refused] == [2]
    assert [s.segment.sequence for s in again.unsent] == [3]


def test_compacted_spool_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)
    for lease in (ONE, TWO, ONE):
        machine.use(lease, 10)
    machine.meter.seal_all()
    spool = machine.spool
    assert spool is not None
    spool.add_acknowledged((BOOT, 0))
    spool.add_included((BOOT, 0), 0, [])
    spool.add_acknowledged((BOOT, 1))
    machine.use(ONE, 10)
    machine.meter.tick()
    before = (spool.leases, spool.unsent, spool.unproven, spool.last_ms, spool.next_sequence(BOOT))
    machine.lose_power()
    size = (tmp_path / "spool.jsonl").stat().st_size

    monkeypatch.setattr("commonhold.agent.spool.COMPACT_BYTES", 10)
    open_spool(tmp_path).close()
    again = open_spool(tmp_path)

    assert (again.leases, again.unsent, again.unproven, again.last_ms, again.next_sequence(BOOT)) == before
    assert (tmp_path / "spool.jsonl").stat().st_size < size
    again.close()


def test_torn_last_line_is_cut_off_wherever_it_tore(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.use(ONE, 10)
    machine.meter.seal_all()
    path = tmp_path / "spool.jsonl"
    whole = path.stat().st_size
    machine.use(ONE, 10)
    machine.meter.seal_all()
    machine.lose_power()
    data = path.read_bytes()

    for end in range(whole, len(data) - 1, 37):
        path.write_bytes(data[:end])
        spool = open_spool(tmp_path)
        assert spool.leases[ONE].gpu_ms == 10
        assert path.stat().st_size == whole
        spool.close()


def test_damage_before_the_last_line_stops_the_node(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.use(ONE, 10)
    machine.meter.seal_all()
    machine.lose_power()
    path = tmp_path / "spool.jsonl"
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)

    with pytest.raises(SpoolBroken):
        open_spool(tmp_path)


def test_spool_has_one_owner(machine: Machine) -> None:
    with pytest.raises(SpoolInUse):
        open_spool(machine.folder)


def test_full_disk_leaves_no_half_line(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) > 100:
            return real(descriptor, data[:50])
        raise OSError(28, "No space left on device")

    machine.use(ONE, 10)
    path = machine.folder / "spool.jsonl"
    size = path.stat().st_size
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", half)
        with pytest.raises(Exception, match="No space"):
            machine.meter.seal(ONE)

    assert path.stat().st_size == size
    assert machine.meter.receipt(ONE).receipt.gpu_ms == 10
    check(machine.segments)


steps = st.lists(
    st.tuples(st.sampled_from(["use", "tick", "receipt", "wait", "crash"]), st.integers(0, 1), st.integers(0, 40)),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_any_history_is_accepted_by_the_services_rules_and_loses_only_what_was_not_read(
    history: list[tuple[str, int, int]],
) -> None:
    used, unread = {ONE: 0, TWO: 0}, 0
    with TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        for step, which, ms in history:
            lease = (ONE, TWO)[which]
            match step:
                case "use":
                    machine.use(lease, ms)
                    used[lease] += ms
                case "tick":
                    machine.meter.tick()
                case "receipt":
                    assert machine.meter.receipt(lease).receipt.gpu_ms == machine.meter.used_ms(lease)
                case "wait":
                    machine.wall_ms += ms
                case "crash":
                    machine.lose_power()
                    machine.start()
                    unread += sum(used.values()) - sum(machine.meter.used_ms(held) for held in used)
                    used = {held: machine.meter.used_ms(held) for held in used}
        machine.meter.seal_all()
        check(machine.segments)
        machine.lose_power()

    assert unread >= 0
    assert {s.segment.lease: s.segment.gpu_ms for s in machine.segments} == {k: v for k, v in used.items() if v}
