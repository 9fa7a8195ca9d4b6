"""The rows of the STATE tables as one transaction changes them, and what each of them was after each block.

apply.py changes rows through `Rows` only. They are read once, written once, and every block that changed a row adds one
version of it to its history. Commits nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np
import sqlalchemy as sa

from commonhold.db import U256, Db
from commonhold.errors import CommonholdError
from commonhold.many import Raw, delete_many, insert_many, put_many, select_many
from commonhold.mirror.tables import BALANCES, HISTORY, STATE, balance_key, marks, shown

Row = Mapping[str, Any]  # column name -> value
Key = tuple[Any, ...]  # a table's name, and the values of its primary key in its order
Change = tuple[str, Row | None, Row | None]  # a table's name, its row before and after; None: there is none


class RowExists(CommonholdError):
    """A row is inserted where one with its key stands."""


class Rows:
    """The rows of the STATE tables as the events of one transaction change them: kept here, written by `finish`."""

    def __init__(self, db: Db) -> None:
        self.db = db
        self._block_number = 0
        self._now: dict[Key, Row | None] = {}  # as they are to be; None: there is none
        self._stored: dict[Key, Row | None] = {}  # as the database has them, where it was asked
        self._changed: dict[Key, None] = {}  # since the last flush, in the order of their first change
        self._before: dict[Key, Row | None] = {}  # as they were before the transaction, where it changed them
        self._before_block: dict[Key, Row | None] = {}  # as they were before this block, where it changed them
        self._versions: dict[str, list[Raw]] = defaultdict(list)  # rows of the history tables

    @property
    def changed(self) -> bool:
        """There is something for `finish` to write."""
        return bool(self._before)

    def enter(self, block_number: int) -> None:
        """What changes next, changes in this block."""
        if block_number != self._block_number:
            self._leave()
            self._block_number = block_number

    async def load(self, table: sa.Table, keys: Collection[tuple[Any, ...]]) -> None:
        """`get` knows the rows with these keys, read together: a tenth of the time of reading each alone."""
        names, wide = _key_names(table), _wide_keys(table)
        keys = [key for key in keys if (table.name, *key) not in self._now]
        self._now.update({(table.name, *key): None for key in keys})
        for row in await _select(self.db, table, [_narrow(key, wide) for key in sorted(keys)]):
            self._now[table.name, *(row[name] for name in names)] = row
        self._stored.update({(table.name, *key): self._now[table.name, *key] for key in keys})

    async def get(self, table: sa.Table, **key: Any) -> Row | None:
        """The row with this primary key."""
        known = (table.name, *(key[name] for name in _key_names(table)))
        if known not in self._now:
            where = [table.c[name] == value for name, value in key.items()]
            found = (await self.db.execute(sa.select(table).where(*where))).mappings().one_or_none()
            self._now[known] = self._stored[known] = None if found is None else dict(found)
        return self._now[known]

    async def insert(self, table: sa.Table, **row: Any) -> None:
        """The row stands in the table, where none with its key stood. Raises RowExists, here or as IntegrityError in
        `flush`."""
        if self._now.get(_key(table, row)) is not None:
            raise RowExists(f"{table.name}: expected no row of this key, got one")
        self._change(table, row, None, row)

    async def update(self, table: sa.Table, old: Row, **changes: Any) -> None:
        """The row `old` has these values."""
        self._change(table, old, old, {**old, **changes})

    async def delete(self, table: sa.Table, old: Row) -> None:
        """The row `old` is gone."""
        self._change(table, old, old, None)

    async def flush(self) -> None:
        """The STATE tables have every change. Raises what the database does about a row that breaks its rules."""
        new, changed, gone = (defaultdict[str, list[Row]](list) for _ in range(3))
        for key in sorted(self._changed):  # as the tables' indexes have them: each page of theirs is touched once
            row, before = self._now[key], self._stored.get(key)
            if row is not None:
                (new if before is None else changed)[key[0]].append(row)
            elif before is not None:
                gone[key[0]].append(before)
            self._stored[key] = row
        self._changed.clear()
        await take_away(self.db, gone)
        for table in STATE:  # which lists a table after those it refers to
            await insert_many(self.db, table, raw_rows(table, new[table.name]))
            await put(self.db, table, changed[table.name])

    async def finish(self) -> list[Change]:
        """The database has every change, and the history every version. What the transaction changed, in all."""
        self._leave()
        await self.flush()
        for table in STATE:
            versions = sorted(self._versions.pop(table.name, ()), key=_order(table))
            await insert_many(self.db, HISTORY[table.name], versions)
        changed = ((key, before, self._now[key]) for key, before in self._before.items())
        return [(key[0], _said(key, before), _said(key, now)) for key, before, now in changed if before != now]

    def _change(self, table: sa.Table, row: Row, old: Row | None, new: Row | None) -> None:
        key = _key(table, row)
        if table in BALANCES and new is not None:
            new = {**new, "from_block": self._block_number}
        self._now[key] = new
        self._changed[key] = None
        self._before.setdefault(key, old)
        self._before_block.setdefault(key, old)

    def _leave(self) -> None:
        """What the block changed has a version of its own; what is as it was before the block has none."""
        for key, before in self._before_block.items():
            now = self._now[key]
            if _said(key, now) != _said(key, before):
                self._versions[key[0]].append(_version(key, before, now, self._block_number))
            elif now != before:  # its newest version is still the one that it was
                self._now[key] = before
                self._changed[key] = None
        self._before_block.clear()


async def put(db: Db, table: sa.Table, rows: Collection[Row]) -> None:
    """These rows stand in the table, instead of any with their keys."""
    await put_many(db, table, raw_rows(table, rows))


async def take_away(db: Db, gone: Mapping[str, Collection[Row]]) -> None:
    """The rows with the keys of these, by the name of their table, are in no table."""
    for table in reversed(STATE):  # what refers goes before what it refers to
        names, wide = _key_names(table), _wide_keys(table)
        keys = [_narrow(tuple(row[name] for name in names), wide) for row in gone.get(table.name, ())]
        await delete_many(db, table, keys)


def raw_rows(table: sa.Table, rows: Iterable[Row]) -> list[Raw]:
    """Rows as the drivers take them, in the order of the table's columns."""
    take, wide = _taken(table)
    return [_narrow(take(row), wide) for row in rows]


