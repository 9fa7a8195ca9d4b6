"""Many rows at once, in the fastest way that each database has: one statement for all of them, or PostgreSQL's COPY.
For the mirror, which spends its time here. Commits nothing.

Rows and keys are values as the drivers take them, in the order of the table's columns: U256 as 32 bytes. Whoever has
columns instead gives numpy arrays. Raises sa.exc.IntegrityError about rows that break a rule.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from commonhold.db import Db, ReadDb
from commonhold.driver import Statement, Write, do_all, driving, execute
from commonhold.errors import CommonholdError

COPY_FROM = 500  # rows from which a COPY is faster than an INSERT, round trips included
UPDATE_FROM = 2_000  # rows from which a COPY and an update from what it brought are faster than one upsert
_PIECE = 1 << 18  # bytes of a COPY that are sent at once
SQLITE_ROWS = 5_000  # whose values are in memory at once: 1.5 MB
SQLITE_VALUES = 1_000  # in a statement; SQLite takes 32,766, and more at once are not faster

_DIGITS: Final = 20  # of any signed number of 64 bits, with its sign

Raw = tuple[Any, ...]  # values as the drivers take and give them
Column = np.ndarray[Any, Any] | bytes | str | int | None  # a value for each row, or the one that all have


class RowsMissing(CommonholdError):
    """Rows that were to change are not there."""


async def insert_many(db: Db, table: sa.Table, rows: Sequence[Raw]) -> None:
    """These rows stand in the table, in the fastest way that the database has: COPY, or one statement for all of them.

    rows: values in the order of the columns, as the driver takes them. Raises sa.exc.IntegrityError.
    """
    await do_all(db, inserting_rows(db.dialect, table, rows))


def inserting_rows(dialect: sa.Dialect, table: sa.Table, rows: Sequence[Raw]) -> Iterator[Write]:
    """What does it, to be done later."""
    if dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        yield partial(_copy_rows, table=table, rows=rows)
    else:
        yield from _for_all(dialect, _inserts(table, _given(dialect, table)), rows)


def inserting(dialect: sa.Dialect, table: sa.Table, columns: Sequence[Column]) -> Iterator[Write]:
    """The same of columns, which go to the database as they lie in memory. Each write is made when it is asked for."""
    if dialect.name == "postgresql" and _length(columns) >= COPY_FROM:
        yield partial(_copy, table=table.name, names=_names(table), columns=columns)
        return
    for some in _parts(dialect, columns):
        rows, values = _packed(dialect, table, some)
        yield Statement(_inserts(table, rows), values)


def updating(dialect: sa.Dialect, table: sa.Table, columns: Sequence[Column]) -> Iterator[Write]:
    """The same; the rows with these keys, which are in the table, have these values. Raises RowsMissing, when it is
    done, where it would show."""
    if dialect.name == "postgresql" and _length(columns) >= UPDATE_FROM:
        yield partial(_update_from_copy, table=table, columns=columns)
        return
    for some in _parts(dialect, columns):
        rows, values = _packed(dialect, table, some)
        yield Statement(_puts(table, rows), values)


async def _update_from_copy(db: Db, table: sa.Table, columns: Sequence[Column]) -> None:
    beside = f"new_{table.name}"
    await execute(db, _beside(table, beside))
    await _copy(db, beside, _names(table), columns)
    changed = await execute(db, _updates(table, beside))
    await execute(db, f"TRUNCATE {beside}")  # for the next time in this transaction
    if changed != _length(columns):
        raise RowsMissing(f"{table.name}: expected {_length(columns)} rows to change, got {changed}")


async def put_many(db: Db, table: sa.Table, rows: Sequence[Raw]) -> None:
    """These rows, as `insert_many` takes them, stand in the table, instead of any with their keys."""
    await do_all(db, putting_rows(db.dialect, table, rows))


def putting_rows(dialect: sa.Dialect, table: sa.Table, rows: Sequence[Raw]) -> Iterator[Write]:
    """What does it, to be done later."""
    return _for_all(dialect, _puts(table, _given(dialect, table)), rows)


async def delete_many(db: Db, table: sa.Table, keys: Sequence[Raw]) -> None:
    """The rows with these primary keys are not in the table."""
    await do_all(db, deleting_rows(db.dialect, table, keys))


def deleting_rows(dialect: sa.Dialect, table: sa.Table, keys: Sequence[Raw]) -> Iterator[Write]:
    """What does it, to be done later."""
    return _for_all(dialect, _deletes(dialect, table), keys)


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
        async with driving(db, f"SELECT {table.name}") as driver:
            found += await driver.execute_fetchall(_selects(db.dialect, table, len(part)), values)
    return found


async def change(db: Db, statement: sa.UpdateBase, values: Mapping[str, Any]) -> int:
    """How many rows the statement, of these parameters, changes. SQLAlchemy only puts it into words, once."""
    said, names, fixed = _said(db.dialect, statement)
    given = tuple(values.get(name, fixed[name]) for name in names)
    if db.dialect.name == "postgresql":  # the transaction begins with the first that SQLAlchemy sees: this one
        return (await db.exec_driver_sql(said, given)).rowcount
    return await execute(db, said, given)


@lru_cache(maxsize=20)
def _said(dialect: sa.Dialect, statement: sa.UpdateBase) -> tuple[str, Sequence[str], Mapping[str, Any]]:
    """In words, the names of its parameters in their order, and what they are unless they are given."""
    compiled = statement.compile(dialect=dialect)
    return compiled.string, compiled.positiontup or (), compiled.params


async def _copy(db: Db, table: str, names: Sequence[str], columns: Sequence[Column]) -> None:
    """The rows stand in the table of PostgreSQL, by its binary COPY."""
    async with driving(db, f"COPY {table}") as driver:
        await driver.copy_to_table(table, source=_stream(columns), columns=names, format="binary")


async def _stream(columns: Sequence[Column]) -> AsyncIterator[bytes]:
    """Header, rows and end, a piece at a time. Source: PostgreSQL manual, COPY, Binary Format."""
    columns = [column.encode() if isinstance(column, str) else column for column in columns]
    fields: list[Any] = [("fields", ">i2")]
    for place, column in enumerate(columns):
        fields.append((f"size{place}", ">i4"))
        if column is not None:
            fields.append((f"value{place}", np.asarray(column).dtype.newbyteorder(">")))
    row = np.dtype(fields)
    at_once, count = max(1, _PIECE // row.itemsize), _length(columns)
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for start in range(0, count, at_once):
        rows = np.zeros(min(at_once, count - start), row)
        rows["fields"] = len(columns)
        for place, column in enumerate(columns):
            rows[f"size{place}"] = -1 if column is None else row[f"value{place}"].itemsize
            if column is not None:
                given = column[start : start + at_once] if isinstance(column, np.ndarray) else column
                rows[f"value{place}"] = given
        yield rows.tobytes()
    yield b"\xff\xff"


async def _copy_rows(db: Db, table: sa.Table, rows: Sequence[Raw]) -> None:
    async with driving(db, f"COPY {table.name}") as driver:
        await driver.copy_records_to_table(table.name, records=rows, columns=_names(table))


def _for_all(dialect: sa.Dialect, statement: str, rows: Sequence[Raw]) -> Iterator[Write]:
    """One statement for all rows: of an array for each column on PostgreSQL, of each row on SQLite."""
    if not rows:
        return
    if dialect.name == "postgresql":
        yield Statement(statement, _by_column(rows))
    elif len(rows) == 1:
        yield Statement(statement, rows[0])
    else:
        yield partial(_for_each, statement=statement, rows=rows)


async def _for_each(db: Db, statement: str, rows: Sequence[Raw]) -> None:
    """SQLite's, of many rows."""
    async with driving(db, statement) as driver:
        await driver.executemany(statement, rows)


