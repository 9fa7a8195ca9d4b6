"""Real processes that follow: killed at every boundary of every transaction; two of them at once on one database."""

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.mirror.follow import Follower
from tests.actors import ROOT, Deployed
from tests.conftest import Databases
from tests.mirror.crashing import BOUNDARIES, MAX_RANGE
from tests.mirror.following import catch_up, dump_of, whole

pytestmark = pytest.mark.chain


async def started(mode: str, engine: AsyncEngine, deployed: Deployed, file: Path) -> asyncio.subprocess.Process:
    deployed.deployment.save(file)
    database = engine.url.render_as_string(hide_password=False)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.mirror.crashing", mode, database, deployed.anvil.url, str(file)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> list[str]:
    """The lines that it printed."""
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().split("\n")[:-1]


async def test_a_mirror_killed_at_every_boundary_is_as_one_that_was_not(
    deployed: Deployed, databases: Databases, tmp_path: Path
) -> None:
    engine, undisturbed = await databases(), await databases()
    calm = Follower(deployed.rpc, deployed.deployment, undisturbed, max_range=MAX_RANGE)
    for role in ("owner", "stranger"):
        await deployed.admit(role)
        await deployed.anvil.mine(1)
        steps = await catch_up(calm)
        begins = role == "owner"  # the first transaction of a database writes its cursor

        (killed,) = await ended(await started("kill", engine, deployed, tmp_path / "deployment.json"))

        assert int(killed) == len(BOUNDARIES) * (len(steps) + begins)
        assert await whole(engine) == await whole(undisturbed)
        await deployed.anvil.reorg(2)


async def test_two_mirrors_on_one_database_apply_each_block_once(
    deployed: Deployed, databases: Databases, tmp_path: Path
) -> None:
    engine, other = await databases(), await databases()
    await deployed.admit("owner")

    two = [await started("once", engine, deployed, tmp_path / f"{number}.json") for number in range(2)]
    done = [line for process in two for line in await ended(process)]

    blocks = [number for line in done for number in range(int(line.split()[0]), int(line.split()[1]) + 1)]
    head = await deployed.rpc.head()
    assert sorted(blocks) == list(range(deployed.deployment.block, head.number + 1))
    await catch_up(Follower(deployed.rpc, deployed.deployment, other))
    assert await dump_of(engine) == await dump_of(other)
