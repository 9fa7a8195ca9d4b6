"""The database: engines, column types, and who may write.

SQLite is the embedded default, PostgreSQL the production database; the same statements run on both. Functions that
write take a `Db`, functions that read a `ReadDb`, and neither commits: `write` and `read` below do. Who may call these
is in ARCHITECTURE.md.
"""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NewType

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from commonhold.errors import BadInput, Unavailable

ReadDb = NewType("ReadDb", AsyncConnection)
Db = NewType("Db", ReadDb)

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class U256(sa.types.TypeDecorator[int]):
    """An unsigned integer of up to 256 bits as 32 big-endian bytes: neither database has such a number, and bytes keep
    its order."""

    impl = sa.LargeBinary(32)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> bytes | None:
        return None if value is None else value.to_bytes(32)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else int.from_bytes(value)


class DatabaseUnavailable(Unavailable):
    """The database does not answer, is locked for too long, has no connection left, or has no tables yet."""

    code = "database_unavailable"


# Classes of SQLSTATE that pass: connection lost, transaction rolled back (deadlock), resources, lock not available,
# operator intervention (restart), system error. Source: PostgreSQL manual, appendix A.
_PASSING = ("08", "40", "53", "55P03", "57", "58")


def make_engine(url: str) -> AsyncEngine:
    """An engine for `sqlite:///path`, `sqlite://` (in memory) or `postgresql://...`. Raises BadInput."""
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as error:
        raise BadInput("database URL: expected sqlite:/// or postgresql://, got no URL") from error
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    backend = parsed.get_backend_name()
    if backend not in drivers:
        raise BadInput(f"database URL {parsed.render_as_string()}: expected sqlite:/// or postgresql://, got {backend}")
    options: dict[str, Any] = {}
    if backend == "sqlite":
        options |= {"connect_args": {"factory": _Sqlite}, "pool_reset_on_return": None}  # _tune_sqlite resets
        if parsed.database in (None, "", ":memory:"):
            options["poolclass"] = sa.pool.StaticPool
    engine = create_async_engine(parsed.set(drivername=drivers[backend]), **options)
    if backend == "sqlite":
        _tune_sqlite(engine)
    return engine


@asynccontextmanager
async def write(engine: AsyncEngine) -> AsyncIterator[Db]:
    """One transaction that may write; commits at the end, rolls back on an error."""
    async with _connect(engine) as connection, connection.begin():
        yield Db(ReadDb(connection))


def losing_at_most_the_last(changes: sa.Update, dialect: str) -> sa.UpdateBase:
    """The same statement; where it changes a row, the commit of its transaction does not wait for the disk: a power cut
    may lose it, with those just before it, whole, and nothing older. For what can be had again. SQLite's commits never
    wait (`_tune_sqlite`)."""
    if dialect != "postgresql":
        return changes
    return changes.returning(sa.func.set_config("synchronous_commit", "off", True))


@asynccontextmanager
async def read(engine: AsyncEngine) -> AsyncIterator[ReadDb]:
    """One transaction that only reads: every statement in it sees the same state."""
    async with _connect(engine) as connection:
        options = {"commonhold_read": True}
        if engine.dialect.name == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}  # type: ignore[dict-item]
        await connection.execution_options(**options)
        async with connection.begin():
            yield ReadDb(connection)


def upsert(db: Db, table: sa.Table, rows: sa.Select[Any] | None = None) -> sa.Insert:
    """An INSERT of whole rows of `table`, given or found by `rows`, that replaces those whose primary key exists."""
    key = [column.name for column in table.primary_key]
    rest = [column.name for column in table.columns if column.name not in key]
    insert: Any = (postgresql if db.dialect.name == "postgresql" else sqlite).insert(table)
    new = insert.excluded
    if rows is not None:
        insert = insert.from_select([column.name for column in table.columns], rows)
    made: sa.Insert = insert.on_conflict_do_update(index_elements=key, set_={name: new[name] for name in rest})
    return made


@asynccontextmanager
async def _connect(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection. The border where the database's own failures become ours; refused rows (IntegrityError) do not."""
    place = engine.url.render_as_string(hide_password=True)
    try:
        connection = await engine.connect()
    except sa.exc.DBAPIError as error:
        raise DatabaseUnavailable(f"database {place}: {error.orig}") from error
    except (sa.exc.TimeoutError, OSError) as error:
        raise DatabaseUnavailable(f"database {place}: {error}") from error
    try:
        yield connection
    except sa.exc.OperationalError as error:
        raise DatabaseUnavailable(f"database {place}: {error.orig}") from error
    except sa.exc.DBAPIError as error:
        passing = str(getattr(error.orig, "sqlstate", None) or "").startswith(_PASSING)
        if not (error.connection_invalidated or passing):
            raise
        raise DatabaseUnavailable(f"database {place}: {error.orig}") from error
    finally:
        await connection.close()


class _Sqlite(sqlite3.Connection):
    """Takes several statements at once: a turn of its thread for each would be longer than what most of them do."""

    def execute(self, sql: str | Sequence[str], parameters: Any = (), /) -> sqlite3.Cursor:
        """Statements, each with its parameters, are executed until one fails."""
        if isinstance(sql, str):
            return super().execute(sql, parameters)
        for statement, values in zip(sql, parameters, strict=True):
            found = super().execute(statement, values)
        return found


def _tune_sqlite(engine: AsyncEngine) -> None:
    """Write-ahead log, enforced foreign keys, and transactions that take the write lock when they begin: two writers
    wait for each other instead of failing half-way."""

    def on_connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # SQLAlchemy's `begin` event below starts transactions
        cursor = dbapi_connection.cursor()
        # 32 MB of pages, where 2 are the default: transfers write to a tree at random places. Pages are half as
        # large as by default, since a block of 100 transfers changes 300 of them, and each is written as a whole. And a
        # log of up to 160 MB, so that a page which is written in every block is not copied for every one. A database
        # that was made with larger pages keeps them, and has twice the log.
        for pragma in (
            *("page_size=2048", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"),
            *("cache_size=-32000", "wal_autocheckpoint=80000"),
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("commonhold_read")
        begin = "BEGIN" if reads else "BEGIN IMMEDIATE"
        # In one turn of its thread, where SQLAlchemy's cursor takes three.
        driver: Any = connection.connection.dbapi_connection
        try:
            driver.run_async(lambda sqlite: sqlite.execute(begin))
        except sqlite3.Error as error:
            raise sa.exc.DBAPIError.instance(begin, None, error, sqlite3.Error, dialect=engine.dialect) from error
        except BaseException:  # cancelled: it may still begin, with nobody to end it
            connection.invalidate()
            raise

    def on_reset(dbapi_connection: Any, _record: Any, _state: Any) -> None:
        if dbapi_connection.driver_connection.in_transaction:  # else there is nothing that its thread need undo
            dbapi_connection.rollback()

    sa.event.listen(engine.sync_engine, "connect", on_connect)
    sa.event.listen(engine.sync_engine, "begin", on_begin)
    sa.event.listen(engine.sync_engine, "reset", on_reset)
