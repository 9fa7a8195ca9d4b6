"""Carries one admitted request to the upstream and its answer back, as a stream in both directions.

Framing is made anew on both sides, so nothing in a request can smuggle a second one. What is only between two
neighbours, what proves the caller's identity, and what pretends to come from the gateway does not pass.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from urllib.parse import unquote_to_bytes

import httpx

from commonhold.gateway.asgi import Disconnected, Receive, Scope, Send
from commonhold.gateway.refusals import BadTarget, UpstreamDown

Pairs = list[tuple[bytes, bytes]]

# RFC 9110, 7.6.1, and what its predecessor listed.
HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization")) | frozenset(
    (b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
# The token and the proof would let the upstream act as the caller; the others say who the caller is, and that is ours.
CALLERS_ONLY = frozenset((b"authorization", b"dpop", b"host", b"expect", b"forwarded", b"via"))
METHODS_REFUSED = frozenset(("CONNECT", "TRACE"))  # TRACE sends back what a script must not see


class RequestBody:
    """The body of one ASGI request, read once, and after it the news that the client has gone."""

    def __init__(self, receive: Receive, *, expected: bool) -> None:
        self._receive = receive
        self._complete = asyncio.Event()
        if not expected:
            self._complete.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._complete.is_set():
            if body := await self._next():
                yield body

    async def gone(self) -> None:
        """Returns when the client is gone, after its body was read."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass  # the empty message of a request without body

    async def drain(self, most_bytes: int, most_s: float) -> None:
        """Reads on, within bounds: so that a refused client hears the answer and not a reset."""
        size = 0
        with suppress(TimeoutError, Disconnected):
            async with asyncio.timeout(most_s):
                while not self._complete.is_set() and size < most_bytes:
                    size += len(await self._next())

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            raise Disconnected("client left while sending its request")
        if not message.get("more_body", False):
            self._complete.set()
        part: bytes = message.get("body", b"")
        return part


def has_body(headers: Pairs) -> bool:
    """True when the request says it has one."""
    return any(k == b"transfer-encoding" or (k == b"content-length" and v != b"0") for k, v in headers)


def check_target(scope: Scope) -> None:
    """Raises BadTarget for what must not reach an upstream: odd methods, full URLs, paths that climb."""
    if scope["method"] in METHODS_REFUSED:
        raise BadTarget(f"method {scope['method']} is not forwarded")
    path: bytes = scope["raw_path"]
    if not path.startswith(b"/") or re.search(rb"[\x00-\x20\x7f-\xff\\#]", path):
        raise BadTarget("path: expected one that starts with / and has no raw space, backslash or control character")
    if {b".", b".."} & set(re.split(rb"[/\\]", unquote_to_bytes(path))):
        raise BadTarget("path: dot segments are not forwarded")


def request_headers(headers: Pairs, own: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """What the upstream gets: the caller's headers that may pass, then the gateway's `own`."""
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    blocked = HOP_BY_HOP | CALLERS_ONLY | _named_by_connection(headers)
    passed = [
        (name, value)
        for name, value in headers
        # "_" reads as "-" in CGI-like servers: x_forwarded_for would pass for x-forwarded-for
        if name not in blocked
        and b"_" not in name
        and not name.startswith((b"commonhold-", b"x-forwarded-"))
        # RFC 9112, 6.3: with a transfer coding, a length is a sign of smuggling
        and not (chunked and name == b"content-length")
    ]
    return [*passed, *own]


def response_headers(headers: Pairs, own: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """What the caller gets: the upstream's headers that may pass, then the gateway's `own`."""
    blocked = HOP_BY_HOP | _named_by_connection(headers) | {b"dpop-nonce"}
    passed = [(k.lower(), v) for k, v in headers if k.lower() not in blocked]
    return [*((k, v) for k, v in passed if not k.startswith(b"commonhold-")), *own]


def upstream_url(upstream: httpx.URL, prefix: str, scope: Scope) -> httpx.URL:
    """The upstream's URL for a request whose path starts with `prefix`, which the upstream does not see."""
    path: bytes = scope["raw_path"][len(prefix) :] or b"/"
    query: bytes = scope["query_string"]
    base = upstream.raw_path.split(b"?", 1)[0].rstrip(b"/")
    return upstream.copy_with(raw_path=base + path + (b"?" + query if query else b""))


async def forward(transport: httpx.AsyncBaseTransport, request: httpx.Request, send: Send, own: Pairs) -> None:
    """Sends the request, then the answer to the caller while it comes.

    A transport and no client: redirects and cookies are between the caller and the upstream. Raises UpstreamDown:
    before anything was sent to the caller, or in the middle, when the upstream broke off.
    """
    try:
        response = await transport.handle_async_request(request)
    except httpx.HTTPError as e:
        raise UpstreamDown(f"upstream {request.url.host}:{request.url.port}: {type(e).__name__}") from e
    try:
        headers = response_headers(response.headers.raw, own)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        async for chunk in response.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except httpx.HTTPError as e:
        raise UpstreamDown(f"upstream broke off its answer: {type(e).__name__}") from e
    finally:
        await response.aclose()


def _named_by_connection(headers: Pairs) -> frozenset[bytes]:
    listed = b",".join(value for name, value in headers if name.lower() == b"connection")
    return frozenset(name.strip().lower() for name in listed.split(b",") if name.strip())
