"""Random histories on a chain that goes back, followed while endpoints fail and lie and the follower dies: afterwards
the rows are those of a fresh sync, and what the reference model says.

Every other history is followed on PostgreSQL. `make mirror-deep` plays many; FIRST is the first of them.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from random import Random

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.node import Anvil, start_anvil
from commonhold.db import make_engine, read
from commonhold.mirror import read as mirror
from commonhold.mirror.digest import recomputed
from commonhold.mirror.follow import Follower
from tests.actors import ANVIL
from tests.mirror.followed import Followed
from tests.mirror.following import catch_up, digest_of, dump_of
from tests.mirror.forking import Begun, Forking
from tests.mirror.modelled import check
from tests.mirror.moody import Moods

pytestmark = [pytest.mark.chain, pytest.mark.postgres, pytest.mark.slow]


def asked(name: str, default: int, least: int) -> int:
    """A number of the environment. None at all would pass, and nothing be played."""
    said = os.environ.get(name, str(default))
    if not said.isdecimal() or int(said) < least:
        raise ValueError(f"{name}: expected a number of at least {least}, got {said!r}")
    return int(said)


FIRST, HISTORIES = asked("FIRST", 0, 0), asked("HISTORIES", 4, 1)
STEPS = 20
SLOTS = 3  # in an epoch: the final block is two of these below the head


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def _begun_on() -> AsyncIterator[tuple[Anvil, Begun]]:
    async with start_anvil(ANVIL, slots_in_an_epoch=SLOTS) as anvil:
        yield anvil, await Begun.on(anvil)


@pytest_asyncio.fixture
async def begun_on(_begun_on: tuple[Anvil, Begun]) -> AsyncIterator[tuple[Anvil, Begun]]:
    """A chain on which a history has begun, as it was again after the test."""
    shared, begun = _begun_on
    anvil = Anvil(shared.url, shared.pid)
    before = await anvil.snapshot()
    yield anvil, begun
    await anvil.revert(before)
    await anvil.close()


@pytest_asyncio.fixture
async def engines(
    seed: int, _sqlite_urls: Iterator[str], _postgres_urls: Iterator[str]
) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    """Empty databases: one to follow into, and one for a fresh sync."""
    followed, fresh = make_engine(next(_postgres_urls if seed % 2 else _sqlite_urls)), make_engine(next(_sqlite_urls))
    yield followed, fresh
    await followed.dispose()
    await fresh.dispose()


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
async def test_history_with_faults_is_mirrored_as_a_fresh_sync_and_the_model_say(
    begun_on: tuple[Anvil, Begun], engines: tuple[AsyncEngine, AsyncEngine], seed: int
) -> None:
    happened = Counter[str]()
    try:
        await play(*begun_on, *engines, seed, happened)
    except BaseException as error:
        error.add_note(f"what happened: {dict(happened)}\nagain: make mirror-deep FIRST={seed} HISTORIES=1")
        raise
    print(dict(happened))


async def play(
    anvil: Anvil, begun: Begun, followed: AsyncEngine, fresh: AsyncEngine, seed: int, happened: Counter[str]
) -> None:
    random = Random(f"faults {seed}")
    async with AsyncExitStack() as stack:
        history = await Forking.of(begun, anvil, f"history {seed}", window=2 * SLOTS)
        stack.push_async_callback(history.end)
        moods = await Moods.before(anvil.url, random, happened, stack)
        mirrored = Followed(followed, moods, begun.deployment, random, happened)
        stack.push_async_callback(mirrored.close)

        for _ in range(STEPS):
            await history.step()
            await mirrored.live(history.dead)
            if random.random() < 0.25 and (depth := await history.go_back()):
                happened[f"went back {depth}"] += 1
                await mirrored.live(history.dead)
        await anvil.mine()  # a lower head alone is not a reorganisation: there is a block of the present branch

        await mirrored.catch_up()
        await catch_up(Follower(history.deployed.rpc, begun.deployment, fresh))
        head = await history.deployed.rpc.head()
    assert await dump_of(followed) == await dump_of(fresh)
    async with read(followed) as db:
        assert (await mirror.position(db)).hash == head.hash
        assert await recomputed(db) == await digest_of(followed) == await digest_of(fresh)
        await check(db, history.model)
