import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import read, write
from commonhold.mirror.digest import digest, dump
from commonhold.mirror.tables import STATE, holding, member
from commonhold.units import hex_text
from tests.mirror.history import AFFILIATE, PROVIDER, play

# Both databases, and every later version that means the same by its rows, come to this.
HISTORY_DIGEST = "0xe055c5ea671b191ece85f953c104e94de0fb15cbd67888ddaaabd6a186e7e8d1"


async def test_digest_is_the_same_on_every_database(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        assert hex_text(await digest(db)) == HISTORY_DIGEST


async def test_digest_does_not_depend_on_the_order_of_writing(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await digest(db)
        rows = [dict(row) for row in (await db.execute(sa.select(holding))).mappings()]
        await db.execute(holding.delete())
        assert await digest(db) != before

        await db.execute(holding.insert(), rows[::-1])

        assert await digest(db) == before


async def test_one_changed_number_shows_in_digest_and_dump(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        digest_before, dump_before = await digest(db), await dump(db)

        await db.execute(holding.update().where(holding.c.owner == PROVIDER).values(units=1_500_001))

        assert await digest(db) != digest_before
        changed = set(await dump(db)) ^ set(dump_before)
        assert sorted("1500001" in line for line in changed) == [False, True]


async def test_one_changed_group_shows_in_digest(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await digest(db)

        await db.execute(member.update().where(member.c.address == AFFILIATE).values(root=AFFILIATE))

        assert await digest(db) != before


async def test_dump_has_a_line_for_every_row(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        counts = [(await db.execute(sa.select(sa.func.count()).select_from(table))).scalar_one() for table in STATE]

        assert all(counts)
        assert len(await dump(db)) == sum(counts)
