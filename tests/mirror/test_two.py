"""Two followers on one database write what one does, whichever is first."""

import asyncio
from typing import Any

import pytest

from commonhold.mirror.follow import Follower, Progress
from tests.actors import Deployed
from tests.conftest import Databases
from tests.mirror.following import catch_up, dump_of
from tests.mirror.test_follow import dump_from_scratch, follower_of, more

pytestmark = pytest.mark.chain


async def test_two_followers_on_one_database_do_every_block_once(deployed: Deployed, databases: Databases) -> None:
    engine, other = await databases(), await databases()
    two = [follower_of(deployed, engine), follower_of(deployed, engine)]
    for first in (0, 10):
        await more(deployed, 4, first)
        done: list[int] = []
        while True:
            both = await asyncio.gather(*(follower.step() for follower in two))
            done += [number for step in both for number in range(step.from_number, step.to_number + 1)]
            if all(step.idle for step in both):
                break
        assert len(set(done)) == len(done)
        assert await dump_of(engine) == await dump_from_scratch(deployed, other)
        await deployed.anvil.reorg(3)


async def test_one_that_looks_for_a_reorg_which_another_has_followed_looks_again(
    deployed: Deployed, databases: Databases
) -> None:
    engine, undisturbed = await databases(), await databases()
    await more(deployed, 4)
    other = follower_of(deployed, engine)

    class Late(Follower):
        """Another has taken its next step before this one looks which blocks it has."""

        async def _hashes(self, *of: Any) -> Any:
            done.append(await other.step())
            return await super()._hashes(*of)

    late, done = Late(deployed.rpc, deployed.deployment, engine), list[Progress]()
    await catch_up(late)
    await deployed.anvil.reorg(3)

    assert (await late.step()).idle

    assert [(step.rewound, step.to_number - step.from_number) for step in done] == [(3, 0)]  # it is not at the head yet
    await catch_up(late)
    assert await dump_of(engine) == await dump_from_scratch(deployed, undisturbed)
