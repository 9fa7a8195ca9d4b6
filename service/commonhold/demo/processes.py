"""The processes that the demo starts, and only those: each has a log, is waited for, and is ended by its own handle."""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from commonhold.errors import CommonholdError

HOST = "127.0.0.1"
START_LIMIT_S = 120.0  # seven processes start on two cores; a loaded machine was seen to need 50
STOP_LIMIT_S = 10.0
LOG_LINES = 15


class DidNotStart(CommonholdError):
    """A process ended, or did not answer in time."""

    code = "did_not_start"


@dataclass(slots=True)
class Processes:
    """Started processes, newest last. `folder` gets one log file each."""

    folder: Path
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, name: str, arguments: Sequence[str], ready_url: str) -> None:
        """`commonhold ARGUMENTS` runs and answers at `ready_url`. Raises DidNotStart with the end of its log."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "commonhold.cli",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        self.running[name] = process
        await self._wait_for(name, process, ready_url, log)

    async def call(self, arguments: Sequence[str], *, expected_exit: int = 0) -> str:
        """What `commonhold ARGUMENTS` printed. Raises DidNotStart unless it exits as expected."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "commonhold.cli", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed = (await process.communicate())[0].decode(errors="replace")
        if process.returncode != expected_exit:
            raise DidNotStart(
                f"commonhold {arguments[0]}: expected exit code {expected_exit}, got {process.returncode}:\n{printed}"
            )
        return printed

    async def stop(self) -> None:
        """Ends what was started, newest first: asks, waits, then insists."""
        while self.running:
            _name, process = self.running.popitem()
            if process.returncode is not None:
                continue
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
            except TimeoutError:
                process.kill()
                await process.wait()

    def ended(self) -> str | None:
        """The name of a process that ended by itself; None while all run."""
        return next((name for name, process in self.running.items() if process.returncode is not None), None)

    async def _wait_for(self, name: str, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        deadline = asyncio.get_running_loop().time() + START_LIMIT_S
        async with httpx.AsyncClient(timeout=2) as client:
            while asyncio.get_running_loop().time() < deadline:
                if process.returncode is not None:
                    raise DidNotStart(f"{name} ended with {process.returncode}; its log ends:\n{_end_of(log)}")
                try:
                    if (await client.get(url)).status_code < 500:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
        raise DidNotStart(f"{name}: no answer at {url} within {START_LIMIT_S:.0f} s; its log ends:\n{_end_of(log)}")


def free_port(preferred: int = 0) -> int:
    """`preferred` when nobody listens there, else a free port of this machine."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DidNotStart(f"no free port on {HOST}")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
