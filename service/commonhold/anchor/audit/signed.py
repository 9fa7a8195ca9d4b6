"""Who signed what events tell of, out of the data of their transactions: the contracts checked it; here it is again.

A statement is found where its function is called, also inside the data of another call (a batch, a smart account). It
proves itself: its fields are the event's, its digest the asset's or the lease's id, its signatures its signers' own. So
the node's word about a transaction can hide a signature, but not make one up. Not seen are statements that a contract
kept and sent by itself: then nothing is shown, and that is a fault here.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from commonhold import p256, signing
from commonhold.access.wallet import signed
from commonhold.anchor.audit.rules import Findings, Rule
from commonhold.anchor.audit.state import State
from commonhold.anchor.audit.step import shown
from commonhold.chain import events
from commonhold.chain.contract import BadCallData, contract, decode_values
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp, RawLog
from commonhold.signing import ZERO32, Statement
from commonhold.units import Address, Hash32, credit_parts

AT_ONCE: Final = 64  # events whose transactions are asked for together
MOST_PLACES: Final = 256  # of one function's selector in the data of one transaction

Calls = Callable[[ContractName, str], Iterator[tuple[Any, ...]]]  # contract, function -> arguments of each call


@dataclass(frozen=True, slots=True)
class Signers:
    """A quorum as it stood."""

    accounts: frozenset[Address]
    threshold: int


@dataclass(frozen=True, slots=True)
class Told:
    """An event that somebody must have signed for; and the keys that counted then."""

    event: ChainEvent
    block: BlockStamp
    transaction: Hash32
    quorum: Signers | None = None
    keys: tuple[bytes, ...] = ()  # of the node, and of the session by number
    holder: Address | None = None  # of the lease that it is about


class Signatures:
    """Collects events, and checks some at a time what was signed for them."""

    def __init__(self, rpc: Rpc, deployment: Deployment) -> None:
        self._rpc, self._deployment = rpc, deployment
        self._told: list[Told] = []

    async def add(self, state: State, event: ChainEvent, log: RawLog, block: BlockStamp) -> None:
        """The event is checked, now or with those after it. To be called when `state` has taken it in."""
        if type(event) not in CHECKS:
            return
        name = self._deployment.contract_at(log.address)
        quorum, keys, holder = signers_of(state, name) if name else None, tuple[bytes, ...](), None
        if (lease := state.leases.get(getattr(event, "lease", ZERO32))) is not None:
            asset = state.assets.get(credit_parts(lease.redeemed.id)[0])
            former = (point for point, _ in lease.former_keys)
            keys = (asset.now.meter_key if asset else b"", *former, lease.redeemed.key_x + lease.redeemed.key_y)
            holder = lease.redeemed.holder
        self._told.append(Told(event, block, log.transaction_hash, quorum, keys, holder))
        if len(self._told) >= AT_ONCE:
            await self.flush(state.found)

    async def flush(self, found: Findings) -> None:
        """All that was collected is checked."""
        told, self._told = self._told, []
        transactions = list(dict.fromkeys(one.transaction for one in told))
        inputs = dict(zip(transactions, await self._rpc.inputs(transactions) if transactions else (), strict=True))
        decoded: dict[tuple[Hash32, ContractName, str], list[tuple[Any, ...]]] = {}
        for one in told:

            def calls(name: ContractName, function: str, one: Told = one) -> Iterator[tuple[Any, ...]]:
                key = (one.transaction, name, function)
                if key not in decoded:
                    decoded[key] = list(_calls(inputs[one.transaction], name, function))
                return iter(decoded[key])

            fault = await CHECKS[type(one.event)](self, one, calls)
            if not found.check(Rule.SIGNED, fault is None):
                name = type(one.event).__name__
                found.fault(Rule.SIGNED, f"block {one.block.number}: {name} {_of(one.event)}: {fault}")

    async def by_quorum(self, one: Told, statement: Statement, quorum: Any) -> str | None:
        """None: a quorum of the contract's signers signed the statement in time."""
        if one.quorum is None:
            return "its contract has no quorum"
        digest = signing.digest(self._deployment.domain(_contract(statement)), statement)
        counted: set[Address] = set()
        for signer, signature in quorum:
            if signer not in one.quorum.accounts:
                return f"{shown(signer)} signed, and is none of the quorum"
            if not await signed(self._rpc, signer, digest, signature, at=one.block):
                return f"the signature of {shown(signer)} is not its own"
            counted.add(signer)
        if len(counted) < one.quorum.threshold:
            return f"{len(counted)} of a quorum of {one.quorum.threshold} signed"
        return self.in_time(one, statement)

    async def by_holder(self, one: Told, statement: Statement, signature: bytes) -> str | None:
        """None: the lease's holder signed in time, or sent the statement itself: the contract takes none unsigned from
        anybody else."""
        if one.holder is None:
            return "there is no such lease"
        return await self.by_accounts(one, statement, {one.holder: signature} if signature else {})

    async def by_accounts(self, one: Told, statement: Statement, signatures: Mapping[Address, bytes]) -> str | None:
        """None: each account signed the statement in time."""
        digest = signing.digest(self._deployment.domain(_contract(statement)), statement)
        for account, signature in signatures.items():
            if not await signed(self._rpc, account, digest, signature, at=one.block):
                return f"the signature of {shown(account)} is not its own"
        return self.in_time(one, statement)

    def in_time(self, one: Told, statement: Statement) -> str | None:
        """None: the statement's deadline had not passed."""
        deadline: int = getattr(statement, "deadline")  # noqa: B009, of all statements but receipts and segments
        return None if one.block.timestamp <= deadline else f"signed to be used by {deadline}, used later"

    def digest(self, statement: Statement) -> Hash32:
        """What a wallet signs."""
        return signing.digest(self._deployment.domain(_contract(statement)), statement)

    def preimage(self, statement: Statement) -> bytes:
        """What a P-256 key signs."""
        return signing.preimage(self._deployment.domain(_contract(statement)), statement)


