"""A node that has a made-up chain (made_up.py), up to a head of its own: for mirror.py, over HTTP on loopback.

It does as little as it can, since it runs beside what is measured: answers are stored bytes, put together. It knows
what a mirror asks that verifies: the chain, code of our contracts (as it was where the made-up part begins, at any
block), blocks with the hashes of their transactions, receipts of a block. To all else it says that there is no such
method.
"""

import asyncio
import os
import sys
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from commonhold.listen import listen, port_of

ROOT = Path(__file__).parent.parent.parent  # not mirror_chain's: importing that takes 2 s
SLOTS = 32  # an epoch: so many blocks before the head are not safe, twice as many not final, as with anvil
START_S = 60

# Source: JSON-RPC 2.0, 5.1.
NO_JSON, NO_REQUEST, NO_METHOD, BAD_PARAMETERS = -32700, -32600, -32601, -32602


class Refused(Exception):
    """What was asked is answered with an error of this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Node:
    """The chain of a file, with a head."""

    def __init__(self, path: Path, events: int) -> None:
        """events: how many Transfers the final blocks have, a few more or less. Raises SystemExit when there are not as
        many."""
        index = orjson.loads(path.read_bytes())
        self._data = os.open(path.with_suffix(".data"), os.O_RDONLY)
        self._places: list[int] = index["places"]
        final = bisect_left(index["events"], events)
        head = final + 2 * SLOTS
        if head >= len(index["hashes"]):
            raise SystemExit(f"{path}: expected {events} events in final blocks, got fewer")
        self._numbers = {hash_: number for number, hash_ in enumerate(index["hashes"][: head + 1])}
        self._tags = {"earliest": 0, "finalized": final, "safe": head - SLOTS, "latest": head, "pending": head}
        self._chain_id: str = index["chain_id"]
        self._code: dict[str, str] = index["code"]

    def answer(self, body: bytes) -> bytes:
        """To one request, or to a batch of them."""
        try:
            asked = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _error(None, NO_JSON, "expected JSON")
        if isinstance(asked, list) and asked:
            return b"[" + b",".join([self._one(each) for each in asked]) + b"]"
        return self._one(asked)

    def _one(self, asked: Any) -> bytes:
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            return _error(None, NO_REQUEST, "expected a request with a method")
        try:
            result = self._result(asked["method"], asked.get("params") or ())
        except Refused as refused:
            return _error(asked.get("id"), refused.code, str(refused))
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (orjson.dumps(asked.get("id")), result)

    def _result(self, method: str, params: Sequence[Any]) -> bytes:
        """JSON."""
        match method, params:
            case "eth_chainId", []:
                return orjson.dumps(self._chain_id)
            case "eth_blockNumber", []:
                return orjson.dumps(hex(self._tags["latest"]))
            case "eth_getCode", [str(address), *_]:
                return orjson.dumps(self._code.get(address.lower(), "0x"))
            case "eth_getBlockByNumber" | "eth_getBlockByHash", [str(which), False]:
                return self._stored(which, 0)
            case "eth_getBlockReceipts", [str(which)]:
                return self._stored(which, 1)
            case "eth_chainId" | "eth_blockNumber" | "eth_getCode" | "eth_getBlockReceipts", _:
                raise Refused(BAD_PARAMETERS, f"{method}: unexpected parameters")
            case "eth_getBlockByNumber" | "eth_getBlockByHash", _:
                raise Refused(BAD_PARAMETERS, f"{method}: expected a block and false, for no transaction is whole")
        raise Refused(NO_METHOD, f"the made-up chain has no {method[:80]}")

    def _stored(self, which: str, part: int) -> bytes:
        """The header (0) or the receipts (1) of a block by its tag, hash or number; null: there is no such block."""
        number = self._tags.get(which, self._numbers.get(which))
        if number is None:
            try:
                number = int(which, 16)
            except ValueError:
                raise Refused(BAD_PARAMETERS, "expected a block's number, hash or tag") from None
        if not 0 <= number <= self._tags["latest"]:
            return b"null"
        first, end = self._places[2 * number + part : 2 * number + part + 2]
        return os.pread(self._data, end - first, first)


@asynccontextmanager
async def served(path: Path, events: int) -> AsyncIterator[str]:
    """The URL of a node, a process of its own, that has the chain of this file: as many blocks, and two epochs more, as
    have so many Transfers."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.made_up_node", str(path), str(events)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(START_S):
            said = await process.stdout.readline()  # type: ignore[union-attr]
        if not said:
            raise SystemExit(f"the node of {path} does not start")
        yield said.decode().strip()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _error(asked: Any, code: int, message: str) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": asked, "error": {"code": code, "message": message}})


def main() -> None:
    """Says its URL, and answers until it is told to end."""
    path, events = sys.argv[1:]
    node = Node(Path(path), int(events))

    async def app(_: object, receive: Any, send: Any) -> None:
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        answer = node.answer(b"".join(parts))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    with listen("127.0.0.1", 0) as listener:
        listener.listen()  # from now on who connects waits for the first answer
        print(f"http://127.0.0.1:{port_of(listener)}", flush=True)
        config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
