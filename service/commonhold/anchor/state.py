"""What the chain's events add up to, in plain dictionaries: made by replay.py, held against all else by audit.py."""

from collections import defaultdict
from dataclasses import dataclass, field

from commonhold.chain import events
from commonhold.signing import ZERO32
from commonhold.units import UNIT, Address, Hash32

BPS = 10_000


@dataclass(slots=True)
class Member:
    """An admitted account. `controller` None: it is its group's root."""

    nullifier: Hash32
    since: int
    until: int
    controller: Address | None = None


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

    @property
    def now(self) -> Appraisal:
        """The appraisal that it stands under."""
        return self.appraisals[-1]


@dataclass(slots=True)
class Lease:
    """Redeemed credits, in block `block`."""

    redeemed: events.Redeemed
    block: int
    settled_ms: int = 0
    released: int = 0  # wei
    paid: int = 0  # wei, as of the last settlement


@dataclass(slots=True)
class State:
    """`window_seconds`, `horizon` and `ledger` are the contracts' own."""

    window_seconds: int
    horizon: int
    ledger: Address
    members: dict[Address, Member] = field(default_factory=dict)
    classes: dict[Hash32, Class] = field(default_factory=dict)
    assets: dict[int, Asset] = field(default_factory=dict)
    devices: dict[Hash32, int] = field(default_factory=dict)
    holdings: dict[tuple[int, Address], int] = field(default_factory=lambda: defaultdict(int))
    held: dict[tuple[Hash32, Address], int] = field(default_factory=lambda: defaultdict(int))
    offers: dict[int, events.Opened] = field(default_factory=dict)
    credits: dict[tuple[int, Address], int] = field(default_factory=lambda: defaultdict(int))
    issued: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    acquired: dict[tuple[Hash32, int, Address], int] = field(default_factory=lambda: defaultdict(int))
    redeemed: dict[tuple[Hash32, int, Address], int] = field(default_factory=lambda: defaultdict(int))
    burnt: dict[tuple[int, Address], int] = field(default_factory=lambda: defaultdict(int))  # not yet a lease
    leases: dict[Hash32, Lease] = field(default_factory=dict)
    escrow: int = 0  # wei that buyers paid and no lease has released
    delivered: dict[tuple[Hash32, int, Address, int], int] = field(default_factory=lambda: defaultdict(int))
    hours: dict[tuple[Hash32, int, int, str], int] = field(default_factory=lambda: defaultdict(int))
    anchors: dict[tuple[Address, int], tuple[events.Anchored, int]] = field(default_factory=dict)  # with its block
    next_epoch: dict[Address, int] = field(default_factory=lambda: defaultdict(int))
    last_anchor: dict[Address, Hash32] = field(default_factory=lambda: defaultdict(lambda: ZERO32))
    faults: list[str] = field(default_factory=list)
    count: int = 0  # events

    def root_of(self, account: Address) -> Address:
        """The root of the account's group."""
        while (member := self.members.get(account)) and member.controller:
            account = member.controller
        return account

    def most_units(self, class_id: Hash32, block: int) -> int:
        """The most units that one group may hold, in `block`."""
        c = self.classes[class_id]
        base = min(c.total, c.start_total) if c.start_block == block else c.total
        return max(base, c.created.floor_units) * c.created.hold_bps // BPS

    def most_seconds(self, class_id: Hash32, block: int) -> int:
        """The most seconds of one window that one group may acquire, in `block`."""
        c = self.classes[class_id]
        base = min(c.total, c.start_total) if c.start_block == block else c.total
        return max(base, c.created.floor_units) * self.window_seconds * c.created.use_bps // (UNIT * BPS)
