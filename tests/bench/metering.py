"""How many readings one process records a second, durably, on SQLite: 60 readings under one signature, against one
signature for each reading, in the same run. `python -m tests.bench.metering`; writes build/bench/metering.json.
"""

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
from sqlalchemy import event

from commonhold import migrate
from commonhold.db import make_engine, write
from commonhold.meter.record import Recorded, record_all
from commonhold.meter.segment import SignedSegment
from tests.meter import world
from tests.meter.world import DOMAIN, LATER_S, Node

READINGS = 60
BATCH = 200  # segments in one transaction
SEGMENTS = 1_000  # in one round
ROUNDS = 5
ANCHOR = "signature per reading 6,885 readings/s, per 60-reading segment 85,862/s: a 62-line prototype elsewhere"


async def rate(segments: Sequence[SignedSegment], readings: int) -> float:
    """Readings a second: parsed from JSON, checked, stored, each batch in one durable transaction."""
    bodies = [orjson.dumps([s.to_json() for s in segments[at : at + BATCH]]) for at in range(0, len(segments), BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(f"sqlite:///{folder}/bench.db")
        event.listen(engine.sync_engine, "connect", _durable)
        await migrate.upgrade(engine)
        await world.fill(engine)
        started = time.perf_counter()
        for body in bodies:
            batch = [SignedSegment.from_json(item) for item in orjson.loads(body)]
            async with write(engine) as db:
                outcomes = await record_all(db, batch, now_s=LATER_S, domain=DOMAIN)
            assert all(isinstance(outcome, Recorded) for outcome in outcomes), outcomes[0]
        took_s = time.perf_counter() - started
        await engine.dispose()
    return len(segments) * readings / took_s


def _durable(connection: object, _record: object) -> None:
    """A commit is on the disk when it returns (the default survives a crash of the process, not of the machine)."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def made(readings: int, count: int) -> list[SignedSegment]:
    node = Node()
    return [node.work(readings=readings, busy_ms=1, wall_ms=10) for _ in range(count)]


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


async def measure() -> dict[str, object]:
    sides = {"segment of 60 readings": (READINGS, SEGMENTS), "signature per reading": (1, SEGMENTS)}
    prepared = {name: made(readings, count) for name, (readings, count) in sides.items()}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):  # in turns: what disturbs the machine disturbs both sides
        for name, (readings, _) in sides.items():
            rates[name].append(await rate(prepared[name], readings))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    ratio = medians["segment of 60 readings"] / medians["signature per reading"]
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "what": f"parse, verify and record with SQLite synchronous=FULL, {BATCH} segments a transaction, one process",
        "n": ROUNDS,
        "readings_per_s": {name: [round(one) for one in sorted(found)] for name, found in rates.items()},
        "median_readings_per_s": {name: round(found) for name, found in medians.items()},
        "ratio": round(ratio, 1),
        "anchor": ANCHOR,
    }


def main() -> None:
    text = json.dumps(asyncio.run(measure()), indent=2) + "\n"
    out = Path("build/bench/metering.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
