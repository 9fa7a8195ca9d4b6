"""Several nodes of one chain, used as one: the first that is well answers, another where it does not.

A node that does not answer, contradicts itself or falls behind is left alone for a while, longer each time; one that
lied, or is of another chain, for good. Here no vote is taken: what can be recomputed is (verify.py), and quorum.py is
for who wants several nodes to agree on the rest. Every method of Rpc asks one node from its beginning to its end.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from commonhold.chain.apart import Apart
from commonhold.chain.deployment import ContractName, Deployment, WrongChain
from commonhold.chain.health import Health, Record
from commonhold.chain.layout import Place
from commonhold.chain.proof import Account
from commonhold.chain.rpc import (
    BlockGone,
    Receipt,
    Rpc,
    RpcBehind,
    RpcInconsistent,
    RpcLied,
    RpcRefused,
    RpcUnavailable,
    View,
)
from commonhold.chain.span import Span
from commonhold.chain.stamp import BlockStamp, RawLog, Tier
from commonhold.errors import BadInput, CommonholdError
from commonhold.units import Address, Hash32, hex_text

log = logging.getLogger(__name__)

T = TypeVar("T")

STANDS_S: Final = 30.0  # a head that did not move for so long is compared with the others': 2.5 slots of Ethereum


@dataclass(slots=True)
class Endpoint:
    """One node and what is kept of it."""

    rpc: Rpc
    name: str
    record: Record = field(default_factory=Record)


class Endpoints(Rpc):
    """An Rpc over one or more nodes. `clock` tells seconds; only differences count. `jitter` is from 0 to 1."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout_s: float = 10,
        verify_logs: bool = True,
        apart: Apart | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Raises BadInput when there is no URL, or one that is none of HTTP."""
        if not urls:
            raise BadInput("RPC endpoints: expected at least one URL, got none")
        self.endpoints = _named([Rpc(url, timeout_s=timeout_s, verify_logs=verify_logs, apart=apart) for url in urls])
        self.verify_logs = verify_logs
        self._clock = clock
        self._jitter = jitter
        self._deployment: Deployment | None = None
        self._highest: dict[Tier, int] = {}
        self._moved: dict[Tier, float] = {}  # when it did last

    @property
    def host(self) -> str:
        return ", ".join(endpoint.name for endpoint in self.endpoints)

    def health(self) -> list[Health]:
        now = self._clock()
        return [_health(endpoint, now) for endpoint in self.endpoints]

    async def close(self) -> None:
        for endpoint in self.endpoints:
            await endpoint.rpc.close()

    async def check(self, deployment: Deployment) -> None:
        """Every node that answers now is on the deployment's chain; the others are checked before they are asked."""
        self._deployment = deployment
        errors: list[CommonholdError] = []
        for endpoint in self.endpoints:
            endpoint.record.checked = False
            if endpoint.record.dropped is None:
                try:
                    await endpoint.rpc.check(deployment)
                    endpoint.record.checked = True
                except (RpcLied, RpcUnavailable, RpcInconsistent, RpcRefused) as error:
                    self.failed(endpoint, error)
                    errors.append(error)
        if not any(endpoint.record.checked for endpoint in self.endpoints):
            raise self.unanswered(errors)

    async def head(self, tier: Tier = "latest") -> BlockStamp:
        """The newest block of this tier, from a node that has not fallen behind what was said before; when all have,
        the newest of theirs. One that stands still is believed only while no other is ahead of it."""
        before = self._highest.get(tier, 0)
        behind: BlockStamp | None = None
        errors: list[CommonholdError] = []
        for endpoint in self.in_order():
            try:
                found = await self.ask(endpoint, lambda rpc: rpc.head(tier))
            except Failed as failed:
                errors.append(failed.reason)
                continue
            self._saw(endpoint, tier, found)
            if found.number >= before:
                if found.number == before and self._stands(tier):
                    found = await self._ahead(endpoint, tier, found)
                return self._moved_to(tier, found)
            self._fell_behind(endpoint, found, before)
            behind = found if behind is None or found.number > behind.number else behind
        if behind is None:
            raise self.unanswered(errors)
        return self._moved_to(tier, behind)

    async def disown(self, number: int, ours: Hash32) -> bool:
        agrees = False
        silent: list[str] = []
        others: list[tuple[Endpoint, Hash32]] = []
        for endpoint in self.in_order():
            try:
                theirs = await self.ask(endpoint, lambda rpc: rpc.header(number))
            except Failed as failed:
                silent.append(f"{endpoint.name}: {failed.reason}")
                continue
            if theirs.hash == ours:
                agrees = True
            else:
                others.append((endpoint, theirs.hash))
        if silent and not agrees:  # who does not answer now may be the one that has ours
            raise RpcUnavailable(f"block {number} was final as {hex_text(ours)}, not every node says so: {silent[0]}")
        for endpoint, theirs_hash in others if agrees else ():
            what = f"says that block {number} is {hex_text(theirs_hash)}, which was final as {hex_text(ours)}"
            self.drop(endpoint, f"node {endpoint.name} {what}")
        return agrees and bool(others)

    def _saw(self, endpoint: Endpoint, tier: Tier, found: BlockStamp) -> None:
        if tier == "latest":
            endpoint.record.head = found.number

    def _moved_to(self, tier: Tier, found: BlockStamp) -> BlockStamp:
        if found.number != self._highest.get(tier):
            self._moved[tier] = self._clock()
        self._highest[tier] = found.number
        return found

    def _stands(self, tier: Tier) -> bool:
        return self._clock() - self._moved.get(tier, self._clock()) >= STANDS_S

    async def _ahead(self, first: Endpoint, tier: Tier, found: BlockStamp) -> BlockStamp:
        """The newest block that another node has, when that is newer than `found`: the first then is behind."""
        best = found
        for endpoint in self.in_order():
            if endpoint is not first:
                try:
                    theirs = await self.ask(endpoint, lambda rpc: rpc.head(tier))
                except Failed:
                    continue
                self._saw(endpoint, tier, theirs)
                best = theirs if theirs.number > best.number else best
        if best is found:
            self._moved[tier] = self._clock()  # nobody is: asked again after a while
        else:
            self._fell_behind(first, found, best.number)
        return best

    def _fell_behind(self, endpoint: Endpoint, found: BlockStamp, before: int) -> None:
        self.failed(endpoint, RpcBehind(f"node {endpoint.name} is at block {found.number}, another was at {before}"))

    async def chain_id(self) -> int:
        return await self._of(lambda rpc: rpc.chain_id())

    async def block(self, which: int | Hash32) -> BlockStamp | None:
        return await self._of(lambda rpc: rpc.block(which))

    async def header(self, number: int) -> BlockStamp:
        return await self._of(lambda rpc: rpc.header(number))

    async def span(self, addresses: Collection[Address], after: BlockStamp, last: int, *, every: bool = False) -> Span:
        return await self._of(lambda rpc: rpc.span(addresses, after, last, every=every))

    async def logs(self, addresses: Collection[Address], from_number: int, to_number: int) -> list[RawLog]:
        return await self._of(lambda rpc: rpc.logs(addresses, from_number, to_number))

    async def logs_of(self, block_hash: Hash32, addresses: Collection[Address]) -> list[RawLog]:
        return await self._of(lambda rpc: rpc.logs_of(block_hash, addresses))

    async def call(
        self,
        name: ContractName,
        address: Address,
        function: str,
        *args: object,
        at: BlockStamp,
        sender: Address | None = None,
    ) -> Any:
        return await self._of(lambda rpc: rpc.call(name, address, function, *args, at=at, sender=sender))

    async def call_raw(
        self,
        to: Address,
        data: bytes,
        *,
        at: BlockStamp,
        sender: Address | None = None,
        gas: int | None = None,
        what: str = "a call",
        name: ContractName | None = None,
    ) -> bytes:
        return await self._of(lambda rpc: rpc.call_raw(to, data, at=at, sender=sender, gas=gas, what=what, name=name))

    async def code(self, address: Address, at: BlockStamp) -> bytes:
        return await self._of(lambda rpc: rpc.code(address, at))

    async def balance(self, address: Address, at: BlockStamp) -> int:
        return await self._of(lambda rpc: rpc.balance(address, at))

    async def account(self, address: Address, *, at: BlockStamp) -> Account:
        return await self._of(lambda rpc: rpc.account(address, at=at))

    async def storage(self, address: Address, places: Sequence[Place], *, at: BlockStamp) -> list[int]:
        return await self._of(lambda rpc: rpc.storage(address, places, at=at))

    async def nonce(self, address: Address) -> int:
        return await self._of(lambda rpc: rpc.nonce(address))

    async def gas(
        self, sender: Address, to: Address | None, data: bytes, *, what: str, name: ContractName | None = None
    ) -> int:
        return await self._of(lambda rpc: rpc.gas(sender, to, data, what=what, name=name))

    async def fees(self) -> tuple[int, int]:
        return await self._of(lambda rpc: rpc.fees())

    async def send(self, raw: bytes) -> Hash32:
        """A node has taken the signed transaction: the first that answers, be it with a refusal: all would refuse."""
        return await self._of(lambda rpc: rpc.send(raw), refusals_count=True)

    async def receipt(self, transaction_hash: Hash32) -> Receipt | None:
        return await self._of(lambda rpc: rpc.receipt(transaction_hash))

    async def calls(self, asked: Sequence[View], *, at: BlockStamp) -> list[Any]:
        return await self._of(lambda rpc: rpc.calls(asked, at=at))

    async def inputs(self, transactions: Sequence[Hash32]) -> list[bytes]:
        return await self._of(lambda rpc: rpc.inputs(transactions))

    async def _of(self, ask: Callable[[Rpc], Awaitable[T]], *, refusals_count: bool = False) -> T:
        """The answer of the first node that gives one. Raises as `unanswered`."""
        errors: list[CommonholdError] = []
        for endpoint in self.in_order():
            try:
                return await self.ask(endpoint, ask)
            except Failed as failed:
                if refusals_count and isinstance(failed.reason, RpcRefused):
                    raise failed.reason from None
                errors.append(failed.reason)
        raise self.unanswered(errors)

    async def ask(self, endpoint: Endpoint, ask: Callable[[Rpc], Awaitable[T]]) -> T:
        """One node's answer. Raises Failed for what another may do better; a contract's refusal passes."""
        try:
            if self._deployment is not None and not endpoint.record.checked:
                await endpoint.rpc.check(self._deployment)
                endpoint.record.checked = True
            answer = await ask(endpoint.rpc)
        except (WrongChain, RpcLied, RpcUnavailable, RpcInconsistent, RpcRefused) as error:
            self.failed(endpoint, error)
            raise Failed(error) from error
        endpoint.record.answered()
        return answer

    def failed(self, endpoint: Endpoint, error: CommonholdError) -> None:
        """It is dropped when it lied, and rests otherwise."""
        endpoint.record.errors += 1
        if isinstance(error, RpcLied | WrongChain):
            self.drop(endpoint, str(error))
        elif not isinstance(error, BlockGone | RpcRefused):  # a reorg, or a question that it does not take
            pause_s = endpoint.record.rest(self._clock(), self._jitter())
            log.info("endpoint %s is not asked for %.1f s: %s", endpoint.name, pause_s, error)

    def drop(self, endpoint: Endpoint, why: str) -> None:
        """It is not asked again in this run."""
        if endpoint.record.dropped is None:
            endpoint.record.dropped = why
            log.error("endpoint %s is dropped: %s", endpoint.name, why)

    def in_order(self) -> list[Endpoint]:
        """Whom to ask: the well in the order given, then those that rest, the one first that has rested longest."""
        now = self._clock()
        asked = [endpoint for endpoint in self.endpoints if endpoint.record.dropped is None]
        return sorted(asked, key=lambda endpoint: max(endpoint.record.rests_until - now, 0.0))

    def unanswered(self, errors: Sequence[CommonholdError]) -> CommonholdError:
        """Why nobody has answered: what the last one failed with that may yet do better; a lie only where all have
        lied, since whoever follows then stops for good."""
        passing = [error for error in errors if not isinstance(error, RpcLied | WrongChain)]
        return [*errors, *passing][-1] if errors else self.nobody()

    def nobody(self) -> RpcLied:
        """All have lied."""
        dropped = [endpoint.record.dropped for endpoint in self.endpoints if endpoint.record.dropped]
        return RpcLied("; ".join(dropped) + ": no endpoint is left")


class Failed(Exception):
    """What a node failed with."""

    def __init__(self, reason: CommonholdError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _named(nodes: Sequence[Rpc]) -> list[Endpoint]:
    """Each with its host as its name, and a number where several have the same: URLs may differ in a key alone."""
    seen: Counter[str] = Counter()
    named = []
    for rpc in nodes:
        seen[rpc.host] += 1
        named.append(Endpoint(rpc, rpc.host if seen[rpc.host] == 1 else f"{rpc.host}#{seen[rpc.host]}"))
    return named


def _health(endpoint: Endpoint, now: float) -> Health:
    record, traffic = endpoint.record, endpoint.rpc.traffic
    return Health(
        host=endpoint.name,
        errors=record.errors,
        resting=record.rests_until > now or record.dropped is not None,
        dropped=record.dropped,
        outvoted=record.outvoted,
        differs=record.differs,
        head=record.head,
        requests=traffic.requests,
        spent_ms=round(traffic.spent_s * 1_000),
        latency_ms=None if traffic.latest_s is None else round(traffic.latest_s * 1_000),
    )
