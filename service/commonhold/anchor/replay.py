"""The chain's events into plain dictionaries, for the audit. Shares nothing with mirror/apply.py: two ways, one state.

Every rule that the contracts hold by structure is checked again where an event touches it; what breaks one goes to
`faults` and the replay goes on, so that an audit shows all of it.
"""

from typing import assert_never

from commonhold.anchor.state import Appraisal, Asset, Class, Lease, Member, State
from commonhold.chain import events
from commonhold.chain.events import ChainEvent
from commonhold.signing import ZERO32
from commonhold.units import UNIT, Address, Hash32, address_text, credit_parts, hex_text, keccak256

ZERO = Address(bytes(20))


def replay(state: State, event: ChainEvent, block: int, now_s: int) -> None:
    """`state` is what it is after `event`, in block `block` of time `now_s`. Rules that it breaks go to `faults`."""
    state.count += 1
    _Step(state, block, now_s).apply(event)


class _Step:
    """One event. An event about something unknown is a fault, and changes nothing."""

    def __init__(self, state: State, block: int, now_s: int) -> None:
        self.state, self.block, self.now_s = state, block, now_s

    def apply(self, event: ChainEvent) -> None:
        try:
            self._apply(event)
        except KeyError as e:
            self._fault(f"{type(event).__name__} is about something unknown: {_shown(e.args[0])}")

    def _apply(self, event: ChainEvent) -> None:
        state = self.state
        match event:
            case events.Admitted():
                taken = any(member.nullifier == event.nullifier for member in state.members.values())
                self._check(event.member not in state.members and not taken, f"admitted twice: {_shown(event.member)}")
                state.members[event.member] = Member(event.nullifier, event.since, event.until)
            case events.Renewed():
                member = state.members[event.member]
                self._check(event.until > member.until, f"membership of {_shown(event.member)} was shortened")
                member.until = event.until
            case events.Attached():
                self._attached(event)
            case events.ClassCreated():
                self._check(event.class_id not in state.classes, f"class {event.name} was created twice")
                state.classes[event.class_id] = Class(event)
            case events.Registered():
                self._registered(event)
            case events.AppraisalRenewed():
                asset = state.assets[event.asset]
                self._check(event.expires_at > asset.now.expires_at, f"renewal of {event.asset} is not later")
                asset.appraisals.append(self._appraisal(event))
            case events.Transfer():
                if event.amount:  # ERC-6909 lets anyone move nothing of anything
                    (self._units_moved if event.contract == "Ledger" else self._credits_moved)(event)
            case events.Opened():
                same = credit_parts(event.id) == (event.asset, event.window, event.tranche)
                self._check(same and event.id not in state.offers, f"credit {event.id} was opened twice or misnamed")
                if event.asset not in state.assets:
                    raise KeyError(event.asset)
                state.offers[event.id] = event
            case events.Bought():
                due = state.offers[event.id].price * event.amount
                self._check(event.paid == due > 0, f"{event.amount} of credit {event.id} were bought for {event.paid}")
                state.escrow += event.paid
            case events.Redeemed():
                self._redeemed(event)
            case events.Released():
                state.leases[event.lease].released += event.amount
                state.escrow -= event.amount
                self._check(state.escrow >= 0, f"{-state.escrow} more was released than buyers paid")
            case events.Settled():
                self._settled(event)
            case events.Anchored():
                self._anchored(event)
            case events.OperatorSet() | events.Approval() | events.EIP712DomainChanged():
                pass  # permissions: the transfers made under them are what counts
            case _:
                assert_never(event)

    def _attached(self, event: events.Attached) -> None:
        state = self.state
        roots = (state.root_of(event.member), state.root_of(event.controller))
        self._check(roots == (event.old_root, event.new_root), f"{_shown(event.member)} was attached to another group")
        state.members[event.old_root].controller = event.new_root
        for class_id in state.classes:
            state.held[class_id, event.new_root] += state.held.pop((class_id, event.old_root), 0)
            first = self.now_s // state.window_seconds
            for window in range(first, first + state.horizon + 1):
                for used in (state.acquired, state.redeemed):
                    used[class_id, window, event.new_root] += used.pop((class_id, window, event.old_root), 0)

    def _registered(self, event: events.Registered) -> None:
        state, c = self.state, self.state.classes[event.class_id]
        self._check(event.asset not in state.assets, f"asset {event.asset} was registered twice")
        self._check(event.level >= c.created.min_level, f"asset {event.asset} has level {event.level}")
        self._check(event.expires_at > self.now_s, f"asset {event.asset} was registered with a lapsed appraisal")
        for device in event.devices:
            self._check(device not in state.devices, f"device {_shown(device)} stands under two assets")
            state.devices[device] = event.asset
        if c.start_block != self.block:
            c.start_block, c.start_total = self.block, c.total
        c.total += event.units
        state.assets[event.asset] = Asset(event, [self._appraisal(event)])

    def _appraisal(self, event: events.Registered | events.AppraisalRenewed) -> Appraisal:
        return Appraisal(
            from_s=self.now_s,
            expires_at=event.expires_at,
            level=event.level,
            policy=event.policy,
            content_hash=event.content_hash,
            result_hash=event.result_hash,
            meter_key=event.meter_key_x + event.meter_key_y,
        )

    def _units_moved(self, event: events.Transfer) -> None:
        state, class_id = self.state, self.state.assets[event.id].registered.class_id
        self._move(state.holdings, event)
        if event.receiver == state.ledger:
            self._check(event.sender == ZERO, f"units of {event.id} went to the commons after registration")
            return
        self._check_active(event.receiver)
        root, from_root = state.root_of(event.receiver), state.root_of(event.sender)
        if root == from_root:
            return
        if event.sender != ZERO:
            state.held[class_id, from_root] -= event.amount
        state.held[class_id, root] += event.amount
        held, most = state.held[class_id, root], state.most_units(class_id, self.block)
        self._check(held <= most, f"group {_shown(root)} grew to {held} units of a class, at most {most} are allowed")

    def _credits_moved(self, event: events.Transfer) -> None:
        state, (asset, window, _) = self.state, credit_parts(self.state.offers[event.id].id)
        registered = state.assets[asset].registered
        self._move(state.credits, event)
        if event.receiver == ZERO:
            state.burnt[event.id, event.sender] += event.amount
            return
        self._check_active(event.receiver)
        if event.sender == ZERO:
            state.issued[asset, window] += event.amount
            issued, most = state.issued[asset, window], registered.units * state.window_seconds // UNIT
            self._check(issued <= most, f"{issued} s of asset {asset} were issued in window {window}, it has {most}")
        root, from_root = state.root_of(event.receiver), state.root_of(event.sender)
        if root == from_root or window < self.now_s // state.window_seconds:
            return
        if event.sender != ZERO:
            state.acquired[registered.class_id, window, from_root] -= event.amount
        state.acquired[registered.class_id, window, root] += event.amount
        self._check_use(state.acquired, registered.class_id, window, root, "acquired")
        over = state.held[registered.class_id, root] > state.most_units(registered.class_id, self.block)
        self._check(not over, f"group {_shown(root)} acquired credits while over its holding limit")

    def _redeemed(self, event: events.Redeemed) -> None:
        state, (asset, window, _) = self.state, credit_parts(event.id)
        state.burnt[event.id, event.holder] -= event.amount
        self._check(state.burnt[event.id, event.holder] == 0, f"lease {_shown(event.lease)} burnt other credits")
        self._check(event.lease not in state.leases, f"lease {_shown(event.lease)} was redeemed twice")
        starts_at = max(self.now_s, window * state.window_seconds)
        self._check(event.starts_at == starts_at, f"lease {_shown(event.lease)} starts at {event.starts_at}")
        state.leases[event.lease] = Lease(event, self.block)
        class_id, root = state.assets[asset].registered.class_id, state.root_of(event.holder)
        state.redeemed[class_id, window, root] += event.amount
        self._check_use(state.redeemed, class_id, window, root, "redeemed")

    def _settled(self, event: events.Settled) -> None:
        state, lease = self.state, self.state.leases[event.lease]
        (asset, window, _), name = credit_parts(lease.redeemed.id), f"lease {_shown(event.lease)}"
        appraised = state.assets[asset].now
        grown = event.gpu_ms - lease.settled_ms
        self._check(event.added_ms == grown > 0, f"{name} was settled from {lease.settled_ms} to {event.gpu_ms} ms")
        most = lease.redeemed.amount * 1000
        self._check(event.gpu_ms <= most, f"{name} was settled with {event.gpu_ms} ms of {most}")
        units = state.assets[asset].registered.units
        most = (self.now_s - lease.redeemed.starts_at) * units // 1000
        self._check(event.gpu_ms <= most, f"{name} was settled with {event.gpu_ms} ms, {most} had passed")
        counted = (state.assets[asset].registered.class_id, window, state.root_of(lease.redeemed.holder))
        same = (event.class_id, event.window, event.root, event.level) == (*counted, appraised.level)
        self._check(same, f"{name} was counted for another class, window, group or level")
        due = state.offers[lease.redeemed.id].price * event.gpu_ms // 1000
        paid = (lease.released, event.paid) == (due, due - lease.paid)
        self._check(paid, f"{name} released {lease.released} wei in total, {due} are due")
        lease.settled_ms, lease.paid = event.gpu_ms, lease.released
        state.delivered[event.class_id, event.window, event.root, event.level] += event.added_ms
        state.hours[event.class_id, event.window, event.level, appraised.policy] += event.added_ms

    def _anchored(self, event: events.Anchored) -> None:
        state, submitter = self.state, event.submitter
        name = f"anchor {event.epoch} of {_shown(submitter)}"
        self._check(
            event.epoch == state.next_epoch[submitter], f"{name} came when {state.next_epoch[submitter]} was due"
        )
        self._check(event.previous == state.last_anchor[submitter], f"{name} does not link to the one before")
        self._check(event.root != ZERO32 and event.count > 0, f"{name} is of nothing")
        words = (event.epoch.to_bytes(32), event.root, event.count.to_bytes(32), event.gpu_ms.to_bytes(32))
        state.next_epoch[submitter] = event.epoch + 1
        state.last_anchor[submitter] = keccak256(event.previous + b"".join(words))
        state.anchors[submitter, event.epoch] = (event, self.block)

    def _move(self, balances: dict[tuple[int, Address], int], event: events.Transfer) -> None:
        if event.sender != ZERO:
            left = balances[event.id, event.sender] - event.amount
            self._check(left >= 0, f"{_shown(event.sender)} sent {-left} more of {event.id} than it had")
            balances[event.id, event.sender] = left
        if event.receiver != ZERO:
            balances[event.id, event.receiver] += event.amount

    def _check_active(self, account: Address) -> None:
        member = self.state.members.get(account)
        self._check(member is not None and member.until > self.now_s, f"{_shown(account)} received, and is no member")

    def _check_use(
        self, used: dict[tuple[Hash32, int, Address], int], class_id: Hash32, window: int, root: Address, what: str
    ) -> None:
        now, most = used[class_id, window, root], self.state.most_seconds(class_id, self.block)
        self._check(now <= most, f"group {_shown(root)} {what} {now} s in window {window}, at most {most} are allowed")

    def _check(self, holds: bool, fault: str) -> None:
        if not holds:
            self._fault(fault)

    def _fault(self, fault: str) -> None:
        self.state.faults.append(f"block {self.block}: {fault}")


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return address_text(value) if len(value) == 20 else hex_text(value)
    return str(value)
