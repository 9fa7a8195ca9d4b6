"""What the chain's events add up to, in plain dictionaries: made by replay.py, held against all else by run.py.

Memory is that of the state, not of the history: balances that are zero again are forgotten (the sums of the contracts,
which are asked for as well, would show one that is not).
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from commonhold.anchor.audit.rules import Findings
from commonhold.chain import events, governing
from commonhold.signing import ZERO32
from commonhold.units import UNIT, Address, Hash32

BPS = 10_000
ZERO = Address(bytes(20))
UNREAD = "(not read)"  # text that only events have, of things older than where the audit begins

K = TypeVar("K", bound=Hashable)
Balances = dict[tuple[int, Address], int]  # (id, owner) -> amount
PerRoot = dict[Address, int]


@dataclass(slots=True)
class Member:
    """An admitted account. `controller` None: it is its group's root."""

    nullifier: Hash32 | None  # None: it took another's place
    since: int
    until: int
    controller: Address | None = None
    counted: bool = True
    refuses_gifts: bool = False
    successor: Address | None = None
    detach_ready_at: int | None = None
    recovery_to: Address | None = None
    recovery_ready_at: int | None = None


@dataclass(slots=True)
class Class:
    """A class, and what its total was when the block began."""

    created: events.ClassCreated
    total: int = 0
    start_block: int = -1  # the last block in which the total grew
    start_total: int = 0  # what it was when that block began


@dataclass(frozen=True, slots=True)
class Appraisal:
    """Holds from `from_s` on, and covers times up to `expires_at`."""

    from_s: int
    expires_at: int
    level: int
    policy: str
    content_hash: Hash32
    result_hash: Hash32
    meter_key: bytes


@dataclass(slots=True)
class Asset:
    """An asset and all its appraisals, the oldest first."""

    registered: events.Registered
    appraisals: list[Appraisal]
    operator: Address
    retired: bool = False
    commons_price: int = 0
    accrued: int = 0  # wei, ever
    claimed: int = 0  # of it, by holders
    shared: int = 0  # of it, from the commons among the groups

    @property
    def now(self) -> Appraisal:
        """The appraisal that it stands under."""
        return self.appraisals[-1]


@dataclass(slots=True)
class Lease:
    """Redeemed credits, in block `block`. `redeemed` is as the lease is now: splits, top-ups, rotations and recoveries
    have changed it."""

    redeemed: events.Redeemed
    block: int
    settled_ms: int = 0
    paid: int = 0  # wei, accrued to the holders of the asset
    price: int = 0  # wei per second
    key_number: int = 0
    changes: int = 0
    part_of: Hash32 | None = None
    refunded: int | None = None  # wei
    former_keys: list[tuple[bytes, int]] = field(default_factory=list)  # point, and until when it proves use


@dataclass(slots=True)
class Setting:
    """What the council may change, and what waits."""

    value: int | None
    changed_at: int | None = None
    pending: int | None = None
    ready_at: int | None = None
    abdicated: bool = False


@dataclass(slots=True)
class Signer:
    """A signer of a quorum, or who may become one."""

    signs: bool
    ready_at: int | None = None


@dataclass(slots=True)
class Proposal:
    """A proposal of the council, created in block `block`."""

    created: governing.ProposalCreated
    block: int
    votes: list[int] = field(default_factory=lambda: [0, 0, 0])  # against, in favour, abstaining
    vote_end: int = 0
    ready_at: int | None = None
    outcome: str | None = None


