"""Changes of the mirror's rows, each with what it replaced, so that a reorg can be undone.

apply.py changes rows through `Rows` only. Above the finalized block every change leaves a journal row; `undo` puts back
what stood there before a block. Neither commits.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from commonhold.db import Db, upsert
from commonhold.errors import CommonholdError
from commonhold.mirror.tables import STATE, journal

Row = Mapping[str, Any]  # column name -> value
Key = tuple[Any, ...]  # a table's name, and the values of its primary key in its order


def pack(row: Row) -> bytes:
    """The row as canonical JSON: sorted names, bytes as hexadecimal digits, integers of any size as numbers."""
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unpack(table: sa.Table, packed: bytes) -> dict[str, Any]:
    """The values that `pack` packed, in the types of the table's columns."""
    plain = json.loads(packed)
    return {
        name: bytes.fromhex(value) if isinstance(table.c[name].type, sa.LargeBinary) and value is not None else value
        for name, value in plain.items()
    }


class RowExists(CommonholdError):
    """A row is inserted where one with its key stands."""


class Rows:
    """The rows of the STATE tables as the events of one transaction change them: kept here, written by `flush`.

    `block_number`: changes are journaled under it; None: they are not.
    """

    def __init__(self, db: Db, block_number: int | None) -> None:
        self.db = db
        self.block_number = block_number
        self._now: dict[Key, Row | None] = {}  # as they are to be; None: there is none
        self._stored: dict[Key, Row | None] = {}  # as the database has them, where it was asked
        self._changed: dict[Key, None] = {}  # in the order of their first change
        self._undo: list[dict[str, Any]] = []

    async def get(self, table: sa.Table, **key: Any) -> Row | None:
        """The row with this primary key."""
        known = (table.name, *(key[column.name] for column in table.primary_key))
        if known not in self._now:
            found = (await self.db.execute(sa.select(table).where(*_is(table, key)))).mappings().one_or_none()
            self._now[known] = self._stored[known] = None if found is None else dict(found)
        return self._now[known]

    async def insert(self, table: sa.Table, **row: Any) -> None:
        """The row stands in the table, where none with its key stood. Raises RowExists, here or as IntegrityError in
        `flush`."""
        key = (table.name, *_key(table, row).values())
        if self._now.get(key) is not None:
            raise RowExists(f"{table.name}: expected no row of this key, got one")
        self._change(table, row, None, row)

    async def update(self, table: sa.Table, old: Row, **changes: Any) -> None:
        """The row `old` has these values."""
        self._change(table, old, old, {**old, **changes})

    async def delete(self, table: sa.Table, old: Row) -> None:
        """The row `old` is gone."""
        self._change(table, old, old, None)

    async def flush(self) -> None:
        """The database has every change. Raises what it does about a row that breaks its rules."""
        new, changed, gone = (defaultdict[str, list[dict[str, Any]]](list) for _ in range(3))
        for key in self._changed:
            row, before = self._now[key], self._stored.get(key)
            if row is not None:
                (new if before is None else changed)[key[0]].append(dict(row))
            elif before is not None:
                gone[key[0]].append(dict(before))
            self._stored[key] = row
        self._changed.clear()
        for table in reversed(STATE):  # STATE lists a table after those it refers to
            if rows := gone[table.name]:
                await self.db.execute(*_deletion(table, [_key(table, row) for row in rows]))
        for table in STATE:
            if rows := new[table.name]:
                await self.db.execute(table.insert(), rows)
            if rows := changed[table.name]:
                await self.db.execute(upsert(self.db, table), rows)
        if self._undo:
            await self.db.execute(journal.insert(), self._undo)
            self._undo = []

    def _change(self, table: sa.Table, row: Row, old: Row | None, new: Row | None) -> None:
        key = _key(table, row)
        known = (table.name, *key.values())
        self._now[known] = new
        self._changed[known] = None
        if self.block_number is not None:
            self._undo.append(
                {
                    "block_number": self.block_number,
                    "table_name": table.name,
                    "key": pack(key),
                    "old": None if old is None else pack(old),
                }
            )


async def undo(db: Db, ancestor: int) -> None:
    """The STATE tables are as they were after block `ancestor`; the journal above it is gone."""
    undone = journal.c.block_number > ancestor
    oldest = sa.select(sa.func.min(journal.c.sequence)).where(undone).group_by(journal.c.table_name, journal.c.key)
    entries = (await db.execute(sa.select(journal).where(journal.c.sequence.in_(oldest)))).mappings().all()
    put_back: dict[str, list[dict[str, Any]]] = defaultdict(list)
    take_away: dict[str, list[dict[str, Any]]] = defaultdict(list)
    tables = {table.name: table for table in STATE}
    for entry in entries:
        name, old = entry["table_name"], entry["old"]
        if old is None:
            take_away[name].append(unpack(tables[name], entry["key"]))
        else:
            put_back[name].append(unpack(tables[name], old))

    # STATE lists a table after those it refers to: what refers goes first, and comes back last.
    for table in reversed(STATE):
        if gone := take_away[table.name]:
            await db.execute(*_deletion(table, gone))
    for table in STATE:
        if back := put_back[table.name]:
            await db.execute(upsert(db, table), back)
    await db.execute(journal.delete().where(undone))


async def prune(db: Db, finalized: int) -> None:
    """The journal holds no block that is final: nothing rewinds there."""
    await db.execute(journal.delete().where(journal.c.block_number <= finalized))


def _deletion(table: sa.Table, keys: list[dict[str, Any]]) -> tuple[sa.Delete, list[dict[str, Any]]]:
    """The statement that deletes the rows of these keys, and its parameters."""
    where = [column == sa.bindparam(f"key_{column.name}") for column in table.primary_key]
    return table.delete().where(*where), [{f"key_{name}": value for name, value in key.items()} for key in keys]


def _key(table: sa.Table, row: Row) -> dict[str, Any]:
    return {column.name: row[column.name] for column in table.primary_key}


def _is(table: sa.Table, key: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in key.items()]
