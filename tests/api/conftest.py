"""A running service on either database; on SQLite alone where the database decides nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.actors import Deployed
from tests.api.service import Service, running

sqlite_only = pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)


@pytest_asyncio.fixture
async def service(engine: AsyncEngine, deployed: Deployed, tmp_path: Path) -> AsyncIterator[Service]:
    """A service over a real socket, its mirror at the chain's head."""
    async with running(engine, deployed, tmp_path) as service:
        await service.mirrored()
        yield service
