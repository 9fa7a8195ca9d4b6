"""What the contracts answer at one block, against what their events add up to. A missing event shows here."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from commonhold.anchor.state import State
from commonhold.chain.contract import plain
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.units import Hash32, credit_parts

ZERO = bytes(20)
AT_ONCE = 16  # calls under way; a node answers them in parallel and none is flooded


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


async def ask(
    rpc: Rpc,
    deployment: Deployment,
    questions: Sequence[Question],
    at: BlockStamp,
) -> list[str]:
    """Every difference between what the contracts answer and what was expected."""
    differences: list[str] = []
    for start in range(0, len(questions), AT_ONCE):
        some = questions[start : start + AT_ONCE]
        calls = (rpc.call(q.contract, deployment.address_of(q.contract), q.function, *q.args, at=at) for q in some)
        answers = await asyncio.gather(*calls)
        differences += [d for q, got in zip(some, answers, strict=True) if (d := q.differs(got))]
    return differences


def members(state: State) -> Iterator[Question]:
    """Controller, times, root and nullifier of every member."""
    for address, member in state.members.items():
        stored = (member.controller or ZERO, member.since, member.until)
        yield Question("Members", "memberOf", (address,), stored)
        yield Question("Members", "rootOf", (address,), state.root_of(address))
        yield Question("Members", "nullifierUsed", (member.nullifier,), True)


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
        identity = (r.class_id, r.registrant, now.expires_at, now.level, r.units, now.content_hash, now.result_hash)
        yield Question("Ledger", "assetOf", (asset,), (*identity, now.meter_key[:32], now.meter_key[32:]))
        yield Question("Ledger", "tokenURI", (asset,), r.uri)
    for device, asset in state.devices.items():
        yield Question("Ledger", "assetOfDevice", (device,), asset)


def holdings(state: State) -> Iterator[Question]:
    """Every balance of units, the sum of each asset, and what each group holds of each class."""
    for (asset, owner), units in state.holdings.items():
        yield Question("Ledger", "balanceOf", (owner, asset), units)
    for asset in state.assets:
        total = sum(units for (of, _), units in state.holdings.items() if of == asset)
        yield Question("Ledger", "totalSupply", (asset,), total)
    for (class_id, root), units in state.held.items():
        yield Question("Ledger", "heldBy", (class_id, root), units)


def credits(state: State) -> Iterator[Question]:
    """Every price and balance of credits; what was issued, acquired and redeemed in each window."""
    for credit, offer in state.offers.items():
        yield Question("Access", "priceOf", (credit,), (True, offer.price))
    for (credit, holder), seconds in state.credits.items():
        yield Question("Access", "balanceOf", (holder, credit), seconds)
    for (asset, window), seconds in state.issued.items():
        yield Question("Access", "issued", (asset, window), seconds)
    for key, seconds in state.acquired.items():
        yield Question("Access", "acquiredBy", key, seconds)
    for key, seconds in state.redeemed.items():
        yield Question("Access", "redeemedBy", key, seconds)


def leases(state: State) -> Iterator[Question]:
    """Every lease, and what is settled of it."""
    for lease, row in state.leases.items():
        r = row.redeemed
        stored = (r.holder, r.id, r.amount, r.starts_at, row.released, r.key_x, r.key_y)
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
        yield Question("Meter", "lastAnchor", (submitter,), state.last_anchor[submitter])


def sums(state: State) -> list[str]:
    """What must add up inside the replayed state, and does not."""
    found = [f"credits {credit} burnt without a lease: {n}" for (credit, _), n in state.burnt.items() if n]
    owned, commons, held = Counter[Hash32](), Counter[Hash32](), Counter[Hash32]()
    for (asset, owner), units in state.holdings.items():
        owned[state.assets[asset].registered.class_id] += units
        if owner == state.ledger:
            commons[state.assets[asset].registered.class_id] += units
    for (class_id, _), units in state.held.items():
        held[class_id] += units
    for class_id, c in state.classes.items():
        registered = sum(a.registered.units for a in state.assets.values() if a.registered.class_id == class_id)
        if not c.total == registered == owned[class_id] == commons[class_id] + held[class_id]:
            found.append(
                f"class {c.created.name}: total {c.total}, assets {registered}, owned {owned[class_id]}, "
                f"by groups {held[class_id]}, in the commons {commons[class_id]}"
            )
    there = Counter[tuple[int, int]]()
    for (credit, _), seconds in state.credits.items():
        there[credit_parts(credit)[:2]] += seconds
    for row in state.leases.values():
        there[credit_parts(row.redeemed.id)[:2]] += row.redeemed.amount
    found += [
        f"asset {key[0]}, window {key[1]}: {state.issued.get(key, 0)} s issued, {there[key]} s there"
        for key in state.issued | there
        if state.issued.get(key, 0) != there[key]
    ]
    settled = sum(row.settled_ms for row in state.leases.values())
    if not settled == sum(state.delivered.values()) == sum(state.hours.values()):
        found.append(f"leases settled {settled} ms, classes were delivered {sum(state.delivered.values())} ms")
    return found


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(str(plain(item)) for item in value) + ")"
    return str(plain(value))
