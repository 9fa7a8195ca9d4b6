"""The mirror's own chain: blocks are final early, so that tests need few of them."""

from collections.abc import AsyncIterator

import pytest_asyncio

from commonhold.chain.deployment import Deployment
from commonhold.chain.node import Anvil, start_anvil
from tests.actors import ANVIL, deploy_on


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_anvil() -> AsyncIterator[Anvil]:
    async with start_anvil(ANVIL, slots_in_an_epoch=3) as anvil:
        yield anvil


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_deployment(_shared_anvil: Anvil) -> Deployment:
    return await deploy_on(_shared_anvil)
