import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import read, write
from commonhold.mirror import journal
from commonhold.mirror.apply import apply
from commonhold.mirror.digest import dump
from commonhold.mirror.journal import pack, unpack
from commonhold.mirror.tables import STATE
from commonhold.mirror.tables import journal as journal_table
from tests.mirror.history import HISTORY, play, stamp


async def test_every_event_can_be_undone_from_every_later_block(engine: AsyncEngine) -> None:
    after = []  # the rows after block 0, 1, 2, ...
    async with write(engine) as db:
        after.append(await dump(db))
        for number, event in enumerate(HISTORY, start=1):
            await apply(db, stamp(number), event, journaled=True)
            after.append(await dump(db))

    async with write(engine) as db:
        for ancestor in range(len(HISTORY) - 1, -1, -3):
            await journal.undo(db, ancestor)
            assert await dump(db) == after[ancestor]
        await journal.undo(db, 0)
        await play(db, journaled=True)
        await journal.undo(db, 0)
        assert await dump(db) == after[0]
        assert (await db.execute(sa.select(journal_table))).all() == []


async def test_undoing_nothing_changes_nothing(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db, journaled=True)
        before = await dump(db)

        await journal.undo(db, len(HISTORY))

        assert await dump(db) == before


async def test_pruned_blocks_leave_the_later_ones_undoable(engine: AsyncEngine) -> None:
    middle = len(HISTORY) // 2
    async with write(engine) as db:
        for number, event in enumerate(HISTORY, start=1):
            await apply(db, stamp(number), event, journaled=True)
            if number == middle:
                expected = await dump(db)

        await journal.prune(db, middle)
        await journal.undo(db, middle)

        assert await dump(db) == expected


async def test_changes_that_are_final_leave_no_journal(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db, journaled=False)

    async with read(engine) as db:
        assert (await db.execute(sa.select(journal_table))).all() == []


async def test_packed_rows_come_back_in_their_types(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        for table in STATE:
            for row in (await db.execute(sa.select(table))).mappings():
                assert unpack(table, pack(dict(row))) == dict(row)
