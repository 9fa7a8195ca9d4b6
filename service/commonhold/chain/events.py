"""What the contracts tell: one frozen value per event, in the words of the ABI (there in camel case).

Made by decode.py; those of settings, quorums and votes are in governing.py. Where a thing happened is not part of it:
that is the log's, and the block's.
"""

from dataclasses import dataclass
from typing import Literal

from commonhold.chain.governing import GovernanceEvent
from commonhold.units import Address, AssetId, CreditId, Hash32, Units

Erc6909 = Literal["Ledger", "Access"]  # the two contracts with balances


@dataclass(frozen=True, slots=True)
class Admitted:
    member: Address
    nullifier: Hash32
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Renewed:
    member: Address
    since: int  # start of the unbroken membership
    until: int


@dataclass(frozen=True, slots=True)
class Lapsed:
    member: Address


@dataclass(frozen=True, slots=True)
class Attached:
    member: Address
    controller: Address
    old_root: Address
    new_root: Address
    evidence: Hash32  # zero: both sides signed


@dataclass(frozen=True, slots=True)
class DetachStarted:
    member: Address
    root: Address
    evidence: Hash32
    ready_at: int


@dataclass(frozen=True, slots=True)
class DetachChallenged:
    member: Address
    by: Address
    evidence: Hash32
    ready_at: int


@dataclass(frozen=True, slots=True)
class DetachCancelled:
    member: Address


@dataclass(frozen=True, slots=True)
class Detached:
    member: Address
    old_controller: Address
    old_root: Address
    since: int


@dataclass(frozen=True, slots=True)
class RecoveryStarted:
    member: Address
    successor: Address
    evidence: Hash32
    ready_at: int


@dataclass(frozen=True, slots=True)
class RecoveryVetoed:
    member: Address


@dataclass(frozen=True, slots=True)
class Recovered:
    member: Address
    successor: Address
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class GiftsRefused:
    member: Address
    refused: bool


@dataclass(frozen=True, slots=True)
class ClassCreated:
    class_id: Hash32
    name: str
    kind: int  # 0 DATA, 1 MODEL, 2 COMPUTE
    unit: str
    hold_bps: int
    use_bps: int
    min_level: int
    floor_units: Units


@dataclass(frozen=True, slots=True)
class Registered:
    asset: AssetId
    class_id: Hash32
    registrant: Address
    units: Units
    level: int
    policy: str
    content_hash: Hash32
    result_hash: Hash32
    devices: tuple[Hash32, ...]
    meter_key_x: Hash32
    meter_key_y: Hash32
    expires_at: int
    uri: str


@dataclass(frozen=True, slots=True)
class AppraisalRenewed:
    asset: AssetId
    level: int
    policy: str
    content_hash: Hash32
    result_hash: Hash32
    meter_key_x: Hash32
    meter_key_y: Hash32
    expires_at: int


@dataclass(frozen=True, slots=True)
class CommonsPriced:
    asset: AssetId
    price: int  # of 1.000000 units, in the payment token's smallest unit


@dataclass(frozen=True, slots=True)
class Taken:
    asset: AssetId
    buyer: Address
    units: Units
    paid: int


@dataclass(frozen=True, slots=True)
class Retired:
    asset: AssetId
    class_id: Hash32
    units: Units


@dataclass(frozen=True, slots=True)
class Synced:
    asset: AssetId
    holder: Address
    units: Units


@dataclass(frozen=True, slots=True)
class Accrued:
    asset: AssetId
    amount: int


@dataclass(frozen=True, slots=True)
class Claimed:
    asset: AssetId
    account: Address
    amount: int


@dataclass(frozen=True, slots=True)
class CommonsShared:
    asset: AssetId
    amount: int
    groups: int


@dataclass(frozen=True, slots=True)
class CommonsClaimed:
    root: Address
    amount: int


@dataclass(frozen=True, slots=True)
class UnitsRecovered:
    asset: AssetId
    member: Address
    successor: Address
    units: Units
    revenue: int


@dataclass(frozen=True, slots=True)
class OverLimit:
    class_id: Hash32
    root: Address
    held: int
    most: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """ERC-6909. `id` is an asset in Ledger and a credit id in Access; so `amount` is units or seconds.

    Sender zero: minted. Receiver zero: burned.
    """

    contract: Erc6909
    caller: Address
    sender: Address
    receiver: Address
    id: int
    amount: int


@dataclass(frozen=True, slots=True)
class OperatorSet:
    contract: Erc6909
    owner: Address
    spender: Address
    approved: bool


@dataclass(frozen=True, slots=True)
class Approval:
    contract: Erc6909
    owner: Address
    spender: Address
    id: int
    amount: int


@dataclass(frozen=True, slots=True)
class Opened:
    id: CreditId
    asset: AssetId
    window: int
    tranche: int
    price: int  # wei per second of one unit; 0: granted, not sold


@dataclass(frozen=True, slots=True)
class Bought:
    id: CreditId
    buyer: Address
    amount: int
    paid: int


@dataclass(frozen=True, slots=True)
class Redeemed:
    lease: Hash32
    holder: Address
    id: CreditId
    amount: int
    starts_at: int
    level: int
    key_x: Hash32
    key_y: Hash32


@dataclass(frozen=True, slots=True)
class LeaseSplit:
    lease: Hash32
    part: Hash32
    amount: int
    starts_at: int
    key_x: Hash32
    key_y: Hash32


@dataclass(frozen=True, slots=True)
class ToppedUp:
    lease: Hash32
    amount: int


@dataclass(frozen=True, slots=True)
class KeyRotated:
    lease: Hash32
    number: int
    key_x: Hash32
    key_y: Hash32
    until: int  # the key before proves use until then


@dataclass(frozen=True, slots=True)
class Refunded:
    lease: Hash32
    to: Address
    amount: int


@dataclass(frozen=True, slots=True)
class CreditsRefunded:
    id: CreditId
    holder: Address
    credits: int
    amount: int


@dataclass(frozen=True, slots=True)
class LeaseRecovered:
    lease: Hash32
    member: Address
    successor: Address


@dataclass(frozen=True, slots=True)
class Settled:
    lease: Hash32
    class_id: Hash32
    root: Address
    window: int
    level: int
    gpu_ms: int  # the lease's new total
    added_ms: int
    paid: int
    head: Hash32


@dataclass(frozen=True, slots=True)
class Anchored:
    submitter: Address
    epoch: int
    root: Hash32
    previous: Hash32
    count: int
    gpu_ms: int
    uri: str


@dataclass(frozen=True, slots=True)
class EIP712DomainChanged:  # the name that ERC-5267 gives it; our contracts' domains never change
    contract: str


MarketEvent = (
    Admitted
    | Renewed
    | Lapsed
    | Attached
    | DetachStarted
    | DetachChallenged
    | DetachCancelled
    | Detached
    | RecoveryStarted
    | RecoveryVetoed
    | Recovered
    | GiftsRefused
    | ClassCreated
    | Registered
    | AppraisalRenewed
    | CommonsPriced
    | Taken
    | Retired
    | Synced
    | Accrued
    | Claimed
    | CommonsShared
    | CommonsClaimed
    | UnitsRecovered
    | OverLimit
    | Transfer
    | OperatorSet
    | Approval
    | Opened
    | Bought
    | Redeemed
    | LeaseSplit
    | ToppedUp
    | KeyRotated
    | Refunded
    | CreditsRefunded
    | LeaseRecovered
    | Settled
    | Anchored
    | EIP712DomainChanged
)

ChainEvent = MarketEvent | GovernanceEvent
