"""The next blocks and their events from a node, as batches that belong together; no database.

A batch always continues the block that it is asked to follow. `Ahead` fetches the next ones while others are written:
what it has is used where it continues the cursor by its hash, and else forgotten.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from commonhold.chain import verify
from commonhold.chain.decode import UnknownEvent, by_abi, cut, makers
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.rpc import Rpc
from commonhold.chain.span import Span
from commonhold.chain.stamp import BlockStamp
from commonhold.errors import CommonholdError
from commonhold.many import Raw
from commonhold.mirror.apply import Happened
from commonhold.mirror.moves import Moves

WINDOW: Final = 100  # blocks fetched together that may still be undone; each is a transaction of its own
RANGES: Final = 3  # ranges of final blocks that wait to be taken: 5 MB each


@dataclass(frozen=True, slots=True)
class Batch:
    """What happened in `blocks`: all with events, and the last one fetched. `rows`: of the table `event`, what told of
    each of `happened.events`. `final`: it is a range of final blocks, else a block that may be undone."""

    final: bool
    parent: bytes  # hash of the block that it follows
    blocks: Sequence[BlockStamp]
    rows: Sequence[Raw]
    happened: Happened

    @property
    def ends(self) -> tuple[bytes, bytes]:
        """Hashes of the block that it follows and of its last one: with the same ends it is of the same blocks."""
        return self.parent, self.blocks[-1].hash


class Ahead:
    """What comes next, fetched before it is asked for."""

    def __init__(self, rpc: Rpc, deployment: Deployment, max_range: int) -> None:
        self._rpc = rpc
        self._deployment = deployment
        self._max_range = max_range
        self._window = WINDOW
        self._ready: deque[Batch] = deque()
        self._task: asyncio.Task[list[Batch]] | None = None
        self._head: BlockStamp | None = None
        self.final: BlockStamp | None = None
        self._ranges = False  # what is being fetched is final

    def start(self, after: BlockStamp, head: BlockStamp, final: BlockStamp) -> None:
        """The blocks after `after` up to the head are fetched from now on; those up to `final` in ranges."""
        self.drop()
        self._head, self.final = head, final
        self._begin(after)

    @property
    def edge(self) -> BlockStamp | None:
        """The last block that is there to be taken; None: none is."""
        return self._ready[-1].blocks[-1] if self._ready else None

    def aim(self, head: BlockStamp, final: BlockStamp) -> None:
        """What was fetched stays; what comes after it goes up to this head."""
        self._head, self.final = head, final
        if self._ready:
            self._go_on(self._ready[-1])

    async def take(self, after: bytes) -> Batch | None:
        """The batch that follows the block of this hash; None: none is under way. Raises as `fetch`."""
        if not self._ready and self._task is not None:
            task = self._task
            await asyncio.wait({task})
            self._came(task)  # unless it has come already
            if task is self._task:
                self._task = None
                task.result()  # it failed
        if not self._ready or self._ready[0].parent != after:
            self.drop()
            return None
        taken = self._ready.popleft()
        self._go_on(self._ready[-1] if self._ready else taken)
        return taken

    @property
    def next(self) -> Batch | None:
        """What is taken next, where it is there."""
        return self._ready[0] if self._ready else None

    async def soon(self, within_s: float) -> bool:
        """What is taken next is final, and there, or comes within so many seconds."""
        if not self._ready and self._task is not None and self._ranges:
            await asyncio.wait({self._task}, timeout=within_s)
        return bool(self._ready) and self._ready[0].final

    @property
    def is_final(self) -> bool:
        """What is taken next is final."""
        return self._ready[0].final if self._ready else self._ranges

    def drop(self) -> None:
        """Nothing is fetched any more, and what was is forgotten."""
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._ready.clear()

    def _begin(self, after: BlockStamp) -> None:
        if self._head is not None and self.final is not None and after.number < self._head.number:
            self._ranges = after.number < self.final.number
            self._task = asyncio.create_task(self._fetch(after))
            self._task.add_done_callback(self._came)

    def _came(self, task: asyncio.Task[list[Batch]]) -> None:
        # One that was dropped has nobody to tell of its error; of another, `take` tells.
        if task.cancelled() or task.exception() or task is not self._task:
            return
        self._task = None
        self._ready.extend(task.result())
        self._go_on(self._ready[-1])

    def _go_on(self, last: Batch) -> None:
        """What follows this batch, the last one there is, is fetched, unless enough is there."""
        if self._task is None and len(self._ready) < (RANGES if last.final else WINDOW):
            self._begin(last.blocks[-1])

    async def _fetch(self, after: BlockStamp) -> list[Batch]:
        if self._head is None or self.final is None:
            return []
        if after.number < self.final.number:
            last = min(self.final.number, self._head.number, after.number + self._max_range)
            return [await fetch(self._rpc, self._deployment, after, last)]
        last = min(self._head.number, after.number + self._window)
        try:
            batches = await fetch_each(self._rpc, self._deployment, after, last)
        except CommonholdError:
            if last == after.number + 1:
                raise
            # The blocks before the one that cannot be had go in all the same.
            self._window = 1
            return await fetch_each(self._rpc, self._deployment, after, after.number + 1)
        self._window = min(2 * self._window, WINDOW)
        return batches


async def fetch(rpc: Rpc, deployment: Deployment, after: BlockStamp, last: int) -> Batch:
    """Final blocks after `after`, up to `last` at most. Raises UnknownEvent, RpcLied and RpcInconsistent."""
    span = await rpc.span(deployment.followed, after, last)
    return _batch(deployment, after.hash, span, final=True)


async def fetch_each(rpc: Rpc, deployment: Deployment, after: BlockStamp, last: int) -> list[Batch]:
    """Blocks that may be undone, as a batch for each. Raises UnknownEvent only when the first has such."""
    span = await rpc.span(deployment.followed, after, last, every=True)
    told = {number: list(logs) for number, logs in groupby(span.told, key=lambda log: log[0])}
    numbers = np.frombuffer(span.transfers.block_number, "<i8")
    wanted = [stamp.number for stamp in span.blocks]
    ends = np.searchsorted(numbers, wanted, side="right").tolist()
    batches: list[Batch] = []
    for stamp, first, end in zip(span.blocks, [0, *ends], ends, strict=False):
        one = Span([stamp], told.get(stamp.number, []), span.transfers.part(first, end))
        try:
            batches.append(_batch(deployment, stamp.parent, one, final=False))
        except UnknownEvent:
            if batches:
                break  # what is before it goes in
            raise
    return batches


def _batch(deployment: Deployment, parent: bytes, span: Span, *, final: bool) -> Batch:
    stamps: dict[int, BlockStamp] = {stamp.number: stamp for stamp in span.blocks}
    known: dict[bytes, tuple[ContractName, dict[bytes, Callable[..., ChainEvent]]]] = {
        address: (name, makers(name)) for address, name in deployment.names.items()
    }
    rows: list[Raw] = []
    events: list[tuple[BlockStamp, int, ChainEvent]] = []
    for log in span.told:
        number, index, block_hash, transaction_hash, address, topics, data = log
        name, made_by = known[address]
        make, values = made_by.get(topics[:32]), cut(topics, data)
        event = by_abi(name, verify.unpack(log)) if make is None or values is None else make(*values)
        rows.append((number, index, block_hash, transaction_hash, name, type(event).__name__, topics, data))
        events.append((stamps[number], index, event))
    moves = Moves.of(span.transfers, deployment.ledger)
    strange = ~moves.of_ledger & (np.frombuffer(span.transfers.address, "V20") != np.void(deployment.access))
    if strange.any():  # another contract that has no such event: to say so
        at = int(np.argmax(strange))
        (log,) = span.transfers.part(at, at + 1).logs
        by_abi(known[log[4]][0], verify.unpack(log))
    return Batch(final, parent, span.blocks, rows, Happened(span.blocks, events, moves))
