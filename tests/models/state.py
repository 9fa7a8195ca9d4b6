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
    appraisers: frozenset[Address]
    appraiser_threshold: int
    classes: tuple[ClassParams, ...]
    window_seconds: int
    horizon: int


@dataclass(frozen=True)
class Member:
    nullifier: Hash32
    controller: Address
    since: int
    until: int


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


@dataclass(frozen=True)
class Lease:
    redemption: signing.Redemption
    starts_at: int
    number: int
    settled_ms: int = 0
    paid: int = 0


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
    """The storage of Members, Ledger, Access, Meter and of the payment token's balances."""

    genesis: Genesis
    number: int = 0
    now_s: int = 0

    members: dict[Address, Member] = field(default_factory=dict)
    nullifiers: dict[Hash32, Address] = field(default_factory=dict)
    admitted_on: dict[int, int] = field(default_factory=dict)
    nonces: dict[Address, int] = field(default_factory=dict)

    counts: dict[Hash32, Count] = field(default_factory=dict)
    assets: dict[int, Asset] = field(default_factory=dict)
    devices: dict[Hash32, int] = field(default_factory=dict)
    contents: dict[Hash32, int] = field(default_factory=dict)
    held: dict[tuple[Hash32, Address], int] = field(default_factory=dict)

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
    coins_allowed: dict[Address, int] = field(default_factory=dict)  # to Access

    delivered: dict[tuple[Hash32, int, Address, int], int] = field(default_factory=dict)
    anchors: dict[tuple[Address, int], Anchor] = field(default_factory=dict)
    next_epoch: dict[Address, int] = field(default_factory=dict)
    last_anchor: dict[Address, Hash32] = field(default_factory=dict)

    def root_of(self, account: Address) -> Address:
        while account in self.members and self.members[account].controller != ZERO:
            account = self.members[account].controller
        return account

    def is_active(self, account: Address) -> bool:
        return account in self.members and self.members[account].until > self.now_s

    def params(self, class_: Hash32) -> ClassParams:
        return next(params for params in self.genesis.classes if class_id(params.name) == class_)

    def cap_base(self, class_: Hash32) -> int:
        count = self.counts.get(class_, Count())
        total = min(count.total, count.start_total) if count.start_block == self.number else count.total
        return max(total, self.params(class_).floor_units)

    def most_units(self, class_: Hash32) -> int:
        return self.cap_base(class_) * self.params(class_).hold_bps // BPS

    def held_by(self, class_: Hash32, root: Address) -> int:
        return self.held.get((class_, root), 0)

    def balance(self, contract: str, owner: Address, id_: int) -> int:
        return self.balances.get((contract, owner, id_), 0)

    def current_window(self) -> int:
        return self.now_s // self.genesis.window_seconds

    def most_seconds(self, class_: Hash32) -> int:
        use_bps = self.params(class_).use_bps
        return self.cap_base(class_) * self.genesis.window_seconds * use_bps // (UNIT * BPS)

    def _check_quorum(self, signers: frozenset[Address], threshold: int, deadline: int, quorum: Quorum) -> None:
        refuse_if(self.now_s > deadline, "DeadlinePassed")
        refuse_if(len(quorum) < threshold, "QuorumTooSmall")
        previous = ZERO
        for signer, is_good in quorum:
            refuse_if(signer <= previous, "SignersNotAscending")
            refuse_if(signer not in signers, "NotInQuorum")
            refuse_if(not is_good, "BadSignature")
            previous = signer

    def _operator(self, asset: int) -> Address:
        return self.assets[asset].appraisal.registrant if asset in self.assets else ZERO

    @staticmethod
    def _count(counts: dict[K, int], key: K, added: int) -> None:
        """A sum of zero is no entry: states compare equal whatever led to them."""
        total = counts.get(key, 0) + added
        if total:
            counts[key] = total
        else:
            counts.pop(key, None)
