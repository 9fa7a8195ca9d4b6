"""What the reference model's contracts keep, and what they share: see ledger.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from commonhold import signing
from commonhold.units import Address, Hash32, class_id

ZERO = Address(bytes(20))
BPS, UNIT, DAY = 10_000, 1_000_000, 86_400
COMPUTE = 2
TOTAL_END = 2**63
ALL = 2**256 - 1  # an allowance that is never used up

P = ParamSpec("P")
S = TypeVar("S", bound="State")
K = TypeVar("K")
Quorum = Sequence[tuple[Address, bool]]  # each signer, and whether the signature is good


class Revert(Exception):
    """`args[0]`: the custom error's name."""


def refuse_if(condition: bool, error: str) -> None:
    if condition:
        raise Revert(error)


@dataclass(frozen=True)
class ClassParams:
    name: str
    kind: int
    unit: str
    hold_bps: int
    use_bps: int
    min_level: int
    floor_units: int


@dataclass(frozen=True)
class Genesis:
    """What the constructors were given."""

    chain_id: int
    members: Address
    ledger: Address
    access: Address
    meter: Address
    attesters: frozenset[Address]
    attester_threshold: int
    admissions_per_day: int
    detach_delay: int
    recovery_delay: int
    appraisers: frozenset[Address]
    appraiser_threshold: int
    classes: tuple[ClassParams, ...]
    max_classes: int
    grace_period: int
    window_seconds: int
    horizon: int
    settle_delay: int
    timelock_delay: int
    voting_delay: int
    voting_period: int
    quorum_bps: int


@dataclass(frozen=True)
class Member:
    """`until` is 0 once the member was replaced; its controller is then its successor."""

    nullifier: Hash32
    controller: Address
    since: int
    until: int
    counted: bool = False
    refuses_gifts: bool = False
    controlled_since: int = 0
    successor: Address = ZERO


@dataclass(frozen=True)
class Count:
    """The total of a class, and what it was when block `start_block` began."""

    total: int = 0
    start_total: int = 0
    start_block: int = 0


@dataclass(frozen=True)
class Asset:
    appraisal: signing.Appraisal
    appraised_at: int
    uri: str
    operator: Address
    commons_price: int
    retired: bool = False


@dataclass(frozen=True)
class Lease:
    """`keys`: every session key so far, and until when it proves use (0: the present one)."""

    holder: Address
    id: int
    amount: int
    starts_at: int
    number: int
    level: int
    price: int
    keys: tuple[tuple[bytes, int], ...]
    settled_ms: int = 0
    changes: int = 0
    refunded: bool = False

    @property
    def paid(self) -> int:
        """What has accrued for it."""
        return self.price * self.settled_ms // 1000


@dataclass(frozen=True)
class Anchor:
    root: Hash32
    previous: Hash32
    count: int
    gpu_ms: int
    uri: str
    number: int


def operation(run: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], str | None]:
    """A transaction: all of it or nothing."""

    @wraps(run)
    def transact(self: S, *args: P.args, **kwargs: P.kwargs) -> str | None:
        before = {f.name: dict(kept) for f in fields(self) if isinstance(kept := getattr(self, f.name), dict)}
        try:
            run(self, *args, **kwargs)
        except Revert as error:
            for name, kept in before.items():
                setattr(self, name, kept)
            return str(error.args[0])
        return None

    return cast("Callable[Concatenate[S, P], str | None]", transact)


