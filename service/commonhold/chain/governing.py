"""What the contracts tell of how they are governed: settings, quorums, proposals, votes and what the timelock does. The
same form as events.py, which has the rest.
"""

from dataclasses import dataclass
from typing import Literal

from commonhold.units import Address, Hash32

Governed = Literal["Members", "Ledger"]  # the two contracts with settings and a quorum


@dataclass(frozen=True, slots=True)
class SettingChanged:
    contract: Governed
    name: Hash32  # short ASCII
    subject: Hash32  # a class; zero: the contract itself
    value: int


@dataclass(frozen=True, slots=True)
class SettingScheduled:
    contract: Governed
    name: Hash32
    subject: Hash32
    value: int
    ready_at: int


@dataclass(frozen=True, slots=True)
class SettingCancelled:
    contract: Governed
    name: Hash32
    subject: Hash32


@dataclass(frozen=True, slots=True)
class Abdicated:
    contract: Governed
    name: Hash32
    subject: Hash32


@dataclass(frozen=True, slots=True)
class SignerScheduled:
    contract: Governed
    signer: Address
    ready_at: int


@dataclass(frozen=True, slots=True)
class SignerAdded:
    contract: Governed
    signer: Address


@dataclass(frozen=True, slots=True)
class SignerRemoved:
    contract: Governed
    signer: Address


@dataclass(frozen=True, slots=True)
class ProposalCreated:
    proposal_id: int
    proposer: Address
    targets: tuple[Address, ...]
    values: tuple[int, ...]
    signatures: tuple[str, ...]
    calldatas: tuple[bytes, ...]
    vote_start: int  # the snapshot, Unix seconds
    vote_end: int
    description: str


@dataclass(frozen=True, slots=True)
class VoteCast:
    voter: Address
    proposal_id: int
    support: int  # 0 against, 1 for, 2 abstains
    weight: int
    reason: str


@dataclass(frozen=True, slots=True)
class VoteCastWithParams:
    voter: Address
    proposal_id: int
    support: int
    weight: int
    reason: str
    params: bytes


@dataclass(frozen=True, slots=True)
class ProposalExtended:
    proposal_id: int
    extended_deadline: int


@dataclass(frozen=True, slots=True)
class ProposalQueued:
    proposal_id: int
    eta_seconds: int


@dataclass(frozen=True, slots=True)
class ProposalExecuted:
    proposal_id: int


@dataclass(frozen=True, slots=True)
class ProposalCanceled:
    proposal_id: int


@dataclass(frozen=True, slots=True)
class TimelockChange:  # when the council is made; never again
    old_timelock: Address
    new_timelock: Address


@dataclass(frozen=True, slots=True)
class CallScheduled:
    id: Hash32
    index: int
    target: Address
    value: int
    data: bytes
    predecessor: Hash32
    delay: int


@dataclass(frozen=True, slots=True)
class CallExecuted:
    id: Hash32
    index: int
    target: Address
    value: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CallSalt:
    id: Hash32
    salt: Hash32


@dataclass(frozen=True, slots=True)
class Cancelled:
    id: Hash32


@dataclass(frozen=True, slots=True)
class MinDelayChange:  # when the timelock is made; never again
    old_duration: int
    new_duration: int


@dataclass(frozen=True, slots=True)
class RoleAdminChanged:
    role: Hash32
    previous_admin_role: Hash32
    new_admin_role: Hash32


@dataclass(frozen=True, slots=True)
class RoleGranted:
    role: Hash32
    account: Address
    sender: Address


@dataclass(frozen=True, slots=True)
class RoleRevoked:
    role: Hash32
    account: Address
    sender: Address


GovernanceEvent = (
    SettingChanged
    | SettingScheduled
    | SettingCancelled
    | Abdicated
    | SignerScheduled
    | SignerAdded
    | SignerRemoved
    | ProposalCreated
    | VoteCast
    | VoteCastWithParams
    | ProposalExtended
    | ProposalQueued
    | ProposalExecuted
    | ProposalCanceled
    | TimelockChange
    | CallScheduled
    | CallExecuted
    | CallSalt
    | Cancelled
    | MinDelayChange
    | RoleAdminChanged
    | RoleGranted
    | RoleRevoked
)
