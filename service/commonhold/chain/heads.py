"""New heads as a node announces them: a reason to look at once, where polling would wait.

What is announced is not believed, nor read: whoever is woken asks as always (rpc.py). So nothing depends on it, neither
on the node being one of those that are asked, nor on a message that is lost.
"""

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from commonhold.errors import BadInput

log = logging.getLogger(__name__)

_SUBSCRIBE = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}).decode()


def is_websocket(url: str) -> bool:
    """The URL is of a node's WebSocket."""
    return urlsplit(url).scheme in ("ws", "wss")


async def announced(url: str, wake: Callable[[], None]) -> None:
    """Calls `wake` at every new head, until cancelled. Connects again, later each time, where the connection is lost.

    Raises BadInput unless the URL is ws or wss. Only its host appears in messages: paths hold keys.
    """
    if not is_websocket(url):
        raise BadInput(f"URL of host {urlsplit(url).hostname!r}: expected ws:// or wss://")
    local = urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
    quiet = logging.getLogger(f"{__name__}.connection")
    quiet.setLevel(logging.ERROR)  # its own lines name the whole URL
    # A proxy of the environment is for the world outside, not for a node on this machine.
    async for connection in connect(url, proxy=None if local else True, logger=quiet):
        try:
            await connection.send(_SUBSCRIBE)
            async for _ in connection:
                wake()
        except ConnectionClosed as error:
            log.info("node %s: new heads are not announced for now: %s", urlsplit(url).hostname, error)