NOT_SHOWN: Final = "its transaction does not show who signed for it"


async def _admitted(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.Admitted)  # noqa: S101, the table's key
    for struct, quorum in calls("Members", "admit"):
        statement = signing.Admission(*struct)
        if (statement.member, statement.nullifier, statement.until) == (event.member, event.nullifier, event.until):
            return await by.by_quorum(one, statement, quorum)
    return NOT_SHOWN


async def _renewed(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.Renewed)  # noqa: S101
    for struct, quorum in calls("Members", "renew"):
        statement = signing.Renewal(*struct)
        if (statement.member, statement.until) == (event.member, event.until):
            return await by.by_quorum(one, statement, quorum)
    return NOT_SHOWN


async def _attached(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.Attached)  # noqa: S101
    sides = (event.member, event.controller)
    if event.evidence == ZERO32:
        for struct, of_member, of_controller in calls("Members", "attach"):
            statement = signing.Attachment(*struct)
            if (statement.member, statement.controller) == sides:
                signatures = {event.old_root: of_member, event.new_root: of_controller}
                return await by.by_accounts(one, statement, signatures)
        return NOT_SHOWN
    for struct, quorum in calls("Members", "find"):
        finding = signing.Finding(*struct)
        if (finding.member, finding.controller, finding.evidence) == (*sides, event.evidence):
            return await by.by_quorum(one, finding, quorum)
    return NOT_SHOWN


async def _registered(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.Registered)  # noqa: S101
    for struct, quorum, *_ in calls("Ledger", "register"):
        statement = signing.Appraisal(*struct)
        if int.from_bytes(by.digest(statement)[-24:]) == event.asset:  # ILedger: the asset's id
            return await by.by_quorum(one, statement, quorum)
    return NOT_SHOWN


async def _appraisal_renewed(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.AppraisalRenewed)  # noqa: S101
    for asset, struct, quorum in calls("Ledger", "renew"):
        a = signing.Appraisal(*struct)
        said = (asset, a.level, a.policy, a.content_hash, a.result_hash, a.meter_key_x, a.meter_key_y, a.expires_at)
        told = (event.asset, event.level, event.policy, event.content_hash, event.result_hash)
        if said == (*told, event.meter_key_x, event.meter_key_y, event.expires_at):
            return await by.by_quorum(one, a, quorum)
    return NOT_SHOWN


async def _redeemed(by: Signatures, one: Told, calls: Calls) -> str | None:
    """The holder's own call needs no signature but its transaction's: its statement, whose digest is the lease, names
    the holder, and the contract takes it from nobody else."""
    event = one.event
    assert isinstance(event, events.Redeemed)  # noqa: S101
    for struct, signature in calls("Access", "redeemFor"):
        statement = signing.Redemption(*struct)
        if by.digest(statement) == event.lease:
            return await by.by_accounts(one, statement, {event.holder: signature})
    for (struct,) in calls("Access", "redeem"):
        statement = signing.Redemption(*struct)
        if by.digest(statement) == event.lease:
            return by.in_time(one, statement)
    return NOT_SHOWN


