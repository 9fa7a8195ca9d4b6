"""The node's memory on disk: readings, segments, and what the service has taken, so that kill -9 loses at most the
reading that was being taken.

One append-only file of lines, `crc32 json`, each written and synced before its effect leaves the machine: a segment is
on disk before it is sent, an answer after it came. Replaying the file gives totals, heads and what is still to send.
One process at a time holds it: two nodes on one spool would sign two histories.
"""

import fcntl
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from commonhold.errors import CommonholdError, Unavailable
from commonhold.meter.segment import Reading, SignedSegment
from commonhold.signing import ZERO32
from commonhold.units import Hash32, hex_text, to_hash32

COMPACT_BYTES = 32 << 20  # a busy node writes some 10 MB a day; replaying this much takes about a second

SegmentKey = tuple[int, int]  # (boot, sequence)


class SpoolBroken(CommonholdError):
    """The spool has a damaged line that is not its last, so what comes after it cannot be trusted."""

    code = "spool_broken"


class SpoolUnwritable(Unavailable):
    """The disk did not take a line: what cannot be recorded must not be served."""

    code = "spool_unwritable"


class SpoolInUse(CommonholdError):
    """Another process has the spool."""

    status = 409
    code = "spool_in_use"


@dataclass(slots=True)
class LeaseState:
    """Where a lease's meter stands. `unsealed` readings lie after `head` and are in no segment yet."""

    gpu_ms: int = 0
    head: Hash32 = ZERO32
    boot: int = 0  # of the unsealed readings
    started_at_ms: int = 0  # of the unsealed readings
    unsealed: list[Reading] = field(default_factory=list)


@dataclass(slots=True)
class _State:
    leases: dict[Hash32, LeaseState] = field(default_factory=dict)
    sequences: dict[int, int] = field(default_factory=dict)  # next sequence of each boot
    last_ms: int = 0  # the latest boot or stamp
    unsent: dict[SegmentKey, SignedSegment] = field(default_factory=dict)
    unproven: dict[SegmentKey, SignedSegment] = field(default_factory=dict)
    refused: dict[SegmentKey, SignedSegment] = field(default_factory=dict)


class Spool:
    """Opened by `open_spool`. Every `add_*` is on disk when it returns: some milliseconds, a few times a minute."""

    def __init__(self, path: Path, descriptor: int, lock: int, state: _State) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = lock
        self._state = state

    @property
    def last_ms(self) -> int:
        """The latest boot or stamp of all earlier work; 0 when the spool is new."""
        return self._state.last_ms

    @property
    def leases(self) -> dict[Hash32, LeaseState]:
        """Where every lease's meter stands."""
        return self._state.leases

    @property
    def unsent(self) -> list[SignedSegment]:
        """Segments that the service has not acknowledged, oldest first."""
        return [self._state.unsent[key] for key in sorted(self._state.unsent)]

    @property
    def refused(self) -> list[SignedSegment]:
        """Segments that the service refused for good, oldest first."""
        return [self._state.refused[key] for key in sorted(self._state.refused)]

    @property
    def unproven(self) -> list[SignedSegment]:
        """Segments that the service has and that no anchor is known to include, oldest first."""
        return [self._state.unproven[key] for key in sorted(self._state.unproven)]

    def next_sequence(self, boot: int) -> int:
        """The number of the next segment of that boot."""
        return self._state.sequences.get(boot, 0)

    def add_boot(self, boot: int) -> None:
        """The node has started: `boot` is above every stamp before."""
        if boot <= self.last_ms:
            raise ValueError(f"boot {boot} is not after the last stamp {self.last_ms}")
        self._append({"kind": "boot", "boot": boot})

    def add_reading(self, boot: int, lease: Hash32, started_at_ms: int, reading: Reading) -> None:
        """A reading that no segment has yet; started_at_ms: where its segment will start."""
        self._append(
            {
                "kind": "reading",
                "boot": boot,
                "lease": hex_text(lease),
                "started_at_ms": started_at_ms,
                "reading": [reading.ended_at_ms, reading.gpu_ms],
            }
        )

    def add_segment(self, signed: SignedSegment) -> None:
        """A segment that is to be sent; the lease's readings so far are in it."""
        self._append({"kind": "segment", "segment": signed.to_json()})

    def add_acknowledged(self, key: SegmentKey) -> None:
        """The service has the segment."""
        self._append({"kind": "acknowledged", "boot": key[0], "sequence": key[1]})

    def add_refused(self, key: SegmentKey, code: str, reason: str) -> None:
        """The service will never take the segment: it stays here as evidence and is sent no more."""
        self._append({"kind": "refused", "boot": key[0], "sequence": key[1], "code": code, "reason": reason})

    def add_included(self, key: SegmentKey, epoch: int, proof: list[Hash32]) -> None:
        """An anchored epoch includes the segment; the proof stays in the spool."""
        line = {"kind": "included", "boot": key[0], "sequence": key[1], "epoch": epoch}
        self._append({**line, "proof": [hex_text(node) for node in proof]})

    def close(self) -> None:
        """Another process may have the spool."""
        os.close(self._descriptor)
        os.close(self._lock)

    def _append(self, record: dict[str, object]) -> None:
        whole_bytes = os.fstat(self._descriptor).st_size
        try:
            _write(self._descriptor, _line(record))
        except OSError as e:
            os.ftruncate(self._descriptor, whole_bytes)  # a full disk must not leave half a line under the next one
            raise SpoolUnwritable(f"spool {self.path}: {e.strerror}") from e
        _apply(self._state, record)


