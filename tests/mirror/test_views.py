from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import read, write
from commonhold.mirror import views
from commonhold.mirror.tables import HISTORY, STATE, shown
from commonhold.units import hex_text, units_text
from tests.mirror.history import LEDGER, NODE, play


async def test_views_show_every_row_as_people_read_it(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        for name, table in [(views.NAMES[t.name], t) for t in STATE] + [
            (f"{views.NAMES[name]}_over_time", table) for name, table in HISTORY.items()
        ]:
            seen = (await db.execute(sa.text(f'SELECT * FROM "{name}"'))).mappings().all()
            rows = (await db.execute(sa.select(*shown(table)))).mappings().all()
            assert len(seen) == len(rows) > 0
            assert list(seen[0]) == list(rows[0])
            assert not any(isinstance(value, bytes) for row in seen for value in row.values())
        asset, ledger = hex_text(NODE.to_bytes(32)), hex_text(LEDGER)
        found = sa.text("SELECT units FROM holdings WHERE asset = :asset AND owner = :owner")
        units = (await db.execute(found, {"asset": asset, "owner": ledger})).scalar_one()
        assert str(units) == units_text(5_999_000)


def test_page_says_what_the_views_are() -> None:
    assert Path("docs/schema.md").read_text() == views.markdown()


async def test_migrating_again_makes_the_views_again(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.run_sync(views.drop)
        await db.run_sync(views.create)
        names = await db.run_sync(lambda connection: set(sa.inspect(connection).get_view_names()))

    assert names == {*views.NAMES.values(), *(f"{name}_over_time" for name in views.NAMES.values())}


@pytest.mark.parametrize("database_urls", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_reader_reads_the_views_and_nothing_else(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        await db.execute(sa.text("DROP ROLE IF EXISTS reader_of_views"))
        await db.execute(sa.text("CREATE ROLE reader_of_views"))
        await db.run_sync(views.grant, "reader_of_views")

    async with read(engine) as db:
        await db.execute(sa.text("SET LOCAL ROLE reader_of_views"))
        assert (await db.execute(sa.text("SELECT count(*) FROM members"))).scalar_one() == 4
    for refused in ("SELECT * FROM member", "SELECT * FROM segment", "DELETE FROM holdings"):
        async with write(engine) as db:
            await db.execute(sa.text("SET LOCAL ROLE reader_of_views"))
            with pytest.raises(sa.exc.ProgrammingError) as error:
                await db.execute(sa.text(refused))
            assert isinstance(getattr(error.value.orig, "__cause__", None), asyncpg.InsufficientPrivilegeError)
    async with write(engine) as db:
        assert await db.run_sync(views.drop) == ["reader_of_views"]
        await db.execute(sa.text("DROP OWNED BY reader_of_views"))
        await db.execute(sa.text("DROP ROLE reader_of_views"))
