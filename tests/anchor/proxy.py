"""A node that stands between Rpc and the real one, and lies or fails as the test says."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

# (method, params, what the real node's result would be) -> result; raising OSError: no answer.
Lie = Callable[[str, list[Any], Callable[[], Awaitable[Any]]], Awaitable[Any]]


async def honest(_method: str, _params: list[Any], result: Callable[[], Awaitable[Any]]) -> Any:
    return await result()


class Proxy:
    """`lie` is asked for the result of every call."""

    def __init__(self, url: str, node_url: str) -> None:
        self.url = url
        self.lie: Lie = honest
        self._calls: dict[str, dict[str, Any]] = {}  # at a block, named by its hash, a call has one answer
        self._node = httpx.AsyncClient(base_url=node_url, trust_env=False, timeout=30)

    async def close(self) -> None:
        await self._node.aclose()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        request = json.loads(body)
        status = 200
        try:
            said: Any = [await self._one(c) for c in request] if isinstance(request, list) else await self._one(request)
        except OSError:
            status, said = 502, None
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    async def _one(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}

        async def real() -> Any:
            said = (await self._node.post("", json=request)).json()
            if "error" in said:
                answer["error"] = said["error"]
            return said.get("result")

        result = await self.lie(request["method"], request.get("params", []), real)
        return answer if "error" in answer else answer | {"result": result}


@asynccontextmanager
async def between(node_url: str) -> AsyncIterator[Proxy]:
    """A proxy to the node at `node_url`, on a free port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}", node_url)
    config = uvicorn.Config(proxy, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield proxy
    finally:
        server.should_exit = True
        await serving
        listener.close()
        await proxy.close()
