from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import ReadDb, read, write
from commonhold.mirror import history
from commonhold.mirror.apply import Happened, apply, apply_all
from commonhold.mirror.digest import dump
from commonhold.mirror.tables import HISTORY, STATE, holding
from tests.mirror.history import CORPUS, NODE, PROVIDER, play, stamp
from tests.mirror.history import HISTORY as TOLD

LAST = len(TOLD)
State = dict[str, set[tuple[Any, ...]]]


async def state(db: ReadDb) -> State:
    return {table.name: {tuple(row) for row in await db.execute(sa.select(table))} for table in STATE}


async def state_then(db: ReadDb, block_number: int) -> State:
    """The same from the history alone."""
    return {
        table.name: {tuple(row) for row in await db.execute(sa.select(history.as_of(table, block_number)))}
        for table in STATE
    }


async def test_every_block_can_be_read_again(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        after = [await state(db)]
        for number, event in enumerate(TOLD, start=1):
            await apply(db, stamp(number), event)
            after.append(await state(db))

    async with read(engine) as db:
        for number, expected in enumerate(after):
            assert await state_then(db, number) == expected
        assert await state_then(db, LAST + 100) == after[-1]


async def test_history_is_the_same_in_blocks_and_in_ranges(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await dump(db)
        await history.undo(db, 0)
        assert await dump(db) == []

        await apply_all(db, Happened.of([(stamp(number), event) for number, event in enumerate(TOLD, start=1)]))

        assert await dump(db) == before


async def test_a_block_leaves_one_version_of_what_it_changed_often(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await apply_all(db, Happened.of([(stamp(7), event) for event in TOLD]))

        for table in STATE:
            kept = (await db.execute(sa.select(HISTORY[table.name]))).all()
            columns = len(table.columns)
            assert {row[:columns] for row in kept} == (await state(db))[table.name]
            assert all(row.from_block == 7 and not row.gone for row in kept)


async def test_what_is_as_before_the_block_has_no_version(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

        versions = HISTORY["holding"]
        of_provider = sa.select(versions.c.from_block).where(versions.c.asset == NODE, versions.c.owner == PROVIDER)
        changed = (await db.execute(of_provider.order_by(versions.c.from_block))).scalars().all()

    # It got two GPUs, gave half a one and took a little; between, it sent everything to itself.
    assert [TOLD[number - 1].amount for number in changed] == [2_000_000, 500_000, 1_000]  # type: ignore[union-attr]


async def test_fixed_columns_narrow_what_was_then(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

        of_corpus = await db.execute(sa.select(history.as_of(holding, LAST, asset=CORPUS)))

        assert {row.asset for row in of_corpus} == {CORPUS}


async def test_changes_are_what_differs_between_two_blocks(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        for after in range(0, LAST, 9):
            for until in range(after, LAST + 1, 11):
                before, now = await state_then(db, after), await state_then(db, until)

                found = [change async for change in history.changes(db, after, until)]

                for table in STATE:
                    olds = {tuple(old.values()) for name, old, _ in found if name == table.name and old is not None}
                    news = {tuple(new.values()) for name, _, new in found if name == table.name and new is not None}
                    assert olds == before[table.name] - now[table.name]
                    assert news == now[table.name] - before[table.name]


async def test_every_event_can_be_undone_from_every_later_block(engine: AsyncEngine) -> None:
    after = []  # the rows after block 0, 1, 2, ...
    async with write(engine) as db:
        after.append(await dump(db))
        for number, event in enumerate(TOLD, start=1):
            await apply(db, stamp(number), event)
            after.append(await dump(db))

    async with write(engine) as db:
        for ancestor in range(LAST - 1, -1, -3):
            await history.undo(db, ancestor)
            assert await dump(db) == after[ancestor]
        await history.undo(db, 0)
        await play(db)
        await history.undo(db, 0)
        assert await dump(db) == after[0]


async def test_undoing_nothing_changes_nothing(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await dump(db)

        await history.undo(db, LAST)

        assert await dump(db) == before
