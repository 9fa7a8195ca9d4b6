"""A real HTTP server on loopback in front of a real node, which does not always pass on what the node says."""

import asyncio
import contextlib
import copy
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

Forward = Callable[[], Awaitable[Any]]
# Gets a JSON-RPC request, each of a batch, and the way to the node's own answer. Returns the answer: JSON, or a status
# and a body, or a Broken one.
Twist = Callable[[dict[str, Any], Forward], Awaitable[Any]]


@dataclass(frozen=True)
class Broken:
    """A body that is sent in parts, with a pause after each, and ends before the length that was promised."""

    parts: tuple[bytes, ...]
    promised: int
    pause_s: float = 0.0


@contextlib.asynccontextmanager
async def lying(
    node_url: str, twist: Twist, *, most: int = 1_000, sizes: Counter[int] | None = None
) -> AsyncIterator[str]:
    """The URL of a node that answers as `twist` says, while the block runs.

    It takes batches of `most` calls, and counts them in `sizes`.
    """
    open_connections: set[asyncio.Task[None]] = set()
    node = Behind(node_url)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = orjson.loads(await body_of(reader))

        async def one(call: dict[str, Any]) -> Any:
            async def forward() -> Any:
                return await node.ask(call)

            return await twist(call, forward)

        size = len(request) if isinstance(request, list) else 1
        if sizes is not None:
            sizes[size] += 1
        if size > most:
            request = {"method": "too_many", "id": None}
        said = [await one(call) for call in request] if isinstance(request, list) else await one(request)
        answers = said if isinstance(said, list) else [said]
        if broken := [each for each in answers if isinstance(each, Broken)]:
            await send_broken(writer, broken[0])
            return
        odd = [each for each in answers if isinstance(each, tuple)]
        status, body = odd[0] if odd else (200, orjson.dumps(said))
        writer.write(b"HTTP/1.1 %d -\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            await answer(reader, writer)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        open_connections.add(task)
        task.add_done_callback(lambda _: writer.close())

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in open_connections:
            task.cancel()
        await asyncio.gather(*open_connections, return_exceptions=True)
        await server.wait_closed()
        node.close()


class Behind:
    """The node itself, asked over connections that stay open: a test asks it thousands of times."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, call: dict[str, Any]) -> Any:
        """What it answers to one call."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        body = orjson.dumps(call)
        head = b"POST / HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        try:
            writer.write(head % len(body) + body)
            answer = orjson.loads(await body_of(reader))
        except BaseException:
            writer.close()  # half of an answer may be on its way
            raise
        self._idle.append((reader, writer))
        return answer

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def body_of(reader: asyncio.StreamReader) -> bytes:
    """What follows the head of one message, whose length that tells."""
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return await reader.readexactly(int(length))


async def send_broken(writer: asyncio.StreamWriter, said: Broken) -> None:
    writer.write(b"HTTP/1.1 200 -\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % said.promised)
    for part in said.parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(said.pause_s)
    writer.close()


@dataclass
class Remembering:
    """A node that answers truly until `replays` is set: from then on it says what it said before, of a chain that is no
    more, and knows nothing else."""

    replays: bool = False
    said: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, request: dict[str, Any], forward: Forward) -> Any:
        key = f"{request['method']} {orjson.dumps(request['params']).decode()}"
        if not self.replays:
            answer = await forward()
            self.said[key] = copy.deepcopy(answer)
            return answer
        known = self.said.get(key, {"jsonrpc": "2.0", "result": None})
        return known | {"id": request["id"]}


def changed(method: str, change: Callable[[Any], Any]) -> Twist:
    """A node that answers truly, but for the result of one method."""

    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        answer = await forward()
        if request["method"] == method:
            answer["result"] = change(answer["result"])
        return answer

    return twist
