"""The audit: everything again from the chain alone, held against the contracts and against what services say.

In: an RPC endpoint, the deployment's addresses, and any number of services. Out: numbered checks, each with what it
found. It reads the events once, in order, a span at a time, and trusts nobody's sums: what it holds in memory is the
state, never the history. Services are compared at the blocks that they stand at, on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import httpx

from commonhold.anchor.audit import numbers, questions, service, sums
from commonhold.anchor.audit.base import Base
from commonhold.anchor.audit.compare import agreement, compare
from commonhold.anchor.audit.questions import Calls, Question, Reader
from commonhold.anchor.audit.reading import Progress, Reading
from commonhold.anchor.audit.report import AuditReport
from commonhold.anchor.audit.series import Owned
from commonhold.anchor.audit.service import Said, ServiceUnreadable
from commonhold.anchor.audit.signed import Signatures, Signers, signers_of
from commonhold.anchor.audit.slots import Proofs
from commonhold.anchor.audit.state import State
from commonhold.chain.contract import CONTRACTS
from commonhold.chain.decode import UnknownEvent
from commonhold.chain.deployment import Deployment
from commonhold.chain.rpc import Rpc, RpcLied
from commonhold.chain.stamp import BlockStamp
from commonhold.errors import BadInput, Unavailable
from commonhold.units import BlockNumber, Hash32, address_text, hex_text, keccak256


@dataclass(frozen=True, slots=True)
class Options:
    """block_hash: the block to audit, given by who trusts it; None: where the services stand, else the newest, or with
    proofs the newest final one."""

    block_hash: Hash32 | None = None
    from_block: int | None = None  # None: from the deployment on
    proofs: bool = False  # what the contracts keep is read by proofs of their storage, not by calls


NO_OPTIONS = Options()

_CALLED = ("What the contracts keep at that block: the node's word, held against the events.",)
_FROM = (
    "What stood before the first block: as the contracts kept it then; what nobody touched since is not looked at.",
)
_PROVEN = (
    "What the contracts keep at that block: nobody's word; every word of storage was proven from the state root.",
    "What is part of the code (length of a window, horizon, which contract works with which) and the payment token's "
    "balance: the node's word; the hash of each contract's code is proven, so compare that with your own build's.",
)


async def audit(
    rpc: Rpc,
    deployment: Deployment,
    services: Sequence[httpx.AsyncClient] = (),
    *,
    options: Options = NO_OPTIONS,
    progress: Progress = lambda done, total: None,
) -> AuditReport:
    """Every check, in order: the chain's at the audited block, each service's at the block that it stands at.

    Raises WrongChain, BadInput and Unavailable errors of the node; all else that is wrong is a check that fails.
    """
    await rpc.check(deployment)
    if options.from_block is not None and services:
        raise BadInput(
            "an audit from a block on is of the chain alone: services are compared in one of the whole chain"
        )
    asked = [await ask(rpc, http) for http in services]
    stand = [one.stamp for one in asked if one.stamp]
    at = await _audited(rpc, options, stand)
    run = Audit(rpc, deployment, at, options)
    stops = sorted({stamp.number: stamp for stamp in (at, *stand)}.values(), key=_number)
    await run.begin(stops[-1], progress)
    for stamp in stops:
        if not await run.read(stamp):
            break
        if stamp == at:
            await run.chain()
        for one in asked:
            if one.stamp == stamp:
                await run.service(one)
    for one in asked:
        if one.stamp is None:
            run.nowhere(one)
    await run.agree(asked)
    await run.still_there()
    return run.finish(asked)


@dataclass(frozen=True, slots=True)
class Asked:
    """A service, what it says or why that cannot be read, and the block that it stands at; None: none of this chain."""

    http: httpx.AsyncClient
    said: Said | None
    why: str
    stamp: BlockStamp | None

    @property
    def name(self) -> str:
        return f"service {self.http.base_url.netloc.decode()}"


async def ask(rpc: Rpc, http: httpx.AsyncClient) -> Asked:
    """All that the service says, and where it stands."""
    try:
        said = await service.read(http)
    except (ServiceUnreadable, BadInput) as e:
        return Asked(http, None, str(e), None)
    why = f"its block {said.number} {hex_text(said.hash)} is not on this chain"
    return Asked(http, said, why, await rpc.block(said.hash))


async def _audited(rpc: Rpc, options: Options, stand: Sequence[BlockStamp]) -> BlockStamp:
    if options.block_hash is not None:
        if (found := await rpc.block(options.block_hash)) is None:
            raise BadInput(
                f"block {hex_text(options.block_hash)}: the node does not know it, expected one of its chain"
            )
        return found
    return max(stand, key=_number, default=None) or await rpc.head("finalized" if options.proofs else "latest")


def _number(stamp: BlockStamp) -> int:
    return stamp.number


@dataclass(frozen=True, slots=True)
class Found:
    """A check without its number: the report numbers the chain's first, then those of the services."""

    name: str
    faults: Sequence[str]
    fine: str
    failed: int = 0


