"""Rows against the chain's storage, proven: what agrees passes, one row that differs is found, whoever changed it."""

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.rpc import Rpc, RpcInconsistent, RpcLied
from commonhold.db import read, write
from commonhold.mirror import tables as t
from commonhold.mirror.follow import Follower
from commonhold.mirror.spot import SpotCheckFailed, chosen, spot_check
from tests.actors import Deployed
from tests.chain.lying import changed, lying
from tests.chain.test_proof import LIES, about_proofs
from tests.mirror.following import catch_up

pytestmark = pytest.mark.chain


@pytest.fixture
async def mirrored(deployed: Deployed, engine: AsyncEngine) -> AsyncEngine:
    """A mirror of a chain with holdings, credits and a lease that is settled in part."""
    await deployed.admit("owner")
    asset = await deployed.register_compute(name="another")
    await deployed.grant(await deployed.open(asset), "owner", 77)
    await catch_up(Follower(deployed.rpc, deployed.deployment, engine))
    return engine


async def test_rows_are_what_the_chain_holds(deployed: Deployed, mirrored: AsyncEngine) -> None:
    async with read(mirrored) as db:
        kinds = {claim.contract for claim in await chosen(db, 100)}
        one_each = await chosen(db, 1)

    assert kinds == {"Ledger", "Access"}
    assert len(one_each) == 3
    assert await spot_check(mirrored, deployed.rpc, deployed.deployment, 100) >= 4
    assert await spot_check(mirrored, deployed.rpc, deployed.deployment, 0) == 0


@pytest.mark.parametrize(("table", "column"), [(t.holding, "units"), (t.credit, "seconds"), (t.lease, "settled_ms")])
async def test_a_row_that_differs_is_found_and_named(
    deployed: Deployed, mirrored: AsyncEngine, table: sa.Table, column: str
) -> None:
    async with write(mirrored) as db:
        await db.execute(table.update().values({column: table.c[column] + 1}))

    with pytest.raises(SpotCheckFailed, match=r"in the mirror at block \d+ 0x.* holds \d+, proven"):
        await spot_check(mirrored, deployed.rpc, deployed.deployment, 100)


async def test_a_block_that_is_gone_is_no_difference(deployed: Deployed, mirrored: AsyncEngine) -> None:
    await deployed.anvil.reorg(1)

    assert await spot_check(mirrored, deployed.rpc, deployed.deployment, 100) == 0


async def test_a_node_that_forges_a_proof_has_lied_and_the_mirror_is_right(
    deployed: Deployed, mirrored: AsyncEngine
) -> None:
    async with lying(deployed.anvil.url, about_proofs(LIES["says_another_value"])) as url, Rpc(url) as rpc:
        with pytest.raises(RpcLied, match="the node says value 0x1"):
            await spot_check(mirrored, rpc, deployed.deployment, 100)


async def test_a_node_without_proofs_is_waited_for(deployed: Deployed, mirrored: AsyncEngine) -> None:
    async with lying(deployed.anvil.url, changed("eth_getProof", lambda _: None)) as url, Rpc(url) as rpc:
        with pytest.raises(RpcInconsistent, match="expected a proof of 0x"):
            await spot_check(mirrored, rpc, deployed.deployment, 100)
