import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import read, write
from commonhold.mirror.digest import digest, dump
from commonhold.mirror.tables import HISTORY, event, holding
from commonhold.mirror.verify import Verdict, rebuild, verify
from tests.actors import Deployed
from tests.mirror.following import catch_up
from tests.mirror.test_follow import follower_of, more

pytestmark = pytest.mark.chain


async def verdicts(engine: AsyncEngine) -> list[Verdict]:
    async with read(engine) as db:
        return await verify(db, lambda done, total: None)


async def wrong(engine: AsyncEngine) -> list[str]:
    return [verdict.name for verdict in await verdicts(engine) if not verdict.ok]


async def test_mirror_verifies_and_each_changed_table_fails_its_check(deployed: Deployed, engine: AsyncEngine) -> None:
    await more(deployed, 3)
    await catch_up(follower_of(deployed, engine))
    async with read(engine) as db:
        before, kept = await dump(db), await digest(db)

    assert [(v.name, v.ok, v.got) for v in await verdicts(engine)] == [
        (name, True, kept) for name in ("rows", "history", "events")
    ]

    async with write(engine) as db:
        await db.execute(holding.update().values(units=1))
    assert await wrong(engine) == ["rows"]
    async with write(engine) as db:
        await db.execute(HISTORY["member"].update().values(until=1))
    assert await wrong(engine) == ["rows", "history"]

    done: list[tuple[int, int]] = []
    async with write(engine) as db:
        assert await rebuild(db, lambda part, total: done.append((part, total))) == kept
        assert await dump(db) == before
        events = (await db.execute(sa.select(sa.func.count()).select_from(event))).scalar_one()
    assert done[-1] == (events, events)
    assert await wrong(engine) == []

    async with write(engine) as db:
        await db.execute(event.delete().where(event.c.name == "Anchored"))
    assert await wrong(engine) == ["events"]