@dataclass(slots=True)
class Audit:
    """One audit at block `at`, in steps; `audit` takes them all. `state` is what the events read so far add up to."""

    rpc: Rpc
    deployment: Deployment
    at: BlockStamp
    options: Options = NO_OPTIONS
    of_chain: list[Found] = field(default_factory=list)
    of_services: list[Found] = field(default_factory=list)
    report: AuditReport = field(init=False)
    state: State = field(init=False)
    _reading: Reading = field(init=False)

    def __post_init__(self) -> None:
        d = self.deployment
        self.report = AuditReport(
            block=self.at.number,
            block_hash=hex_text(self.at.hash),
            time_s=self.at.timestamp,
            chain_id=d.chain_id,
            contracts={name: address_text(d.address_of(name)) for name in CONTRACTS},
            from_block=d.block,
            trust=self._trust(),
        )

    async def begin(self, last: BlockStamp, progress: Progress) -> None:
        """The parameters are read, and the contracts name each other."""
        d, reader = self.deployment, Calls(self.rpc, self.deployment, self.at)
        if self.options.proofs:
            await self._code()
        wired = await questions.ask(reader, questions.wiring(d))
        fine = f"chain {d.chain_id}, block {self.at.number}, {reader.how}"
        self.of_chain.append(Found("contracts name each other", wired.differences, fine, wired.failed))
        parameters = [Question("Access", name, (), None) for name in ("windowSeconds", "horizon")]
        window_seconds, horizon = await reader.read(parameters)
        self.state = State(int(window_seconds), int(horizon), d.ledger)
        base = await self._base()
        before = base.at if base else await self.rpc.header(d.block - 1)
        self.report.from_block = before.number + 1
        owned = Owned(self.state.window_seconds)
        signatures = Signatures(self.rpc, d)
        self._reading = Reading(self.rpc, d, self.state, owned, signatures, before, last.number, progress, base)

    async def _base(self) -> Base | None:
        """What stands before the block to begin with; None: nothing does."""
        first = self.options.from_block
        if first is None or first <= self.deployment.block:
            return None
        if first > self.at.number:
            raise BadInput(f"from block {first}: expected one up to the audited block {self.at.number}")
        base = Base(self.reader(await self.rpc.header(first - 1)))
        await base.begin(self.state)
        return base

    async def _code(self) -> None:
        """What calls are answered by is the code that the block commits to."""
        d, faults = self.deployment, []
        for name in CONTRACTS:
            proven = await self.rpc.account(d.address_of(name), at=self.at)
            if keccak256(await self.rpc.code(d.address_of(name), self.at)) != proven.code_hash:
                faults.append(f"{name}: the node gives other code than the block's state has")
            self.report.code[name] = hex_text(proven.code_hash)
        self.of_chain.append(Found("code is what the block's state has", faults, f"{len(CONTRACTS)} hashes proven"))

    def reader(self, at: BlockStamp) -> Reader:
        """Who says what the contracts keep at a block."""
        kind = Proofs if self.options.proofs else Calls
        return kind(self.rpc, self.deployment, at)

    async def read(self, stamp: BlockStamp) -> bool:
        """The state is that of the block; False, and a check that fails, when the events cannot be read."""
        try:
            await self._reading.to(stamp)
        except (UnknownEvent, Unavailable, RpcLied) as e:
            self.of_chain.append(Found("events are read", [str(e)], ""))
            return False
        return True

    async def chain(self) -> None:
        """The checks that need no service."""
        state, reader = self.state, self.reader(self.at)
        how = "every header and receipt recomputed" if self.rpc.verify_logs else "as the node says: not recomputed"
        where = f"blocks {self.report.from_block} to {self.at.number}"
        self.of_chain.append(Found("events are read", [], f"{state.count} events in {where}, {how}"))
        for rule, looked in state.found.by_rule.items():
            self.of_chain.append(Found(rule.value, looked.faults, f"looked at {looked.times} times", looked.failed))
        whole = state.known is None
        if whole:
            fine = f"{len(state.holdings)} balances, {len(state.credits)} of credits"
            self.of_chain.append(Found("sums add up", list(sums.differences(state)), fine))
        for name, asked_of in questions.KEPT_BY_CONTRACTS:
            asked = await questions.ask(reader, asked_of(state))
            fine = f"{asked.count} answers equal, {reader.how}"
            self.of_chain.append(Found(name, asked.differences, fine, asked.failed))
        kept = [(name, Signers(*await reader.signers(name)), signers_of(state, name)) for name in questions.QUORUMS]
        differ = [f"{name}: {there}, the events say {told}" for name, there, told in kept if there != told]
        self.of_chain.append(Found("quorums as the contract says", differ, f"{len(kept)} equal, {reader.how}"))
        self.of_chain.append(await self._escrow())
        self.report.events = state.count
        self.report.gpu_hours = numbers.gpu_hours(state)
        if whole:
            owned = self._reading.owned
            owned.sample(state, self.at.timestamp)
            self.report.concentration = numbers.concentrations(state)
            self.report.series = numbers.series(state, owned)

    async def _escrow(self) -> Found:
        """Access has what it owes; where the audit begins in the middle, it has as much more as it owes more."""
        d, owed, name = self.deployment, self.state.escrow, "payments not released are there (6)"
        balance = int(await self.rpc.call("Coin", d.token, "balanceOf", d.access, at=self.at))
        if self.state.known is None:
            short = [f"Access has {balance} wei, {owed} are owed"] if balance < owed else []
            return Found(name, short, f"{owed} wei owed, {balance} there")
        before = await self.rpc.header(self.report.from_block - 1)
        balance -= int(await self.rpc.call("Coin", d.token, "balanceOf", d.access, at=before))
        short = [f"Access has {balance} wei more than before, {owed} more are owed"] if balance < owed else []
        return Found(name, short, f"{owed} wei more owed than before, {balance} more there")

    async def service(self, one: Asked) -> None:
        """The checks of what a service says at its block, which the state is at."""
        if one.said is not None:
            await compare(one.http, one.said, self.state, self.deployment, partial(self._of_service, one.name))

    def nowhere(self, one: Asked) -> None:
        """The check of a service that cannot be compared with anything."""
        self._of_service(one.name, "stands on this chain", [one.why], "")

    async def agree(self, asked: Sequence[Asked]) -> None:
        """Services agree with each other, when there are several."""
        there = [(one.name, one.http, one.said) for one in asked if one.said]
        if len(there) > 1:
            faults, fine = await agreement(there)
            self.of_services.append(Found("services agree with each other", faults, fine))

    async def still_there(self) -> None:
        """The audited block was not replaced while we read."""
        now = await self.rpc.block(BlockNumber(self.at.number))
        gone = [] if now and now.hash == self.at.hash else ["it was replaced while the audit ran: run it again"]
        self.of_chain.append(Found("block is still on the chain", gone, f"{self.at.number} {hex_text(self.at.hash)}"))

    def finish(self, asked: Sequence[Asked]) -> AuditReport:
        """The report of all steps taken."""
        self.report.services = [
            {
                "service": str(one.http.base_url),
                "block": one.said.number if one.said else None,
                "digest": one.said.status.get("digest") if one.said else None,
            }
            for one in asked
        ]
        for found in (*self.of_chain, *self.of_services):
            self.report.check(found.name, found.faults, found.fine, failed=found.failed)
        return self.report

    def _trust(self) -> list[str]:
        """Whose word is taken for what."""
        if self.rpc.verify_logs:
            events = "Events: nobody's word; every header, its link to the one before and all receipts were recomputed."
        else:
            events = "Events: the node's word; left out or added ones would show only in what the contracts keep."
        return [
            f"That block {self.at.number} {hex_text(self.at.hash)} is the chain's: compare it with a node of your own.",
            events,
            *(_FROM if self.options.from_block is not None else ()),
            *(_PROVEN if self.options.proofs else _CALLED),
        ]

    def _of_service(self, name: str, what: str, faults: Sequence[str], fine: str) -> None:
        self.of_services.append(Found(f"{name}: {what}", faults, fine))
