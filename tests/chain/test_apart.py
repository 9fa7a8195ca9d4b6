"""The second process gives what this one gives, and is gone when it should be."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from commonhold.chain import apart as module
from commonhold.chain import beside
from commonhold.chain.apart import Apart
from commonhold.chain.rpc import Rpc, RpcLied
from commonhold.chain.trie import EMPTY_ROOT
from tests.actors import Deployed
from tests.chain.lying import changed, lying

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small answers go there as well."""
    monkeypatch.setattr(module, "WORTH_IT", 0)


@pytest_asyncio.fixture
async def apart() -> AsyncIterator[Apart]:
    apart = Apart()
    yield apart
    await apart.close()


def is_there(pid: int) -> bool:
    """It runs; a zombie counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid: int) -> bool:
    """It has ended, soon."""
    until = time.monotonic() + 10
    while is_there(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_there(pid)


async def missing(apart: Apart) -> Any:
    """What it makes of an answer in which a block is missing."""
    body = orjson.dumps([{"id": 1, "result": None}])
    return await apart.run("headers", body, 1, (7,), (), False, "node")


@pytest.mark.chain
async def test_it_finds_what_this_process_finds(deployed: Deployed, apart: Apart) -> None:
    await deployed.lease()
    ours, first = deployed.deployment.followed, deployed.deployment.block
    before, head = await deployed.rpc.header(first - 1), await deployed.rpc.head()

    async with Rpc(deployed.anvil.url, apart=apart) as rpc:
        found = await rpc.span(ours, before, head.number)
        every = await rpc.span(ours, before, head.number, every=True)

    assert apart.pid is not None
    assert found == await deployed.rpc.span(ours, before, head.number)
    assert every == await deployed.rpc.span(ours, before, head.number, every=True)
    assert len(every.blocks) == head.number - before.number
    assert len(found.logs) > 10


@pytest.mark.chain
async def test_its_errors_are_ours(deployed: Deployed, apart: Apart) -> None:
    await deployed.anvil.mine(5)
    before, head = await deployed.rpc.header(1), await deployed.rpc.head()
    twist = changed("eth_getBlockByNumber", lambda block: block | {"gasUsed": "0x1"})

    async with lying(deployed.anvil.url, twist) as url, Rpc(url, apart=apart) as rpc:
        with pytest.raises(RpcLied, match=f"node {rpc.host}: block .* from its fields"):
            await rpc.span(deployed.deployment.followed, before, head.number)

    assert apart.pid is not None


async def test_it_is_gone_after_close(apart: Apart) -> None:
    with pytest.raises(module.bulk.RpcInconsistent, match="node has no block 7"):
        await missing(apart)
    pid = apart.pid
    assert pid is not None

    await apart.close()

    assert not is_there(pid)
    with pytest.raises(module.bulk.RpcInconsistent):  # done here from now on
        await missing(apart)
    assert apart.pid is None


async def test_work_goes_on_here_when_it_is_killed(apart: Apart) -> None:
    with pytest.raises(module.bulk.RpcInconsistent):
        await missing(apart)
    pid = apart.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    for _ in range(2):
        with pytest.raises(module.bulk.RpcInconsistent):
            await missing(apart)

    assert apart.pid is None
    assert not is_there(pid)


@pytest.mark.parametrize("more", [1, beside.PART])
async def test_what_is_larger_than_a_part_of_its_memory_goes_by_the_pipe(apart: Apart, more: int) -> None:
    empty = ((7, bytes(32), bytes(32), 0), EMPTY_ROOT, ())
    body = orjson.dumps([{"id": number, "result": []} for number in range(3)]) + b" " * more

    found = await apart.run("logs", body, 0, [empty] * 3, (), "node")

    assert apart.pid is not None
    assert found == ([0, 0, 0], [], (b"",) * 7)


async def test_more_work_than_its_memory_has_parts_is_done_in_turn_and_goes_on_when_it_is_killed(apart: Apart) -> None:
    for kill in (False, True):
        asked = [asyncio.create_task(missing(apart)) for _ in range(4 * beside.PARTS)]
        if kill and apart.pid is not None:
            await asyncio.sleep(0)
            os.kill(apart.pid, signal.SIGKILL)

        found = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)

        assert {type(each) for each in found} == {module.bulk.RpcInconsistent}


async def test_a_start_that_was_given_up_leaves_each_part_once(apart: Apart) -> None:
    given_up = asyncio.create_task(missing(apart))
    await asyncio.sleep(0)
    assert apart._starting.locked()
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)

    with pytest.raises(module.bulk.RpcInconsistent):
        await missing(apart)

    assert apart.pid is not None
    assert sorted(apart._free.get_nowait() for _ in range(apart._free.qsize())) == list(range(beside.PARTS))


async def test_it_ends_while_a_large_answer_is_on_its_way(apart: Apart) -> None:
    many = 180_000
    empty = ((7, bytes(32), bytes(32), 0), EMPTY_ROOT, ())
    body = orjson.dumps([{"id": number, "result": []} for number in range(many)])
    assert len(body) > beside.PART
    asked = asyncio.create_task(apart.run("logs", body, 0, [empty] * many, (), "node"))
    await asyncio.sleep(0.5)
    pid = apart.pid
    assert pid is not None

    await asyncio.wait_for(apart.close(), 30)

    assert not is_there(pid)
    counts, _, _ = await asked  # it came in time, or was done here
    assert counts == [0] * many


async def test_work_is_done_here_when_it_cannot_start(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(module.bulk.RpcInconsistent):
        await missing(apart)

    assert apart.pid is None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
async def test_it_ends_with_whoever_started_it(end: signal.Signals, tmp_path: Path) -> None:
    program = tmp_path / "starts_it.py"
    program.write_text(
        "import asyncio\n"
        "from commonhold.chain.apart import Apart\n"
        "async def main():\n"
        "    apart = Apart()\n"
        "    await apart.run('headers', bytes(100_000), 1, (7,), (), False, 'node')\n"
        "    print(apart.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, stdout=asyncio.subprocess.PIPE, stderr=quiet
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    assert is_there(pid)

    process.send_signal(end)
    await process.wait()

    assert await asyncio.to_thread(gone, pid)