def _length(columns: Sequence[Column]) -> int:
    return next(len(column) for column in columns if isinstance(column, np.ndarray))


def _parts(dialect: sa.Dialect, columns: Sequence[Column]) -> Iterable[Sequence[Column]]:
    """Some rows at a time, where each statement's are copied."""
    at_once = max(1, _length(columns)) if dialect.name == "postgresql" else SQLITE_ROWS
    for start in range(0, _length(columns), at_once):
        yield [column[start : start + at_once] if isinstance(column, np.ndarray) else column for column in columns]


def _names(table: sa.Table) -> list[str]:
    return [column.name for column in table.columns]


def _beside(table: sa.Table, name: str) -> str:
    """A table of the connection's own, empty when a transaction begins."""
    return f"CREATE TEMP TABLE IF NOT EXISTS {name} (LIKE {table.name}) ON COMMIT DELETE ROWS"


def _by_column(rows: Sequence[Raw]) -> tuple[list[Any], ...]:
    """What unnest takes: a list for each column. One statement for many rows is planned once."""
    return tuple(map(list, zip(*rows, strict=True)))


def _packed(dialect: sa.Dialect, table: sa.Table, columns: Sequence[Column]) -> tuple[str, list[Any]]:
    """What selects these rows, and its parameters: a column is one value, which the database cuts. One for each row
    takes PostgreSQL's driver ten times as long, and SQLite's holds Python's lock for each of them."""
    if dialect.name == "postgresql":
        return _packed_for_postgres(list(zip(table.columns, _kinds(dialect, table), columns, strict=True)))
    shown, values = list[str](), list[Any]()
    for place, column in enumerate(map(_same_for_all, columns), 1):
        if not isinstance(column, np.ndarray):
            shown.append(f"?{place}")
            values.append(column)
            continue
        packed = column if column.dtype.kind == "V" else column.astype(np.int64).astype(f"S{_DIGITS}")
        size = packed.dtype.itemsize
        cut = f"substr(?{place}, {size} * k.place + 1, {size})"
        shown.append(cut if packed is column else f"CAST({cut} AS INTEGER)")
        values.append(packed.tobytes())
    counted = f"SELECT 0 UNION ALL SELECT place + 1 FROM k WHERE place + 1 < ?{len(shown) + 1}"  # noqa: S608
    # WHERE, since without it SQLite takes an ON CONFLICT that follows for a join.
    select = f"WITH RECURSIVE k(place) AS ({counted}) SELECT {', '.join(shown)} FROM k WHERE true"  # noqa: S608
    return select, [*values, _length(columns)]


