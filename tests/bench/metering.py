"""How many readings one process records a second, durably, on SQLite: 60 readings under one signature, against one
signature for each reading, in the same run; and what share that is of the bound from its parts, which is one signature
check a segment, and hashing and packing of each reading, and nothing else. `make bench-metering`; writes
build/bench/metering.json.
"""

import asyncio
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import event

from commonhold import migrate
from commonhold.db import make_engine, write
from commonhold.meter.record import Recorded, record_all
from commonhold.meter.segment import SignedSegment, chain, pack
from commonhold.p256 import p256_point, verify_es256
from commonhold.signing import preimage
from tests.meter import world
from tests.meter.world import DOMAIN, LATER_S, Node

READINGS = 60
BATCH = 200  # segments in one transaction
SEGMENTS = 1_000  # in one round
ROUNDS = 5
ANCHOR = "signature per reading 6,885 readings/s, per 60-reading segment 85,862/s: a 62-line prototype elsewhere"


@dataclass(frozen=True, slots=True)
class Rate:
    """Readings a second, by the clock and by the CPU time of the process."""

    wall: float
    cpu: float


class Watch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def rate(self, readings: int) -> Rate:
        return Rate(readings / (time.perf_counter() - self._wall_s), readings / (time.process_time() - self._cpu_s))


async def recorded(bodies: Sequence[bytes], readings: int) -> Rate:
    """Parsed from JSON, checked, stored, each batch in one durable transaction."""
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(f"sqlite:///{folder}/bench.db")
        event.listen(engine.sync_engine, "connect", _durable)
        await migrate.upgrade(engine)
        await world.fill(engine)
        watch = Watch()
        for body in bodies:
            batch = [SignedSegment.from_json(item) for item in orjson.loads(body)]
            async with write(engine) as db:
                outcomes = await record_all(db, batch, now_s=LATER_S, domain=DOMAIN)
            assert all(isinstance(outcome, Recorded) for outcome in outcomes), outcomes[0]
        rate = watch.rate(SEGMENTS * readings)
        await engine.dispose()
    return rate


def bound(signed: SignedSegment) -> Rate:
    """What one process could record if it did no more than the parts that nothing can leave out."""
    statement, point = signed.segment, p256_point(world.NODE.public_key())
    message = preimage(DOMAIN, statement)
    watch = Watch()
    for _ in range(SEGMENTS):
        assert verify_es256(point, message, signed.signature)
        assert chain(statement.previous, statement.lease, signed.readings) == statement.head
        pack(signed.readings)
    return watch.rate(SEGMENTS * len(signed.readings))


def _durable(connection: object, _record: object) -> None:
    """A commit is on the disk when it returns (the default survives a crash of the process, not of the machine)."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def made(readings: int, count: int) -> list[SignedSegment]:
    node = Node()
    return [node.work(readings=readings, busy_ms=1, wall_ms=10) for _ in range(count)]


def posted(segments: Sequence[SignedSegment]) -> list[bytes]:
    """What comes in: only bytes are kept, so that no objects of the bench are the garbage collector's work."""
    return [orjson.dumps([s.to_json() for s in segments[at : at + BATCH]]) for at in range(0, len(segments), BATCH)]


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def median(rates: Sequence[Rate]) -> Rate:
    return Rate(statistics.median(rate.wall for rate in rates), statistics.median(rate.cpu for rate in rates))


async def measure() -> dict[str, object]:
    (one,) = made(READINGS, 1)
    many, single = posted(made(READINGS, SEGMENTS)), posted(made(1, SEGMENTS))
    in_segments: list[Rate] = []
    per_reading: list[Rate] = []
    bounds: list[Rate] = []
    for _ in range(ROUNDS):  # in turns: what disturbs the machine disturbs all sides
        in_segments.append(await recorded(many, READINGS))
        per_reading.append(await recorded(single, 1))
        bounds.append(bound(one))
    segments, singles, parts = median(in_segments), median(per_reading), median(bounds)
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "what": f"parse, verify and record with SQLite synchronous=FULL, {BATCH} segments a transaction, one process",
        "n": ROUNDS,
        "readings_a_segment": READINGS,
        "readings_per_s": round(segments.wall),
        "per_reading_signatures_per_s": round(singles.wall),
        "ratio": round(segments.wall / singles.wall, 1),
        "bound_readings_per_s": round(parts.wall),
        "share_of_bound": round(segments.wall / parts.wall, 3),
        "by_cpu_time": {
            "readings_per_s": round(segments.cpu),
            "per_reading_signatures_per_s": round(singles.cpu),
            "bound_readings_per_s": round(parts.cpu),
            "share_of_bound": round(segments.cpu / parts.cpu, 3),
        },
        "rounds": {
            "readings_per_s": [round(rate.wall) for rate in in_segments],
            "per_reading_signatures_per_s": [round(rate.wall) for rate in per_reading],
            "bound_readings_per_s": [round(rate.wall) for rate in bounds],
        },
        "anchor": ANCHOR,
    }


def main() -> None:
    gc.collect()
    gc.freeze()  # as `commonhold serve` does once it is up
    text = json.dumps(asyncio.run(measure()), indent=2) + "\n"
    out = Path("build/bench/metering.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
