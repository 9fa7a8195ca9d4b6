"""The audit: everything again from the chain alone, held against the contracts and against what a service says.

In: an RPC endpoint, the deployment's addresses, and a service or none. Out: numbered checks, each with what it found.
It reads the events once, in order, and trusts nobody's sums. What it cannot see: a node that hides every trace of an
account from events and calls alike; so ask a second node, and compare the block hash that the report names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from commonhold.anchor import records, rows, service, views
from commonhold.anchor.concentration import concentration
from commonhold.anchor.replay import replay
from commonhold.anchor.service import Said, ServiceUnreadable
from commonhold.anchor.state import State
from commonhold.chain.decode import UnknownEvent, decode
from commonhold.chain.deployment import Deployment
from commonhold.chain.rpc import Rpc, RpcLied
from commonhold.chain.stamp import BlockStamp
from commonhold.errors import BadInput, Unavailable
from commonhold.meter.segment import SignedReceipt
from commonhold.units import BlockNumber, gpu_hours_text, hex_text, to_address, units_text

RANGE = 2_000  # blocks asked for at a time, between two words of progress
SHOWN = 3  # differences that a check's detail names

Progress = Callable[[int, int], None]  # blocks read, of how many


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what was found."""

    number: int
    name: str
    ok: bool
    detail: str


