"""Changes of the mirror's rows, each with what it replaced, so that a reorg can be undone.

apply.py changes rows through `Rows` only. Above the finalized block every change leaves a journal row; `undo` puts back
what stood there before a block. Neither commits.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from commonhold.db import Db, upsert
from commonhold.mirror.tables import STATE, journal

Row = Mapping[str, Any]  # column name -> value


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


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of the STATE tables, changed one by one. `block_number`: journaled under it; None: not journaled."""

    db: Db
    block_number: int | None

    async def get(self, table: sa.Table, **key: Any) -> Row | None:
        """The row with this primary key."""
        found = (await self.db.execute(sa.select(table).where(*_is(table, key)))).mappings().one_or_none()
        return None if found is None else dict(found)

    async def insert(self, table: sa.Table, **row: Any) -> None:
        """The row stands in the table, where none with its key stood."""
        await self._keep(table, row, None)
        await self.db.execute(table.insert(), row)

    async def update(self, table: sa.Table, old: Row, **changes: Any) -> None:
        """The row `old` has these values."""
        await self._keep(table, old, old)
        await self.db.execute(table.update().where(*_is(table, _key(table, old))).values(changes))

    async def delete(self, table: sa.Table, old: Row) -> None:
        """The row `old` is gone."""
        await self._keep(table, old, old)
        await self.db.execute(table.delete().where(*_is(table, _key(table, old))))

    async def _keep(self, table: sa.Table, row: Row, old: Row | None) -> None:
        if self.block_number is None:
            return
        entry = {
            "block_number": self.block_number,
            "table_name": table.name,
            "key": pack(_key(table, row)),
            "old": None if old is None else pack(old),
        }
        await self.db.execute(journal.insert(), entry)


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
            key = unpack(tables[name], entry["key"])
            take_away[name].append({f"key_{column}": value for column, value in key.items()})
        else:
            put_back[name].append(unpack(tables[name], old))

    # STATE lists a table after those it refers to: what refers goes first, and comes back last.
    for table in reversed(STATE):
        if gone := take_away[table.name]:
            where = [column == sa.bindparam(f"key_{column.name}") for column in table.primary_key]
            await db.execute(table.delete().where(*where), gone)
    for table in STATE:
        if back := put_back[table.name]:
            await db.execute(upsert(db, table), back)
    await db.execute(journal.delete().where(undone))


async def prune(db: Db, finalized: int) -> None:
    """The journal holds no block that is final: nothing rewinds there."""
    await db.execute(journal.delete().where(journal.c.block_number <= finalized))


def _key(table: sa.Table, row: Row) -> dict[str, Any]:
    return {column.name: row[column.name] for column in table.primary_key}


def _is(table: sa.Table, key: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in key.items()]