def _packed_for_postgres(given: Sequence[tuple[sa.Column[Any], str, Column]]) -> tuple[str, list[Any]]:
    """given: of each column what it is, the name of its type, and its values."""
    shown, values, arrays, named = list[str](), list[Any](), list[str](), list[str]()
    for place, (of, kind, column) in enumerate(given, 1):
        column = _same_for_all(column) if arrays else column  # one array at least tells how many rows there are
        if not isinstance(column, np.ndarray):
            shown.append(f"${place}::{kind}")
            values.append(column)
        elif column.dtype.kind == "V":
            size = column.dtype.itemsize
            shown.append(f"substring(${place}::bytea FROM 1 + {size} * (k.place::integer - 1) FOR {size})")
            values.append(column.tobytes())
        else:
            shown.append(f'k."{of.name}"')
            values.append(
                "{" + ",".join(map(str, column.tolist())) + "}"
            )  # as text: of a list the driver looks at each by itself
            arrays.append(f"${place}::text::{kind}[]")
            named.append(f'"{of.name}"')
    rows = f"unnest({', '.join(arrays)}) WITH ORDINALITY AS k({', '.join([*named, 'place'])})"
    return f"SELECT {', '.join(shown)} FROM {rows}", values  # noqa: S608 - of our own tables' names


def _same_for_all(column: Column) -> Column:
    """The one value that all rows have, where it is a number."""
    if isinstance(column, np.ndarray) and column.dtype.kind != "V" and (column == column[0]).all():
        same: int = column[0].item()
        return same
    return column


@lru_cache(maxsize=200)  # more than there are tables
def _kinds(dialect: sa.Dialect, table: sa.Table) -> tuple[str, ...]:
    return tuple(column.type.compile(dialect) for column in table.columns)


def _given(dialect: sa.Dialect, table: sa.Table) -> str:
    """The rows of the parameters: an array for each column, or one row."""
    if dialect.name == "postgresql":
        return f"SELECT * FROM {_unnested(dialect, table.columns)}"  # noqa: S608
    return f"VALUES ({', '.join('?' * len(table.columns))})"


def _inserts(table: sa.Table, rows: str) -> str:
    return f"INSERT INTO {table.name} ({_named(table.columns)}) {rows}"


def _puts(table: sa.Table, rows: str) -> str:
    new = ", ".join(f'"{c.name}" = EXCLUDED."{c.name}"' for c in table.columns if not c.primary_key)
    return f"{_inserts(table, rows)} ON CONFLICT ({_named(table.primary_key)}) DO UPDATE SET {new}"


def _updates(table: sa.Table, beside: str) -> str:
    """Of the rows of the table `beside`."""
    new = ", ".join(f'"{c.name}" = k."{c.name}"' for c in table.columns if not c.primary_key)
    same = " AND ".join(f'{table.name}."{c.name}" = k."{c.name}"' for c in table.primary_key)
    return f"UPDATE {table.name} SET {new} FROM {beside} AS k WHERE {same}"  # noqa: S608


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