@dataclass(slots=True)
class State:
    """`window_seconds`, `horizon` and `ledger` are the contracts' own. What is counted by group is by its root; where
    the audit begins in the middle, by every account, with all that it controls."""

    window_seconds: int
    horizon: int
    ledger: Address
    members: dict[Address, Member] = field(default_factory=dict)
    nullifiers: set[Hash32] = field(default_factory=set)
    classes: dict[Hash32, Class] = field(default_factory=dict)
    assets: dict[int, Asset] = field(default_factory=dict)
    devices: dict[Hash32, int] = field(default_factory=dict)
    contents: dict[Hash32, int] = field(default_factory=dict)  # of datasets and models
    holdings: Balances = field(default_factory=dict)
    held: dict[Hash32, PerRoot] = field(default_factory=dict)  # by class
    offers: dict[int, events.Opened] = field(default_factory=dict)
    credits: Balances = field(default_factory=dict)
    issued: dict[tuple[int, int], int] = field(default_factory=dict)  # by asset and window
    acquired: dict[tuple[Hash32, int], PerRoot] = field(default_factory=dict)  # by class and window
    redeemed: dict[tuple[Hash32, int], PerRoot] = field(default_factory=dict)
    burnt: Balances = field(default_factory=dict)  # not yet a lease
    paid_back: dict[tuple[int, int], int] = field(default_factory=dict)  # credits, by asset and window
    leases: dict[Hash32, Lease] = field(default_factory=dict)
    escrow: int = 0  # wei that buyers paid, and nobody was paid or paid back
    uncounted: set[tuple[int, Address]] = field(default_factory=set)  # holdings of retired assets, synced
    claims: dict[tuple[int, Address], int] = field(default_factory=dict)
    commons_claims: dict[Address, int] = field(default_factory=dict)
    settings: dict[tuple[str, str, Hash32], Setting] = field(default_factory=dict)
    signers: dict[tuple[str, Address], Signer] = field(default_factory=dict)
    proposals: dict[int, Proposal] = field(default_factory=dict)
    votes: dict[tuple[int, Address], tuple[int, int, str]] = field(default_factory=dict)  # support, weight, reason
    delivered: dict[tuple[Hash32, int, Address, int], int] = field(default_factory=dict)
    hours: dict[tuple[Hash32, int, int, str], int] = field(default_factory=dict)
    anchors: dict[tuple[Address, int], tuple[events.Anchored, int]] = field(default_factory=dict)  # with its block
    next_epoch: dict[Address, int] = field(default_factory=dict)
    last_anchor: dict[Address, Hash32] = field(default_factory=dict)
    known: set[tuple[Any, ...]] | None = None  # what was read where the audit starts; None: it starts at the beginning
    found: Findings = field(default_factory=Findings)
    count: int = 0  # events

    def root_of(self, account: Address) -> Address:
        """The root of the account's group."""
        while (member := self.members.get(account)) and member.controller:
            account = member.controller
        return account

    def groups(self) -> int:
        """How many groups there are, those included that own nothing."""
        return sum(member.counted for member in self.members.values())

    def held_by(self, class_id: Hash32, root: Address) -> int:
        """Units of the class that the group holds."""
        return self.held.get(class_id, {}).get(root, 0)

    def most_units(self, class_id: Hash32, block: int) -> int:
        """The most units that one group may hold, in `block`."""
        return self._base(class_id, block) * self.classes[class_id].created.hold_bps // BPS

    def most_seconds(self, class_id: Hash32, block: int) -> int:
        """The most seconds of one window that one group may acquire, in `block`."""
        use_bps = self.classes[class_id].created.use_bps
        return self._base(class_id, block) * self.window_seconds * use_bps // (UNIT * BPS)

    def last(self, submitter: Address) -> Hash32:
        """The newest link of the submitter's chain of anchors."""
        return self.last_anchor.get(submitter, ZERO32)

    def _base(self, class_id: Hash32, block: int) -> int:
        c = self.classes[class_id]
        base = min(c.total, c.start_total) if c.start_block == block else c.total
        return max(base, c.created.floor_units)


def add(sums: dict[K, int], key: K, amount: int) -> int:
    """`amount` more (or less) of `key`, which is forgotten at zero. Gives the new sum."""
    now = sums.get(key, 0) + amount
    if now:
        sums[key] = now
    else:
        sums.pop(key, None)
    return now
