"""What the tests of the follower share: catching up, and the whole state of a database to compare."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import read
from commonhold.mirror.digest import digest, dump
from commonhold.mirror.follow import Follower, Progress
from commonhold.mirror.tables import block, cursor
from commonhold.mirror.tables import digest as sums
from commonhold.units import Hash32


async def catch_up(follower: Follower) -> list[Progress]:
    """The follower has nothing left to do; what its steps did."""
    steps = []
    while not (progress := await follower.step()).idle:
        steps.append(progress)
    return steps


async def digest_of(engine: AsyncEngine) -> Hash32:
    async with read(engine) as db:
        return await digest(db)


async def dump_of(engine: AsyncEngine) -> list[str]:
    """What the chain says, whatever way it was followed: rows and events."""
    async with read(engine) as db:
        return await dump(db)


async def whole(engine: AsyncEngine) -> list[Any]:
    """Everything the follower has written: the dump, its blocks, its cursor and the sums of its digests."""
    async with read(engine) as db:
        rest = [
            [tuple(row) for row in await db.execute(statement)]
            for statement in (
                sa.select(cursor),
                sa.select(block).order_by(block.c.number),
                sa.select(sums).order_by(sums.c.block_number),
            )
        ]
        return [await dump(db), *rest]
