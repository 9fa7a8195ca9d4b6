"""What the contracts tell: one frozen value per event, in the words of the ABI (there in camel case).

Made by decode.py. Where a thing happened is not part of it: that is the log's, and the block's.
"""

from dataclasses import dataclass
from typing import Literal

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
    until: int


@dataclass(frozen=True, slots=True)
class Attached:
    member: Address
    controller: Address
    old_root: Address
    new_root: Address
    evidence: Hash32  # zero: both sides signed


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
    key_x: Hash32
    key_y: Hash32


@dataclass(frozen=True, slots=True)
class Released:
    lease: Hash32
    to: Address
    amount: int


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


ChainEvent = (
    Admitted
    | Renewed
    | Attached
    | ClassCreated
    | Registered
    | AppraisalRenewed
    | Transfer
    | OperatorSet
    | Approval
    | Opened
    | Bought
    | Redeemed
    | Released
    | Settled
    | Anchored
    | EIP712DomainChanged
)
