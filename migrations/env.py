"""Runs the migrations. `commonhold.migrate` hands over a connection inside its own transaction; the `alembic` command
names a database: `alembic -x url=sqlite:///ledger.db revision --autogenerate -m "..."`.
"""

import asyncio
import importlib
import importlib.util
import pkgutil

import sqlalchemy as sa
from alembic import context

import commonhold
from commonhold.db import make_engine, metadata, write
from commonhold.mirror import views


def load_tables() -> None:
    """`metadata` knows the tables of every stage."""
    for stage in pkgutil.iter_modules(commonhold.__path__, "commonhold."):
        if stage.ispkg and importlib.util.find_spec(f"{stage.name}.tables"):
            importlib.import_module(f"{stage.name}.tables")


def run(connection: sa.Connection) -> None:
    """All missing migrations run in the caller's transaction."""
    # SQLite cannot alter most of a table: Alembic copies it instead.
    copy_tables = connection.dialect.name == "sqlite"
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=copy_tables)
    # What reads the tables would be in the way of changing them.
    readers = views.drop(connection)
    context.run_migrations()
    if set(context.get_context().get_current_heads()) == set(context.script.get_heads()):
        views.create(connection)
        for reader in readers:
            views.grant(connection, reader)


async def run_from_command_line() -> None:
    """The same on a database named with `-x url=...`."""
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not isinstance(url, str):
        raise SystemExit("which database? expected: alembic -x url=sqlite:///ledger.db ...")
    engine = make_engine(url)
    try:
        async with write(engine) as db:
            await db.run_sync(run)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("migrations read the database they change: --sql is not supported")

given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    load_tables()
    asyncio.run(run_from_command_line())