def open_spool(folder: Path) -> Spool:
    """The spool in `folder`, replayed. A torn last line, the mark of a crash, is cut off.

    Raises SpoolInUse, SpoolBroken.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(lock)
        raise SpoolInUse(f"spool {folder}: another process has it") from e
    path = folder / "spool.jsonl"
    try:
        state, n_bytes = _replay(path)
        if n_bytes > COMPACT_BYTES:
            _compact(path, state)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if n_bytes <= COMPACT_BYTES:
            os.ftruncate(descriptor, n_bytes)
    except BaseException:
        os.close(lock)
        raise
    _sync_folder(folder)
    return Spool(path, descriptor, lock, state)


def _replay(path: Path) -> tuple[_State, int]:
    """(state, bytes of whole lines)."""
    state = _State()
    data = path.read_bytes() if path.exists() else b""
    good = 0
    while good < len(data):
        end = data.find(b"\n", good)
        record = _record(data[good:end]) if end >= 0 else None
        if record is None:
            # Only the last write can be torn: each was synced before the next began.
            if 0 <= end < len(data) - 1:
                raise SpoolBroken(f"spool {path}: damaged line at byte {good} of {len(data)}, expected a whole one")
            break
        _apply(state, record)
        good = end + 1
    return state, good


def _apply(state: _State, record: dict[str, object]) -> None:
    match record:
        case {"kind": "boot", "boot": int(boot)}:
            state.last_ms = max(state.last_ms, boot)
        case {"kind": "reading", "boot": int(boot), "lease": str(lease), "started_at_ms": int(start), "reading": pair}:
            ended_at_ms, gpu_ms = _pair(pair)
            held = state.leases.setdefault(to_hash32(lease), LeaseState())
            held.boot, held.started_at_ms, held.gpu_ms = boot, start, gpu_ms
            held.unsealed.append(Reading(ended_at_ms, gpu_ms))
            state.last_ms = max(state.last_ms, ended_at_ms)
        case {"kind": "segment", "segment": data}:
            signed = SignedSegment.from_json(data)
            segment = signed.segment
            state.leases[segment.lease] = LeaseState(segment.gpu_ms, segment.head)
            state.sequences[segment.boot] = segment.sequence + 1
            state.unsent[segment.boot, segment.sequence] = signed
            state.last_ms = max(state.last_ms, segment.ended_at_ms)
        case {"kind": "acknowledged", "boot": int(boot), "sequence": int(sequence)}:
            if acknowledged := state.unsent.pop((boot, sequence), None):
                state.unproven[boot, sequence] = acknowledged
        case {"kind": "refused", "boot": int(boot), "sequence": int(sequence)}:
            if refused := state.unsent.pop((boot, sequence), None):
                state.refused[boot, sequence] = refused
        case {"kind": "included", "boot": int(boot), "sequence": int(sequence)}:
            state.unproven.pop((boot, sequence), None)
        case {"kind": "lease", "lease": str(lease), "gpu_ms": int(gpu_ms), "head": str(head), "last_ms": int(last_ms)}:
            state.leases[to_hash32(lease)] = LeaseState(gpu_ms, to_hash32(head))
            state.last_ms = max(state.last_ms, last_ms)
        case {"kind": "sequence", "boot": int(boot), "next": int(sequence)}:
            state.sequences[boot] = sequence
        case _:
            raise SpoolBroken(f"spool: unknown record of kind {str(record.get('kind'))[:20]!r}")


def _compact(path: Path, state: _State) -> None:
    """Rewrites the file with what still matters: proofs of long ago and sent segments go."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write(descriptor, b"".join(_line(record) for record in _snapshot(state)))
    finally:
        os.close(descriptor)
    fresh.replace(path)


def _snapshot(state: _State) -> Iterator[dict[str, object]]:
    # Segments first, in order: they set heads and totals, which the lease records then put right.
    for signed in sorted(
        (*state.unproven.values(), *state.unsent.values(), *state.refused.values()),
        key=lambda s: (s.segment.boot, s.segment.sequence),
    ):
        yield {"kind": "segment", "segment": signed.to_json()}
    for boot, sequence in sorted(state.unproven):
        yield {"kind": "acknowledged", "boot": boot, "sequence": sequence}
    for boot, sequence in sorted(state.refused):
        yield {"kind": "refused", "boot": boot, "sequence": sequence, "code": "earlier", "reason": "before compaction"}
    for boot, following in state.sequences.items():
        yield {"kind": "sequence", "boot": boot, "next": following}
    for lease, held in state.leases.items():
        sealed = {"kind": "lease", "lease": hex_text(lease), "head": hex_text(held.head), "last_ms": state.last_ms}
        yield {**sealed, "gpu_ms": held.gpu_ms}
        for reading in held.unsealed:
            pair = [reading.ended_at_ms, reading.gpu_ms]
            times = {"boot": held.boot, "started_at_ms": held.started_at_ms, "reading": pair}
            yield {"kind": "reading", "lease": hex_text(lease), **times}


def _line(record: dict[str, object]) -> bytes:
    body = orjson.dumps(record)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _record(line: bytes) -> dict[str, object] | None:
    """None for a line that was not written whole."""
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    record: dict[str, object] = orjson.loads(body)
    return record


def _pair(pair: object) -> tuple[int, int]:
    match pair:
        case [int(ended_at_ms), int(gpu_ms)]:
            return ended_at_ms, gpu_ms
    raise SpoolBroken("spool: reading is no pair of numbers")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
