"""Blocks in a row, and the logs of our contracts in them, all from one node.

Two ways to the same result. `verified`: every header, its hash and its link to the one before; for blocks whose bloom
may hold our logs all receipts, and the logs from these. `told`: what eth_getLogs says, for chains whose headers or
receipts do not recompute. A span always continues the block that it is asked to follow, and may end early.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeVar

from commonhold.chain import bulk, verify
from commonhold.chain.answers import RpcInconsistent
from commonhold.chain.apart import Apart
from commonhold.chain.bulk import Concerned, Found, Stamp, Transfers, check_link, to_stamp
from commonhold.chain.jsonrpc import MAX_BATCH, Call, JsonRpc, NotTaken, RpcRefused, RpcUnavailable, TooLong
from commonhold.chain.stamp import BlockStamp, RawLog
from commonhold.chain.verify import PackedLog
from commonhold.units import Address, hex_text

if TYPE_CHECKING:
    from commonhold.chain.rpc import Rpc

A = TypeVar("A")
T = TypeVar("T")

MAX_IN_FLIGHT: Final = 4  # requests at once
ENOUGH: Final = 15_000  # logs in a span, more or less: 5 MB of memory once they are columns
LONGEST: Final = 20_000  # blocks in a span: 1 MB for each batch of 100 headers under way
MOST_TOLD: Final = 2_000  # blocks; public nodes refuse more
BODY: Final = 1_000_000  # bytes of receipts that are asked for at once; four such are under way, each in a few copies

_NO_SUCH_METHOD: Final = -32601  # JSON-RPC 2.0
_STREAK: Final = 8  # answers in a row after which more is asked for at once


@dataclass(frozen=True, slots=True)
class Span:
    """`blocks` in order: all with logs, and the last one read; or every one, if asked for. `told`: the logs in the
    order of the chain, but for `transfers`."""

    blocks: Sequence[BlockStamp]
    told: Sequence[PackedLog]
    transfers: Transfers

    @property
    def logs(self) -> list[RawLog]:
        """All of them, in the order of the chain."""
        return [verify.unpack(log) for log in sorted([*self.told, *self.transfers.logs])]


@dataclass(slots=True)
class Size:
    """How many are asked for at once: half as many when the node does not take it, twice as many while it does."""

    at_once: int
    most: int = MAX_BATCH
    streak: int = 0

    def taken(self, count: int, bytes_: int = 0) -> None:
        """The node answered so many, in so many bytes."""
        self.streak += 1
        if bytes_ > 2 * BODY:
            self.refused(count)
        elif self.streak >= _STREAK and count == self.at_once and bytes_ < BODY // 2:
            self.at_once, self.streak = min(2 * self.at_once, self.most), 0

    def refused(self, count: int) -> None:
        """So many were too many."""
        self.at_once, self.streak = max(1, min(self.at_once, count // 2)), 0


class Pace:
    """What one node has been seen to take, and how dense its chain is with what is ours."""

    def __init__(self) -> None:
        self.headers = Size(MAX_BATCH)
        self.receipts = Size(8)
        self.blocks = 64  # in a span

    def spanned(self, blocks: int, logs: int) -> None:
        """A span came out so long."""
        if logs > ENOUGH:
            self.blocks = max(1, min(self.blocks, blocks) // 2)
        elif logs < ENOUGH // 2 and blocks >= self.blocks:
            self.blocks = min(2 * self.blocks, LONGEST)

    def failed(self) -> None:
        """The node did not answer in time, or with an error: less the next time."""
        self.blocks = max(1, self.blocks // 2)
        self.receipts.refused(self.receipts.at_once)


async def verified(
    node: JsonRpc,
    addresses: Collection[Address],
    after: BlockStamp,
    last: int,
    *,
    every: bool,
    pace: Pace,
    apart: Apart,
) -> Span:
    """Raises RpcLied, and RpcInconsistent when the node is not that far or has moved to another branch."""
    ask = _Asking(node, tuple(addresses), every, pace, apart)
    try:
        numbers = range(after.number + 1, min(last, after.number + pace.blocks) + 1)
        rows = await _each(ask.headers, _groups(numbers, pace.headers.at_once))
        parent = after
        for first, top, _, _ in rows:
            check_link(node.host, parent, to_stamp(first))
            parent = to_stamp(top)
        concerned = [each for _, _, some, _ in rows for each in some]
        parts = await _each(ask.logs, _groups(concerned, pace.receipts.at_once))
    except (RpcUnavailable, RpcRefused):
        pace.failed()
        raise
    counts, others, transfers = bulk.joined(parts) if parts else ([], [], bulk.NO_TRANSFERS)
    pace.spanned(len(numbers), sum(counts))
    if every:
        blocks = [to_stamp(stamp) for _, _, _, stamps in rows for stamp in stamps]
    else:
        blocks = [to_stamp(stamp) for (stamp, _, _), count in zip(concerned, counts, strict=True) if count]
        if not blocks or blocks[-1] != parent:
            blocks.append(parent)
    return Span(blocks, others, Transfers(*transfers))


async def told(
    rpc: "Rpc", addresses: Collection[Address], after: BlockStamp, last: int, *, every: bool, pace: Pace
) -> Span:
    """Raises RpcInconsistent. What the node leaves out does not show. `every`: one block at a time."""
    first = after.number + 1
    if first == last or every:  # perhaps not final: by hash, so that no load balancer can mix two branches
        stamp = await rpc.header(first)
        check_link(rpc.host, after, stamp)
        return Span([stamp], *_packed(await rpc.logs_of(stamp.hash, addresses)))
    last = min(last, after.number + min(pace.blocks, MOST_TOLD))
    logs = await _logs(rpc, addresses, first, last)
    pace.spanned(last - after.number, len(logs))
    # Headers after the logs: a node that lags behind another has no header either.
    numbers = sorted({first, last, *(log.block_number for log in logs)})
    headers = await _each(rpc.header, numbers)
    stamps = dict(zip(numbers, headers, strict=True))
    check_link(rpc.host, after, headers[0])
    for log in logs:
        if log.block_hash != stamps[log.block_number].hash:
            raise RpcInconsistent(
                f"log {log.log_index} of block {log.block_number} names its hash {hex_text(log.block_hash)}, "
                f"expected {hex_text(stamps[log.block_number].hash)}"
            )
    return Span(headers, *_packed(logs))


async def _logs(rpc: "Rpc", addresses: Collection[Address], first: int, last: int) -> list[RawLog]:
    """What a node says that does not take so long a range, or so large an answer: in halves."""
    try:
        return await rpc.logs(addresses, first, last)
    except (RpcRefused, TooLong):
        if first == last:
            raise
    middle = (first + last) // 2
    return [
        *await _logs(rpc, addresses, first, middle),
        *await _logs(rpc, addresses, middle + 1, last),
    ]


def _packed(logs: Sequence[RawLog]) -> tuple[list[PackedLog], Transfers]:
    return bulk.sorted_out(
        [
            (
                *(log.block_number, log.log_index, log.block_hash, log.transaction_hash, log.address),
                *(b"".join(log.topics), log.data),
            )
            for log in logs
        ]
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """One node, and what is asked of it for one span."""

    node: JsonRpc
    addresses: tuple[Address, ...]
    every: bool
    pace: Pace
    apart: Apart

    async def headers(self, numbers: Sequence[int]) -> tuple[Stamp, Stamp, list[Concerned], list[Stamp]]:
        """As bulk.linked."""

        def here(found: list[Any], some: Sequence[int]) -> Any:
            return bulk.linked(found, some, self.addresses, self.every, self.node.host)

        def call(number: int) -> Call:
            return "eth_getBlockByNumber", (hex(number), False)

        args = self.addresses, self.every, self.node.host
        parts = await self._all("headers", tuple(numbers), call, self._header, self.pace.headers, here, args)
        for (_, before, _, _), (after, _, _, _) in pairwise(parts):
            check_link(self.node.host, to_stamp(before), to_stamp(after))
        return (
            parts[0][0],
            parts[-1][1],
            [each for part in parts for each in part[2]],
            [each for part in parts for each in part[3]],
        )

    async def logs(self, concerned: Sequence[Concerned]) -> Found:
        """As bulk.logs."""

        def here(found: list[Any], some: Sequence[Concerned]) -> Any:
            return bulk.of_receipts(found, some, self.addresses, self.node.host)

        def call(one: Concerned) -> Call:
            return "eth_getBlockReceipts", (hex_text(one[0][1]),)

        args = self.addresses, self.node.host
        parts = await self._all("logs", list(concerned), call, self._receipts, self.pace.receipts, here, args)
        return bulk.joined(parts)

    async def _all(
        self,
        work: str,
        about: Sequence[A],
        call: Callable[[A], Call],
        alone: Callable[[A], Awaitable[Any]],
        size: Size,
        here: Callable[[list[Any], Sequence[A]], Any],
        args: tuple[Any, ...],
    ) -> list[Any]:
        """What the work makes of the answers about these, as many at once as the node takes."""
        parts: list[Any] = []
        while about:
            some, result = about[: size.at_once], None
            if len(some) == 1:
                result = here([await alone(some[0])], some)
                size.taken(1)
            else:
                try:
                    first, body = await self.node.post_batch([call(each) for each in some])
                except NotTaken:
                    body = b""
                if body:
                    result = await self.apart.run(work, body, first, some, *args)
                if result is None:  # nodes limit the calls or the bytes of a batch, and say so in many ways
                    size.refused(len(some))
                    continue
                size.taken(len(some), len(body) if work == "logs" else 0)
            parts.append(result)
            about = about[len(some) :]
        return parts

    async def _header(self, number: int) -> Any:
        return await self.node.request("eth_getBlockByNumber", hex(number), False)

    async def _receipts(self, one: Concerned) -> Any:
        (_, block_hash, *_), _, transactions = one
        try:
            return await self.node.request("eth_getBlockReceipts", hex_text(block_hash))
        except RpcRefused as error:
            if error.rpc_code != _NO_SUCH_METHOD:
                raise
        return await _one_by_one(self.node, transactions)


async def _one_by_one(node: JsonRpc, transactions: Sequence[str]) -> list[Any] | None:
    """The receipts of a block from a node that does not give them together; None: not all are there."""
    found = await node.batch([("eth_getTransactionReceipt", (each,)) for each in transactions])
    return None if None in found else found


def _groups(all_: Sequence[A], size: int) -> list[Sequence[A]]:
    return [all_[at : at + size] for at in range(0, len(all_), size)]


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
