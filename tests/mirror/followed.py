"""A mirror in danger: it follows by endpoints that fail and lie, loses its database, dies and begins again.

What is drawn comes from the seed. Where a follower is killed depends on the clock, too.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.deployment import Deployment, WrongChain
from commonhold.chain.endpoints import Endpoints
from commonhold.errors import Unavailable
from commonhold.mirror.follow import Follower
from tests.mirror.following import catch_up
from tests.mirror.forking import Branch
from tests.mirror.moody import HANGS_S, Moods
from tests.mirror.test_follow import CommitFaults, Lost


class Followed:
    """One database, and who follows into it: begun again and again, each time by other endpoints in another order."""

    def __init__(
        self, engine: AsyncEngine, moods: Moods, deployment: Deployment, random: Random, happened: Counter[str]
    ) -> None:
        self._engine = engine
        self._happened = happened
        self._moods = moods
        self._deployment = deployment
        self._random = random
        self._monkeypatch = pytest.MonkeyPatch()
        self._commits = CommitFaults(engine, self._monkeypatch)
        self._open: list[tuple[Endpoints, Follower]] = []
        self._now = 0.0
        self._follower = self._begun()
        self._other: Follower | None = None

    async def live(self, dead: Sequence[Branch]) -> None:
        """A few steps, each of which may come to nothing."""
        for node in self._moods.nodes:
            if self._random.random() < 0.5:
                node.change(dead)
        for _ in range(self._random.randrange(5)):
            self._now += self._random.choice([0, 0.3, 2, 40])
            await self._random.choices(
                [self._step, self._lose, self._two_at_once, self._kill, self._restart], [12, 2, 2, 1, 1]
            )[0]()

    async def catch_up(self) -> None:
        """Its endpoints fail no more, and it is at the head."""
        for node in self._moods.nodes:
            node.calm()
        await self._restart(patient=True)
        await catch_up(self._follower)

    async def close(self) -> None:
        await self._forget()
        self._monkeypatch.undo()

    def _begun(self, *, patient: bool = False) -> Follower:
        random, urls = self._random, list(self._moods.urls)
        if random.random() < 0.5:
            urls.pop(random.choice([1, 2]))  # never the honest one
        random.shuffle(urls)
        timeout_s = 10 if patient else HANGS_S
        rpc = Endpoints(urls, timeout_s=timeout_s, clock=lambda: self._now, jitter=random.random)
        max_range = random.choice([1, 2, 7, 2_000])
        follower = Follower(rpc, self._deployment, self._engine, max_range=max_range, clock=lambda: self._now)
        self._open.append((rpc, follower))
        return follower

    async def _forget(self) -> None:
        for rpc, follower in self._open:
            await follower.close()
            await asyncio.sleep(0)
            await rpc.close()
        self._open, self._other = [], None

    async def _restart(self, *, patient: bool = False) -> None:
        await self._forget()
        self._follower = self._begun(patient=patient)
        self._happened["restart"] += 1

    async def _step(self) -> None:
        await self._try(self._follower)

    async def _try(self, follower: Follower) -> None:
        """One step, which must not fail for good."""
        try:
            progress = await follower.step()
        except Unavailable as error:
            self._happened[type(error).__name__] += 1
        except WrongChain:  # told to the operator when the service starts
            self._happened["WrongChain"] += 1
            self._follower = self._begun()
        else:
            self._happened["idle" if progress.idle else "applied"] += 1
            if progress.rewound:
                self._happened[f"rewound {progress.rewound}"] += 1

    async def _lose(self) -> None:
        """The connection to the database breaks while a transaction is being committed."""
        self._commits.fault = self._random.choice(["failed, not stored", "failed, but stored"])
        try:
            await self._step()
        except Lost:
            self._happened[str(self._commits.fault)] += 1
        finally:
            self._commits.fault = None

    async def _two_at_once(self) -> None:
        if self._other is None:
            self._other = self._begun()
        await asyncio.gather(self._try(self._follower), self._try(self._other))
        self._happened["two at once"] += 1

    async def _kill(self) -> None:
        """The follower stops at some line of a step."""
        step = asyncio.create_task(self._step())
        await asyncio.wait([step], timeout=self._random.uniform(0, 0.05))
        self._happened["killed" if step.cancel() else "killed too late"] += 1
        with contextlib.suppress(asyncio.CancelledError):
            await step
        await self._restart()
