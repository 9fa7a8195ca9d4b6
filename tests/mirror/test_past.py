"""Every read with a block says what the same read said when that block was the last."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import Db, ReadDb, read, write
from commonhold.mirror import history
from commonhold.mirror import read as mirror
from commonhold.mirror.apply import apply
from commonhold.mirror.read import BlockNotMirrored, MirrorEmpty, Past
from commonhold.mirror.tables import cursor
from commonhold.units import BlockNumber
from tests.mirror.history import (
    AFFILIATE,
    CORPUS,
    DEVELOPER,
    GPUS,
    LEASE,
    NODE,
    PROVIDER,
    STRANGER,
    TEXT,
    hash32,
    stamp,
)
from tests.mirror.history import HISTORY as TOLD

LAST = len(TOLD)


async def stand_at(db: Db, number: int) -> None:
    """The cursor of a mirror of a deployment in block 1."""
    where = {"first": 1, "number": number, "hash": stamp(number).hash, "timestamp": 1, "finalized": 1}
    await db.execute(cursor.delete())
    await db.execute(cursor.insert(), {"id": 1, "chain_id": 1, "deployment": hash32("deployment"), **where})


async def everything(db: ReadDb, at: Past | None = None) -> list[Any]:
    """The answers to all questions that can be asked of the past."""
    return [
        await mirror.members(db, at),
        [await mirror.member(db, address, at) for address in (PROVIDER, DEVELOPER, STRANGER)],
        [await mirror.root_of(db, address, at) for address in (PROVIDER, AFFILIATE, DEVELOPER, STRANGER)],
        await mirror.classes(db, at),
        await mirror.asset_class(db, GPUS, at),
        await mirror.assets(db, at),
        [await mirror.asset(db, asset, at) for asset in (NODE, CORPUS)],
        await mirror.devices(db, NODE, at),
        await mirror.holding(db, NODE, PROVIDER, at),
        [await mirror.owner_of(db, asset, at) for asset in (NODE, CORPUS)],
        [await mirror.holdings(db, asset=NODE, at=at), await mirror.holdings(db, owner=AFFILIATE, at=at)],
        await mirror.holdings(db, at=at),
        [await mirror.held_by(db, GPUS, root, at) for root in (PROVIDER, AFFILIATE)],
        [await mirror.group_holdings(db, of, at) for of in (GPUS, TEXT)],
        [await mirror.credits(db, holder, at) for holder in (DEVELOPER, AFFILIATE)],
        await mirror.lease(db, LEASE, at),
        [await mirror.leases(db, DEVELOPER, at=at), await mirror.leases(db, asset=NODE, at=at)],
    ]


async def test_past_of_every_block_is_what_was_said_then(engine: AsyncEngine) -> None:
    said = []
    async with write(engine) as db:
        for number, event in enumerate(TOLD, start=1):
            await apply(db, stamp(number), event)
            said.append(await everything(db))
        await stand_at(db, LAST)

    async with read(engine) as db:
        for number in range(1, LAST + 1, 2):
            assert await everything(db, await mirror.at_block(db, number)) == said[number - 1], number


async def test_past_outlives_a_reorg_of_later_blocks(engine: AsyncEngine) -> None:
    middle = LAST // 2
    async with write(engine) as db:
        for number, event in enumerate(TOLD, start=1):
            await apply(db, stamp(number), event)
        before = await everything(db, Past(BlockNumber(middle)))

        await history.undo(db, middle)

        assert await everything(db, Past(BlockNumber(middle))) == before == await everything(db)


async def test_lists_come_in_parts(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        for number, event in enumerate(TOLD, start=1):
            await apply(db, stamp(number), event)
        owners = await mirror.owner_of(db, NODE)

        assert [owner.units for owner in owners] == [5_999_000, 1_501_000, 500_000]
        for at in (None, Past(BlockNumber(LAST))):
            assert await mirror.owner_of(db, NODE, at, slice(1, 3)) == owners[1:3]
            assert await mirror.members(db, at, slice(2, 9)) == (await mirror.members(db))[2:]
        assert await mirror.newest_leases(db, 1) == (await mirror.leases(db))[-1:]
        assert await mirror.newest_anchors(db, 1) == (await mirror.anchors(db))[1:]
        assert await mirror.gateways(db) == ["https://node.example"]
        assert (await mirror.counts(db))["holdings"] == len(await mirror.holdings(db))


async def test_blocks_that_are_not_mirrored_are_refused(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        with pytest.raises(MirrorEmpty):
            await mirror.at_block(db, 1)
        await stand_at(db, 9)

        assert [(await mirror.at_block(db, number)).number for number in (1, 9)] == [1, 9]
        for number in (-1, 0, 10, 2**70):
            with pytest.raises(BlockNotMirrored, match="from the deployment's, 1, to the last mirrored, 9") as refused:
                await mirror.at_block(db, number)
            assert refused.value.details == {"first": 1, "last": 9}
        assert (await db.execute(sa.select(sa.func.count()).select_from(cursor))).scalar_one() == 1
