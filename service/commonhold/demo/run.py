"""The whole way on one machine: chain, seven members, three appraisers, service, node, a developer and an auditor.

`run` goes through the ten steps, then keeps the service up until it is told to stop. Every process that it starts is
its own and is ended; every file is in a folder of this run.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from commonhold.chain.node import Anvil, start_anvil
from commonhold.chain.rpc import Rpc
from commonhold.demo import assets, forks, holding, metering, parties, redeeming, reviewing, show, voting
from commonhold.demo.processes import HOST, Processes, free_port
from commonhold.demo.world import Keys, World
from commonhold.errors import BadInput

LOCAL_BIN = "contracts/node_modules/.bin"
NODE_PORT, SERVICE_PORT = 8545, 8000
SETTLE_S, EPOCH_S, POLL_S = 1.0, 2.0, 0.25
QUANTUM_S, TOKEN_TTL_S = 8, 300


@dataclass(frozen=True, slots=True)
class Options:
    """What the demo is told. `database_url` None: a new SQLite file."""

    folder: Path
    once: bool
    port: int = SERVICE_PORT
    database_url: str | None = None
    recorded_evidence: Path | None = None


async def run(options: Options, stop: asyncio.Event) -> None:
    """Raises CommonholdError at the first thing that is not as it should be."""
    async with _world(options) as (world, anvil):
        await _steps(world, anvil)
        show.console.print(f"\n[bold green]All ten steps hold.[/bold green] {time.monotonic() - show.STARTED:.0f} s")
        if options.once:
            return
        show.console.print(f"The service keeps running at [bold]{world.service_url}[/bold]; Ctrl-C ends it.")
        await _until(stop, world.processes)


async def _steps(world: World, anvil: Anvil) -> None:
    # What takes seconds to start does so while the members are admitted.
    await asyncio.gather(parties.admit_members(world), start_service(world), assets.start_appraisers(world))
    show.fact("the service", f"{world.service_url} follows the chain and shows its state there")
    await assets.register_all(world)
    await holding.hold_within_limits(world)
    await redeeming.redeem_within_limits(world, anvil)
    await metering.call_until_spent(world)
    await metering.settle_and_anchor(world)
    await forks.survive_reorg(world, anvil)
    await reviewing.audit(world)
    await voting.vote(world, anvil)


async def start_service(world: World) -> None:
    """The service follows the chain from now on."""
    await world.processes.start(
        "service",
        [
            *("serve", "--rpc", world.rpc_url, "--deployment", str(world.deployment_file)),
            *("--database-url", world.database_url, "--data-dir", str(world.folder / "service")),
            *(
                "--relayer-key",
                str(world.keys.file("relayer-of-the-service")),
                "--host",
                HOST,
                "--port",
                str(world.port),
            ),
            *("--poll-s", str(POLL_S), "--settle-s", str(SETTLE_S), "--epoch-s", str(EPOCH_S)),
            *("--quantum-s", str(QUANTUM_S), "--token-ttl-s", str(TOKEN_TTL_S)),
        ],
        f"{world.service_url}/readyz",
    )


@asynccontextmanager
async def _world(options: Options) -> AsyncIterator[tuple[World, Anvil]]:
    binary = shutil.which("anvil") or shutil.which("anvil", path=LOCAL_BIN)
    if binary is None:
        raise BadInput("anvil: expected on PATH, not found; `make setup` installs it, `make demo` runs with it")
    keys = Keys(options.folder / "keys")
    async with (
        start_anvil(binary, port=free_port(NODE_PORT)) as anvil,
        httpx.AsyncClient(timeout=30, trust_env=False) as http,
    ):
        rpc = Rpc(anvil.url)
        processes = Processes(options.folder)
        try:
            deployment = await parties.deploy_contracts(anvil, rpc, keys)
            await parties.fund(anvil, keys)
            port = free_port(options.port)
            world = World(
                folder=options.folder,
                keys=keys,
                rpc=rpc,
                rpc_url=anvil.url,
                deployment=deployment,
                processes=processes,
                http=http,
                database_url=options.database_url or f"sqlite:///{options.folder / 'service.db'}",
                recorded_evidence=options.recorded_evidence,
                port=port,
                service_url=f"http://{HOST}:{port}",
            )
            deployment.save(world.deployment_file)
            try:
                yield world, anvil
            finally:
                if world.developer is not None:
                    await world.developer.aclose()
        finally:
            await processes.stop()
            await rpc.close()


async def _until(stop: asyncio.Event, processes: Processes) -> None:
    """Waits until told to stop; a process that ends by itself is an error."""
    while not stop.is_set():
        if (name := processes.ended()) is not None:
            raise show.DemoFailed(
                f"{name}: expected to keep running, it ended; its log is {processes.folder}/{name}.log"
            )
        try:
            async with asyncio.timeout(1):
                await stop.wait()
        except TimeoutError:
            continue
