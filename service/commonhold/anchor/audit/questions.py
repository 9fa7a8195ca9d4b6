"""What the contracts keep at one block, against what their events add up to. A missing event shows here.

A question is a view of a contract with the answer that is expected; who answers it is the reader's matter (calls or
storage proofs). They are asked some at a time, so that no list of them is ever held.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol

from commonhold.anchor.audit.rules import KEPT
from commonhold.anchor.audit.state import UNREAD, ZERO, State
from commonhold.chain.contract import plain
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.units import Address

QUORUMS: Final[dict[ContractName, str]] = {"Members": "attesters", "Ledger": "appraisers"}  # and the view that lists it


@dataclass(frozen=True, slots=True)
class Question:
    """`contract.function(*args)` should be `expected`; of a struct, its first values."""

    contract: ContractName
    function: str
    args: tuple[Any, ...]
    expected: Any

    def differs(self, got: Any) -> str | None:
        """How `got` differs from what was expected; None: it does not."""
        if isinstance(self.expected, tuple) and isinstance(got, tuple):
            got = tuple(got[: len(self.expected)])
        if got == self.expected:
            return None
        asked = ", ".join(str(plain(arg)) for arg in self.args)
        return f"{self.contract}.{self.function}({asked}) is {_text(got)}, the events say {_text(self.expected)}"


class Reader(Protocol):
    """Who answers questions, at one block. `how`: for people, whose word the answers are."""

    at: BlockStamp
    how: str
    at_once: int  # questions

    async def read(self, questions: Sequence[Question]) -> list[Any]:
        """The answers, in order."""
        ...

    async def items(self, name: ContractName, function: str) -> tuple[Any, ...]:
        """A list whose length is not known."""
        ...

    async def signers(self, name: ContractName) -> tuple[frozenset[Address], int]:
        """The signers of the contract's quorum, and how many of them it takes."""
        ...


class Calls:
    """Asks the contracts by calls."""

    how = "by calls, as the node answers"
    at_once = 500  # in batches of as many as the node takes

    def __init__(self, rpc: Rpc, deployment: Deployment, at: BlockStamp) -> None:
        self._rpc, self._deployment, self.at = rpc, deployment, at

    async def read(self, questions: Sequence[Question]) -> list[Any]:
        """The answers, in order."""
        address_of = self._deployment.address_of
        views = [(q.contract, address_of(q.contract), q.function, q.args) for q in questions]
        return await self._rpc.calls(views, at=self.at)

    async def items(self, name: ContractName, function: str) -> tuple[Any, ...]:
        """A list whose length is not known."""
        return tuple(await self._rpc.call(name, self._deployment.address_of(name), function, at=self.at))

    async def signers(self, name: ContractName) -> tuple[frozenset[Address], int]:
        """The signers of the contract's quorum, and how many of them it takes."""
        address = self._deployment.address_of(name)
        accounts = await self._rpc.call(name, address, QUORUMS[name], at=self.at)
        return frozenset(accounts), int(await self._rpc.call(name, address, "threshold", at=self.at))


@dataclass(slots=True)
class Asked:
    """How many questions were asked, and how many answers differ; the first of those in words."""

    count: int = 0
    failed: int = 0
    differences: list[str] = field(default_factory=list)


async def ask(reader: Reader, questions: Iterable[Question]) -> Asked:
    """Every difference between what the contracts answer and what was expected."""
    asked, left = Asked(), iter(questions)
    while some := list(islice(left, reader.at_once)):
        for question, got in zip(some, await reader.read(some), strict=True):
            asked.count += 1
            if difference := question.differs(got):
                asked.failed += 1
                if len(asked.differences) < KEPT:
                    asked.differences.append(difference)
    return asked


def wiring(d: Deployment) -> Iterator[Question]:
    """Which contract each contract works with."""
    yield Question("Members", "ledger", (), d.ledger)
    yield Question("Members", "access", (), d.access)
    yield Question("Ledger", "members", (), d.members)
    yield Question("Access", "members", (), d.members)
    yield Question("Access", "ledger", (), d.ledger)
    yield Question("Access", "meter", (), d.meter)
    yield Question("Access", "token", (), d.token)
    yield Question("Meter", "ledger", (), d.ledger)
    yield Question("Meter", "access", (), d.access)
    yield Question("Meter", "members", (), d.members)


