"""The events of the chain into the state, span after span, up to the blocks that are asked for.

One span is downloaded while the one before is taken in; no more are ever held.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from commonhold.anchor.audit.base import Base
from commonhold.anchor.audit.replay import replay
from commonhold.anchor.audit.series import Owned
from commonhold.anchor.audit.signed import Signatures
from commonhold.anchor.audit.state import State
from commonhold.anchor.audit.step import Missing
from commonhold.chain.decode import decode
from commonhold.chain.deployment import Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.rpc import Rpc, RpcRefused
from commonhold.chain.span import Span
from commonhold.chain.stamp import BlockStamp
from commonhold.errors import Unavailable
from commonhold.units import hex_text

MOST_BLOCKS: Final = 2_000  # asked for at a time, between two words of progress

Progress = Callable[[int, int], None]  # blocks read, of how many


class Replaced(Unavailable):
    """A block went while events were read."""

    code = "block_replaced"


class Reading:
    """Reads on from `after`. `last` is the number of the last block that will be asked for."""

    def __init__(
        self,
        rpc: Rpc,
        deployment: Deployment,
        state: State,
        owned: Owned,
        signatures: Signatures,
        after: BlockStamp,
        last: int,
        tell: Progress,
        base: Base | None = None,
    ) -> None:
        """base: who knows what the state does not, where it does not begin at the beginning."""
        self._base = base
        self._rpc, self._deployment, self._signatures, self._tell = rpc, deployment, signatures, tell
        self.state, self.owned, self.after = state, owned, after
        self._first, self._last = after.number + 1, last
        self._blocks = MOST_BLOCKS

    async def to(self, stamp: BlockStamp) -> None:
        """The state is that of the block.

        Raises UnknownEvent, RpcLied and Unavailable; Replaced when the chain does not lead to the block.
        """
        async with aclosing(self._spans(stamp.number)) as spans:
            async for span in spans:
                blocks = {block.number: block for block in span.blocks}
                for log in span.logs:
                    block, event = blocks[log.block_number], decode(log, self._deployment)
                    self.owned.before(self.state, block.timestamp)
                    await self._take_in(event, block)
                    await self._signatures.add(self.state, event, log, block)
                self.after = span.blocks[-1]
                self._tell(self.after.number - self._first + 1, self._last - self._first + 1)
        await self._signatures.flush(self.state.found)
        if self.after.hash != stamp.hash:
            was, now = hex_text(stamp.hash), hex_text(self.after.hash)
            raise Replaced(f"block {stamp.number} was {was} at first, the events lead to {now}")

    async def _take_in(self, event: ChainEvent, block: BlockStamp) -> None:
        while True:
            try:
                return replay(self.state, event, block.number, block.timestamp)
            except Missing as missing:
                if self._base is None:
                    raise
                await self._base.load(self.state, missing.keys)

    async def _spans(self, last: int) -> AsyncGenerator[Span]:
        after = self.after
        asked = asyncio.create_task(self._span(after, last)) if after.number < last else None
        try:
            while asked is not None:
                span = await asked
                after = span.blocks[-1]
                asked = asyncio.create_task(self._span(after, last)) if after.number < last else None
                yield span
        finally:
            if asked is not None:
                asked.cancel()

    async def _span(self, after: BlockStamp, last: int) -> Span:
        """Of fewer blocks where the node refuses as many, and of more again where it takes them."""
        while True:
            to = min(after.number + self._blocks, last)
            try:
                span = await self._rpc.span(self._deployment.followed, after, to)
            except RpcRefused:
                if self._blocks == 1:
                    raise
                self._blocks //= 2
                continue
            self._blocks = min(2 * self._blocks, MOST_BLOCKS)
            return span
