"""Who may do what in a deployment, asked of a chain: every role, every parameter and how far it can be moved. All is
well where no key holds a power: the council alone acts through the timelock, and every quorum needs two.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from commonhold.chain import code, events, governing
from commonhold.chain.contract import plain
from commonhold.chain.decode import decode
from commonhold.chain.deploy import fixed
from commonhold.chain.deployment import FOLLOWED, MADE, ContractName, Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.governing import Governed
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.signing import ZERO32
from commonhold.units import Address, Hash32, address_text, hex_text, keccak256

ZERO = Address(bytes(20))
ADMIN, PROPOSER, CANCELLER, EXECUTOR = (
    ZERO32,
    *(keccak256(f"{name}_ROLE".encode()) for name in ("PROPOSER", "CANCELLER", "EXECUTOR")),
)
ROLES = {ADMIN: "admin", PROPOSER: "proposer", CANCELLER: "canceller", EXECUTOR: "executor"}
QUORUMS: tuple[tuple[Governed, str], ...] = (("Members", "attesters"), ("Ledger", "appraisers"))


@dataclass(frozen=True, slots=True)
class Power:
    """One thing that was asked. `ok`: it is as it must be; `wrong` says how it is not."""

    contract: ContractName
    what: str
    value: str
    wrong: str = ""

    @property
    def ok(self) -> bool:
        return not self.wrong


async def prove(rpc: Rpc, d: Deployment, at: BlockStamp) -> list[Power]:
    """All that decides who may do what, at one block. No key holds a power when each is `ok`."""
    history = [event async for event in _history(rpc, d, at)]
    found = [await _code(rpc, d, name, at) for name in MADE]
    for (name, function), value in fixed(d).items():
        got = await rpc.call(name, d.address_of(name), function, at=at)
        wrong = "" if got == value else f"the deployment file says {plain(value)}"
        found.append(Power(name, function, str(plain(got)), wrong))
    found += await _timelock(rpc, d, at, history)
    for quorum, signers in QUORUMS:
        found.append(await _quorum(rpc, d, at, quorum, signers, history))
        found += await _settings(rpc, d, at, quorum)
    found.append(await _groups(rpc, d, at, history))
    return found


async def roles(rpc: Rpc, d: Deployment, account: Address, at: BlockStamp) -> list[str]:
    """Every power that the contracts give the account at a block, in words; empty: it has none.

    The contracts have no other: no owner, nobody who may pause or replace them.
    """
    found: list[str] = []
    if await rpc.call("Members", d.members, "isAttester", account, at=at):
        found.append("attester")
    if await rpc.call("Ledger", d.ledger, "isAppraiser", account, at=at):
        found.append("appraiser")
    if (await rpc.call("Members", d.members, "memberOf", account, at=at)).since:
        found.append("member")
    for role, name in ROLES.items():
        if await rpc.call("Timelock", d.timelock, "hasRole", role, account, at=at):
            found.append(f"{name} of the timelock")

    trusted: dict[tuple[str, Address], bool] = {}
    async for event in _history(rpc, d, at):
        if isinstance(event, events.Registered) and event.registrant == account:
            found.append(f"operator of asset {event.asset}")
        if isinstance(event, events.OperatorSet) and event.spender == account:
            trusted[event.contract, event.owner] = event.approved
    found += [f"ERC-6909 operator of {address_text(owner)} in {name}" for (name, owner), on in trusted.items() if on]
    return found


async def _code(rpc: Rpc, d: Deployment, name: ContractName, at: BlockStamp) -> Power:
    runtime = await rpc.code(d.address_of(name), at)
    digest = keccak256(runtime)
    wrong = code.defect(name, runtime, code.words(name, d)) or ""
    if not wrong and d.code.get(name) != digest:
        wrong = f"the deployment file says {hex_text(d.code[name])}"
    return Power(name, "code", f"{len(runtime)} bytes, {hex_text(digest)}", wrong)


async def _timelock(rpc: Rpc, d: Deployment, at: BlockStamp, history: list[ChainEvent]) -> list[Power]:
    """Who has each role: by the events, and by the contract's own answer for everyone they name."""
    held: dict[Hash32, set[Address]] = defaultdict(set)
    named = {d.council, d.timelock, d.deployer, ZERO}
    for event in history:
        if isinstance(event, governing.RoleGranted):
            held[event.role].add(event.account)
            named.add(event.account)
        if isinstance(event, governing.RoleRevoked):
            held[event.role].discard(event.account)
    meant = {ADMIN: {d.timelock}, PROPOSER: {d.council}, CANCELLER: {d.council}, EXECUTOR: {ZERO}}
    found = []
    for role in sorted(meant | held, key=lambda role: ROLES.get(role, hex_text(role))):
        answers = [who for who in sorted(named) if await rpc.call("Timelock", d.timelock, "hasRole", role, who, at=at)]
        wrong = ""
        if set(answers) != held[role]:
            wrong = f"the events say {_who(held[role], d)}"
        elif held[role] - meant.get(role, set()):
            wrong = f"expected {_who(meant.get(role, set()), d)}"
        found.append(Power("Timelock", f"role {ROLES.get(role, hex_text(role))}", _who(set(answers), d), wrong))
    return found