def members(state: State) -> Iterator[Question]:
    """Controller, times, root and nullifier of every member, and who may leave its group or be replaced."""
    for address, member in state.members.items():
        stored = (member.controller or ZERO, member.since, member.until, member.refuses_gifts)
        yield Question("Members", "memberOf", (address,), stored)
        yield Question("Members", "successorOf", (address,), member.successor or ZERO)
        yield Question("Members", "rootOf", (address,), state.root_of(address))
        yield Question("Members", "detachmentOf", (address,), member.detach_ready_at or 0)
        recovery = (member.recovery_to or ZERO, member.recovery_ready_at or 0)
        yield Question("Members", "recoveryOf", (address,), recovery)
    for nullifier in state.nullifiers:
        yield Question("Members", "nullifierUsed", (nullifier,), True)


def classes(state: State) -> Iterator[Question]:
    """Which classes there are; limits and total of each."""
    yield Question("Ledger", "classIds", (), tuple(state.classes))
    for class_id, c in state.classes.items():
        p = c.created
        limits = (p.kind, p.hold_bps, p.use_bps, p.min_level, p.floor_units, c.total)
        yield Question("Ledger", "classOf", (class_id,), limits)


def assets(state: State) -> Iterator[Question]:
    """Every asset as appraised now, its URI and its devices."""
    for asset, a in state.assets.items():
        r, now = a.registered, a.now
        identity = (r.class_id, a.operator, now.expires_at, now.level, a.retired, r.units)
        found = (now.content_hash, now.result_hash, now.meter_key[:32], now.meter_key[32:], a.commons_price)
        yield Question("Ledger", "assetOf", (asset,), (*identity, *found))
        if r.uri is not UNREAD:
            yield Question("Ledger", "tokenURI", (asset,), r.uri)
        yield Question("Ledger", "totalSupply", (asset,), r.units)
    for device, asset in state.devices.items():
        yield Question("Ledger", "assetOfDevice", (device,), asset)


def holdings(state: State) -> Iterator[Question]:
    """Every balance of units, and what each group holds of each class."""
    for (asset, owner), units in state.holdings.items():
        yield Question("Ledger", "balanceOf", (owner, asset), units)
    for class_id, held in state.held.items():
        for root, units in held.items():
            yield Question("Ledger", "heldBy", (class_id, root), units)


def credits(state: State) -> Iterator[Question]:
    """Every price and balance of credits; what was issued, acquired and redeemed in each window."""
    for credit, offer in state.offers.items():
        yield Question("Access", "priceOf", (credit,), (True, offer.price))
    for (credit, holder), seconds in state.credits.items():
        yield Question("Access", "balanceOf", (holder, credit), seconds)
    for (asset, window), seconds in state.issued.items():
        yield Question("Access", "issued", (asset, window), seconds)
    for function, used in (("acquiredBy", state.acquired), ("redeemedBy", state.redeemed)):
        for (class_id, window), per_root in used.items():
            for root, seconds in per_root.items():
                yield Question("Access", function, (class_id, window, root), seconds)


def leases(state: State) -> Iterator[Question]:
    """Every lease, and what is settled of it."""
    for lease, row in state.leases.items():
        r = row.redeemed
        head = (r.holder, r.starts_at, r.level, row.changes, row.key_number, row.refunded is not None)
        stored = (*head, r.id, r.amount, row.settled_ms, row.price, r.key_x, r.key_y)
        yield Question("Access", "leaseOf", (lease,), stored)
        yield Question("Meter", "settledMs", (lease,), row.settled_ms)


def delivered(state: State) -> Iterator[Question]:
    """GPU time delivered, by class, window, group and level."""
    for key, gpu_ms in state.delivered.items():
        yield Question("Meter", "deliveredMs", key, gpu_ms)


def anchors(state: State) -> Iterator[Question]:
    """How far the anchors of each submitter go, and the last of their hash chain."""
    for submitter, epoch in state.next_epoch.items():
        yield Question("Meter", "nextEpoch", (submitter,), epoch)
        yield Question("Meter", "lastAnchor", (submitter,), state.last(submitter))


# What is asked, in the order of the report.
KEPT_BY_CONTRACTS: Final[tuple[tuple[str, Callable[[State], Iterator[Question]]], ...]] = (
    ("members as the contract says", members),
    ("classes as the contract says", classes),
    ("assets as the contract says", assets),
    ("holdings as the contract says", holdings),
    ("credits as the contract says", credits),
    ("leases as the contract says", leases),
    ("GPU time delivered as the contract says", delivered),
    ("anchors as the contract says", anchors),
)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(str(plain(item)) for item in value) + ")"
    return str(plain(value))
