"""The loops of the service: follow the chain, settle receipts, close and anchor epochs, forget what has expired.

Each loop is a stage with one step that is safe to repeat. What is unavailable (an RPC endpoint, a database) is waited
for; any other error stops that stage for good and is shown: a stale mirror is honest, a holed one lies.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from commonhold.errors import CommonholdError, Unavailable

log = logging.getLogger(__name__)

MAX_BACK_OFF_S = 30.0


@dataclass(slots=True)
class Stage:
    """One loop. `step` answers True when there is more to do at once. `fault` is why it stopped; None while it runs.

    integrity: when it stops, what the mirror says is in doubt: no token is issued, nothing is sent, nothing is ready.
    """

    name: str
    step: Callable[[], Awaitable[bool]]
    every_s: float
    integrity: bool = False
    fault: str | None = None
    waiting_for: str | None = None
    failures: int = field(default=0)
    wake: asyncio.Event = field(
        default_factory=asyncio.Event
    )  # set: there is a reason to look before `every_s` is over


async def run(stages: Sequence[Stage], stop: asyncio.Event) -> None:
    """Runs every stage until `stop` is set. A stage that failed stays stopped; the others go on."""
    async with asyncio.TaskGroup() as group:
        for stage in stages:
            group.create_task(_loop(stage, stop), name=stage.name)


def faults(stages: Sequence[Stage]) -> dict[str, str]:
    """Why stages stopped or wait, by name; empty when all is well."""
    return {stage.name: text for stage in stages if (text := stage.fault or stage.waiting_for) is not None}


def integrity_faults(stages: Sequence[Stage]) -> dict[str, str]:
    """Why the mirror is in doubt, by stage: a reorganisation below a final block, an event that cannot be applied,
    nodes that all lied, a row that is not what the chain holds. Empty when it is not. Only a restart closes one."""
    return {stage.name: stage.fault for stage in stages if stage.integrity and stage.fault is not None}


async def _loop(stage: Stage, stop: asyncio.Event) -> None:
    while not stop.is_set():
        pause_s = stage.every_s
        try:
            if await stage.step():
                pause_s = 0
            stage.failures, stage.waiting_for = 0, None
        except Unavailable as error:
            stage.failures += 1
            stage.waiting_for = str(error)
            pause_s = min(MAX_BACK_OFF_S, stage.every_s * 2 ** min(stage.failures, 10))
            log.warning("%s waits: %s", stage.name, error)
        except Exception as error:
            # Faults are shown to everybody. A foreign error may tell of SQL, values or files: that stays in the log.
            said = f": {error}" if isinstance(error, CommonholdError) else "; see the log"
            stage.fault = type(error).__name__ + said
            log.exception("%s stopped", stage.name)
            return
        if pause_s and stage.failures:
            await _pause(pause_s, stop)
        elif pause_s:
            await _pause(pause_s, stop, stage.wake)
            stage.wake.clear()
        else:
            await asyncio.sleep(0)


async def _pause(seconds: float, *until: asyncio.Event) -> None:
    """The seconds are over, or one of the events is set."""
    waits = [asyncio.create_task(event.wait()) for event in until]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
