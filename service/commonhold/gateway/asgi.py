"""What every ASGI application here shares: the types of the protocol, and whole-body requests and answers.

Raw ASGI, because a provider's machine needs no web framework. Source: ASGI 3.0, HTTP connection scope.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson

from commonhold.errors import CommonholdError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


class BodyTooLarge(CommonholdError):
    """The request's body is larger than this endpoint takes."""

    status = 413
    code = "body_too_large"


class Disconnected(CommonholdError):
    """The client went away before its request was complete."""

    status = 499
    code = "disconnected"


async def read_body(receive: Receive, most_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge, Disconnected."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected("client left while sending its request")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most_bytes:
            raise BodyTooLarge(f"body: at most {most_bytes} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)


async def answer(send: Send, status: int, body: bytes, kind: bytes, headers: Headers = ()) -> None:
    """Sends one whole answer; `kind` is its media type."""
    fixed = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


async def answer_json(
    send: Send, status: int, content: object, headers: Headers = (), *, kind: bytes = b"application/json"
) -> None:
    """Sends `content` as JSON."""
    await answer(send, status, orjson.dumps(content), kind, headers)
