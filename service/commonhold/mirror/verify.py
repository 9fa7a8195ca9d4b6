"""Whether the mirror's tables are what its events say, and making them so again. No node is asked.

The event log is what the follower believed of the chain; everything else is a function of it. Called by the CLI.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from commonhold.chain.decode import decode_of
from commonhold.chain.events import ChainEvent
from commonhold.chain.stamp import BlockStamp, RawLog
from commonhold.db import Db, ReadDb, make_engine, write
from commonhold.mirror.apply import Happened, apply_all
from commonhold.mirror.digest import digest, recomputed
from commonhold.mirror.read import position
from commonhold.mirror.tables import HISTORY, STATE, block, event
from commonhold.mirror.tables import digest as sums
from commonhold.units import Address, BlockNumber, Hash32, hex_text

_EVENTS_AT_ONCE = 10_000

Told = list[tuple[BlockStamp, ChainEvent]]
Progress = Callable[[int, int], None]  # events done, of how many


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: two ways to one digest."""

    name: str
    expected: Hash32
    got: Hash32

    @property
    def ok(self) -> bool:
        return self.expected == self.got


async def verify(db: ReadDb, progress: Progress) -> list[Verdict]:
    """The digest that was kept, against (1) the rows as they are, (2) the newest versions of the history, and (3) the
    rows that follow from the events, applied anew to an empty database in a temporary folder. Raises MirrorBroken."""
    kept = await digest(db)
    at = await position(db)
    # (1) rows
    verdicts = [Verdict("rows", kept, await recomputed(db))]
    # (2) history
    verdicts.append(Verdict("history", kept, await recomputed(db, at.number)))
    # (3) events
    with TemporaryDirectory(prefix="commonhold-verify-") as folder:
        scratch = make_engine(f"sqlite:///{Path(folder) / 'mirror.db'}")
        try:
            async with write(scratch) as made:
                await made.run_sync(lambda c: sums.metadata.create_all(c, [*STATE, *HISTORY.values(), sums]))
            async for told in _told(db, progress):
                async with write(scratch) as made:
                    await apply_all(made, Happened.of(told))
            async with write(scratch) as made:
                verdicts.append(Verdict("events", kept, await recomputed(made)))
        finally:
            await scratch.dispose()
    return verdicts


async def rebuild(db: Db, progress: Progress) -> Hash32:
    """Rows, history and sums are made anew from the events, in this one transaction; the digest then. Raises
    MirrorBroken."""
    await position(db)
    for table in (sums, *HISTORY.values(), *reversed(STATE)):
        await db.execute(table.delete())
    async for told in _told(db, progress):
        await apply_all(db, Happened.of(told))
    return await digest(db)


async def _told(db: ReadDb, progress: Progress) -> AsyncIterator[Told]:
    """All events in the order of the chain, whole blocks at a time."""
    total = (await db.execute(sa.select(sa.func.count()).select_from(event))).scalar_one()
    done, after = 0, -1
    while True:
        numbers = sa.select(event.c.block_number).where(event.c.block_number > after).order_by(event.c.block_number)
        last = sa.select(sa.func.max(numbers.limit(_EVENTS_AT_ONCE).subquery().c.block_number))
        until = (await db.execute(last)).scalar_one()
        if until is None:
            return
        joined = sa.select(event, block.c.parent, block.c.timestamp).join(block, block.c.number == event.c.block_number)
        part = joined.where(event.c.block_number > after, event.c.block_number <= until)
        rows = (await db.execute(part.order_by(event.c.block_number, event.c.log_index))).all()
        yield [_happened(row) for row in rows]
        done, after = done + len(rows), until
        progress(done, total)


def _happened(row: sa.Row[*tuple[object, ...]]) -> tuple[BlockStamp, ChainEvent]:
    number, block_hash = BlockNumber(row.block_number), Hash32(row.block_hash)
    topics = tuple(Hash32(row.topics[place : place + 32]) for place in range(0, len(row.topics), 32))
    nobody = Address(bytes(20))  # the contract's name is stored, not its address
    log = RawLog(nobody, topics, row.data, number, block_hash, Hash32(row.transaction_hash), row.log_index)
    return BlockStamp(number, block_hash, Hash32(row.parent), row.timestamp), decode_of(row.contract, log)


def shown(verdict: Verdict) -> str:
    """The verdict as one line for people."""
    if verdict.ok:
        return f"{verdict.name} lead to the digest {hex_text(verdict.got)}"
    return f"{verdict.name} lead to the digest {hex_text(verdict.got)}, expected {hex_text(verdict.expected)}"
