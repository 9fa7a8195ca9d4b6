"""New heads wake whoever waits for them, however often the connection is lost."""

import asyncio
import time

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from commonhold import worker
from commonhold.chain.heads import announced
from commonhold.chain.node import start_anvil
from commonhold.config import Settings
from commonhold.errors import BadInput
from commonhold.worker import Stage
from tests.actors import ANVIL


@pytest.mark.chain
async def test_every_new_head_wakes_the_loop_that_waits() -> None:
    async with start_anvil(ANVIL) as anvil:
        stop = asyncio.Event()
        steps = 0

        async def step() -> bool:
            nonlocal steps
            steps += 1
            if steps == 4:
                stop.set()
            elif steps > 1:
                await anvil.mine()
            return False

        stage = Stage("follow", step, every_s=600)
        listening = asyncio.create_task(announced(anvil.url.replace("http", "ws"), stage.wake.set))
        running = asyncio.create_task(worker.run([stage], stop))
        begun = time.monotonic()
        while steps == 1 or not steps:  # until the subscription stands, nobody tells
            await anvil.mine()
            await asyncio.sleep(0.01)
        await running
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    assert steps == 4
    assert time.monotonic() - begun < 60


async def test_lost_connection_is_made_again() -> None:
    woken = asyncio.Event()
    asked: list[object] = []

    async def one_head(connection: ServerConnection) -> None:
        asked.append(orjson.loads(await connection.recv())["params"])
        if len(asked) > 1:
            await connection.send("{}")
            await connection.wait_closed()

    async with serve(one_head, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        listening = asyncio.create_task(announced(f"ws://127.0.0.1:{port}", woken.set))
        async with asyncio.timeout(60):
            await woken.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    assert asked == [["newHeads"], ["newHeads"]]


async def test_url_of_another_kind_is_refused_without_its_path() -> None:
    with pytest.raises(BadInput, match=r"host 'node\.example': expected ws://") as refused:
        await announced("https://node.example/secret", lambda: None)

    assert "secret" not in str(refused.value)


def test_endpoints_that_announce_are_told_from_those_that_answer() -> None:
    settings = Settings(rpc_url="http://a, wss://b,https://c")

    assert settings.rpc_urls == ("http://a", "https://c")
    assert settings.head_urls == ("wss://b",)