async def _select(db: Db, table: sa.Table, keys: Sequence[Raw]) -> list[Row]:
    """The rows with these keys, which are as the drivers take them."""
    columns = _columns(table)
    # SQLite has numbers for what is true or false: a row must be the same value, however it was read.
    flags = {column.name for column in table.columns if isinstance(column.type, sa.Boolean)}
    return [
        {
            name: int.from_bytes(value) if wide and value is not None else bool(value) if name in flags else value
            for (name, wide), value in zip(columns, row, strict=True)
        }
        for row in await select_many(db, table, keys)
    ]


@cache
def _order(table: sa.Table) -> Callable[[tuple[Any, ...]], Any]:
    """What orders the rows of the table's history as its index has them."""
    names = _key_names(table)
    places = [at for at, column in enumerate(HISTORY[table.name].columns) if column.name in (*names, "from_block")]
    return itemgetter(*places)


def _version(key: Key, before: Row | None, row: Row | None, block_number: int) -> Raw:
    """A row of a history table, as the drivers take it: all but the key is null where the row is gone."""
    table = _table(key[0])
    take, wide = _taken(table)
    held = row
    if held is None:
        held = dict.fromkeys(table.columns.keys()) | dict(zip(_key_names(table), key[1:], strict=True))
    if table not in BALANCES:
        return (*_narrow(take(held), wide), block_number, row is None)
    values = _narrow(take({**held, "from_block": block_number}), wide)
    number = balance_key(values[0], values[1])
    by_chance = bool(marks(np.array([number]), np.array([block_number]))[0])
    ends = row is None or before is None
    return (*values, row is None, -1 if before is None else before["from_block"], ends or by_chance, number)


def _said(key: Key, row: Row | None) -> Row | None:
    """What the row says: all but what only finds its history."""
    return None if row is None else {name: row[name] for name in _said_names(key[0])}


def _narrow(values: tuple[Any, ...], wide: Sequence[int]) -> Raw:
    """The values as the drivers take them: the numbers in the places `wide` as bytes."""
    narrow = list(values)
    for place in wide:
        if narrow[place] is not None:
            narrow[place] = narrow[place].to_bytes(32)
    return tuple(narrow)


def _key(table: sa.Table, row: Row) -> Key:
    return (table.name, *[row[name] for name in _key_names(table)])


@cache
def _key_names(table: sa.Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.primary_key)


@cache
def _said_names(table: str) -> tuple[str, ...]:
    return tuple(column.name for column in shown(_table(table)))


@cache
def _columns(table: sa.Table) -> tuple[tuple[str, bool], ...]:
    """Each column's name, and whether the drivers know its numbers as bytes."""
    return tuple((column.name, isinstance(column.type, U256)) for column in table.columns)


@cache
def _taken(table: sa.Table) -> tuple[Callable[[Row], tuple[Any, ...]], tuple[int, ...]]:
    """What takes the values out of a row in the order of the columns, and the places of those that are U256."""
    columns = _columns(table)
    return itemgetter(*[name for name, _ in columns]), tuple(at for at, (_, wide) in enumerate(columns) if wide)


@cache
def _wide_keys(table: sa.Table) -> tuple[int, ...]:
    wide = dict(_columns(table))
    return tuple(at for at, name in enumerate(_key_names(table)) if wide[name])


@cache
def _table(name: str) -> sa.Table:
    return next(table for table in STATE if table.name == name)
