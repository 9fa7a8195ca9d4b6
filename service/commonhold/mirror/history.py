"""What every row of the STATE tables was after every block: for reads of the past, and for undoing a reorg.

rows.py adds a version for each block that changed a row; only `undo` takes any away, those of blocks that are not on
the chain any more. Nothing is ever closed or rewritten, so keeping it costs one inserted row a change. Commits nothing.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import sqlalchemy as sa

from commonhold.db import Db, ReadDb
from commonhold.mirror.rows import Change, Row, put, take_away
from commonhold.mirror.tables import HISTORY, STATE

_NEWEST = 2**63 - 1  # a block number that none is above


def as_of(table: sa.Table, block_number: int, **fixed: object) -> sa.Subquery:
    """The rows of a STATE table as they were after that block, with its columns.

    fixed: only rows that ever had these values; where a column can change for its key, ask again of what comes back.
    All versions of these rows are looked at.
    """
    h = HISTORY[table.name]
    keys = [column.name for column in table.primary_key]
    newest_first = sa.func.row_number().over(
        partition_by=[h.c[column.name] for column in table.primary_key], order_by=h.c.from_block.desc()
    )
    where = [_ever(h, keys, name, value) for name, value in fixed.items()]
    ranked = sa.select(h, newest_first.label("rank")).where(h.c.from_block <= block_number, *where).subquery()
    kept = sa.select(*(ranked.c[column.name] for column in table.columns)).where(ranked.c.rank == 1, ~ranked.c.gone)
    return kept.subquery(f"{table.name}_then")


def _ever(h: sa.Table, keys: list[str], name: str, value: object) -> sa.ColumnElement[bool]:
    """Versions of the rows that have this value in one of them. A part of the key is in all of them."""
    if name in keys:
        return h.c[name] == value
    also = h.alias()
    there = sa.select(*(also.c[key] for key in keys)).where(also.c[name] == value)
    return sa.tuple_(*(h.c[key] for key in keys)).in_(there)


async def changes(db: ReadDb, after: int, until: int) -> AsyncIterator[Change]:
    """Every row that is not after block `until` what it was after block `after`; streamed."""
    for table in await _changed_tables(db, after, until):
        columns = [column.name for column in table.columns]
        found = await db.stream(_touched(table, again=True), {"after": after, "until": until})
        async for row in found:
            old, new = _row(columns, row[0 : len(columns) + 1]), _row(columns, row[len(columns) + 1 :])
            if old != new:
                yield table.name, old, new


async def undo(db: Db, ancestor: int) -> None:
    """The STATE tables are as they were after block `ancestor`, and so is the history."""
    put_back: dict[str, list[Row]] = defaultdict(list)
    gone: dict[str, list[Row]] = defaultdict(list)
    for table in await _changed_tables(db, ancestor, _NEWEST):
        columns, h = [column.name for column in table.columns], HISTORY[table.name]
        for row in await db.execute(_touched(table, again=False), {"after": ancestor, "until": _NEWEST}):
            old = _row(columns, row)
            if old is None:
                gone[table.name].append(dict(zip(columns, row, strict=False)))
            else:
                put_back[table.name].append(old)
        await db.execute(h.delete().where(h.c.from_block > ancestor))
    await take_away(db, gone)
    for table in STATE:  # which lists a table after those it refers to
        await put(db, table, put_back[table.name])


async def _changed_tables(db: ReadDb, after: int, until: int) -> list[sa.Table]:
    """The STATE tables that have versions of blocks after `after`, until `until`."""
    found = (await db.execute(_changes_there(), {"after": after, "until": until})).one()
    return [table for table, there in zip(STATE, found, strict=True) if there]


@cache
def _changes_there() -> sa.Select[Any]:
    there: list[sa.ColumnElement[Any]] = [sa.exists().where(*_between(HISTORY[table.name])) for table in STATE]
    return sa.select(*there)


@cache
def _touched(table: sa.Table, *, again: bool) -> sa.Select[Any]:
    """Of every row that has versions of blocks after `after`, until `until`: its columns and `gone` as of `after`, and
    `again` as of `until`. Where there was no version, `gone` is null.

    Each value is a question of its own: a join would be one, but a planner without statistics, as after a backfill,
    answers it by reading the whole history.
    """
    h = HISTORY[table.name]
    keys = [column.name for column in table.primary_key]
    touched = sa.select(*(h.c[name] for name in keys)).where(*_between(h)).distinct().subquery("touched")

    def value(name: str, block_number: str) -> sa.ColumnElement[Any]:
        v = h.alias()
        before = v.c.from_block <= sa.bindparam(block_number, type_=sa.BigInteger)
        newest = sa.select(v.c[name]).where(*(v.c[key] == touched.c[key] for key in keys), before)
        return newest.order_by(v.c.from_block.desc()).limit(1).scalar_subquery()

    shown: list[sa.ColumnElement[Any]] = []
    for block_number in ("after", "until") if again else ("after",):
        shown += [touched.c[c.name] if c.name in keys else value(c.name, block_number) for c in table.columns]
        shown.append(value("gone", block_number))
    return sa.select(*(column.label(f"c{place}") for place, column in enumerate(shown)))


def _between(h: sa.Table) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    after, until = (sa.bindparam(name, type_=sa.BigInteger) for name in ("after", "until"))
    return h.c.from_block > after, h.c.from_block <= until


def _row(columns: list[str], values: Any) -> Row | None:
    """The row of the values of its columns and of `gone`."""
    return None if values[-1] in (None, True) else dict(zip(columns, values, strict=False))
