import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine

import commonhold.access.tables
import commonhold.anchor.tables
import commonhold.limits.tables
import commonhold.meter.tables
import commonhold.mirror.tables  # noqa: F401  (all of them: metadata has every table)
from commonhold import migrate
from commonhold.chain.events import Transfer
from commonhold.db import ReadDb, make_engine, metadata, read, write
from commonhold.migrate import SchemaNewer, SchemaOlder
from commonhold.mirror import history, views
from commonhold.mirror.apply import apply
from commonhold.mirror.digest import dump
from commonhold.mirror.tables import HISTORY, holding
from tests.mirror.history import HISTORY as TOLD
from tests.mirror.history import NODE, PROVIDER, STRANGER, play, stamp


def schema(connection: sa.Connection) -> dict[str, Any]:
    """What a database has of tables, comparable with another's: columns, keys, constraints, indexes and comments."""
    inspector = sa.inspect(connection)
    found: dict[str, Any] = {}
    for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
        columns = {c["name"]: (str(c["type"]), c["nullable"], c.get("comment")) for c in inspector.get_columns(table)}
        checks = sorted((str(c["name"]), c["sqltext"]) for c in inspector.get_check_constraints(table))
        unique = sorted((str(u["name"]), u["column_names"]) for u in inspector.get_unique_constraints(table))
        foreign = sorted(
            (str(f["name"]), f["constrained_columns"], f["referred_table"], f["referred_columns"])
            for f in inspector.get_foreign_keys(table)
        )
        indexes = sorted(
            (
                str(i["name"]),
                i["column_names"],
                i["unique"],
                {n: str(of) for n, of in i.get("dialect_options", {}).items()},
            )
            for i in inspector.get_indexes(table)
        )
        key = inspector.get_pk_constraint(table)
        found[table] = (columns, checks, unique, foreign, indexes, key["name"], key["constrained_columns"])
    return found


def differences(connection: sa.Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def _downgrade(connection: sa.Connection, revision: str = "base") -> None:
    """No migration after this one was ever run."""
    settings = migrate.config()
    settings.attributes["connection"] = connection
    command.downgrade(settings, revision)


def remake(connection: sa.Connection) -> None:
    """All tables anew, as the code says them."""
    views.drop(connection)
    present = sa.MetaData()
    present.reflect(connection)
    present.drop_all(connection)
    metadata.create_all(connection)


async def test_migrated_schema_is_what_the_code_says(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        assert await db.run_sync(differences) == []
        migrated = await db.run_sync(schema)

        # Also what the comparison above leaves out, such as checks.
        await db.run_sync(remake)

        assert await db.run_sync(schema) == migrated


async def test_upgrading_again_changes_nothing(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        before = await db.run_sync(schema)

    await migrate.upgrade(engine)
    await migrate.check(engine)

    async with write(engine) as db:
        assert await db.run_sync(schema) == before


async def test_database_of_a_later_version_is_refused(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(sa.text("UPDATE alembic_version SET version_num = '9999_later'"))

    with pytest.raises(SchemaNewer, match="9999_later"):
        await migrate.upgrade(engine)
    with pytest.raises(SchemaNewer, match="9999_later"):
        await migrate.check(engine)


async def test_empty_database_is_older_until_it_is_upgraded(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/new.db")

    with pytest.raises(SchemaOlder, match="at nothing, expected 0"):
        await migrate.check(engine)
    await migrate.upgrade(engine)

    await migrate.check(engine)
    await engine.dispose()


async def test_every_migration_can_be_taken_back(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.run_sync(_downgrade)
        assert await db.run_sync(schema) == {}
    await migrate.upgrade(engine)
    await migrate.check(engine)


async def test_what_is_mirrored_stays_with_its_history(engine: AsyncEngine) -> None:
    """The versions of balances are found in another way since 0009."""
    blocks = range(0, len(TOLD) + 60, 7)
    async with write(engine) as db:
        await play(db)
        for number in range(len(TOLD) + 1, len(TOLD) + 50):
            of, to = (PROVIDER, STRANGER) if number % 3 else (STRANGER, PROVIDER)
            await apply(db, stamp(number), Transfer("Ledger", PROVIDER, of, to, NODE, 1 + (number % 3 == 0)))
        before, then = await _kept(db), [await _then(db, number) for number in blocks]

    async with write(engine) as db:
        await db.run_sync(_downgrade, "0008_room")
        assert "previous" not in "".join(await db.run_sync(lambda c: str(schema(c)["holding_history"])))
    await migrate.upgrade(engine)

    async with read(engine) as db:
        assert await _kept(db) == before
        assert [await _then(db, number) for number in blocks] == then
        marked = (await db.execute(sa.select(HISTORY["holding"].c.marked))).scalars().all()
        assert 0 < sum(marked) < len(marked)


async def _kept(db: ReadDb) -> list[str]:
    """All that is mirrored, but which versions are marked by chance."""
    return [re.sub(r'"marked":(true|false),', "", line) for line in await dump(db)]


async def _then(db: ReadDb, block_number: int) -> list[list[tuple[Any, ...]]]:
    """What accounts held."""
    found = [history.as_of(holding, block_number, owner=owner) for owner in (PROVIDER, STRANGER)]
    return [[tuple(row) for row in await db.execute(sa.select(then).order_by(then.c.asset))] for then in found]


async def test_two_that_start_together_upgrade_once(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.run_sync(_downgrade)
    other = make_engine(engine.url.render_as_string(hide_password=False))

    await asyncio.gather(migrate.upgrade(engine), migrate.upgrade(other))

    await migrate.check(engine)
    await other.dispose()


async def test_upgrade_that_fails_leaves_nothing(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/odd.db")
    async with write(engine) as db:
        await db.execute(sa.text("CREATE TABLE anchor (in_the_way INTEGER)"))

    with pytest.raises(Exception, match="anchor already exists"):
        await migrate.upgrade(engine)

    async with write(engine) as db:
        assert list(await db.run_sync(schema)) == ["anchor"]
    await engine.dispose()
