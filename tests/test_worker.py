"""The loops: what is unavailable is waited for, any other error stops one stage and is shown."""

import asyncio

import pytest

from commonhold import worker
from commonhold.errors import Unavailable
from commonhold.mirror.apply import MirrorBroken
from commonhold.worker import Stage


async def run_until(stages: list[Stage], condition: asyncio.Event) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stages, stop))
    async with asyncio.timeout(5):
        await condition.wait()
    stop.set()
    await task


async def test_a_stage_waits_for_what_is_unavailable_and_goes_on() -> None:
    done = asyncio.Event()
    answers = [Unavailable("rpc 127.0.0.1 does not answer"), None]

    async def step() -> bool:
        if answers and (answer := answers.pop(0)):
            raise answer
        done.set()
        return False

    stage = Stage("follow", step, every_s=0.001)
    await run_until([stage], done)

    assert stage.fault is None
    assert worker.faults([stage]) == {}


async def test_any_other_error_stops_that_stage_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    later = asyncio.Event()
    calls = {"broken": 0, "healthy": 0}

    async def broken() -> bool:
        calls["broken"] += 1
        raise MirrorBroken("event 7 of block 12 cannot be applied")

    async def healthy() -> bool:
        calls["healthy"] += 1
        if calls["healthy"] == 20:
            later.set()
        return True

    stages = [Stage("follow", broken, every_s=0.001), Stage("settle", healthy, every_s=0.001)]
    await run_until(stages, later)

    assert calls["broken"] == 1
    assert worker.faults(stages) == {"follow": "MirrorBroken: event 7 of block 12 cannot be applied"}
    assert "follow stopped" in caplog.text


async def test_text_of_a_foreign_error_is_in_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    """It may tell of SQL, values or files, and faults are shown to everybody."""
    done = asyncio.Event()

    async def step() -> bool:
        done.set()
        raise ValueError("INSERT INTO access_answer VALUES ('secret')")

    stage = Stage("forget", step, every_s=0.001)
    await run_until([stage], done)

    assert worker.faults([stage]) == {"forget": "ValueError; see the log"}
    assert "secret" in caplog.text


async def test_a_pause_ends_at_once_when_told_to_stop() -> None:
    first = asyncio.Event()

    async def step() -> bool:
        first.set()
        return False

    async with asyncio.timeout(2):
        await run_until([Stage("anchor", step, every_s=3600)], first)
