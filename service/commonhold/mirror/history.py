"""What every row of the STATE tables was after every block: for reads of the past, and for undoing a reorg.

rows.py adds a version for each block that changed a row; only `undo` takes any away, those of blocks that are not on
the chain any more. Nothing is ever closed or rewritten, so keeping it costs one inserted row a change. Commits nothing.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from commonhold.db import Db, ReadDb, upsert
from commonhold.mirror.rows import Change, Row, take_away
from commonhold.mirror.tables import BALANCES, HISTORY, STATE, balance_key, is_first, is_marked, shown

_NEWEST = 2**63 - 1  # a block number that none is above


def as_of(table: sa.Table, block_number: int, **fixed: object) -> sa.Subquery:
    """The rows of a STATE table as they were after that block, with its columns.

    fixed: only rows that ever had these values; where a column can change for its key, ask again of what comes back.
    All versions of these rows are looked at, but of balances few; of those only parts of the key can be fixed.
    """
    name = f"{table.name}_then"
    if table in BALANCES and fixed:
        return _walked_back(table, block_number, fixed).subquery(name)
    h = HISTORY[table.name]
    newest_first = sa.func.row_number().over(
        partition_by=[h.c[column.name] for column in table.primary_key], order_by=h.c.from_block.desc()
    )
    where = [_ever(h, table, name, value) for name, value in fixed.items()]
    ranked = sa.select(h, newest_first.label("rank")).where(h.c.from_block <= block_number, *where).subquery()
    kept = sa.select(*(ranked.c[column.name] for column in table.columns)).where(ranked.c.rank == 1, ~ranked.c.gone)
    return kept.subquery(name)


def _ever(h: sa.Table, table: sa.Table, name: str, value: object) -> sa.ColumnElement[bool]:
    """Versions of the rows that have this value in one of them. A part of the key is in all of them."""
    keys = [column.name for column in table.primary_key]
    if name in keys:
        return h.c[name] == value
    also = h.alias()
    there = sa.select(*(also.c[key] for key in keys)).where(also.c[name] == value)
    return sa.tuple_(*(h.c[key] for key in keys)).in_(there)


def _walked_back(table: sa.Table, block_number: int, fixed: Mapping[str, Any]) -> sa.Select[Any]:
    """Balances as they were after that block: of each from the next version that is marked, or from the row as it is,
    back from version to version, each of which names the block of the one before: 16 steps on average at most. What is
    looked up is a subquery, which PostgreSQL answers by its index whatever it knows of the table."""
    h = HISTORY[table.name]
    ids = [column.name for column in table.primary_key]
    names = [*ids, "key"]
    found = _found(h, ids, fixed).subquery("found")
    v = h.alias("version")

    def version(column: str, of: sa.FromClause, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
        return sa.select(v.c[column]).where(*(v.c[name] == of.c[name] for name in names), *where)

    later = version("previous", found, is_marked(v), v.c.from_block > block_number).order_by(v.c.from_block).limit(1)
    newest = sa.select(table.c.from_block).where(*(table.c[name] == found.c[name] for name in ids))
    begins = sa.func.coalesce(later.scalar_subquery(), newest.scalar_subquery()).label("at")
    begin = sa.select(*(found.c[name] for name in names), begins).cte(recursive=True)
    previous = version("previous", begin, v.c.from_block == begin.c.at).scalar_subquery()
    way = begin.union_all(sa.select(*(begin.c[name] for name in names), previous).where(begin.c.at > block_number))

    said = [column.name for column in shown(table) if column.name not in ids]
    values = (version(name, way, v.c.from_block == way.c.at).scalar_subquery().label(name) for name in said)
    columns = [*(way.c[name] for name in ids), *values, way.c.at.label("from_block")]
    return sa.select(*columns).where(way.c.at.between(0, block_number))


def _found(h: sa.Table, ids: Sequence[str], fixed: Mapping[str, Any]) -> sa.Select[Any]:
    """The keys, and what stands for each, of the balances that ever were of these parts of the key."""
    found = sa.select(*(h.c[name] for name in (*ids, "key"))).where(*(h.c[name] == of for name, of in fixed.items()))
    if len(fixed) < len(ids):
        return found.where(is_first(h)).distinct()
    id_, whose = (fixed[name] for name in ids)
    return found.where(h.c.key == balance_key(id_.to_bytes(32), whose), is_marked(h)).limit(1)


async def changes(db: ReadDb, after: int, until: int) -> AsyncIterator[Change]:
    """Every row that is not after block `until` what it was after block `after`; streamed."""
    for table in await _changed_tables(db, after, until):
        columns = [column.name for column in shown(table)]
        found = await db.stream(_touched(table, db.dialect.name, again=True), {"after": after, "until": until})
        async for row in found:
            old, new = _row(columns, row[0 : len(columns) + 1]), _row(columns, row[len(columns) + 1 :])
            if old != new:
                yield table.name, old, new


async def undo(db: Db, ancestor: int) -> None:
    """The STATE tables are as they were after block `ancestor`, and so is the history. All within the database."""
    since = {"after": ancestor, "until": _NEWEST}
    changed = await _changed_tables(db, ancestor, _NEWEST)
    gone: dict[str, list[Row]] = {}
    for table in changed:
        names = [column.name for column in table.primary_key]
        found = await db.execute(_undone(table, db.dialect.name), since)
        gone[table.name] = [dict(zip(names, row, strict=True)) for row in found]
    await take_away(db, gone)
    for table in changed:  # in the order of STATE, which lists a table after those it refers to
        was = _touched(table, db.dialect.name, again=False).subquery("was")
        *columns, is_gone = was.columns
        keys = [column for column, of in zip(columns, table.columns, strict=True) if of.primary_key]
        # In the order of the key, as the table's index has it: each page of it is touched once.
        put_back = sa.select(*columns).where(is_gone.is_(sa.false())).order_by(*keys)
        await db.execute(upsert(db, table, put_back), since)
    for table in changed:
        h = HISTORY[table.name]
        await db.execute(h.delete().where(h.c.from_block > ancestor))


async def _changed_tables(db: ReadDb, after: int, until: int) -> list[sa.Table]:
    """The STATE tables that have versions of blocks after `after`, until `until`."""
    found = (await db.execute(_changes_there(), {"after": after, "until": until})).one()
    return [table for table, there in zip(STATE, found, strict=True) if there]


@cache
def _changes_there() -> sa.Select[Any]:
    there: list[sa.ColumnElement[Any]] = [sa.exists().where(*_between(HISTORY[table.name])) for table in STATE]
    return sa.select(*there)


@cache
def _touched(table: sa.Table, dialect: str, *, again: bool) -> sa.Select[Any]:
    """Of every row that has versions of blocks after `after`, until `until`: its columns and `gone` as of `after`, and
    `again` as of `until`. Where there was no version, `gone` is null.

    The version of a block is found row by row, by its index: PostgreSQL's planner has no statistics after a backfill,
    and answers a plain join by reading the whole history.
    """
    h = HISTORY[table.name]
    names = [column.name for column in table.primary_key]
    touched = _touched_balances(table) if table in BALANCES else _touched_keys(table)
    shown_then: list[sa.ColumnElement[Any]] = []
    joined: sa.FromClause = touched
    for at in ("after", "until") if again else ("after",):
        v = h.alias(f"newest_{at}")
        if table in BALANCES:
            same = [*(v.c[name] == touched.c[name] for name in (*names, "key")), v.c.from_block == touched.c[at]]
        else:
            before = v.c.from_block <= sa.bindparam(at, type_=sa.BigInteger)
            same = [*(v.c[name] == touched.c[name] for name in names), before]
        if dialect == "postgresql":
            newest = sa.select(v).where(*same).order_by(v.c.from_block.desc()).limit(1)
            version: sa.FromClause = newest.lateral(f"version_{at}")
            joined = joined.outerjoin(version, sa.true())
        else:
            rowid: sa.Select[Any] = sa.select(sa.literal_column(f"newest_{at}.rowid"))
            newest_first = rowid.select_from(v).where(*same).order_by(v.c.from_block.desc())
            version = h.alias(f"version_{at}")
            is_it = sa.literal_column(f"version_{at}.rowid") == newest_first.limit(1).scalar_subquery()
            joined = joined.outerjoin(version, is_it)
        columns = shown(table) if again else table.columns
        shown_then += [touched.c[c.name] if c.name in names else version.c[c.name] for c in columns]
        shown_then.append(version.c.gone)
    return sa.select(*(column.label(f"c{place}") for place, column in enumerate(shown_then))).select_from(joined)


def _touched_keys(table: sa.Table) -> sa.Subquery:
    """The keys of the rows that have versions in between."""
    h = HISTORY[table.name]
    return sa.select(*(h.c[column.name] for column in table.primary_key)).where(*_between(h)).distinct().subquery()


def _touched_balances(table: sa.Table) -> sa.Subquery:
    """The keys of the balances that have versions in between, and of which blocks their newest versions are as of
    `after` (-1: there was no row) and as of `until`."""
    h = HISTORY[table.name]
    keys = [*(h.c[column.name] for column in table.primary_key), h.c.key]
    # Of the versions in between only the first names one that is not in between.
    older = sa.case((h.c.previous <= sa.bindparam("after", type_=sa.BigInteger), h.c.previous), else_=-1)
    newest = sa.func.max(older).label("after"), sa.func.max(h.c.from_block).label("until")
    return sa.select(*keys, *newest).where(*_between(h)).group_by(*keys).subquery()


@cache
def _undone(table: sa.Table, dialect: str) -> sa.Select[Any]:
    """The keys of the rows that were not there after block `after`, of those that have versions since."""
    if table in BALANCES:
        touched = _touched_balances(table)
        return sa.select(*(touched.c[column.name] for column in table.primary_key)).where(touched.c.after < 0)
    was = _touched(table, dialect, again=False).subquery("was")
    *columns, is_gone = was.columns
    keys = [column for column, of in zip(columns, table.columns, strict=True) if of.primary_key]
    return sa.select(*keys).where(is_gone.is_not(sa.false()))


def _between(h: sa.Table) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    after, until = (sa.bindparam(name, type_=sa.BigInteger) for name in ("after", "until"))
    return h.c.from_block > after, h.c.from_block <= until


def _row(columns: list[str], values: Any) -> Row | None:
    """The row of the values of its columns and of `gone`."""
    return None if values[-1] in (None, True) else dict(zip(columns, values, strict=False))
