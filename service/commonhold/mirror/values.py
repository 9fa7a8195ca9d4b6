"""What read.py answers with: the values of the mirror's rows. Import them from there."""

from dataclasses import dataclass

from commonhold.units import Address, AssetId, BlockNumber, CreditId, GpuMs, Hash32, Seconds, Units, Wei, Window


@dataclass(frozen=True, slots=True)
class Past:
    """A block that is mirrored. Made by `read.at_block` alone."""

    number: BlockNumber


@dataclass(frozen=True, slots=True)
class Position:
    """The block that the rows are true at. No rewind goes below `finalized`."""

    number: BlockNumber
    hash: Hash32
    timestamp: int
    finalized: BlockNumber


@dataclass(frozen=True, slots=True)
class Member:
    address: Address
    nullifier: Hash32 | None  # None: it took another's place
    controller: Address | None  # None: nobody controls it, it is its group's root
    root: Address
    since: int  # start of the unbroken membership
    until: int  # 0: it was replaced
    counted: bool  # a root that is among the groups
    refuses_gifts: bool
    successor: Address | None  # who took its place
    detach_ready_at: int | None
    recovery_to: Address | None
    recovery_ready_at: int | None


@dataclass(frozen=True, slots=True)
class ClassRow:
    class_id: Hash32
    name: str
    kind: int  # 0 DATA, 1 MODEL, 2 COMPUTE
    unit: str
    hold_bps: int
    use_bps: int
    min_level: int
    floor_units: Units
    total_units: Units


@dataclass(frozen=True, slots=True)
class AssetRow:
    asset: AssetId
    class_id: Hash32
    operator: Address
    units: Units
    level: int
    policy: str
    content_hash: Hash32
    result_hash: Hash32
    meter_key: bytes | None  # x || y; None: no node serves it
    appraised_at: int
    expires_at: int
    retired: bool
    commons_price_wei: Wei  # of 1.000000 units
    accrued_wei: Wei
    claimed_wei: Wei
    shared_wei: Wei  # among the groups, of what the commons earned
    uri: str


@dataclass(frozen=True, slots=True)
class Holding:
    asset: AssetId
    owner: Address  # the ledger's own address: the commons
    units: Units
    counted: bool  # in what its group holds; False: of a retired asset, and synced


@dataclass(frozen=True, slots=True)
class Offer:
    credit_id: CreditId
    asset: AssetId
    window: Window
    tranche: int
    price_wei: Wei  # per second of one unit; 0: granted, not sold


@dataclass(frozen=True, slots=True)
class Credit:
    credit_id: CreditId
    holder: Address
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease, with what its credits were for."""

    lease: Hash32
    holder: Address
    credit_id: CreditId
    seconds: Seconds
    starts_at: int
    level: int
    session_key: bytes  # x || y, the present one
    key_number: int
    changes: int
    part_of: Hash32 | None
    redeemed_block: BlockNumber
    settled_ms: GpuMs
    paid_wei: Wei
    refunded_wei: Wei | None
    asset: AssetId
    window: Window
    tranche: int
    price_wei: Wei


@dataclass(frozen=True, slots=True)
class FormerKey:
    """A session key that was replaced; it proves use until `until`."""

    lease: Hash32
    number: int
    session_key: bytes
    until: int


@dataclass(frozen=True, slots=True)
class Delivered:
    class_id: Hash32
    window: Window
    root: Address
    level: int
    gpu_ms: GpuMs


@dataclass(frozen=True, slots=True)
class Anchor:
    submitter: Address
    epoch: int
    root: Hash32
    previous: Hash32
    count: int
    gpu_ms: GpuMs
    uri: str
    block_number: BlockNumber
