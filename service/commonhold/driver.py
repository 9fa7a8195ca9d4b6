"""Statements given to the database's driver itself: SQLAlchemy takes 0.2 ms for each, and a block of the mirror has
ten. In the transaction of its connection, and with its errors, and ours. Commits nothing.
"""

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, Final

import asyncpg
import sqlalchemy as sa

from commonhold.db import DatabaseUnavailable, Db, ReadDb

_CLOSED: Final = ("no active connection", "connection closed")  # what SQLite's driver says with a ValueError

Write = Callable[[Db], Awaitable[object]]  # done once


@asynccontextmanager
async def driving(db: ReadDb, statement: str) -> AsyncIterator[Any]:
    """The driver's connection, in the transaction. Its errors leave as SQLAlchemy raises them, and as ours."""
    driver: Any = (await db.get_raw_connection()).driver_connection
    on_postgres = db.dialect.name == "postgresql"
    try:
        if not (driver.is_in_transaction() if on_postgres else driver.in_transaction):
            await db.execute(sa.select(1))  # SQLAlchemy begins a transaction with the first statement that it sees
        yield driver
    except asyncpg.IntegrityConstraintViolationError as error:
        raise sa.exc.IntegrityError(statement, None, error) from error
    except asyncpg.DataError as error:
        raise sa.exc.DataError(statement, None, error) from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
        raise DatabaseUnavailable(f"database, {statement:.80}: {error}") from error
    except asyncpg.PostgresError as error:
        raise sa.exc.DBAPIError(statement, None, error) from error
    except ValueError as error:
        if str(error).lower() not in _CLOSED:
            raise
        raise DatabaseUnavailable(f"database, {statement:.80}: {error}") from error
    except sqlite3.Error as error:
        raise sa.exc.DBAPIError.instance(statement, None, error, sqlite3.Error, dialect=db.dialect) from error


async def execute(db: Db, statement: str, values: Sequence[Any] = ()) -> int:
    """How many rows it changed."""
    async with driving(db, statement) as driver:
        if db.dialect.name == "postgresql":
            said: str = await driver.execute(statement, *values)  # such as "INSERT 0 5"
            return int(last) if (last := said.split()[-1]).isdigit() else 0
        changed: int = (await driver.execute(statement, values)).rowcount
        return changed


async def do_all(db: Db, writes: Iterable[Write]) -> None:
    """One after the other, each when it is made."""
    for write in writes:
        await write(db)


@dataclass(frozen=True, slots=True)
class Statement:
    """A write that is one statement: with others of its kind it can go to the database at once."""

    text: str
    values: Sequence[Any]

    async def __call__(self, db: Db) -> None:
        await execute(db, self.text, self.values)


def together(dialect: sa.Dialect, writes: Iterable[Write]) -> Iterator[Write]:
    """The same writes, in their order; statements that follow each other are one write: the database does all of them
    before it answers. No two of these change the same row, which PostgreSQL would refuse."""
    for are_statements, some in groupby(writes, key=lambda write: isinstance(write, Statement)):
        if are_statements:
            yield _joined(dialect, [write for write in some if isinstance(write, Statement)])
        else:
            yield from some


def _joined(dialect: sa.Dialect, statements: Sequence[Statement]) -> Write:
    if len(statements) == 1:
        return statements[0]
    texts = tuple(statement.text for statement in statements)
    if dialect.name == "postgresql":
        counts = tuple(len(statement.values) for statement in statements)
        return Statement(_one(texts, counts), [value for statement in statements for value in statement.values])
    return partial(_one_after_the_other, texts=texts, values=[statement.values for statement in statements])


@lru_cache(maxsize=100)
def _one(texts: tuple[str, ...], counts: tuple[int, ...]) -> str:
    """PostgreSQL's statement that does these; counts: how many parameters each has."""
    numbered, before = list[str](), 0
    for text, count in zip(texts, counts, strict=True):
        numbered.append(re.sub(r"\$(\d+)", partial(_later, by=before), text))
        before += count
    *first, last = numbered
    return f"WITH {', '.join(f'w{place} AS ({text})' for place, text in enumerate(first))} {last}"


def _later(found: re.Match[str], by: int) -> str:
    return f"${int(found[1]) + by}"


async def _one_after_the_other(db: Db, texts: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
    """In one turn of SQLite's thread: after each it would wait for Python to be free, and for the event loop."""
    async with driving(db, texts[0]) as driver:
        await driver.execute(texts, values)  # db.py: its connections take several
