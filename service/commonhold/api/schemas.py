"""The wire shapes. Addresses and hashes are 0x text, ids and amounts of money decimal text (they exceed what JSON's
readers keep exact), units decimal text with 6 decimals, times Unix seconds, GPU time integer milliseconds."""

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from commonhold.units import address_text, hex_text, units_text

M = TypeVar("M", bound="Shape")


def _if_bytes(value: Any) -> Any:
    return hex_text(value) if isinstance(value, bytes) else value


def _if_address(value: Any) -> Any:
    return address_text(value) if isinstance(value, bytes) else value


def _if_number(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def _if_units(value: Any) -> Any:
    return units_text(value) if isinstance(value, int) else value


AddressText = Annotated[
    str,
    BeforeValidator(_if_address),
    Field(pattern="^0x[0-9a-fA-F]{40}$", examples=["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]),
]
Hash = Annotated[str, BeforeValidator(_if_bytes), Field(pattern="^0x[0-9a-f]{64}$")]
Point = Annotated[str, BeforeValidator(_if_bytes), Field(pattern="^0x[0-9a-f]{128}$", description="P-256, x || y")]
Id = Annotated[str, BeforeValidator(_if_number), Field(pattern="^(0|[1-9][0-9]{0,77})$")]
WeiText = Annotated[
    str, BeforeValidator(_if_number), Field(pattern="^[0-9]+$", description="payment token's smallest unit")
]
UnitsText = Annotated[str, BeforeValidator(_if_units), Field(pattern=r"^[0-9]+\.[0-9]{6}$", examples=["8.000000"])]
KINDS = ("DATA", "MODEL", "COMPUTE")


class Shape(BaseModel):
    """Read from the stages' rows, and strict about what clients send."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")


class Problem(BaseModel):
    """Problem details, RFC 9457. The numbers of a refusal are members beside these."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str
    code: str


class OAuthFailure(BaseModel):
    """RFC 6749, 5.2. The numbers of a refusal are members beside these."""

    model_config = ConfigDict(extra="allow")
    error: str
    error_description: str


class MemberOut(Shape):
    address: AddressText
    nullifier: Hash | None = Field(description="null: it took another's place")
    controller: AddressText | None = Field(description="null: nobody controls it")
    root: AddressText = Field(description="the group it counts in")
    since: int = Field(description="start of the unbroken membership")
    until: int = Field(description="0: it was replaced")
    counted: bool = Field(description="a root that is among the groups")
    refuses_gifts: bool = Field(description="it takes only what it asks for")
    successor: AddressText | None = Field(description="who took its place; null: nobody")
    detach_ready_at: int | None = Field(description="when it can leave its group; null: it stays")
    recovery_to: AddressText | None = Field(description="who is to take its place; null: nobody")
    recovery_ready_at: int | None


class GroupOut(Shape):
    root: AddressText
    units: UnitsText


class ConcentrationOut(Shape):
    groups: int
    held_units: UnitsText = Field(description="by groups; the rest of the total is in the commons")
    largest_units: UnitsText
    largest_bps_floor: int
    hhi_floor: int = Field(description="Herfindahl-Hirschman index, 0 to 10000, rounded down")
    nakamoto: int | None = Field(description="groups that together hold more than half; null: all do not")


class ClassOut(Shape):
    class_id: Hash
    name: str
    kind: str = Field(description="DATA, MODEL or COMPUTE")
    unit: str
    hold_bps: int
    use_bps: int
    min_level: int
    floor_units: UnitsText
    total_units: UnitsText
    most_units: UnitsText = Field(description="the largest holding of one group now")
    concentration: ConcentrationOut
    holdings: list[GroupOut] = Field(description="per group, the largest first")


class AssetOut(Shape):
    asset: Id
    class_id: Hash
    operator: AddressText
    units: UnitsText
    level: int = Field(description="assurance level; 3 and higher are attested")
    policy: str = Field(description='the appraisal policy, "development" included')
    content_hash: Hash
    result_hash: Hash
    meter_key: Point | None = Field(description="of the node that serves it; null: none does")
    appraised_at: int
    expires_at: int
    retired: bool = Field(description="it is in the total of its class no more")
    commons_price_wei: WeiText = Field(description="of 1.000000 units of the commons")
    accrued_wei: WeiText = Field(description="revenue of all its units, ever")
    claimed_wei: WeiText = Field(description="of it, what its holders were paid")
    shared_wei: WeiText = Field(description="of it, what the commons shared among the groups")
    uri: str = Field(description="gateway of the node, or where the content is described")


class AssetDetail(AssetOut):
    class_name: str
    devices: list[Hash] = Field(description="commitments to its devices' identities")
    holdings: list["HoldingOut"]


class HoldingOut(Shape):
    asset: Id
    owner: AddressText = Field(description="the ledger's own address: the commons")
    units: UnitsText
    counted: bool = Field(description="in what its group holds; false: of a retired asset, and synced")


class OfferOut(Shape):
    credit_id: Id
    asset: Id
    window: int
    tranche: int
    price_wei: WeiText


class CreditOut(Shape):
    credit_id: Id
    asset: Id
    window: int
    tranche: int
    holder: AddressText
    seconds: int


class LeaseOut(Shape):
    lease: Hash
    holder: AddressText
    credit_id: Id
    asset: Id
    window: int
    tranche: int
    price_wei: WeiText
    seconds: int
    starts_at: int
    ends_at: int
    session_key: Point
    redeemed_block: int
    settled_ms: int
    paid_wei: WeiText = Field(description="accrued to the holders of the asset")
    level: int = Field(description="of the asset, when the lease was made")
    key_number: int = Field(description="of the session key, from 0")
    changes: int = Field(description="the number of the next statement about the lease")
    part_of: Hash | None = Field(description="the lease that it was split from")
    refunded_wei: WeiText | None = Field(description="null: not refunded")


class LeaseChangeIn(Shape):
    """A change of a lease as its holder signed it: the `primaryType` and `message` of its typed data."""

    primaryType: str = Field(description="Split, TopUp or Rotation")
    message: dict[str, str | int]
    signature: str


class OutcomeOut(Shape):
    """What became of one segment or receipt."""

    status: str = Field(description="recorded, duplicate or rejected")
    digest: Hash | None = Field(description="what was signed, SHA-256: its name in epochs; null: rejected")
    code: str | None = Field(description='why it was rejected; "unknown" may be accepted when sent again')
    reason: str | None


class EpochOut(Shape):
    submitter: AddressText
    number: int
    state: str = Field(description="frozen, sending, sent, anchored (the mirror shows it) or final")
    root: Hash
    count: int = Field(description="segments and receipts under the root")
    gpu_ms: int = Field(description="what it adds to the totals of its leases")
    closed_at: int
    uri: str | None = Field(description="of its data; null: nothing was sent yet")
    transaction_hash: Hash | None


class LeafOut(Shape):
    kind: str = Field(description="segment or receipt")
    lease: Hash
    digest: Hash
    gpu_ms: int


class ProofOut(Shape):
    """For OpenZeppelin's MerkleProof and its npm package: format standard-v1, leaves of uint8, bytes32, bytes32,
    uint64."""

    submitter: AddressText
    epoch: int
    root: Hash
    leaf: LeafOut
    leaf_hash: Hash
    proof: list[Hash] = Field(description="siblings from the bottom up")


class AnchorOut(Shape):
    submitter: AddressText
    epoch: int
    root: Hash
    previous: Hash
    count: int
    gpu_ms: int
    uri: str
    block_number: int


class HoursOut(Shape):
    class_id: Hash
    class_name: str
    window: int
    level: int = Field(description="assurance level of the appraisals; 3 and higher are attested")
    policy: str = Field(description='of the appraisals, "development" included')
    gpu_ms: int
    segments: int


class LeaseTotalOut(Shape):
    lease: Hash
    asset: Id
    window: int
    seconds: int
    metered_ms: int
    receipted_ms: int
    settled_ms: int


class DeliveredOut(Shape):
    class_id: Hash
    window: int
    root: AddressText
    level: int
    gpu_ms: int


class ReceiptOut(Shape):
    digest: Hash = Field(description="what both keys signed, SHA-256")
    epoch: int | None = Field(description="of this service that it is in; null: in none yet")
    lease: Hash
    gpu_ms: int = Field(description="of the lease, cumulative")
    head: Hash
    node_signature: Annotated[str, Field(pattern="^0x[0-9a-f]{128}$")]
    session_signature: Annotated[str, Field(pattern="^0x[0-9a-f]{128}$")]


class TransferIn(Shape):
    sender: AddressText
    receiver: AddressText
    asset: Id
    units: Annotated[str, Field(pattern=r"^[0-9]{1,13}(\.[0-9]{1,6})?$", examples=["1.5"])]


class TransferAllowed(Shape):
    allowed: bool
    headroom_units: UnitsText = Field(description="what the receiver's group could still add after this")


class RedemptionIn(Shape):
    """The message that the holder signs, as wallets show it."""

    holder: AddressText
    id: Id
    amount: Id
    keyX: Hash
    keyY: Hash
    nonce: Id
    deadline: Id


class RedemptionAllowed(Shape):
    allowed: bool
    headroom_s: int = Field(description="seconds that the group could still redeem in this class and window after this")
    lease: Hash = Field(description="the id that the lease will have")


class TypedData(Shape):
    lease: Hash = Field(description="the id that the lease will have: the digest of this statement")
    typed_data: dict[str, Any] = Field(description="for eth_signTypedData_v4")


class PositionOut(Shape):
    number: int
    hash: Hash
    timestamp: int
    finalized: int


class EndpointOut(Shape):
    """One RPC node of the service. Its host alone: paths hold keys."""

    host: str
    head: int | None = Field(description="the newest block that it told of; null: none")
    latency_ms: int | None = Field(description="of one request, smoothed; null: nothing was asked")
    errors: int
    resting: bool = Field(description="not asked now")
    outvoted: int = Field(description="how often a quorum said something else")
    differs: str | None = Field(description="what it said then, the last time")
    dropped: str | None = Field(description="it lied, or is of another chain: how. Not asked again until a restart")


class StatusOut(Shape):
    service: str
    version: str
    chain_id: int
    deployment: Hash = Field(description="SHA-256 of the deployment's canonical JSON")
    tier: str = Field(description="which blocks are believed: latest, safe or finalized")
    tiers: dict[str, str] = Field(description="how settled what must be: admit and redeem for a token, settle")
    endpoints: list[EndpointOut] = Field(description="RPC nodes of this service, in the order in which they are asked")
    quorum: int = Field(description="how many of them must agree on every block; 1: the first that answers is asked")
    logs_verified: bool = Field(
        description="headers and receipts are recomputed; false: the node's word is taken for which events there are"
    )
    block: PositionOut
    digest: Hash = Field(description="over the mirrored state: equal on every mirror at this block")
    counts: dict[str, int]
    faults: dict[str, str] = Field(
        description="loops that stopped or wait, RPC endpoints that lied, and why; empty: none"
    )
    integrity: dict[str, str] = Field(
        description="those that put the mirror in doubt, so that no token is issued; empty: none"
    )


class DigestOut(Shape):
    chain_id: int
    deployment: Hash = Field(description="SHA-256 of the deployment's canonical JSON")
    block: int
    block_hash: Hash | None = Field(description="null: a final block without events, whose hash is not kept")
    digest: Hash = Field(description="LtHash over all rows of the mirrored state; SHA-256 of its sum")
    jws: str = Field(description="the same, signed: compact JWS, ES256, type commonhold-digest+jwt, keys at /jwks.json")


class DeploymentOut(Shape):
    chain_id: int
    members: AddressText
    ledger: AddressText
    access: AddressText
    meter: AddressText
    council: AddressText
    timelock: AddressText
    factory: AddressText
    token: AddressText
    block: int
    block_hash: Hash
    deployer: AddressText
    salt: Hash
    code: dict[str, str] = Field(description="keccak-256 of what runs at each contract")
    genesis: dict[str, Any] = Field(description="what the contracts were made with")
    fingerprint: Hash
    window_seconds: int
    submitter: AddressText


class SettingOut(Shape):
    contract: str
    name: str
    subject: Hash = Field(description="a class; zero: the contract itself")
    value: Id | None = Field(description='null: "signers", which has none')
    changed_at: int | None = Field(description="null: it is as at the beginning")
    pending: Id | None = Field(description="the value that waits; null: none")
    ready_at: int | None = Field(description="from when it may be carried out")
    abdicated: bool = Field(description="it never changes again")


class SignerOut(Shape):
    contract: str = Field(description="Members: an attester. Ledger: an appraiser")
    signer: AddressText
    signs: bool
    ready_at: int | None = Field(description="when it may be added; null: it was not scheduled")


class CallOut(Shape):
    target: AddressText
    value: WeiText
    data: str


class VoteOut(Shape):
    voter: AddressText
    support: int = Field(description="0 against, 1 in favour, 2 abstains")
    weight: int
    reason: str


class ProposalOut(Shape):
    proposal_id: Id
    proposer: AddressText
    description: str
    phase: str = Field(description="waiting, voting, voted, queued, ready, executed or canceled")
    vote_start: int = Field(description="the snapshot: who had a vote then, has one")
    vote_end: int
    against: int
    in_favour: int
    abstaining: int
    ready_at: int | None = Field(description="when it may be executed; null: it is not queued")
    calls: list[CallOut]


class ProposalDetail(ProposalOut):
    votes: list[VoteOut]


class ClaimOut(Shape):
    asset: Id
    account: AddressText
    amount_wei: WeiText = Field(description="revenue that it was paid, ever")


class CommonsClaimOut(Shape):
    root: AddressText
    amount_wei: WeiText = Field(description="of the commons' revenue, ever")


class TokenOut(BaseModel):
    access_token: str
    issued_token_type: str
    token_type: str
    expires_in: int
    scope: str
    authorization_details: list[dict[str, Any]]


class NonceOut(BaseModel):
    c_nonce: str = Field(description="for one sign-in message")
    expires_in: int


def shaped(kind: type[M], rows: Iterable[object]) -> list[M]:
    """Rows as `kind`."""
    return [kind.model_validate(row) for row in rows]
