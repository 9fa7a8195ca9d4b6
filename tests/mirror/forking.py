"""A random history on a chain that goes back now and then, the reference model with it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields
from random import Random
from typing import Any, Self

from commonhold.chain.deployment import Deployment
from commonhold.chain.node import Anvil
from commonhold.chain.rpc import Rpc
from commonhold.units import Hash32, hex_text
from tests.actors import Deployed
from tests.models.history import History
from tests.models.ledger import Ledgers
from tests.models.small import WINDOW_S

Json = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """What is known of a chain at one of its blocks: the model, and whose keys are which."""

    model: Ledgers
    names: Mapping[int, str]
    sessions: Mapping[Hash32, list[str]]


@dataclass(frozen=True)
class Begun:
    """What every history starts from: a deployment with members, assets and credits."""

    deployment: Deployment
    known: Known

    @classmethod
    async def on(cls, anvil: Anvil) -> Self:
        history = await History.begin(anvil, "mirrored")
        await history.deployed.rpc.close()
        return cls(history.deployed.deployment, Known(history.model, history._names, history._sessions))


@dataclass(frozen=True)
class Mark:
    """The chain after block `number` can be come back to."""

    number: int
    snapshot: str
    known: Known


@dataclass(frozen=True)
class Branch:
    """What a node said of blocks that are no more: by their numbers, by their hashes, and what stood in them."""

    heads: Mapping[str, Json]  # by tier
    blocks: Mapping[str, Json]
    receipts: Mapping[str, list[Json]]

    @classmethod
    async def read(cls, anvil: Anvil, first: int) -> "Branch":
        """The chain's blocks from `first` on."""
        heads = {
            tier: await anvil.request("eth_getBlockByNumber", tier, False) for tier in ("latest", "safe", "finalized")
        }
        last = int(heads["latest"]["number"], 16)
        found = [await anvil.request("eth_getBlockByNumber", hex(number), False) for number in range(first, last + 1)]
        receipts = {block["hash"]: await anvil.request("eth_getBlockReceipts", block["hash"]) for block in found}
        return cls(heads, {block[key]: block for block in found for key in ("number", "hash")}, receipts)


class Forking(History):
    """All that may happen, and that some of it never has."""

    def __init__(self, deployed: Deployed, known: Known, random: Random, *, window: int) -> None:
        """window: blocks below the highest so far that may still be undone."""
        super().__init__(deployed, known.model, random)
        self._know(known)
        self._window = window
        self._faults = 0.06
        self._marks: list[Mark] = []
        self._highest = 0
        self.dead: list[Branch] = []

    @classmethod
    async def of(cls, begun: Begun, anvil: Anvil, seed: str, *, window: int) -> "Forking":
        """A history of its own, on the chain as it was begun."""
        deployed = Deployed(anvil, Rpc(anvil.url), begun.deployment, WINDOW_S)
        history = cls(deployed, begun.known, Random(seed), window=window)
        await history._mark()
        return history

    async def end(self) -> None:
        await self.deployed.rpc.close()

    async def step(self) -> None:
        await super().step()
        await self._mark()

    async def go_back(self) -> int:
        """The chain is one of its last states again, at the lowest that of its final block, and what comes now is
        another branch. How many blocks were undone; 0: there is none that may be."""
        head = await self.deployed.rpc.head()
        open_ = [mark for mark in self._marks if self._highest - self._window <= mark.number < head.number]
        if not open_:
            return 0
        mark = self.random.choice(open_)
        self.dead.append(await Branch.read(self.deployed.anvil, mark.number + 1))
        await self.deployed.anvil.revert(mark.snapshot)
        self._know(mark.known)
        self._marks = [each for each in self._marks if each.number < mark.number]
        await self._mark()
        # Another beneficiary: the same call in the same second would come out as the same block.
        await self.deployed.anvil.request("anvil_setCoinbase", hex_text(self.random.randbytes(20)))
        self.done.append(f"back to block {mark.number}")
        return head.number - mark.number

    async def _both(self, *args: Any) -> None:
        await super()._both(*args)
        await self._mark()

    async def _mark(self) -> None:
        """The present state can be come back to."""
        number = (await self.deployed.rpc.head()).number
        if not self._marks or self._marks[-1].number < number:
            known = Known(_copied(self.model), dict(self._names), _each_copied(self._sessions))
            self._marks.append(Mark(number, await self.deployed.anvil.snapshot(), known))
            self._highest = max(self._highest, number)
            self._marks = [mark for mark in self._marks if mark.number >= self._highest - self._window]

    def _know(self, known: Known) -> None:
        self.model = _copied(known.model)
        self._names, self._sessions = dict(known.names), _each_copied(known.sessions)


def _each_copied(sessions: Mapping[Hash32, list[str]]) -> dict[Hash32, list[str]]:
    return {lease: list(roles) for lease, roles in sessions.items()}


def _copied(model: Ledgers) -> Ledgers:
    """A model that goes on by itself: what its dicts hold is never changed, only replaced."""
    twin = copy.copy(model)
    for field in fields(model):
        if isinstance(kept := getattr(model, field.name), dict):
            setattr(twin, field.name, dict(kept))
    return twin
