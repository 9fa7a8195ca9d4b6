"""One node over JSON-RPC: asks, and checks the form of what comes back. What it means is rpc.py's to check.

In: a method and its parameters; out: the JSON result. No error of the HTTP library leaves this file.
"""

import asyncio
import itertools
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import certifi
import orjson
from yarl import URL

from commonhold.errors import BadInput, Unavailable

MAX_BATCH: Final = 100  # calls sent at once; go-ethereum takes 1,000, public nodes 10 to 100
MAX_ANSWER: Final = 64 << 20  # bytes; the receipts of ten full blocks are some 20 MB
LONGEST: Final = 6  # times the timeout: an answer that trickles in is none

_BUFFER: Final = 1 << 20  # bytes of an answer that are taken before they are asked for

Call = tuple[str, Sequence[object]]  # method, parameters


class RpcUnavailable(Unavailable):
    """The node does not answer, or not with JSON-RPC."""

    code = "rpc_unavailable"


class RpcRefused(Unavailable):
    """The node answers with an error. `rpc_code` is its number, `data` the revert data if it gave some."""

    code = "rpc_refused"

    def __init__(self, message: str, *, rpc_code: int, rpc_message: str, data: bytes | None) -> None:
        super().__init__(message)
        self.rpc_code = rpc_code
        self.rpc_message = rpc_message
        self.data = data

    @property
    def is_revert(self) -> bool:
        """True when a contract said no, rather than the node. Code 3: go-ethereum's and anvil's; others use words."""
        return self.rpc_code == 3 or "revert" in self.rpc_message.lower()


class NotTaken(RpcUnavailable):
    """The node answers, but not with JSON-RPC."""


class TooLong(NotTaken):
    """The answer is longer than any that makes sense: less must be asked for."""


@dataclass(slots=True)
class Traffic:
    """What was asked of one node, for those who watch."""

    requests: int = 0  # sent, whatever became of them
    spent_s: float = 0.0  # waiting for answers
    latest_s: float | None = None  # of one answer, smoothed over the last few; None: there was none yet

    def answered(self, took_s: float) -> None:
        self.latest_s = took_s if self.latest_s is None else 0.8 * self.latest_s + 0.2 * took_s


