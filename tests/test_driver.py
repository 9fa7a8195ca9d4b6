"""Statements that go to the database at once do what they do one by one, or nothing."""

from collections.abc import Iterable, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import Db, read, write
from commonhold.driver import Statement, Write, do_all, execute, together
from commonhold.many import Raw, deleting_rows, inserting_rows, putting_rows
from commonhold.mirror.tables import block, digest, event

EVENT = (7, 0, bytes(32), b"\x01" * 32, "Ledger", "Transfer", b"\x00\xff", b"")


async def do(engine: AsyncEngine, writes: Iterable[Write]) -> None:
    """In one transaction."""
    async with write(engine) as db:
        await do_all(db, writes)


async def stored(engine: AsyncEngine) -> list[list[Raw]]:
    """All rows of the tables that are written here."""
    async with read(engine) as db:
        return [
            [tuple(row) for row in await db.execute(sa.select(table).order_by(table.c[0]))]
            for table in (block, event, digest)
        ]


@pytest.fixture
def writes(engine: AsyncEngine) -> list[Write]:
    """Of three tables, twelve parameters and more, and one that is no statement between them."""

    async def other(db: Db) -> None:
        await execute(db, "UPDATE block SET timestamp = timestamp + 1")

    dialect = engine.dialect
    return [
        *inserting_rows(dialect, block, [(7, b"\x07" * 32, bytes(32), 1)]),
        *inserting_rows(dialect, event, [EVENT]),
        *putting_rows(dialect, digest, [(7, b"seven")]),
        other,
        *inserting_rows(dialect, block, [(8, b"\x08" * 32, bytes(32), 2)]),
        *deleting_rows(dialect, digest, [(7,)]),
    ]


@pytest.fixture
async def one_by_one(engine: AsyncEngine, writes: Sequence[Write]) -> list[list[Raw]]:
    """What is stored when each is done by itself."""
    await do(engine, writes)
    return await stored(engine)


async def test_together_they_do_the_same_in_fewer_turns(
    engine: AsyncEngine, writes: list[Write], one_by_one: list[list[Raw]]
) -> None:
    async with write(engine) as db:
        for table in (event, block, digest):
            await db.execute(table.delete())

    fewer = list(together(engine.dialect, iter(writes)))
    await do(engine, fewer)

    assert len(fewer) == 3
    assert await stored(engine) == one_by_one
    assert [row[3] for row in one_by_one[0]] == [2, 2]  # the second block came after the change


@pytest.mark.parametrize("failing", range(4))
async def test_where_one_fails_nothing_is_stored(engine: AsyncEngine, writes: list[Write], failing: int) -> None:
    await do(engine, inserting_rows(engine.dialect, digest, [(1, b"one"), (2, b"two")]))
    before = await stored(engine)
    twice = [*inserting_rows(engine.dialect, digest, [(1, b"again")])]

    with pytest.raises(sa.exc.IntegrityError):
        await do(engine, together(engine.dialect, [*writes[:failing], *twice, *writes[failing:3]]))

    assert await stored(engine) == before
    await do(engine, writes[1:2])  # the connection is of use


@pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)
async def test_sqlite_does_nothing_after_one_that_fails(engine: AsyncEngine) -> None:
    """It may have rolled back by itself: what came after would be stored."""
    first, last = (Statement(f"INSERT INTO digest VALUES ({number}, x'00')", ()) for number in (1, 2))
    ends = Statement("INSERT OR ROLLBACK INTO digest VALUES (1, x'00')", ())

    with pytest.raises(sa.exc.IntegrityError):
        await do(engine, together(engine.dialect, [first, ends, last]))

    assert await stored(engine) == [[], [], []]
