"""The next blocks and their events from a node, as one batch that belongs together; no database.

Final blocks come in ranges. Above them, blocks come one by one and their logs by block hash, so that no load balancer
can mix two branches. A batch always continues the block it is asked to follow.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from commonhold.chain.decode import decode
from commonhold.chain.deployment import Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.rpc import Rpc, RpcInconsistent
from commonhold.chain.stamp import BlockStamp, RawLog
from commonhold.units import hex_text

MAX_IN_FLIGHT: Final = 16  # block headers asked for at once


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


async def one_block(rpc: Rpc, deployment: Deployment, after: BlockStamp) -> Batch:
    """The block after `after`. Raises UnknownEvent; RpcInconsistent when the node has moved to another branch."""
    stamp = await _header(rpc, after.number + 1)
    _check_link(after, stamp)
    logs = await rpc.logs_of(stamp.hash, deployment.followed)
    return Batch([stamp], [Happened(stamp, log, decode(log, deployment)) for log in logs])


async def final_range(rpc: Rpc, deployment: Deployment, after: BlockStamp, last: int) -> Batch:
    """The blocks after `after` up to `last`, which are final. Raises UnknownEvent and RpcInconsistent."""
    first = after.number + 1
    logs = await rpc.logs(deployment.followed, first, last)
    # Headers after the logs: a node that lags behind another has no header either.
    numbers = sorted({first, last, *(log.block_number for log in logs)})
    slots = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def header(number: int) -> BlockStamp:
        async with slots:
            return await _header(rpc, number)

    headers = await asyncio.gather(*(header(number) for number in numbers))
    stamps = dict(zip(numbers, headers, strict=True))
    _check_link(after, headers[0])
    for log in logs:
        if log.block_hash != stamps[log.block_number].hash:
            raise RpcInconsistent(
                f"log {log.log_index} of block {log.block_number} names its hash {hex_text(log.block_hash)}, "
                f"expected {hex_text(stamps[log.block_number].hash)}"
            )
    happened = [Happened(stamps[log.block_number], log, decode(log, deployment)) for log in logs]
    return Batch(headers, happened)


async def _header(rpc: Rpc, number: int) -> BlockStamp:
    stamp = await rpc.block(number)
    if stamp is None:
        raise RpcInconsistent(f"node {rpc.host} has no block {number}, expected one below its head")
    return stamp


def _check_link(parent: BlockStamp, child: BlockStamp) -> None:
    """The next step finds out from the start which branch the node is on."""
    if child.parent != parent.hash:
        raise RpcInconsistent(
            f"parent of block {child.number} is {hex_text(child.parent)}, expected {hex_text(parent.hash)}"
        )
