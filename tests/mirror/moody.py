"""Endpoints that change their mind: honest for a while, then failing, then lying, as a seed has it."""

import asyncio
import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Self

from tests.chain.lying import Broken, Forward, lying
from tests.mirror.forking import Branch, Json

HANGS_S: Final = 0.4  # the followers' patience
REFUSED: Final = {"code": -32005, "message": "limit exceeded"}
HALF: Final = Broken((b'[{"jsonrpc": "2.0", "id": 1, "result": ',), promised=1_000)

Answer = Callable[["Node", Json, Forward], Awaitable[Any]]


class Node:
    """The twist of one endpoint: what it says is its mood's. `happened` counts what it was asked in each."""

    def __init__(self, random: Random, happened: Counter[str], *, lies: bool) -> None:
        self.random = random
        self._lies = lies
        self._happened = happened
        self._mood = "honest"
        self.branch: Branch | None = None
        self.old: dict[str, Any] = {}

    def change(self, dead: Sequence[Branch]) -> None:
        """It is in another mood, perhaps."""
        self.branch = self.random.choice(dead) if dead else None
        moods = ["honest", *FAILING, *(LYING if self._lies else ())]
        self._mood = self.random.choices(moods, [len(moods), *(1 for _ in moods[1:])])[0]  # honest half of the time
        self.old = {}

    def calm(self) -> None:
        """It is honest from now on."""
        self._mood = "honest"

    async def __call__(self, request: Json, forward: Forward) -> Any:
        if self._mood != "honest":
            self._happened[self._mood] += 1
        return await (FAILING | LYING | HONEST)[self._mood](self, request, forward)


async def _honest(_node: Node, _request: Json, forward: Forward) -> Any:
    return await forward()


def _sometimes(said: Any) -> Answer:
    """One request in three is answered with what is no answer."""

    async def answer(node: Node, _request: Json, forward: Forward) -> Any:
        return said if node.random.random() < 1 / 3 else await forward()

    return answer


async def _errs(node: Node, request: Json, forward: Forward) -> Any:
    if node.random.random() < 1 / 3:
        return {"jsonrpc": "2.0", "id": request["id"], "error": REFUSED}
    return await forward()


async def _has_nothing(node: Node, request: Json, forward: Forward) -> Any:
    if node.random.random() < 1 / 3:
        return {"jsonrpc": "2.0", "id": request["id"], "result": None}
    return await forward()


async def _hangs(node: Node, _request: Json, forward: Forward) -> Any:
    if node.random.random() < 1 / 30:
        await asyncio.sleep(2 * HANGS_S)
    return await forward()


async def _is_old(node: Node, request: Json, forward: Forward) -> Any:
    """Its newest blocks stay what they were."""
    answer = await forward()
    tier = request["params"][0] if request["params"] else None
    if request["method"] == "eth_getBlockByNumber" and tier in ("latest", "safe", "finalized"):
        answer["result"] = node.old.setdefault(tier, answer["result"])
    return answer


def _about_logs(lie: Callable[[Random, list[Json]], object]) -> Answer:
    async def answer(node: Node, request: Json, forward: Forward) -> Any:
        said = await forward()
        if request["method"] == "eth_getBlockReceipts" and said.get("result"):
            said = copy.deepcopy(said)
            for receipt in said["result"]:
                if receipt["logs"]:
                    lie(node.random, receipt["logs"])
        return said

    return answer


def _drop(random: Random, logs: list[Json]) -> None:
    logs.pop(random.randrange(len(logs)))


def _forge(random: Random, logs: list[Json]) -> None:
    log = random.choice(logs)
    data = log["data"]
    log["data"] = data[:-1] + ("1" if data[-1] != "1" else "2") if len(data) > 2 else "0x01"


def _double(random: Random, logs: list[Json]) -> None:
    logs.append(random.choice(logs))


async def _empties(_node: Node, request: Json, forward: Forward) -> Any:
    answer = await forward()
    if request["method"] == "eth_getBlockReceipts" and answer.get("result"):
        answer["result"] = []
    return answer


async def _hides(_node: Node, request: Json, forward: Forward) -> Any:
    answer = await forward()
    if request["method"] == "eth_getBlockByNumber" and answer.get("result"):
        answer["result"] = answer["result"] | {"logsBloom": "0x" + "00" * 256}
    return answer


async def _is_elsewhere(node: Node, request: Json, forward: Forward) -> Any:
    answer = await forward()
    if request["method"] == "eth_chainId" and node.random.random() < 1 / 3:
        answer["result"] = "0x1"
    return answer


async def _is_on_a_dead_branch(node: Node, request: Json, forward: Forward) -> Any:
    """It goes on as if the chain had not gone back, all of it consistent."""
    branch, params = node.branch, request["params"]
    if branch is None:
        return await forward()
    match request["method"], params[:1]:
        case "eth_getBlockByNumber", [("latest" | "safe" | "finalized") as tier]:
            result: Any = branch.heads[tier]
        case (("eth_getBlockByNumber" | "eth_getBlockByHash"), [which]) if which in branch.blocks:
            result = branch.blocks[which]
        case "eth_getBlockByNumber", [number] if int(number, 16) > int(branch.heads["latest"]["number"], 16):
            result = None
        case "eth_getBlockReceipts", [which] if which in branch.receipts:
            result = branch.receipts[which]
        case "eth_getCode", _:
            request["params"] = [params[0], "latest"]
            return await forward()
        case _:
            return await forward()
    return {"jsonrpc": "2.0", "id": request["id"], "result": result}


HONEST: Mapping[str, Answer] = {"honest": _honest}
# What another may do better, and the same one a moment later.
FAILING: Mapping[str, Answer] = {
    "errs": _errs,
    "answers 503": _sometimes((503, b"")),
    "answers text": _sometimes((200, b"<html>")),
    "cuts": _sometimes(HALF),
    "hangs": _hangs,
    "has nothing": _has_nothing,
    "is old": _is_old,
}
LYING: Mapping[str, Answer] = {
    "drops": _about_logs(_drop),
    "forges": _about_logs(_forge),
    "doubles": _about_logs(_double),
    "empties": _empties,
    "hides": _hides,
    "is of another chain": _is_elsewhere,
    "is on a dead branch": _is_on_a_dead_branch,
}


@dataclass
class Moods:
    """Three endpoints before one node, of which the first may fail but never lies."""

    nodes: Sequence[Node]
    urls: Sequence[str]

    @classmethod
    async def before(cls, url: str, random: Random, happened: Counter[str], stack: AsyncExitStack) -> Self:
        nodes = [Node(random, happened, lies=lies) for lies in (False, True, True)]
        return cls(nodes, [await stack.enter_async_context(lying(url, node)) for node in nodes])
