"""Several nodes of one chain, used as one: the first that is well answers, another where it does not.

A node that does not answer, contradicts itself or falls behind is left alone for a while, longer each time; one that
lied, or is of another chain, for good. No vote is taken: what can be recomputed is (verify.py), and who is right about
the rest cannot be seen by counting. Every method of Rpc asks one node from its beginning to its end.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from commonhold.chain.deployment import ContractName, Deployment, WrongChain
from commonhold.chain.layout import Place
from commonhold.chain.proof import Account
from commonhold.chain.rpc import BlockGone, Health, Receipt, Rpc, RpcInconsistent, RpcLied, RpcRefused, RpcUnavailable
from commonhold.chain.span import Span
from commonhold.chain.stamp import BlockStamp, RawLog, Tier
from commonhold.errors import BadInput, CommonholdError
from commonhold.units import Address, Hash32

T = TypeVar("T")

FIRST_BACK_OFF_S: Final = 1.0
LONGEST_BACK_OFF_S: Final = 60.0


@dataclass(slots=True)
class _Endpoint:
    rpc: Rpc
    checked: bool = False  # it is on the deployment's chain
    dropped: str | None = None  # why it is not asked any more; None: it is
    errors: int = 0
    failures: int = 0  # in a row
    rests_until: float = 0.0

    def rest(self, now: float) -> None:
        """It is not asked for a while, twice as long each time."""
        self.failures += 1
        self.rests_until = now + min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2 ** min(self.failures - 1, 10))


class Endpoints(Rpc):
    """An Rpc over one or more nodes. `clock` tells seconds; only differences count."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout_s: float = 10,
        verify_logs: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises BadInput when there is no URL, or one that is none of HTTP."""
        if not urls:
            raise BadInput("RPC endpoints: expected at least one URL, got none")
        self._endpoints = [_Endpoint(Rpc(url, timeout_s=timeout_s, verify_logs=verify_logs)) for url in urls]
        self.verify_logs = verify_logs
        self._clock = clock
        self._deployment: Deployment | None = None
        self._highest: dict[Tier, int] = {}

    @property
    def host(self) -> str:
        return ", ".join(endpoint.rpc.host for endpoint in self._endpoints)

    def health(self) -> list[Health]:
        now = self._clock()
        return [
            Health(each.rpc.host, each.errors, each.rests_until > now or each.dropped is not None, each.dropped)
            for each in self._endpoints
        ]

    async def close(self) -> None:
        for endpoint in self._endpoints:
            await endpoint.rpc.close()

    async def check(self, deployment: Deployment) -> None:
        """Every node that answers now is on the deployment's chain; the others are checked before they are asked."""
        self._deployment = deployment
        silent: CommonholdError | None = None
        for endpoint in self._endpoints:
            endpoint.checked = False
            if endpoint.dropped is None:
                try:
                    await endpoint.rpc.check(deployment)
                    endpoint.checked = True
                except (RpcLied, RpcUnavailable, RpcInconsistent, RpcRefused) as error:
                    self._failed(endpoint, error)
                    silent = error
        if not any(endpoint.checked for endpoint in self._endpoints):
            raise silent or self._nobody()

    async def head(self, tier: Tier = "latest") -> BlockStamp:
        """The newest block of this tier, from a node that has not fallen behind what was said before; when all have,
        the newest of theirs."""
        before = self._highest.get(tier, 0)
        behind: BlockStamp | None = None
        failed: CommonholdError | None = None
        for endpoint in self._in_order():
            try:
                found = await self._ask(endpoint, lambda rpc: rpc.head(tier))
            except _Failed as error:
                failed = error.reason
                continue
            if found.number >= before:
                self._highest[tier] = found.number
                return found
            endpoint.errors += 1
            endpoint.rest(self._clock())
            behind = found if behind is None or found.number > behind.number else behind
        if behind is None:
            raise failed or self._nobody()
        self._highest[tier] = behind.number
        return behind

    async def chain_id(self) -> int:
        return await self._of(lambda rpc: rpc.chain_id())

    async def block(self, which: int | Hash32) -> BlockStamp | None:
        return await self._of(lambda rpc: rpc.block(which))

    async def header(self, number: int) -> BlockStamp:
        return await self._of(lambda rpc: rpc.header(number))

    async def span(self, addresses: Collection[Address], after: BlockStamp, last: int) -> Span:
        return await self._of(lambda rpc: rpc.span(addresses, after, last))

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

    async def _of(self, ask: Callable[[Rpc], Awaitable[T]], *, refusals_count: bool = False) -> T:
        """The answer of the first node that gives one. Raises what the last of them failed with."""
        failed: CommonholdError | None = None
        for endpoint in self._in_order():
            try:
                return await self._ask(endpoint, ask)
            except _Failed as error:
                if refusals_count and isinstance(error.reason, RpcRefused):
                    raise error.reason from None
                failed = error.reason
        raise failed or self._nobody()

    async def _ask(self, endpoint: _Endpoint, ask: Callable[[Rpc], Awaitable[T]]) -> T:
        """Raises _Failed for what another node may do better; a contract's refusal passes."""
        try:
            if self._deployment is not None and not endpoint.checked:
                await endpoint.rpc.check(self._deployment)
                endpoint.checked = True
            answer = await ask(endpoint.rpc)
        except (WrongChain, RpcLied, RpcUnavailable, RpcInconsistent, RpcRefused) as error:
            self._failed(endpoint, error)
            raise _Failed(error) from error
        endpoint.failures, endpoint.rests_until = 0, 0.0
        return answer

    def _failed(self, endpoint: _Endpoint, error: CommonholdError) -> None:
        endpoint.errors += 1
        if isinstance(error, RpcLied | WrongChain):
            endpoint.dropped = str(error)
        elif not isinstance(error, BlockGone | RpcRefused):  # a reorg, or a question that it does not take
            endpoint.rest(self._clock())

    def _in_order(self) -> Iterable[_Endpoint]:
        """Whom to ask: the well in the order given, then those that rest, the one first that has rested longest."""
        now = self._clock()
        asked = [endpoint for endpoint in self._endpoints if endpoint.dropped is None]
        return sorted(asked, key=lambda endpoint: max(endpoint.rests_until - now, 0.0))

    def _nobody(self) -> RpcLied:
        return RpcLied("; ".join(each.dropped for each in self._endpoints if each.dropped) + ": no endpoint is left")


class _Failed(Exception):
    """What a node failed with."""

    def __init__(self, reason: CommonholdError) -> None:
        super().__init__(str(reason))
        self.reason = reason
