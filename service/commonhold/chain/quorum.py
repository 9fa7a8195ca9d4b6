"""Several nodes that must agree: a block is believed when `quorum` of them name the same hash for its number.

With logs that are recomputed, this is all there is to agree on: a hash commits to its header, the header to its parent
and to every receipt, so whoever gives the rest can neither leave out nor add anything. Without (`verify_logs=False`)
as many nodes must give the same logs. Calls of contracts, and what sending needs, are still one node's answer.

Who says something else than the quorum is named; where that is about a final block, it has lied, and is dropped. Fewer
than a quorum, or two quorums: nothing is believed, and whoever follows waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Any, Final, TypeVar

from commonhold.chain.endpoints import Endpoint, Endpoints, Failed
from commonhold.chain.rpc import Rpc, RpcInconsistent
from commonhold.chain.span import Span
from commonhold.chain.stamp import BlockStamp, RawLog, Tier
from commonhold.errors import BadInput, CommonholdError, Unavailable
from commonhold.units import Address, Hash32, hex_text

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_BACK: Final = 3  # blocks below the newest common number: nodes may differ about these for a moment


class NoQuorum(Unavailable):
    """Too few endpoints answer, or agree."""

    code = "no_quorum"


def connect(urls: Sequence[str], *, verify_logs: bool = True, quorum: int = 1, **options: Any) -> Endpoints:
    """The endpoints at these URLs; `quorum` above 1: so many of them must agree. Raises BadInput."""
    if quorum == 1:
        return Endpoints(urls, verify_logs=verify_logs, **options)
    return Quorum(urls, verify_logs=verify_logs, quorum=quorum, **options)


class Quorum(Endpoints):
    """Endpoints of which `quorum` must agree on blocks, and on logs where these are not recomputed."""

    def __init__(self, urls: Sequence[str], *, quorum: int, **options: Any) -> None:
        """Raises BadInput when there are fewer URLs than must agree."""
        super().__init__(urls, **options)
        if not 1 <= quorum <= len(urls):
            raise BadInput(f"RPC quorum of {quorum}: expected at least 1, and as many endpoints, got {len(urls)}")
        self.quorum = quorum
        self._heads: dict[Tier, BlockStamp] = {}  # as a quorum named them last
        self._final = -1  # what is not above it is final

    async def head(self, tier: Tier = "latest") -> BlockStamp:
        """The newest block that a quorum has come to and agrees on. Raises NoQuorum."""
        heads = await self._all(lambda rpc: rpc.head(tier), f"the {tier} block")
        for endpoint, head in heads:
            self._saw(endpoint, tier, head)
        number = sorted((head.number for _, head in heads), reverse=True)[self.quorum - 1]
        final, back = tier == "finalized", 0
        while True:
            try:
                found = await self._block(number - back, final=final)
                break
            except NoQuorum:
                back += 1
                if final or back > min(MOST_BACK, number):
                    raise
        self._final = max(self._final, found.number if final else -1)
        self._highest[tier] = found.number
        self._heads[tier] = found
        return found

    async def chain_id(self) -> int:
        return await self._same(lambda rpc: rpc.chain_id(), "the chain id", str)

    async def block(self, which: int | Hash32) -> BlockStamp | None:
        name = f"block {which}" if isinstance(which, int) else f"block {hex_text(which)}"
        return await self._same(lambda rpc: rpc.block(which), name, _hash_or_none)

    async def header(self, number: int) -> BlockStamp:
        return await self._block(number, final=number <= self._final)

    async def span(self, addresses: Collection[Address], after: BlockStamp, last: int, *, every: bool = False) -> Span:
        """As Rpc.span. The last block's hash is agreed on; unless logs are recomputed, they are as well."""
        if not self.verify_logs:
            what = f"the logs of blocks {after.number + 1} to {last}"
            return await self._same(lambda rpc: rpc.span(addresses, after, last, every=every), what, _told)
        errors: list[CommonholdError] = []
        for endpoint in self.in_order():
            try:
                found = await self.ask(endpoint, lambda rpc: rpc.span(addresses, after, last, every=every))
            except Failed as failed:
                errors.append(failed.reason)
                continue
            end = found.blocks[-1]
            if end in self._heads.values():
                return found
            agreed = await self._block(end.number, final=end.number <= self._final)
            if agreed.hash == end.hash:
                return found
            errors.append(self._outvoted(endpoint, f"block {end.number}", hex_text(end.hash), hex_text(agreed.hash)))
            self.failed(endpoint, errors[-1])
        raise self.unanswered(errors)

    async def logs(self, addresses: Collection[Address], from_number: int, to_number: int) -> list[RawLog]:
        what = f"the logs of blocks {from_number} to {to_number}"
        return await self._same(lambda rpc: rpc.logs(addresses, from_number, to_number), what, tuple)

    async def logs_of(self, block_hash: Hash32, addresses: Collection[Address]) -> list[RawLog]:
        what = f"the logs of block {hex_text(block_hash)}"
        return await self._same(lambda rpc: rpc.logs_of(block_hash, addresses), what, tuple)

    async def disown(self, number: int, ours: Hash32) -> bool:
        """False: who is right about a final block, the quorum has said."""
        return False

    async def _block(self, number: int, *, final: bool) -> BlockStamp:
        return await self._same(lambda rpc: rpc.header(number), f"block {number}", _hash, final=final)

    async def _same(
        self, ask: Callable[[Rpc], Awaitable[T]], what: str, key: Callable[[T], Hashable], *, final: bool = False
    ) -> T:
        """The one answer that a quorum gives. Others are named; about what is final, dropped. Raises NoQuorum."""
        answers = await self._all(ask, what)
        groups: dict[Hashable, list[tuple[Endpoint, T]]] = {}
        for endpoint, answer in answers:
            groups.setdefault(key(answer), []).append((endpoint, answer))
        agreed = [group for group in groups.values() if len(group) >= self.quorum]
        said = "; ".join(f"{_short(k)}: {', '.join(e.name for e, _ in group)}" for k, group in groups.items())
        if len(agreed) != 1:
            raise NoQuorum(f"about {what} a quorum of {self.quorum} does not agree: {said}")
        (ours,) = agreed
        for k, group in groups.items():
            if group is not ours:
                for endpoint, _ in group:
                    error = self._outvoted(endpoint, what, _short(k), _short(key(ours[0][1])))
                    if final:
                        self.drop(endpoint, str(error))
        return ours[0][1]

    async def _all(self, ask: Callable[[Rpc], Awaitable[T]], what: str) -> list[tuple[Endpoint, T]]:
        """The answers of a quorum at least, of all who are well. Raises NoQuorum."""
        now = self._clock()
        order = self.in_order()
        well = [endpoint for endpoint in order if endpoint.record.rests_until <= now]
        asked = well if len(well) >= self.quorum else order
        errors: list[str] = []

        async def one(endpoint: Endpoint) -> tuple[Endpoint, T] | None:
            try:
                return endpoint, await self.ask(endpoint, ask)
            except Failed as failed:
                errors.append(str(failed))
                return None

        found = [answer for answer in await asyncio.gather(*map(one, asked)) if answer is not None]
        if len(found) < self.quorum:
            dropped = [endpoint.record.dropped for endpoint in self.endpoints if endpoint.record.dropped is not None]
            why = "; ".join([*errors, *dropped])
            total = len(self.endpoints)
            raise NoQuorum(f"{len(found)} of {total} endpoints tell {what}, expected a quorum of {self.quorum}: {why}")
        return found

    def _outvoted(self, endpoint: Endpoint, what: str, theirs: str, ours: str) -> RpcInconsistent:
        error = RpcInconsistent(f"node {endpoint.name}: {what} is {theirs}, a quorum of {self.quorum} says {ours}")
        endpoint.record.outvoted += 1
        endpoint.record.differs = str(error)
        log.warning("%s", error)
        return error


def _hash(stamp: BlockStamp) -> Hash32:
    return stamp.hash


def _hash_or_none(stamp: BlockStamp | None) -> Hash32 | None:
    return None if stamp is None else stamp.hash


def _told(span: Span) -> Hashable:
    return tuple(span.blocks), tuple(span.logs)


def _short(key: Hashable) -> str:
    """What was said, short enough for a message: a hash whole, lists of logs by their number."""
    if isinstance(key, bytes):
        return hex_text(key)
    if isinstance(key, tuple):
        parts = [_short(part) for part in key if isinstance(part, tuple)]
        return " and ".join(parts) if parts else f"{len(key)} of them, ending {key[-1]!r:.60}" if key else "none"
    return str(key)
