"""The ways to read a chain that mirror.py compares, each in a process of its own: prints what it measured as JSON.

CPU seconds and peak memory are those of the client: ours with its second process, without the database server, and on a
database that has its tables. What only one way needs is imported there, so that it weighs on no other.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from commonhold.chain.apart import Apart
from commonhold.chain.contract import CONTRACTS
from commonhold.chain.deployment import Deployment
from commonhold.chain.node import Anvil
from commonhold.chain.rpc import Rpc
from commonhold.db import make_engine
from commonhold.mirror.follow import Follower
from commonhold.units import address_text
from tests.bench.chains import BUILD, JSON, ROOT, Chain

if TYPE_CHECKING:
    import httpx

RANGE = 20  # blocks a getLogs: 2,000 logs, which public nodes allow
WEB3_EVENTS = 2_000
DEEP = 64  # blocks undone
TICKS = os.sysconf("SC_CLK_TCK")

Said = dict[str, float]


@contextmanager
def measured(said: Said, apart: Apart | None = None) -> Iterator[None]:
    """Seconds, CPU seconds and peak memory of what is done inside."""
    begun, used = time.perf_counter(), time.process_time()
    yield
    said["seconds"] = time.perf_counter() - begun
    said["cpu_s"] = time.process_time() - used
    said["rss_mb"] = peak_mb("self")
    if apart is not None and apart.pid is not None:
        said["cpu_s"] += cpu_s(apart.pid)
        said["rss_mb"] += peak_mb(apart.pid)


def peak_mb(pid: int | str) -> float:
    """Not ru_maxrss: that begins with the parent's, which fork hands on."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def cpu_s(pid: int) -> float:
    """What a running process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


async def floor(url: str, deployment: Deployment, said: Said) -> None:
    """Nobody can read faster than the node tells, and JSON is parsed."""
    import httpx

    ours = [address_text(address) for address in deployment.followed]
    async with httpx.AsyncClient(timeout=600, trust_env=False) as http:
        last, events = await _last(http, url), 0
        with measured(said):
            for first in range(deployment.block, last + 1, RANGE):
                asked = {"address": ours, "fromBlock": hex(first), "toBlock": hex(min(first + RANGE - 1, last))}
                events += len(await _ask(http, url, "eth_getLogs", asked))
        said["events"] = events


async def ours(url: str, deployment: Deployment, database: str, verify: bool, said: Said) -> None:
    """The mirror, over all that is final."""
    engine, apart = make_engine(database), Apart()
    async with Rpc(url, timeout_s=600, verify_logs=verify, apart=apart) as rpc:
        follower = Follower(rpc, deployment, engine, tier="finalized")
        with measured(said, apart):
            blocks = 0
            while not (progress := await follower.step()).idle:
                blocks += progress.to_number - progress.from_number + 1
        said |= {"events": follower.tally.events, "blocks": blocks}
    await apart.close()
    await engine.dispose()


async def live(url: str, chain: Chain, database: str, said: Said) -> None:
    """The mirror over what is not final, one transaction a block; then a reorg of DEEP blocks with 100 events each."""
    from tests.bench.mirror_chain import mover_on

    deployment, engine, apart = Deployment.load(chain.deployment), make_engine(database), Apart()
    anvil = Anvil(url, 0)
    async with Rpc(url, timeout_s=600, apart=apart) as rpc, mover_on(anvil, chain) as mover:
        final: int = (await rpc.head("finalized")).number
        follower = Follower(rpc, deployment, engine)
        while not (await follower.step()).to_number >= final:
            pass
        before = follower.tally.events
        with measured(said, apart):
            while not (await follower.step()).idle:
                pass
        said["events"] = follower.tally.events - before
        reverts = []
        for turn in range(3):
            snapshot = await mover.ask("evm_snapshot")
            for number in range(DEEP):
                await mover.move(10**6 + turn * DEEP + number, 100)
            while not (await follower.step()).idle:
                pass
            await mover.ask("evm_revert", snapshot)
            await mover.mine(DEEP + 1)
            begun = time.perf_counter()
            progress = await follower.step()
            reverts.append(1_000 * (time.perf_counter() - begun))
            if progress.rewound != DEEP:
                raise SystemExit(f"expected {DEEP} blocks undone, got {progress.rewound}")
        said["revert_ms"] = statistics.median(reverts)
    await anvil.close()
    await apart.close()
    await engine.dispose()


def web3py(url: str, deployment: Deployment, said: Said) -> None:
    """web3.py's get_logs with process_log: a millisecond for each event, so not of all."""
    from web3 import Web3

    w3 = Web3(Web3.HTTPProvider(url, request_kwargs={"timeout": 600}))
    readers = {}
    for name in CONTRACTS:
        if name != "Coin":
            built = json.loads((ROOT / "service/commonhold/chain/abi" / f"{name}.json").read_text())
            address = address_text(deployment.address_of(name))
            for event in w3.eth.contract(address=address, abi=built["abi"]).events:  # type: ignore[call-overload]
                readers[address.lower(), bytes.fromhex(event.topic.removeprefix("0x"))] = event
    last, events, first = w3.eth.block_number, 0, int(deployment.block)
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


async def _last(http: "httpx.AsyncClient", url: str) -> int:
    return int(await _ask(http, url, "eth_blockNumber"), 16)


async def _ask(http: "httpx.AsyncClient", url: str, method: str, *params: object) -> Any:
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    return orjson.loads((await http.post(url, content=body, headers=JSON)).content)["result"]


def main() -> None:
    way, url, name, database = sys.argv[1:]
    said: Said = {}
    chain = Chain.named(name)
    deployment = Deployment.load(chain.deployment)
    if way == "floor":
        asyncio.run(floor(url, deployment, said))
    elif way == "web3py":
        web3py(url, deployment, said)
    elif way.endswith("_live"):
        asyncio.run(live(url, chain, database, said))
    else:
        asyncio.run(ours(url, deployment, database, not way.endswith("_told"), said))
    print(json.dumps(said))


if __name__ == "__main__":
    BUILD.mkdir(parents=True, exist_ok=True)
    main()
