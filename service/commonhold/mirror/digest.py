"""One hash over all that the mirror says at a block: two operators compare mirrors by it, an auditor recomputes it.

It is the LtHash of the rows of the STATE tables and of nothing else: neither the order of writing, nor reorgs, nor the
database show in it. Each transaction that changes rows adds the new ones to the sum before it and takes the old ones
off. Of final blocks the sum is kept once in KEEP blocks, or once for each range of a backfill; the digest of any block
in between follows from the sum before it and the history since. Commits nothing.
"""

import asyncio
import json
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from itertools import chain, islice

import sqlalchemy as sa

from commonhold.db import Db, ReadDb
from commonhold.many import putting_rows
from commonhold.mirror import balances, history, tables
from commonhold.mirror.behind import Behind
from commonhold.mirror.lthash import LtHash
from commonhold.mirror.rows import Change, Row
from commonhold.mirror.tables import HISTORY, STATE, shown_in
from commonhold.units import Hash32

KEEP = 100  # blocks: a sum takes 2 KiB, a version that lies between some 10 microseconds
_AT_ONCE = 1_000  # rows
_IN_TURN = 100  # rows, hashed in turn with what else there is to do: 0.4 ms
_MUCH = 2_000  # changed rows: 11 ms of balances, 24 ms of others
PENDING = b""  # stands for a sum that is not known yet; none is newer
_NEWEST = sa.select(tables.digest.c.sum).order_by(tables.digest.c.block_number.desc()).limit(1)

Known = Mapping[str, Iterable[bytes]]  # by a table's name, what is hashed of all its rows
Elements = tuple[bytes | None, bytes | None]  # of a row that changed, what is hashed before and after; None: no row

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def pack(row: Row) -> bytes:
    """The row as canonical JSON: sorted names, bytes as hexadecimal digits, integers of any size as numbers."""
    return _encode({name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}).encode()


def element(table: str, row: Row) -> bytes:
    """What is hashed for a row: the name of its table, a space, the row as canonical JSON."""
    return table.encode() + b" " + pack(row)


def of_rows(found: Mapping[str, Iterable[Row]]) -> Hash32:
    """The digest of these rows, by the names of their tables."""
    total = LtHash()
    for name, rows in found.items():
        total.add(element(name, row) for row in rows)
    return total.digest()


async def newest(db: ReadDb) -> bytes:
    """The newest sum that is kept, of no rows before the first. PENDING: it is left for the end of a backfill."""
    found: bytes | None = (await db.execute(_NEWEST)).scalar_one_or_none()
    return LtHash().state() if found is None else found


async def advance(
    block_number: int,
    before: bytes,
    changed: Iterator[Elements],
    count: int,
    behind: Behind[Db],
    dialect: sa.Dialect,
    *,
    more: bool = False,
    known: Known | None = None,
) -> bytes:
    """The sum after `block_number`, which is also kept, by a write behind; `changed`, of `count` rows at most, is what
    happened since `before`, the newest one.

    `more`: the next range of a backfill follows at once. Where much has changed the sum is then left for the last of
    them, which takes it over all rows: cheaper than each row again in every range that changed it. known: tables that
    need not be read for that.
    """
    if more and (before == PENDING or count > _MUCH):
        state = PENDING
    elif before == PENDING:
        total = LtHash()
        hashed = chain.from_iterable((known or {}).values())
        while part := list(islice(hashed, _IN_TURN)):
            total.add(part)
            await asyncio.sleep(0)  # what is written behind goes on
        state = (await _recomputed(await behind.settle(), but=known or {}, total=total)).state()
    else:
        total = LtHash(before)
        while some := list(islice(changed, _IN_TURN)):
            total = _moved(total, some)
            await asyncio.sleep(0)
        state = total.state()

    writes = putting_rows(dialect, tables.digest, [(block_number, state)])
    await behind.add(*([_none_is_pending, *writes] if before == PENDING else writes))
    return state


async def _none_is_pending(db: Db) -> None:
    await db.execute(tables.digest.delete().where(tables.digest.c.sum == PENDING))


