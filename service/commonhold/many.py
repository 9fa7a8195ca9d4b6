"""Many rows at once, in the fastest way that each database has: COPY and arrays on PostgreSQL, one statement for all on
SQLite. For the mirror, which spends its time here. Commits nothing.

Rows and keys are values as the drivers take them, in the order of the table's columns: U256 as 32 bytes. Whoever has
columns instead gives numpy arrays. Raises sa.exc.IntegrityError about rows that break a rule.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import repeat
from typing import Any

import asyncpg
import numpy as np
import sqlalchemy as sa

from commonhold.db import DatabaseUnavailable, Db, ReadDb

COPY_FROM = 200  # rows from which a COPY is faster than an INSERT, round trips included
PUT_FROM = 2_000  # rows from which a COPY and an upsert of what it brought are faster than one upsert
_PIECE = 1 << 18  # bytes of a COPY that are sent at once
SQLITE_VALUES = 1_000  # in a statement; SQLite takes 32,766, and more at once are not faster

Raw = tuple[Any, ...]  # values as the drivers take and give them
Column = np.ndarray[Any, Any] | bytes | str | int | None  # a value for each row, or the one that all have


async def insert_many(db: Db, table: sa.Table, rows: Sequence[Raw]) -> None:
    """These rows stand in the table, in the fastest way that the database has: COPY, or one statement for all of them.

    rows: values in the order of the columns, as the driver takes them. Raises sa.exc.IntegrityError.
    """
    if not rows:
        return
    if db.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        driver = await _driver(db)
        with _refused(table.name):
            await driver.copy_records_to_table(table.name, records=rows, columns=_names(table))
    elif db.dialect.name == "postgresql":
        await db.exec_driver_sql(_inserts(db.dialect, table), _by_column(rows))
    else:
        await db.exec_driver_sql(_inserts(db.dialect, table), list(rows))


async def insert_columns(db: Db, table: sa.Table, columns: Sequence[Column]) -> None:
    """As `insert_many`, of columns: many rows go to PostgreSQL as they lie in memory."""
    if db.dialect.name == "postgresql" and _length(columns) >= COPY_FROM:
        await _copy(db, table.name, _names(table), columns)
    else:
        await insert_many(db, table, _rows(columns))


async def put_columns(db: Db, table: sa.Table, columns: Sequence[Column]) -> None:
    """As `put_many`, of columns."""
    if db.dialect.name != "postgresql" or _length(columns) < PUT_FROM:
        await put_many(db, table, _rows(columns))
        return
    beside = f"put_{table.name}"
    await db.exec_driver_sql(_beside(table, beside))
    await _copy(db, beside, _names(table), columns)
    await db.exec_driver_sql(_puts(db.dialect, table, beside))
    await db.exec_driver_sql(f"TRUNCATE {beside}")  # for the next time in this transaction


async def put_many(db: Db, table: sa.Table, rows: Sequence[Raw]) -> None:
    """These rows, as `insert_many` takes them, stand in the table, instead of any with their keys."""
    if not rows:
        return
    if db.dialect.name == "postgresql":
        await db.exec_driver_sql(_puts(db.dialect, table), _by_column(rows))
    else:
        await db.exec_driver_sql(_puts(db.dialect, table), list(rows))


async def delete_many(db: Db, table: sa.Table, keys: Sequence[Raw]) -> None:
    """The rows with these primary keys are not in the table."""
    if not keys:
        return
    if db.dialect.name == "postgresql":
        await db.exec_driver_sql(_deletes(db.dialect, table), _by_column(keys))
    else:
        await db.exec_driver_sql(_deletes(db.dialect, table), list(keys))


async def select_many(db: ReadDb, table: sa.Table, keys: Sequence[Raw]) -> list[Raw]:
    """The rows with these primary keys, as far as there are any, as the driver gives them."""
    found: list[Raw] = []
    if db.dialect.name == "postgresql":
        if keys:
            found += await db.exec_driver_sql(_selects(db.dialect, table, 0), _by_column(keys))
        return found
    at_once = SQLITE_VALUES // len(table.primary_key)
    for start in range(0, len(keys), at_once):
        part = keys[start : start + at_once]
        values = tuple(value for key in part for value in key)
        found += await db.exec_driver_sql(_selects(db.dialect, table, len(part)), values)
    return found


async def _copy(db: Db, table: str, names: Sequence[str], columns: Sequence[Column]) -> None:
    """The rows stand in the table of PostgreSQL, by its binary COPY. Source: PostgreSQL manual, COPY, Binary Format."""
    count = _length(columns)
    fields: list[Any] = [("fields", ">i2")]
    columns = [column.encode() if isinstance(column, str) else column for column in columns]
    for place, column in enumerate(columns):
        fields.append((f"size{place}", ">i4"))
        if column is not None:
            fields.append((f"value{place}", np.asarray(column).dtype.newbyteorder(">")))
    rows = np.zeros(count, fields)
    rows["fields"] = len(columns)
    for place, column in enumerate(columns):
        rows[f"size{place}"] = -1 if column is None else rows[f"value{place}"].itemsize
        if column is not None:
            rows[f"value{place}"] = column
    driver = await _driver(db)
    with _refused(table):
        await driver.copy_to_table(table, source=_stream(rows), columns=names, format="binary")


async def _stream(rows: np.ndarray[Any, Any]) -> AsyncIterator[bytes]:
    """Header, rows and end, a piece at a time: no copy of all of it is made."""
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    at_once = max(1, _PIECE // rows.itemsize)
    for start in range(0, len(rows), at_once):
        yield rows[start : start + at_once].tobytes()
    yield b"\xff\xff"


async def _driver(db: Db) -> Any:
    """The driver's connection, in the transaction."""
    driver: Any = (await db.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():
        await db.execute(sa.select(1))  # it begins the transaction with the first statement, and COPY is none
    return driver


@contextmanager
def _refused(table: str) -> Iterator[None]:
    """Errors of the driver as SQLAlchemy raises them, and as ours."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise sa.exc.IntegrityError(f"COPY {table}", None, error) from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
        raise DatabaseUnavailable(f"database, COPY {table}: {error}") from error


def _length(columns: Sequence[Column]) -> int:
    return next(len(column) for column in columns if isinstance(column, np.ndarray))


def _rows(columns: Sequence[Column]) -> list[Raw]:
    listed = (column.tolist() if isinstance(column, np.ndarray) else repeat(column) for column in columns)
    return list(zip(*listed, strict=False))


def _names(table: sa.Table) -> list[str]:
    return [column.name for column in table.columns]


def _beside(table: sa.Table, name: str) -> str:
    """A table of the connection's own, empty when a transaction begins."""
    return f"CREATE TEMP TABLE IF NOT EXISTS {name} (LIKE {table.name}) ON COMMIT DELETE ROWS"


def _by_column(rows: Sequence[Raw]) -> tuple[list[Any], ...]:
    """What unnest takes: a list for each column. One statement for many rows is planned once."""
    return tuple(map(list, zip(*rows, strict=True)))


@lru_cache(maxsize=200)  # more than there are tables
def _inserts(dialect: sa.Dialect, table: sa.Table, beside: str | None = None) -> str:
    """Of the parameters, or of the rows of the table `beside`."""
    if dialect.name == "postgresql":
        rows = f"SELECT * FROM {beside or _unnested(dialect, table.columns)}"  # noqa: S608 - of our own tables' names
    else:
        rows = f"VALUES ({', '.join('?' * len(table.columns))})"
    return f"INSERT INTO {table.name} ({_named(table.columns)}) {rows}"


@lru_cache(maxsize=200)
def _puts(dialect: sa.Dialect, table: sa.Table, beside: str | None = None) -> str:
    """Of the parameters, or of the rows of the table `beside`."""
    new = ", ".join(f'"{c.name}" = EXCLUDED."{c.name}"' for c in table.columns if not c.primary_key)
    return f"{_inserts(dialect, table, beside)} ON CONFLICT ({_named(table.primary_key)}) DO UPDATE SET {new}"


@lru_cache(maxsize=200)
def _deletes(dialect: sa.Dialect, table: sa.Table) -> str:
    keys = [column.name for column in table.primary_key]
    if dialect.name != "postgresql":
        same = " AND ".join(f'"{name}" = ?' for name in keys)
        return f"DELETE FROM {table.name} WHERE {same}"  # noqa: S608
    same = " AND ".join(f'{table.name}."{name}" = k."{name}"' for name in keys)
    return f"DELETE FROM {table.name} USING {_unnested(dialect, table.primary_key)} WHERE {same}"  # noqa: S608


@lru_cache(maxsize=2_000)
def _selects(dialect: sa.Dialect, table: sa.Table, count: int) -> str:
    key, columns = _named(table.primary_key), _named(table.columns)
    if dialect.name == "postgresql":
        rows = _unnested(dialect, table.primary_key)
        return f"SELECT {columns} FROM {rows} JOIN {table.name} USING ({key})"  # noqa: S608
    # A join, since SQLite looks for `(a, b) IN (VALUES ...)` in every row of the table.
    marks = ", ".join([f"({', '.join('?' * len(table.primary_key))})"] * count)
    same = " AND ".join(f't."{c.name}" = k.column{place}' for place, c in enumerate(table.primary_key, 1))
    columns = ", ".join(f't."{c.name}"' for c in table.columns)
    return f"SELECT {columns} FROM (VALUES {marks}) AS k CROSS JOIN {table.name} AS t ON {same}"  # noqa: S608


def _unnested(dialect: sa.Dialect, columns: Iterable[sa.Column[Any]]) -> str:
    """The parameters, an array for each column, as the rows of `k`."""
    found = list(columns)
    arrays = ", ".join(f"${place}::{column.type.compile(dialect)}[]" for place, column in enumerate(found, 1))
    return f"unnest({arrays}) AS k({_named(found)})"


def _named(columns: Iterable[sa.Column[Any]]) -> str:
    return ", ".join(f'"{column.name}"' for column in columns)
