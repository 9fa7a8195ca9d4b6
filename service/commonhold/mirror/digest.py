"""One hash over all that the mirror says: two operators compare mirrors by it, an auditor recomputes it.

It covers the rows of the STATE tables and nothing of how they came about: a mirror that met reorgs and one that did not
have the same digest, on either database.
"""

import hashlib

import sqlalchemy as sa

from commonhold.db import ReadDb
from commonhold.mirror.journal import pack
from commonhold.mirror.tables import STATE, event
from commonhold.units import Hash32


async def digest(db: ReadDb) -> Hash32:
    """SHA-256 over each STATE table: its name, its number of rows, its rows as canonical JSON in sorted order, one line
    each. Reads every row."""
    hashed = hashlib.sha256()
    for table in STATE:
        lines = await _lines(db, table)
        hashed.update(f"{table.name} {len(lines)}\n".encode())
        for line in lines:
            hashed.update(line + b"\n")  # a line feed inside a value is escaped in JSON
    return Hash32(hashed.digest())


async def dump(db: ReadDb) -> list[str]:
    """The rows that `digest` covers and the events they follow from, one line each, for finding a difference."""
    return [f"{table.name} {line.decode()}" for table in (*STATE, event) for line in await _lines(db, table)]


async def _lines(db: ReadDb, table: sa.Table) -> list[bytes]:
    return sorted([pack(dict(row)) for row in (await db.execute(sa.select(table))).mappings()])
