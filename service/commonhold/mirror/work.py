"""What one transaction of follow.py does, but for the cursor: counted from memory, written behind. Commits nothing."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Self

import sqlalchemy as sa

from commonhold.chain.stamp import BlockStamp
from commonhold.db import Db
from commonhold.driver import Write, together
from commonhold.many import Raw, inserting, inserting_rows
from commonhold.mirror.apply import Applying
from commonhold.mirror.balances import Known
from commonhold.mirror.behind import Behind, made
from commonhold.mirror.fetch import Batch
from commonhold.mirror.tables import block, event


class Work:
    """What one transaction does with a batch, and with those that follow it: all but the cursor. It begins at once with
    what can be had from memory; the rest waits until `behind` is opened. A context manager, to be left when all is
    done, or before the transaction is rolled back."""

    def __init__(self, batch: Batch, known: Known, after: bytes, dialect: sa.Dialect) -> None:
        """after: as Known.begin. dialect: of the database that it is written to."""
        known.begin(after)
        self.ends, self.final = batch.ends, batch.final  # of the first
        self.last = batch.blocks[-1]  # of those that it is about so far
        self.behind = Behind[Db](partial(together, dialect))
        self.applying = Applying(known, self.behind, dialect)
        self._known = known
        self._dialect = dialect
        self.begun = asyncio.create_task(self._begin(batch))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def take(self, batch: Batch) -> None:
        """This batch is next."""
        self.last = batch.blocks[-1]
        await self.behind.add(*made(_inserts(batch, self._dialect), at_once=not batch.final))
        await self.applying.take(batch.happened)

    async def finish(self, *, more: bool = False) -> None:
        """All of it is counted; the next transaction can be. `more`: as digest.advance."""
        await self.applying.finish(more=more)
        self._known.keep(self.last.hash)

    async def close(self) -> None:
        """What is not done is not done any more."""
        self.begun.cancel()
        try:
            await asyncio.gather(self.begun, return_exceptions=True)
        finally:  # whoever closes it may be cancelled, too
            await self.behind.close()

    async def _begin(self, batch: Batch) -> None:
        await self.take(batch)
        if not self.final:  # none follows it in the same transaction
            await self.finish()


def _inserts(batch: Batch, dialect: sa.Dialect) -> Iterator[Write]:
    """What makes blocks and events stand in their tables."""
    yield from inserting_rows(dialect, block, [block_row(stamp) for stamp in batch.blocks])
    yield from inserting_rows(dialect, event, batch.rows)
    for columns in batch.happened.moves.rows():
        yield from inserting(dialect, event, columns)


def block_row(stamp: BlockStamp) -> Raw:
    """Of the table `block`."""
    return stamp.number, stamp.hash, stamp.parent, stamp.timestamp