@dataclass(slots=True)
class AuditReport:
    """Plain values only: it is printed as JSON. `ok` when every check holds."""

    block: int
    block_hash: str
    events: int = 0
    checks: list[Check] = field(default_factory=list)
    concentration: list[dict[str, str | int | None]] = field(default_factory=list)
    gpu_hours: list[dict[str, str | int]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """There are checks, and all of them hold."""
        return bool(self.checks) and all(check.ok for check in self.checks)


async def audit(
    rpc: Rpc,
    deployment: Deployment,
    service_http: httpx.AsyncClient | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> AuditReport:
    """Every check, in order. With a service: at the block that it stands at; else at the newest.

    Raises WrongChain and Unavailable errors of the node; everything else that is wrong is a check that fails.
    """
    await rpc.check(deployment)
    said, unreadable = await _said(service_http)
    at = await rpc.block(said.hash) if said else None
    same_branch = at is not None
    if at is None:
        at = await rpc.head("latest")
    run = Audit(rpc, deployment, at, progress)
    if await run.chain() and service_http is not None:
        if said is None or not same_branch:
            where = (
                unreadable if said is None else f"its block {said.number} {hex_text(said.hash)} is not on this chain"
            )
            run.check("service stands on this chain", [where], "")
        else:
            await run.service(service_http, said)
    await run.still_there()
    return run.report


async def _said(http: httpx.AsyncClient | None) -> tuple[Said | None, str]:
    """What the service says; else why that cannot be read."""
    if http is None:
        return None, ""
    try:
        return await service.read(http), ""
    except (ServiceUnreadable, BadInput) as e:
        return None, str(e)


class Audit:
    """One audit at one block, in steps; `audit` takes them all. `state` is what the events up to it add up to."""

    def __init__(self, rpc: Rpc, deployment: Deployment, at: BlockStamp, progress: Progress) -> None:
        self.rpc, self.deployment, self.at, self.progress = rpc, deployment, at, progress
        self.report = AuditReport(at.number, hex_text(at.hash))
        self.state = State(0, 0, deployment.ledger)

    def check(self, name: str, differences: Sequence[str], fine: str) -> None:
        """One more check, which holds when there are no differences. fine: what to say then."""
        detail = fine
        if differences:
            more = len(differences) - SHOWN
            detail = "; ".join(differences[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        self.report.checks.append(Check(len(self.report.checks) + 1, name, not differences, detail))

    async def chain(self) -> bool:
        """The checks that need no service; False when the events cannot even be read."""
        d, at = self.deployment, self.at
        self.state.window_seconds = int(await self.rpc.call("Access", d.access, "windowSeconds", at=at))
        self.state.horizon = int(await self.rpc.call("Access", d.access, "horizon", at=at))
        self.check("contracts name each other", await self._wiring(), f"chain {d.chain_id}, block {at.number}")
        try:
            await self._read_events()
        except (UnknownEvent, Unavailable, RpcLied) as e:
            self.check("events are read", [str(e)], "")
            return False
        state = self.state
        self.report.events = state.count
        how = "every header and receipt recomputed" if self.rpc.verify_logs else "as the node says: not recomputed"
        self.check("events are read", [], f"{state.count} events in blocks {d.block} to {at.number}, {how}")
        self.check("no event breaks a rule", state.faults, "limits, capacity, payments and links hold at every event")
        self.check("sums add up", views.sums(state), f"{len(state.holdings)} balances, {len(state.credits)} of credits")
        for name, questions in (
            ("members as the contract says", views.members),
            ("classes as the contract says", views.classes),
            ("assets as the contract says", views.assets),
            ("holdings as the contract says", views.holdings),
            ("credits as the contract says", views.credits),
            ("leases as the contract says", views.leases),
            ("GPU time delivered as the contract says", views.delivered),
            ("anchors as the contract says", views.anchors),
        ):
            asked = list(questions(state))
            differences = await views.ask(self.rpc, d, asked, at)
            self.check(name, differences, f"{len(asked)} answers equal")
        balance = int(await self.rpc.call("Coin", d.token, "balanceOf", d.access, at=at))
        short = [f"Access has {balance} wei, {state.escrow} are owed"] if balance < state.escrow else []
        self.check("payments not released are there", short, f"{state.escrow} wei owed, {balance} there")
        self._numbers()
        return True

    async def service(self, http: httpx.AsyncClient, said: Said) -> None:
        """The checks of what the service says at this block."""
        d, state = self.deployment, self.state
        differences = service.identity(said, d, state.window_seconds)
        self.check("service stands on this chain", differences, f"block {said.number} {hex_text(said.hash)}")
        found = rows.tables(state)
        for what, compare in service.comparisons(said, state, found):
            self.check(f"service: {what}", compare(), "as the chain says")
        digest, shown = hex_text(rows.digest(found)), said.status.get("digest")
        self.check("service: digest of the mirror", [f"{shown}, expected {digest}"] if shown != digest else [], digest)
        await self._records(http, said)

    async def still_there(self) -> None:
        """The block was not replaced while we read."""
        now = await self.rpc.block(BlockNumber(self.at.number))
        gone = [] if now and now.hash == self.at.hash else ["it was replaced while the audit ran: run it again"]
        self.check("block is still on the chain", gone, f"{self.at.number} {hex_text(self.at.hash)}")

    async def _records(self, http: httpx.AsyncClient, said: Said) -> None:
        names = ("epochs' data leads to the anchored roots", "every signature", "one inclusion proof", "sums of use")
        try:
            submitter = to_address(str(said.deployment.get("submitter")))
            signed = ("lease", "gpu_ms", "head", "node_signature", "session_signature")
            receipts = [SignedReceipt.from_json({name: row.get(name) for name in signed}) for row in said.receipts]
            published, differences = await records.fetch(http, self.state, self.deployment.domain("Meter"), submitter)
            leaves = len(published.leaves)
            self.check(f"service: {names[0]}", differences, f"{len(published.roots)} epochs, {leaves} leaves")
            differences, hours = records.signatures(published, self.state)
            counts = f"{len(published.segments)} segments, {len(published.receipts)} receipts with two each"
            self.check(f"service: {names[1]}", differences, counts)
            what, differences = await records.inclusion(http, published, submitter)
            self.check(f"service: {names[2]}", differences, what)
            differences = records.used(published, hours, said.totals, said.hours, receipts, self.state)
            self.check(f"service: {names[3]}", differences, f"{len(said.totals)} leases, {len(receipts)} receipts")
        except (ServiceUnreadable, BadInput) as e:
            self.check("service: records", [str(e)], "")

    async def _wiring(self) -> list[str]:
        d = self.deployment
        expected = [
            views.Question("Members", "ledger", (), d.ledger),
            views.Question("Members", "access", (), d.access),
            views.Question("Ledger", "members", (), d.members),
            views.Question("Access", "members", (), d.members),
            views.Question("Access", "ledger", (), d.ledger),
            views.Question("Access", "meter", (), d.meter),
            views.Question("Access", "token", (), d.token),
            views.Question("Meter", "ledger", (), d.ledger),
            views.Question("Meter", "access", (), d.access),
            views.Question("Meter", "members", (), d.members),
        ]
        return await views.ask(self.rpc, d, expected, self.at)

    async def _read_events(self) -> None:
        """Raises _Replaced when the chain is not the one that the audit began on."""
        first, last = await self.rpc.header(self.deployment.block), self.at.number
        after = await self.rpc.header(first.number - 1)
        while after.number < last:
            span = await self.rpc.span(self.deployment.followed, after, min(after.number + RANGE, last))
            times = {block.number: block.timestamp for block in span.blocks}
            for log in span.logs:
                replay(self.state, decode(log, self.deployment), log.block_number, times[log.block_number])
            after = span.blocks[-1]
            self.progress(after.number - first.number + 1, last - first.number + 1)
        if after.hash != self.at.hash:
            raise _Replaced(f"block {last} was {hex_text(self.at.hash)} at first, and is {hex_text(after.hash)} now")

    def _numbers(self) -> None:
        state = self.state
        for class_id, c in state.classes.items():
            groups = [units for (of, _), units in state.held.items() if of == class_id]
            try:
                n = concentration(groups, c.total)
            except ValueError:
                continue  # the sums above do not add up, and say so
            self.report.concentration.append(
                {
                    "class": c.created.name,
                    "groups": n.groups,
                    "total": units_text(n.total_units),
                    "largest_bps": n.largest_bps_floor,
                    "hhi": n.hhi_floor,
                    "nakamoto": n.nakamoto,
                }
            )
        self.report.gpu_hours = [
            {
                "class": state.classes[class_id].created.name,
                "window": window,
                "level": level,
                "policy": policy,
                "gpu_ms": gpu_ms,
                "gpu_hours": gpu_hours_text(gpu_ms),
            }
            for (class_id, window, level, policy), gpu_ms in sorted(state.hours.items())
        ]


class _Replaced(Unavailable):
    """A block went while its events were read."""