@dataclass
class State:
    """The storage of the contracts and of the payment token's balances. A node of a total is an account, with all that
    it controls."""

    genesis: Genesis
    number: int = 0
    now_s: int = 0

    members: dict[Address, Member] = field(default_factory=dict)
    nullifiers: dict[Hash32, Address] = field(default_factory=dict)
    admitted_on: dict[int, int] = field(default_factory=dict)
    nonces: dict[Address, int] = field(default_factory=dict)
    findings: dict[signing.Finding, bool] = field(default_factory=dict)
    detachings: dict[Address, tuple[int, int]] = field(default_factory=dict)  # member -> ready at, round
    challenged: dict[tuple[Address, int, Address], bool] = field(default_factory=dict)
    recoveries: dict[Address, tuple[Address, int]] = field(default_factory=dict)  # member -> successor, ready at
    groups: dict[int, int] = field(default_factory=dict)  # time of a change -> how many since then

    classes: dict[Hash32, ClassParams] = field(default_factory=dict)  # with what was changed since the genesis
    counts: dict[Hash32, Count] = field(default_factory=dict)
    assets: dict[int, Asset] = field(default_factory=dict)
    devices: dict[Hash32, int] = field(default_factory=dict)
    contents: dict[Hash32, int] = field(default_factory=dict)
    held: dict[tuple[Hash32, Address], int] = field(default_factory=dict)
    synced: dict[tuple[int, Address], bool] = field(default_factory=dict)

    # ERC-6909 in both contracts: ("Ledger" | "Access", owner, id) and so on
    balances: dict[tuple[str, Address, int], int] = field(default_factory=dict)
    operators: dict[tuple[str, Address, Address], bool] = field(default_factory=dict)
    allowances: dict[tuple[str, Address, Address, int], int] = field(default_factory=dict)

    tranches: dict[int, int] = field(default_factory=dict)  # credit id -> price
    issued: dict[tuple[int, int], int] = field(default_factory=dict)
    acquired: dict[tuple[Hash32, int, Address], int] = field(default_factory=dict)
    redeemed: dict[tuple[Hash32, int, Address], int] = field(default_factory=dict)
    leases: dict[Hash32, Lease] = field(default_factory=dict)

    coins: dict[Address, int] = field(default_factory=dict)
    coins_allowed: dict[tuple[Address, Address], int] = field(default_factory=dict)  # owner, spender

    delivered: dict[tuple[Hash32, int, Address, int], int] = field(default_factory=dict)
    anchors: dict[tuple[Address, int], Anchor] = field(default_factory=dict)
    next_epoch: dict[Address, int] = field(default_factory=dict)
    last_anchor: dict[Address, Hash32] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for params in self.genesis.classes:
            self.classes[class_id(params.name)] = params

    def root_of(self, account: Address) -> Address:
        return self.path_of(account)[-1]

    def path_of(self, account: Address) -> list[Address]:
        """The account, its controller and so on to the root."""
        path = [account]
        while path[-1] in self.members and self.members[path[-1]].controller != ZERO:
            path.append(self.members[path[-1]].controller)
        return path

    def in_place_of(self, account: Address) -> Address:
        """The account, or who has replaced it."""
        while account in self.members and self.members[account].successor != ZERO:
            account = self.members[account].successor
        return account

    def is_active(self, account: Address) -> bool:
        return account in self.members and self.members[account].until > self.now_s

    def group_count(self, at: int) -> int:
        """How many groups there were at a time."""
        changes = [time for time in self.groups if time <= at]
        return self.groups[max(changes)] if changes else 0

    def cap_base(self, class_: Hash32) -> int:
        count = self.counts.get(class_, Count())
        total = min(count.total, count.start_total) if count.start_block == self.number else count.total
        return max(total, self.classes[class_].floor_units)

    def most_units(self, class_: Hash32) -> int:
        return self.cap_base(class_) * self.classes[class_].hold_bps // BPS

    def held_by(self, class_: Hash32, node: Address) -> int:
        return self.held.get((class_, node), 0)

    def balance(self, contract: str, owner: Address, id_: int) -> int:
        return self.balances.get((contract, owner, id_), 0)

    def current_window(self) -> int:
        return self.now_s // self.genesis.window_seconds

    def end_of(self, window: int) -> int:
        return (window + 1) * self.genesis.window_seconds

    def most_seconds(self, class_: Hash32) -> int:
        use_bps = self.classes[class_].use_bps
        return self.cap_base(class_) * self.genesis.window_seconds * use_bps // (UNIT * BPS)

    def is_live(self, asset: int) -> bool:
        found = self.assets.get(asset)
        return found is not None and found.appraisal.expires_at > self.now_s and not found.retired

    def _operator(self, asset: int) -> Address:
        return self.assets[asset].operator if asset in self.assets else ZERO

    def _pay(self, sender: Address, receiver: Address, amount: int, spender: Address | None = None) -> None:
        """Moves coins; `spender` moves them for `sender`."""
        if spender is not None:
            allowed = self.coins_allowed.get((sender, spender), 0)
            refuse_if(allowed < amount, "ERC20InsufficientAllowance")
            if allowed != ALL:
                self.coins_allowed[sender, spender] = allowed - amount
        refuse_if(self.coins.get(sender, 0) < amount, "ERC20InsufficientBalance")
        self._count(self.coins, sender, -amount)
        self._count(self.coins, receiver, amount)

    def _branches(self, sender: Address, receiver: Address) -> tuple[list[Address], list[Address]]:
        """The nodes above sender and receiver, themselves included, up to where both are one. Zero has none."""
        down, up = ([] if each == ZERO else self.path_of(each) for each in (sender, receiver))
        while down and up and down[-1] == up[-1]:
            down.pop()
            up.pop()
        return down, up

    @staticmethod
    def _count(counts: dict[K, int], key: K, added: int) -> None:
        """A sum of zero is no entry: states compare equal whatever led to them."""
        total = counts.get(key, 0) + added
        if total:
            counts[key] = total
        else:
            counts.pop(key, None)
