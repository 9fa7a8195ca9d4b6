"""How long an audit of the chain alone takes, and that its memory is the state's: `make bench-audit`.

Chains of some thousand and of many times as many of our own events (mirror_chain.py), each audited in a process of its
own with every header and receipt recomputed. Anvil makes receipts as it is asked for them: CPU seconds tell more of the
audit than events a second do. Memory is the audit's own peak. Written to build/bench/audit.json.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from commonhold.anchor.audit.run import audit
from commonhold.chain.deployment import Deployment
from commonhold.chain.rpc import Rpc
from tests.bench.chains import BUILD, LEAST, Chain, at_least
from tests.bench.mirror_chain import dense

# What a contract made up on chain has no signature to show: the chains' members were admitted so, to make them quickly.
EXPECTED = {"who must have signed did: quorums, both sides of a join, holders, node and developer (9)"}


async def measure(url: str, deployment: Path) -> dict[str, float]:
    """One audit, in this process."""
    begun, used = time.monotonic(), time.process_time()
    async with Rpc(url, timeout_s=120) as rpc:
        report = await audit(rpc, Deployment.load(deployment))
    failed = {check.name for check in report.checks if not check.ok}
    if failed - EXPECTED:
        raise SystemExit(f"checks that fail: {sorted(failed - EXPECTED)}")
    return {
        "events": report.events,
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


async def of(chain: Chain) -> dict[str, float]:
    """One audit, in a process of its own beside the chain's node."""
    async with chain.started() as anvil:
        command = [sys.executable, "-m", "tests.bench.audit", "--url", anvil.url, "--deployment", str(chain.deployment)]
        done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """The figures of each size, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=at_least(LEAST), nargs="+", default=[30_000, 300_000])
    parser.add_argument("--url")
    parser.add_argument("--deployment", type=Path)
    asked = parser.parse_args()
    if asked.url:
        print(json.dumps(asyncio.run(measure(asked.url, asked.deployment))))
        return
    rows = []
    for events in asked.events:
        rows.append(asyncio.run(_one(events)))
        row = rows[-1]
        print(
            f"{row['events']:>9,} events: {row['seconds']:>7.1f} s, {row['cpu_seconds']:>6.1f} CPU s, "
            f"{row['events'] / row['cpu_seconds']:>7,.0f} events a CPU second, peak {row['peak_rss_mb']} MB"
        )
    (BUILD / "audit.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


async def _one(events: int) -> dict[str, float]:
    return await of(await dense(events))


if __name__ == "__main__":
    main()