class JsonRpc:
    """A connection to one node."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10,
        max_answer: int = MAX_ANSWER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """timeout_s: for the next bytes of an answer; LONGEST times as long for all of it. `clock` tells seconds.

        Raises BadInput unless `url` is http or https. Only its host and port appear in messages: paths hold keys.
        """
        try:
            parts = urlsplit(url)
            self._url = URL(url)
            port = parts.port
        except ValueError as error:
            raise BadInput(f"RPC URL does not parse: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"RPC URL of host {parts.hostname!r}: expected http:// or https://, got {parts.scheme!r}")
        self.host = f"{parts.hostname}:{port}" if port else parts.hostname
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        # A proxy of the environment is for the world outside, not for a node on this machine.
        self._outside = parts.hostname not in ("localhost", "127.0.0.1", "::1")
        self._http: aiohttp.ClientSession | None = None  # opened by the first request: it belongs to an event loop
        self._closed = False
        self._most_at_once = MAX_BATCH
        self._max_answer = max_answer
        self._clock = clock
        self.traffic = Traffic()

    async def request(self, method: str, *params: object) -> Any:
        """The result of one call. Raises RpcUnavailable, or RpcRefused when the node answers with an error."""
        asked = next(self._ids)
        answer = await self._post(method, _call(asked, (method, params)))
        return self._result(method, asked, answer)

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """The results of many calls, in their order, in as few requests as the node takes.

        Raises RpcUnavailable, or RpcRefused when the node answers one of them with an error, asked alone too.
        """
        results: list[Any] = []
        while len(results) < len(calls):
            some = calls[len(results) : len(results) + self._most_at_once]
            if len(some) == 1:
                results.append(await self.request(some[0][0], *some[0][1]))
                some_results = []
            else:
                some_results = await self._at_once(some) or []
            # Nodes limit the calls or the bytes of a batch, and say so in many ways: half as many, until it is one.
            self._most_at_once = (
                min(self._most_at_once + 1, MAX_BATCH) if some_results or len(some) == 1 else len(some) // 2
            )
            results += some_results
        return results

    async def post_batch(self, calls: Sequence[Call]) -> tuple[int, bytes]:
        """The id of the first call, which the others' follow, and the answer as it came, unread.

        Raises RpcUnavailable, NotTaken where it is no HTTP 200.
        """
        ids = [next(self._ids) for _ in calls]
        asked = [_call(id_, call) for id_, call in zip(ids, calls, strict=True)]
        return ids[0], await self._send(calls[0][0], asked)

    async def _at_once(self, calls: Sequence[Call]) -> list[Any] | None:
        """The results of one batch; None: the node does not take it, or answers part of it with an error."""
        ids = [next(self._ids) for _ in calls]
        method = calls[0][0]
        try:
            said = await self._post(method, [_call(asked, call) for asked, call in zip(ids, calls, strict=True)])
        except NotTaken:
            return None
        if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
            return None
        answers = {each.get("id"): each for each in said}
        try:
            return [self._result(method, asked, answers.get(asked)) for asked in ids]
        except (RpcRefused, RpcUnavailable):
            return None

    async def _post(self, method: str, asked: object) -> Any:
        try:
            return orjson.loads(await self._send(method, asked))
        except orjson.JSONDecodeError as error:
            raise NotTaken(self._text(method, "expected JSON, got something else")) from error

    async def _send(self, method: str, asked: object) -> bytes:
        before = self._clock()
        self.traffic.requests += 1
        try:
            async with asyncio.timeout(LONGEST * self._timeout_s):
                status, content = await self._sent(method, asked)
        except aiohttp.ServerTimeoutError as error:
            raise self._unavailable(method, f"no answer in {self._timeout_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise self._unavailable(method, f"cannot connect: {error.os_error}") from error
        except aiohttp.ClientError as error:
            raise self._unavailable(method, f"{type(error).__name__}: {error}") from error
        except TimeoutError as error:
            raise self._unavailable(method, f"no whole answer in {LONGEST * self._timeout_s:g} s") from error
        finally:
            took_s = self._clock() - before
            self.traffic.spent_s += took_s
        self.traffic.answered(took_s)
        if status != 200:
            raise NotTaken(self._text(method, f"expected HTTP 200, got {status}"))
        return content

    async def _sent(self, method: str, asked: object) -> tuple[int, bytes]:
        """The answer's status and body; no longer a body than any that makes sense is ever held."""
        if self._closed:
            raise self._unavailable(method, "the connection was closed here")
        http = self._http = self._http or self._opened()
        headers = {"content-type": "application/json"}
        async with http.post(self._url, data=orjson.dumps(asked), headers=headers, allow_redirects=False) as response:
            parts, size = [], 0
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > self._max_answer:
                    raise TooLong(self._text(method, f"an answer of more than {self._max_answer} bytes"))
            return response.status, b"".join(parts)

    def _opened(self) -> aiohttp.ClientSession:
        wait = aiohttp.ClientTimeout(sock_connect=self._timeout_s, sock_read=self._timeout_s)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_tls()), timeout=wait, trust_env=self._outside, read_bufsize=_BUFFER
        )

    def _result(self, method: str, asked: int, answer: Any) -> Any:
        if not isinstance(answer, dict) or answer.get("id") != asked or not answer.keys() & {"result", "error"}:
            raise self._unavailable(method, "expected a JSON-RPC answer with our id and a result or an error")
        if answer.get("error") is not None:  # some nodes send both, one of them null
            raise self._refused(method, answer["error"])
        return answer.get("result")

    async def close(self) -> None:
        """No connection is open any more, and none is opened."""
        self._closed = True
        if self._http is not None:
            await self._http.close()

    def _unavailable(self, method: str, reason: str) -> RpcUnavailable:
        return RpcUnavailable(self._text(method, reason))

    def _text(self, method: str, reason: str) -> str:
        return f"node {self.host}, {method}: {reason}"

    def _refused(self, method: str, error: object) -> RpcRefused | RpcUnavailable:
        code, text = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
        if not isinstance(error, dict) or not isinstance(code, int) or not isinstance(text, str):
            return self._unavailable(method, "expected an error with a code and a message")
        return RpcRefused(
            f"node {self.host}, {method}: error {code}, {text[:200]}",
            rpc_code=code,
            rpc_message=text,
            data=_revert_data(error.get("data")),
        )


def _call(asked: int, call: Call) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": asked, "method": call[0], "params": call[1]}


@cache
def _tls() -> ssl.SSLContext:
    """One for all connections: reading the certificates takes 0.1 s."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())


def _revert_data(data: object) -> bytes | None:
    """Revert data as go-ethereum and anvil give it (text), or one level down (others)."""
    if isinstance(data, dict):
        data = data.get("data")
    if not isinstance(data, str) or not data.startswith("0x"):
        return None
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        return None
