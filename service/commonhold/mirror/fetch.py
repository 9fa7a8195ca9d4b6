"""The next blocks and their events from a node, as one batch that belongs together; no database.

A batch always continues the block that it is asked to follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from commonhold.chain.decode import decode
from commonhold.chain.deployment import Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp, RawLog


@dataclass(frozen=True, slots=True)
class Happened:
    """One event, where it happened, and the log that told it."""

    stamp: BlockStamp
    log: RawLog
    event: ChainEvent


@dataclass(frozen=True, slots=True)
class Batch:
    """`blocks` in order: all with events, and the last one fetched. `happened` in the order of the chain."""

    blocks: Sequence[BlockStamp]
    happened: Sequence[Happened]


async def fetch(rpc: Rpc, deployment: Deployment, after: BlockStamp, last: int) -> Batch:
    """Blocks after `after`, up to `last` at most. Raises UnknownEvent, RpcLied and RpcInconsistent."""
    span = await rpc.span(deployment.followed, after, last)
    stamps = {stamp.number: stamp for stamp in span.blocks}
    happened = [Happened(stamps[log.block_number], log, decode(log, deployment)) for log in span.logs]
    return Batch(span.blocks, happened)