def elements(change: Change) -> Elements:
    """What is hashed of a change."""
    table, old, new = change
    return None if old is None else element(table, old), None if new is None else element(table, new)


async def digest(db: ReadDb, at: int | None = None) -> Hash32:
    """The digest after block `at`, of those that are mirrored; None: of the rows as they are."""
    if at is None:
        return (await (_recomputed(db) if await _pending(db) else _newest(db))).digest()
    return (await _total(db, at)).digest()


async def recomputed(db: ReadDb, at: int | None = None) -> Hash32:
    """The same from the rows themselves, every one of them: what `digest` must be."""
    return (await _recomputed(db, at)).digest()


async def rewind(db: Db, ancestor: int) -> None:
    """The sum after block `ancestor` is the newest. Before `history.undo`, which takes away what it follows from."""
    found = await _total(db, ancestor)
    newer = tables.digest.c.block_number > ancestor
    await db.execute(tables.digest.delete().where(newer))
    if found.state() != (await _newest(db)).state():
        await db.execute(tables.digest.insert(), {"block_number": ancestor, "sum": found.state()})


async def prune(db: Db, old: int, new: int) -> None:
    """Of final blocks one sum in KEEP blocks is left; `old` was the final block before, `new` is the one now."""
    d, later = tables.digest, tables.digest.alias()
    same = d.c.block_number.op("/")(KEEP) == later.c.block_number.op("/")(KEEP)
    newer = sa.exists().where(later.c.block_number > d.c.block_number, later.c.block_number <= new, same)
    await db.execute(d.delete().where(d.c.block_number.between(old - old % KEEP, new), newer))


async def dump(db: ReadDb) -> list[str]:
    """The rows that `digest` covers, their history and the events they follow from, one line each, for finding a
    difference."""
    return [
        f"{table.name} {line.decode()}"
        for table in (*STATE, *HISTORY.values(), tables.event)
        for line in sorted([pack(dict(row)) for row in (await db.execute(sa.select(table))).mappings()])
    ]


async def _recomputed(
    db: ReadDb, at: int | None = None, *, but: Container[str] = (), total: LtHash | None = None
) -> LtHash:
    """The sum over all rows of the tables. but: names of those that are in `total` already."""
    total = total or LtHash()
    for table in STATE:
        if table.name in but:
            continue
        wanted = sa.select(*shown_in(table if at is None else history.as_of(table, at), table))
        found = await db.stream(wanted, execution_options={"yield_per": _AT_ONCE})
        of_row = balances.of_row(table)
        if of_row is not None:
            async for part in found.partitions():
                total.add(of_row(*row) for row in part)
        else:
            async for rows in found.mappings().partitions():
                total.add(element(table.name, dict(row)) for row in rows)
    return total


async def _pending(db: ReadDb) -> bool:
    """A backfill goes on: the sum of the rows as they are is left for its end."""
    found = sa.select(tables.digest.c.block_number).where(tables.digest.c.sum == PENDING)
    return (await db.execute(found)).first() is not None


async def _newest(db: ReadDb, until: int | None = None) -> LtHash:
    """The newest sum that is kept, of blocks until `until`; of no rows before the first."""
    d = tables.digest.c
    where = [d.sum != PENDING] if until is None else [d.sum != PENDING, d.block_number <= until]
    found = sa.select(d.sum).where(*where).order_by(d.block_number.desc()).limit(1)
    state = (await db.execute(found)).scalar_one_or_none()
    return LtHash() if state is None else LtHash(state)


async def _total(db: ReadDb, at: int) -> LtHash:
    d = tables.digest.c
    kept = (
        await db.execute(sa.select(sa.func.max(d.block_number)).where(d.block_number <= at, d.sum != PENDING))
    ).scalar_one()
    total, part = await _newest(db, at), list[Elements]()
    async for change in history.changes(db, -1 if kept is None else kept, at):
        part.append(elements(change))
        if len(part) == _AT_ONCE:
            total, part = _moved(total, part), []
    return _moved(total, part)


def _moved(total: LtHash, changed: Collection[Elements]) -> LtHash:
    total.take(old for old, _ in changed if old is not None)
    return total.add(new for _, new in changed if new is not None)
