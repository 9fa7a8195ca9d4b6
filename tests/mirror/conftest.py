"""The mirror's own chain: blocks are final early, so that tests need few of them, and there is something to mirror."""

from collections.abc import AsyncIterator

import pytest_asyncio

from commonhold.chain.deployment import Deployment
from commonhold.chain.node import Anvil, start_anvil
from commonhold.chain.rpc import Rpc
from commonhold.units import keccak256
from tests.actors import ANVIL, Deployed, deploy_on


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_anvil() -> AsyncIterator[Anvil]:
    async with start_anvil(ANVIL, slots_in_an_epoch=3) as anvil:
        yield anvil


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_deployment(_shared_anvil: Anvil) -> Deployment:
    """A lease, a receipt settled for it, and an anchor: one block after the other."""
    deployment = await deploy_on(_shared_anvil)
    rpc = Rpc(_shared_anvil.url)
    busy = Deployed(_shared_anvil, rpc, deployment)
    _, lease = await busy.lease()
    await busy.anvil.advance(60)
    await busy.send("relayer", "Meter", "settle", [busy.signed_receipt(lease, 5_000)])
    await busy.send("submitter", "Meter", "anchor", 0, keccak256(b"root"), 1, 5_000, "https://epoch.example")
    await rpc.close()
    return deployment
