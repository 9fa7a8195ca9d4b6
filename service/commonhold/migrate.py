"""Brings a database to the schema of this version: runs the migrations, or says why it cannot.

In: an engine of `db.make_engine`. Callers: `commonhold serve`, the demo and the tests. The migrations lie in
`migrations/` of the repository; an installed package carries them inside itself.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import write
from commonhold.errors import CommonholdError, Unavailable

# Any number, the same in every version: PostgreSQL processes that start together migrate one after the other.
_LOCK = 0x436F6D6D6F6E  # "Common"


class SchemaNewer(CommonholdError):
    """The database was migrated by a later version than this one."""

    status = 503
    code = "schema_newer"


class SchemaOlder(Unavailable):
    """The database lacks migrations of this version."""

    code = "schema_older"


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """The schema is at `revision`: all migrations that were missing ran in one transaction, or none.

    Repeating it changes nothing. Raises SchemaNewer.
    """
    async with write(engine) as db:
        if engine.dialect.name == "postgresql":
            await db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        await db.run_sync(_upgrade, revision)


async def check(engine: AsyncEngine) -> None:
    """The schema is that of this version. For processes that serve but do not migrate.

    Raises SchemaNewer or SchemaOlder.
    """
    async with engine.connect() as connection:
        await connection.run_sync(_check)


def config() -> Config:
    """The Alembic configuration of this installation; it needs no pyproject.toml."""
    found = Config()
    found.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return found


def _folder() -> Path:
    package = Path(__file__).parent
    inside, repository = package / "migrations", package.parents[1] / "migrations"
    for folder in (inside, repository):
        if (folder / "env.py").is_file():
            return folder
    raise CommonholdError(f"no migrations: expected env.py in {inside} or {repository}")


def _upgrade(connection: sa.Connection, revision: str) -> None:
    settings = config()
    scripts = ScriptDirectory.from_config(settings)
    if _current(connection, scripts) == scripts.get_current_head() and revision == "head":
        return  # and no view is made anew, which would wait for whoever reads it

    settings.attributes["connection"] = connection
    command.upgrade(settings, revision)


def _check(connection: sa.Connection) -> None:
    scripts = ScriptDirectory.from_config(config())
    current, head = _current(connection, scripts), scripts.get_current_head()
    if current != head:
        raise SchemaOlder(f"database schema is at {current or 'nothing'}, expected {head}: run `commonhold serve` once")


def _current(connection: sa.Connection, scripts: ScriptDirectory) -> str | None:
    """The revision of the database; None: an empty one."""
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise SchemaNewer(
            f"database schema is at {current}, which this version does not know; expected at most "
            f"{scripts.get_current_head()}: use the version that migrated it, or a newer one"
        )
    return current
