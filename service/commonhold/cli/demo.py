"""`commonhold demo`: the whole way on this machine."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from commonhold.cli.common import run

EVIDENCE = Path("../shared/evidence")


def demo(
    once: Annotated[bool, typer.Option("--once", help="Run through, stop everything it started, exit.")] = False,
    port: Annotated[int, typer.Option(help="Port of the service; a free one is taken when it is in use.")] = 8000,
    database_url: Annotated[
        str | None, typer.Option(help="Database of the service; a new SQLite file otherwise.")
    ] = None,
    evidence: Annotated[
        Path, typer.Option(help="Folder of recorded evidence; left out where it does not exist.")
    ] = EVIDENCE,
    folder: Annotated[Path, typer.Option(help="Where the runs' folders are made.")] = Path(".commonhold/demo"),
) -> None:
    """Run the main job end to end: contracts, members, appraisal, limits, token, gateway, metering, anchor, audit."""
    from commonhold.demo.run import Options
    from commonhold.demo.run import run as run_demo

    run_folder = (folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}").resolve()
    run_folder.mkdir(parents=True)
    recorded = evidence if (evidence / "manifest.json").is_file() else None
    options = Options(run_folder, once, port, database_url, recorded)

    async def work() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        running = asyncio.create_task(run_demo(options, stop))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not once:
            await asyncio.wait((running,), timeout=2)
        if not running.done():
            running.cancel()
        stopping.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if not running.cancelled():
            running.result()

    run(work())
