"""Blocks in a row, and the logs of our contracts in them, all from one node.

Two ways to the same result. `verified`: every header, its hash and its link to the one before; for blocks whose bloom
may hold our logs all receipts, and the logs from these. `told`: what eth_getLogs says, for chains whose headers or
receipts do not recompute. A span always continues the block that it is asked to follow, and may end early.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar

from commonhold.chain import verify
from commonhold.chain.answers import RpcInconsistent
from commonhold.chain.jsonrpc import JsonRpc, RpcRefused
from commonhold.chain.stamp import BlockStamp, RawLog
from commonhold.chain.verify import Header
from commonhold.units import Address, hex_text

if TYPE_CHECKING:
    from commonhold.chain.rpc import Rpc

A = TypeVar("A")
T = TypeVar("T")

MAX_IN_FLIGHT: Final = 4  # requests at once
CHUNK: Final = 400  # blocks whose headers are held at once
RECEIPTS_AT_ONCE: Final = 10  # blocks; a busy block's receipts are 1 MB
ENOUGH: Final = 10_000  # logs after which a span ends, so that memory stays flat

_NO_SUCH_METHOD: Final = -32601  # JSON-RPC 2.0


@dataclass(frozen=True, slots=True)
class Span:
    """`blocks` in order: all with logs, and the last one read. `logs` in the order of the chain."""

    blocks: Sequence[BlockStamp]
    logs: Sequence[RawLog]


async def verified(node: JsonRpc, addresses: Collection[Address], after: BlockStamp, last: int) -> Span:
    """Raises RpcLied, and RpcInconsistent when the node is not that far or has moved to another branch."""
    blocks: list[BlockStamp] = []
    logs: list[RawLog] = []
    parent = after
    while parent.number < last and len(logs) < ENOUGH:
        headers = await _headers(node, parent.number + 1, min(parent.number + CHUNK, last))
        for header in headers:
            _check_link(node.host, parent, header.stamp)
            parent = header.stamp
        concerned = [header for header in headers if header.may_concern(addresses)]
        some = [concerned[at : at + RECEIPTS_AT_ONCE] for at in range(0, len(concerned), RECEIPTS_AT_ONCE)]
        found = await _each(partial(_logs, node, addresses), some)
        for header, ours in zip(concerned, chain.from_iterable(found), strict=True):
            if ours:
                blocks.append(header.stamp)
                logs += ours
    if not blocks or blocks[-1] != parent:
        blocks.append(parent)
    return Span(blocks, logs)


async def told(rpc: "Rpc", addresses: Collection[Address], after: BlockStamp, last: int) -> Span:
    """Raises RpcInconsistent. What the node leaves out does not show."""
    first = after.number + 1
    if first == last:  # perhaps not final: by hash, so that no load balancer can mix two branches
        stamp = await rpc.header(first)
        _check_link(rpc.host, after, stamp)
        return Span([stamp], await rpc.logs_of(stamp.hash, addresses))
    logs = await rpc.logs(addresses, first, last)
    # Headers after the logs: a node that lags behind another has no header either.
    numbers = sorted({first, last, *(log.block_number for log in logs)})
    headers = await _each(rpc.header, numbers)
    stamps = dict(zip(numbers, headers, strict=True))
    _check_link(rpc.host, after, headers[0])
    for log in logs:
        if log.block_hash != stamps[log.block_number].hash:
            raise RpcInconsistent(
                f"log {log.log_index} of block {log.block_number} names its hash {hex_text(log.block_hash)}, "
                f"expected {hex_text(stamps[log.block_number].hash)}"
            )
    return Span(headers, logs)


async def _headers(node: JsonRpc, first: int, last: int) -> list[Header]:
    found = await node.batch([("eth_getBlockByNumber", (hex(number), False)) for number in range(first, last + 1)])
    for number, block in enumerate(found, first):
        if block is None:
            raise RpcInconsistent(f"node {node.host} has no block {number}, expected one below its head")
    return [verify.header(block, node.host) for block in found]


async def _logs(node: JsonRpc, addresses: Collection[Address], headers: Sequence[Header]) -> list[list[RawLog]]:
    """Our logs of each block."""
    try:
        found = await node.batch([("eth_getBlockReceipts", (hex_text(header.stamp.hash),)) for header in headers])
    except RpcRefused as error:
        if error.rpc_code != _NO_SUCH_METHOD:
            raise
        found = [await _one_by_one(node, header) for header in headers]
    for header, receipts in zip(headers, found, strict=True):
        if receipts is None:
            block = f"block {header.stamp.number} {hex_text(header.stamp.hash)}"
            raise RpcInconsistent(f"node {node.host} has no receipts of {block} (any more)")
    return [
        verify.logs(header, receipts, addresses, node.host) for header, receipts in zip(headers, found, strict=True)
    ]


async def _one_by_one(node: JsonRpc, header: Header) -> list[Any] | None:
    """The receipts of a block from a node that does not give them together; None: not all are there."""
    found = await node.batch([("eth_getTransactionReceipt", (each,)) for each in header.transactions])
    return None if None in found else found


async def _each(ask: Callable[[A], Awaitable[T]], about: Sequence[A]) -> list[T]:
    """The answers, in order, some at a time. The first error ends what is still under way."""
    slots = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def one(what: A) -> T:
        async with slots:
            return await ask(what)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(what)) for what in about]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _check_link(host: str, parent: BlockStamp, child: BlockStamp) -> None:
    """The next step finds out from the start which branch the node is on."""
    if (child.number, child.parent) != (parent.number + 1, parent.hash):
        raise RpcInconsistent(
            f"node {host}: parent of block {child.number} is {hex_text(child.parent)}, "
            f"expected {hex_text(parent.hash)} of block {parent.number}"
        )
