"""A development chain of one's own: starts anvil, for the demo and the tests, and ends it again.

Only the process that was started here is ended. The methods beside `request` are anvil's own, which no public node has.
"""

import asyncio
import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from commonhold.chain.jsonrpc import JsonRpc, RpcUnavailable
from commonhold.errors import CommonholdError

MINED_S = 30  # what a block of its own may take on a loaded machine; mostly it is 0.01 s
START_S = 20  # anvil needs 0.1 s; a loaded machine with one core was seen to need 4
_LISTENING = re.compile(r"Listening on [0-9.]+:(\d+)")


class NodeNotStarted(CommonholdError):
    """The node's program is missing, stopped at once, or does not listen."""

    code = "node_not_started"


class Anvil:
    """A running anvil."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid
        self._node = JsonRpc(url, timeout_s=30)

    async def request(self, method: str, *params: object) -> Any:
        """The result of any method of the node."""
        return await self._node.request(method, *params)

    async def send(self, transaction: Mapping[str, object]) -> dict[str, Any]:
        """The transaction, of an account that anvil signs for, is in a block: its receipt."""
        return await self.receipt(await self.request("eth_sendTransaction", transaction))

    async def receipt(self, transaction: str) -> dict[str, Any]:
        """The receipt of a transaction that was sent: when it is here, so is the block.

        anvil answers when it has the transaction, mines it right after, and tells nobody when.
        """
        try:
            async with asyncio.timeout(MINED_S):
                while True:
                    receipt: dict[str, Any] | None = await self.request("eth_getTransactionReceipt", transaction)
                    if receipt is not None:
                        return receipt
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise CommonholdError(f"anvil {self.url}: {transaction} is in no block after {MINED_S} s") from None

    async def mine(self, blocks: int = 1) -> None:
        """The chain has `blocks` more blocks."""
        await self.request("anvil_mine", hex(blocks))

    async def advance(self, seconds: int) -> None:
        """The next block is `seconds` later than now, and is mined."""
        await self.request("evm_increaseTime", hex(seconds))
        await self.mine()

    async def reorg(self, depth: int) -> None:
        """The newest `depth` blocks are replaced by as many empty ones; their transactions are lost."""
        # Another beneficiary: an empty block replaced within its second would come out as the same block.
        await self.request("anvil_setCoinbase", "0x" + secrets.token_hex(20))
        await self.request("anvil_reorg", depth, [])

    async def snapshot(self) -> str:
        """A name for the present state, for one `revert`."""
        return str(await self.request("evm_snapshot"))

    async def revert(self, snapshot: str) -> None:
        """The chain is as it was at `snapshot`; blocks after it never were."""
        if await self.request("evm_revert", snapshot) is not True:
            raise CommonholdError(f"anvil {self.url}: cannot go back to snapshot {snapshot}")

    async def fund(self, address: str, wei: int) -> None:
        """The account has `wei` for gas."""
        await self.request("anvil_setBalance", address, hex(wei))

    async def close(self) -> None:
        """No connection to it is open any more."""
        await self._node.close()


@contextlib.asynccontextmanager
async def start_anvil(
    binary: Path | str, *, port: int = 0, within_s: float = START_S, **options: str | int | bool
) -> AsyncIterator[Anvil]:
    """A development chain while the block runs. `port` 0: any that is free. `within_s`: what it may take to start.

    `options` are anvil's own, in snake case: slots_in_an_epoch=4, no_mining=True. Raises NodeNotStarted.
    """
    words = [word for name, value in {"hardfork": "osaka", **options}.items() for word in _option(name, value)]
    with tempfile.TemporaryFile() as said:
        try:
            process = await asyncio.create_subprocess_exec(
                *(str(binary), "--host", "127.0.0.1", "--port", str(port), *words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise NodeNotStarted(f"anvil {binary}: expected a program, got: {error.strerror}") from error
        try:
            anvil = await _ready(process, said.fileno(), within_s)
            try:
                yield anvil
            finally:
                await anvil.close()
        finally:
            await _end(process)


def _option(name: str, value: str | int | bool) -> tuple[str, ...]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return (flag,) if value else ()
    return (flag, str(value))


async def _ready(process: asyncio.subprocess.Process, said: int, within_s: float) -> Anvil:
    """The chain answers. `said`: the file that its output goes to, where it names its port."""
    try:
        async with asyncio.timeout(within_s):
            while not (found := _LISTENING.search(text := os.pread(said, 1 << 16, 0).decode(errors="replace"))):
                if process.returncode is not None:
                    reason = (text.strip().splitlines() or ["nothing"])[0]
                    raise NodeNotStarted(f"anvil ended with status {process.returncode}, saying: {reason}")
                await asyncio.sleep(0.02)
            anvil = Anvil(f"http://127.0.0.1:{found[1]}", process.pid)
            await anvil.request("eth_chainId")
            return anvil
    except (TimeoutError, RpcUnavailable) as error:
        raise NodeNotStarted(f"anvil, process {process.pid}: does not answer {within_s:g} s after its start") from error


async def _end(process: asyncio.subprocess.Process) -> None:
    """The process has ended: asked first, then made to."""
    for end in (process.terminate, process.kill):
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
