"""Gas of our operations beside what others take for the same, in one run on one chain. `make bench-gas`.

Gas is that of whole transactions: the 21,000 and the calldata are in it. Writes build/bench/gas.json.
"""

import asyncio
import json
import platform
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from commonhold.chain.node import start_anvil
from commonhold.chain.rpc import Rpc
from tests.actors import ANVIL, ROOT, WEEK_S, Deployed, deploy_on, genesis
from tests.bench.gas import ours, peers
from tests.bench.gas.built import Chain

OUT = ROOT / "build" / "bench" / "gas.json"
# What this project set out to stay within.
AIMS = {"transfer_new": 95_000, "transfer_existing": 60_000, "settle_per_receipt_100": 55_000}
# The same operation of others, by the names of theirs.
BESIDE = {
    "transfer_new": ("erc6909_transfer_new", "erc1155_transfer_new", "trex_transfer_new"),
    "transfer_existing": ("erc6909_transfer_existing", "erc1155_transfer_existing", "trex_transfer_existing"),
    "grant_new": ("erc6909_mint_new", "erc1155_mint_new", "trex_mint_new"),
    "grant_existing": ("erc6909_mint_existing", "erc1155_mint_existing", "trex_mint_existing"),
    "vote_first": ("governor_vote_first",),
    "vote_later": ("governor_vote_later",),
    "propose": ("governor_propose",),
}


async def main() -> None:
    """Each part of ours begins with the contracts as they were made."""
    gas: dict[str, int] = {}
    async with start_anvil(ANVIL, auto_impersonate=True) as anvil:
        version = str(await anvil.request("web3_clientVersion"))
        # A week, as by default: on its last day a vote is dearer, since it may prolong the voting.
        deployment = await deploy_on(anvil, replace(genesis(), voting_period=WEEK_S))
        parts: tuple[Callable[[Deployed], Awaitable[dict[str, int]]], ...] = (ours.units, ours.access, ours.council)
        for part in parts:
            before = await anvil.snapshot()
            async with Rpc(anvil.url, timeout_s=120) as rpc:  # a hundred receipts are tried many times
                gas |= await part(Deployed(anvil, rpc, deployment))
            await anvil.revert(before)
        chain = Chain(anvil)
        for measure in (peers.tokens, peers.governor, peers.trex):
            gas |= await measure(chain)
    show(gas, version)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    body = gas | {"node": version, "machine": f"{platform.machine()}, {platform.system()}"}
    OUT.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


def show(gas: Mapping[str, int], version: str) -> None:
    """One line for each operation of ours, with those of others beside it."""
    table = Table(title=f"gas of one transaction, {version}", title_justify="left")
    for heading in ("operation", "ours", "aim", "ERC-6909", "ERC-1155", "ERC-3643", "Governor"):
        table.add_column(heading, justify="left" if heading == "operation" else "right")
    for name, used in gas.items():
        if name.startswith(("erc", "trex", "governor")):
            continue
        others = {other.split("_")[0]: f"{gas[other]:,}" for other in BESIDE.get(name, ())}
        cells = [others.get(prefix, "") for prefix in ("erc6909", "erc1155", "trex", "governor")]
        aim = AIMS.get(name) or (gas[BESIDE[name][0]] if name.startswith("vote") else None)
        table.add_row(name.replace("_", " "), f"{used:,}", f"{aim:,}" if aim else "", *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    asyncio.run(main())
