"""What epochs hold, for the API. Only reads."""

from collections.abc import Collection

import sqlalchemy as sa

from commonhold.anchor.tables import leaf
from commonhold.db import ReadDb
from commonhold.units import Hash32


async def epoch_numbers(db: ReadDb, digests: Collection[Hash32]) -> dict[Hash32, int]:
    """The epoch of each segment or receipt; those in none yet are left out. At most a few thousand at once."""
    found = await db.execute(sa.select(leaf.c.digest, leaf.c.number).where(leaf.c.digest.in_(list(digests))))
    return {Hash32(row.digest): int(row.number) for row in found}
