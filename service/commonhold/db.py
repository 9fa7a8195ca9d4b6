"""The database: engines, column types, and who may write.

SQLite is the embedded default, PostgreSQL the production database; the same statements run on both. Functions that
write take a `Db`, functions that read a `ReadDb`, and neither commits: `write` and `read` below do. Who may call these
is in ARCHITECTURE.md.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NewType

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from commonhold.errors import BadInput, Unavailable

COPY_FROM = 200  # rows from which a COPY is faster than an INSERT, round trips included

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
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
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


def upsert(db: Db, table: sa.Table) -> sa.Insert:
    """An INSERT of whole rows of `table` that replaces those whose primary key exists."""
    key = [column.name for column in table.primary_key]
    rest = [column.name for column in table.columns if column.name not in key]
    if db.dialect.name == "postgresql":
        on_postgresql = postgresql.insert(table)
        new = on_postgresql.excluded
        return on_postgresql.on_conflict_do_update(index_elements=key, set_={name: new[name] for name in rest})
    on_sqlite = sqlite.insert(table)
    new = on_sqlite.excluded
    return on_sqlite.on_conflict_do_update(index_elements=key, set_={name: new[name] for name in rest})


async def insert_many(db: Db, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """These rows stand in the table, in the fastest way that the database has: COPY, or one statement for all.

    rows: values in the order of the columns, as the driver takes them. Raises sa.exc.IntegrityError.
    """
    if not rows:
        return
    if db.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        await db.execute(sa.select(1))  # the driver begins the transaction with the first statement, and COPY is none
        driver: Any = (await db.get_raw_connection()).driver_connection
        columns = [column.name for column in table.columns]
        try:
            await driver.copy_records_to_table(table.name, records=rows, columns=columns)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise sa.exc.IntegrityError(f"COPY {table.name}", None, error) from error
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
            raise DatabaseUnavailable(f"database, COPY {table.name}: {error}") from error
    else:
        await db.exec_driver_sql(str(table.insert().compile(dialect=db.dialect)), list(rows))


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


def _tune_sqlite(engine: AsyncEngine) -> None:
    """Write-ahead log, enforced foreign keys, and transactions that take the write lock when they begin: two writers
    wait for each other instead of failing half-way."""

    def on_connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # SQLAlchemy's `begin` event below starts transactions
        cursor = dbapi_connection.cursor()
        # 32 MB of pages, where 2 are the default: a backfill writes to six indexes at random places.
        for pragma in (
            *("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"),
            "cache_size=-32000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("commonhold_read")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    sa.event.listen(engine.sync_engine, "connect", on_connect)
    sa.event.listen(engine.sync_engine, "begin", on_begin)