async def _quorum(
    rpc: Rpc, d: Deployment, at: BlockStamp, name: Governed, function: str, history: list[ChainEvent]
) -> Power:
    """Who signs, and how many must; and who is to be added."""
    signers = await rpc.call(name, d.address_of(name), function, at=at)
    threshold = int(await rpc.call(name, d.address_of(name), "threshold", at=at))
    told: set[Address] = set()
    waiting: set[Address] = set()
    for event in history:
        if isinstance(event, governing.SignerScheduled) and event.contract == name:
            waiting.add(event.signer)
        if isinstance(event, governing.SignerAdded) and event.contract == name:
            told.add(event.signer)
            waiting.discard(event.signer)
        if isinstance(event, governing.SignerRemoved) and event.contract == name:
            (waiting if event.signer in waiting else told).discard(event.signer)
    wrong = ""
    if told != set(signers):
        wrong = f"the events say {_who(told, d)}"
    elif threshold < 2:
        wrong = "one key is enough: expected a threshold of 2 or more"
    elif 2 * threshold <= len(signers):
        wrong = "expected a majority"
    text = f"{threshold} of {len(signers)}: {_who(set(signers), d)}"
    text += f"; to be added: {_who(waiting, d)}" if waiting else ""
    abdicated = await rpc.call(name, d.address_of(name), "isAbdicated", _name("signers"), ZERO32, at=at)
    return Power(name, function, text + ("; fixed for good" if abdicated else ""), wrong)


async def _settings(rpc: Rpc, d: Deployment, at: BlockStamp, name: Governed) -> list[Power]:
    """Every setting with its bounds, its step, and what waits."""
    names, subjects = await rpc.call(name, d.address_of(name), "settings", at=at)
    found = []
    for key, subject in zip(names, subjects, strict=True):
        s = await rpc.call(name, d.address_of(name), "settingOf", key, subject, at=at)
        tighter = "lower" if s.lower_is_tighter else "higher"
        text = f"{s.value} in {s.min} to {s.max}, by {s.step} at most, {tighter} is tighter"
        text += f"; {s.pending} from {s.pending_at} on" if s.pending_at else ""
        text += f"; not before {s.next_change_at}" if s.next_change_at > at.timestamp else ""
        text += "; abdicated" if s.abdicated else ""
        of = f" of {hex_text(subject)[:10]}" if subject != ZERO32 else ""
        wrong = "" if s.min <= s.value <= s.max else "out of its bounds"
        found.append(Power(name, key.rstrip(b"\0").decode(errors="replace") + of, text, wrong))
    return found


async def _groups(rpc: Rpc, d: Deployment, at: BlockStamp, history: list[ChainEvent]) -> Power:
    """The number of groups, which each have a vote: no other than those that the events tell of."""
    groups = int(await rpc.call("Members", d.members, "groups", at=at))
    counted: set[Address] = set()
    controlled: set[Address] = set()
    for event in history:
        match event:
            case events.Admitted():
                counted.add(event.member)
            case events.Renewed() if event.member not in controlled:
                counted.add(event.member)
            case events.Lapsed():
                counted.discard(event.member)
            case events.Attached():
                counted.discard(event.old_root)
                controlled.add(event.old_root)
            case events.Detached():
                counted.add(event.member)
                controlled.discard(event.member)
            case events.Recovered():
                for places in (counted, controlled):
                    if event.member in places:
                        places.add(event.successor)
                counted.discard(event.member)
                controlled.add(event.member)
            case _:
                continue
    return Power("Members", "groups", str(groups), "" if groups == len(counted) else f"the events say {len(counted)}")


def _who(accounts: set[Address], d: Deployment) -> str:
    names = {ZERO: "anyone", d.deployer: "the deployer"} | {d.address_of(name): name for name in FOLLOWED}
    return ", ".join(names.get(who, address_text(who)) for who in sorted(accounts)) or "nobody"


def _name(text: str) -> Hash32:
    return Hash32(text.encode().ljust(32, b"\0"))


async def _history(rpc: Rpc, d: Deployment, at: BlockStamp) -> AsyncIterator[ChainEvent]:
    """Every event of the deployment up to a block, in order."""
    first = await rpc.header(d.block)
    after = await rpc.header(first.number - 1)
    while after.number < at.number:
        span = await rpc.span(d.followed, after, at.number)
        for log in span.logs:
            yield decode(log, d)
        after = span.blocks[-1]