async def _detaching(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.DetachStarted)  # noqa: S101
    for struct, quorum in calls("Members", "detach"):
        statement = signing.Detachment(*struct)
        if (statement.member, statement.evidence) == (event.member, event.evidence):
            return await by.by_quorum(one, statement, quorum)
    return NOT_SHOWN


async def _recovering(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.RecoveryStarted)  # noqa: S101
    told = (event.member, event.successor, event.evidence)
    for struct, quorum in calls("Members", "recover"):
        statement = signing.Recovery(*struct)
        if (statement.member, statement.successor, statement.evidence) == told:
            return await by.by_quorum(one, statement, quorum)
    return NOT_SHOWN


async def _lease_split(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.LeaseSplit)  # noqa: S101
    for struct, signature in calls("Access", "split"):
        statement = signing.Split(*struct)
        if by.digest(statement) == event.part:
            return await by.by_holder(one, statement, signature)
    return NOT_SHOWN


async def _topped_up(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.ToppedUp)  # noqa: S101
    for struct, signature in calls("Access", "topUp"):
        statement = signing.TopUp(*struct)
        if (statement.lease, statement.amount) == (event.lease, event.amount):
            return await by.by_holder(one, statement, signature)
    return NOT_SHOWN


async def _key_rotated(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.KeyRotated)  # noqa: S101
    for struct, signature in calls("Access", "rotate"):
        statement = signing.Rotation(*struct)
        if (statement.lease, statement.key_x, statement.key_y) == (event.lease, event.key_x, event.key_y):
            return await by.by_holder(one, statement, signature)
    return NOT_SHOWN


async def _settled(by: Signatures, one: Told, calls: Calls) -> str | None:
    event = one.event
    assert isinstance(event, events.Settled)  # noqa: S101
    for (receipts,) in calls("Meter", "settle"):
        for struct, number, *halves in receipts:
            receipt = signing.Receipt(*struct)
            if (receipt.lease, receipt.gpu_ms, receipt.head) == (event.lease, event.gpu_ms, event.head):
                message = by.preimage(receipt)
                signatures = (halves[0] + halves[1], halves[2] + halves[3])
                if number + 1 >= len(one.keys):
                    return f"it is said to be signed by session key {number}, which the lease never had"
                keys = (one.keys[0], one.keys[number + 1])
                for whose, key, signature in zip(("node", "session"), keys, signatures, strict=True):
                    if not p256.verify_es256(key, message, signature):
                        return f"the signature of the {whose} key is not its own"
                return None
    return NOT_SHOWN


CHECKS: Final[dict[type, Callable[[Signatures, Told, Calls], Awaitable[str | None]]]] = {
    events.Admitted: _admitted,
    events.Renewed: _renewed,
    events.Attached: _attached,
    events.Registered: _registered,
    events.AppraisalRenewed: _appraisal_renewed,
    events.Redeemed: _redeemed,
    events.Settled: _settled,
    events.DetachStarted: _detaching,
    events.RecoveryStarted: _recovering,
    events.LeaseSplit: _lease_split,
    events.ToppedUp: _topped_up,
    events.KeyRotated: _key_rotated,
}


def signers_of(state: State, name: ContractName) -> Signers | None:
    """The quorum of the contract as it stands now; None: it has none."""
    threshold = state.settings.get((name, "threshold", ZERO32))
    if threshold is None or threshold.value is None:
        return None
    accounts = (account for (of, account), signer in state.signers.items() if of == name and signer.signs)
    return Signers(frozenset(accounts), threshold.value)


def _calls(data: bytes, name: ContractName, function: str) -> Iterator[tuple[Any, ...]]:
    """Arguments of each call of the function in a transaction's data, at whatever depth."""
    entry = contract(name).functions[function]
    at = -1
    for _ in range(MOST_PLACES):
        at = data.find(entry.hash[:4], at + 1)
        if at < 0:
            return
        try:
            yield decode_values(function, entry.inputs, data[at + 4 :])
        except BadCallData:
            continue


def _contract(statement: Statement) -> ContractName:
    name: ContractName = statement.CONTRACT  # type: ignore[assignment]
    return name


def _of(event: ChainEvent) -> str:
    """What the event is about: its first value."""
    return shown(getattr(event, fields(event)[0].name))
