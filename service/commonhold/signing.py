"""What is signed, byte by byte: EIP-712 statements, for wallets (keccak-256, secp256k1) and for hardware and session
keys (p256.py: ES256, SHA-256 over the 66-byte preimage, low s). Pure. The vectors in tests/vectors/eip712.json are
checked here and in Solidity.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar

from commonhold import eip712
from commonhold.eip712 import Fields
from commonhold.errors import BadInput
from commonhold.units import Address, Hash32, address_text, keccak256

ZERO32 = Hash32(bytes(32))


class Statement(Protocol):
    """An EIP-712 struct: `CONTRACT` checks it, `FIELDS` are its (name, type) in order."""

    CONTRACT: ClassVar[str]
    FIELDS: ClassVar[Fields]


S = TypeVar("S", bound=Statement)


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a statement counts: one contract on one chain."""

    contract: str  # Members, Ledger, Access or Meter
    chain_id: int
    address: Address

    @property
    def name(self) -> str:
        return f"Commonhold {self.contract}"


@dataclass(frozen=True, slots=True)
class Admission:
    CONTRACT: ClassVar[str] = "Members"
    FIELDS: ClassVar[Fields] = (
        ("member", "address"),
        ("nullifier", "bytes32"),
        ("until", "uint48"),
        ("deadline", "uint48"),
    )
    member: Address
    nullifier: Hash32
    until: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Renewal:
    CONTRACT: ClassVar[str] = "Members"
    FIELDS: ClassVar[Fields] = (("member", "address"), ("until", "uint48"), ("deadline", "uint48"))
    member: Address
    until: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Attachment:
    CONTRACT: ClassVar[str] = "Members"
    FIELDS: ClassVar[Fields] = (
        ("member", "address"),
        ("controller", "address"),
        ("nonce", "uint256"),
        ("deadline", "uint48"),
    )
    member: Address
    controller: Address
    nonce: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Finding:
    CONTRACT: ClassVar[str] = "Members"
    FIELDS: ClassVar[Fields] = (
        ("member", "address"),
        ("controller", "address"),
        ("evidence", "bytes32"),
        ("deadline", "uint48"),
    )
    member: Address
    controller: Address
    evidence: Hash32
    deadline: int


@dataclass(frozen=True, slots=True)
class Detachment:
    """A quorum's finding that nobody controls `member` any more."""

    CONTRACT: ClassVar[str] = "Members"
    FIELDS: ClassVar[Fields] = (
        ("member", "address"),
        ("evidence", "bytes32"),
        ("nonce", "uint256"),
        ("deadline", "uint48"),
    )
    member: Address
    evidence: Hash32
    nonce: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """A quorum's finding that the holder of `member` has lost its key and is at `successor`."""

    CONTRACT: ClassVar[str] = "Members"
    FIELDS: ClassVar[Fields] = (
        ("member", "address"),
        ("successor", "address"),
        ("evidence", "bytes32"),
        ("nonce", "uint256"),
        ("deadline", "uint48"),
    )
    member: Address
    successor: Address
    evidence: Hash32
    nonce: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What a quorum of appraisers signs. Field meanings: contracts/src/interfaces/ILedger.sol."""

    CONTRACT: ClassVar[str] = "Ledger"
    FIELDS: ClassVar[Fields] = (
        ("classId", "bytes32"),
        ("registrant", "address"),
        ("contentHash", "bytes32"),
        ("resultHash", "bytes32"),
        ("policy", "string"),
        ("units", "uint64"),
        ("level", "uint8"),
        ("devices", "bytes32[]"),
        ("meterKeyX", "bytes32"),
        ("meterKeyY", "bytes32"),
        ("expiresAt", "uint48"),
        ("deadline", "uint48"),
    )
    class_id: Hash32
    registrant: Address
    content_hash: Hash32
    result_hash: Hash32
    policy: str
    units: int
    level: int
    devices: tuple[Hash32, ...]
    meter_key_x: Hash32
    meter_key_y: Hash32
    expires_at: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Redemption:
    """What a holder signs to turn `amount` credits (seconds) into a lease. Its digest is the lease's id."""

    CONTRACT: ClassVar[str] = "Access"
    FIELDS: ClassVar[Fields] = (
        ("holder", "address"),
        ("id", "uint256"),
        ("amount", "uint64"),
        ("keyX", "bytes32"),
        ("keyY", "bytes32"),
        ("nonce", "uint256"),
        ("deadline", "uint48"),
    )
    holder: Address
    id: int
    amount: int
    key_x: Hash32
    key_y: Hash32
    nonce: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Split:
    """What a holder signs to make a second lease of part of one. Its digest is the new lease's id."""

    CONTRACT: ClassVar[str] = "Access"
    FIELDS: ClassVar[Fields] = (
        ("lease", "bytes32"),
        ("amount", "uint64"),
        ("keyX", "bytes32"),
        ("keyY", "bytes32"),
        ("change", "uint16"),
        ("deadline", "uint48"),
    )
    lease: Hash32
    amount: int
    key_x: Hash32
    key_y: Hash32
    change: int
    deadline: int


@dataclass(frozen=True, slots=True)
class TopUp:
    """What a holder signs to redeem `amount` more credits into `lease`."""

    CONTRACT: ClassVar[str] = "Access"
    FIELDS: ClassVar[Fields] = (
        ("lease", "bytes32"),
        ("amount", "uint64"),
        ("change", "uint16"),
        ("deadline", "uint48"),
    )
    lease: Hash32
    amount: int
    change: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a holder signs to bind `lease` to another session key."""

    CONTRACT: ClassVar[str] = "Access"
    FIELDS: ClassVar[Fields] = (
        ("lease", "bytes32"),
        ("keyX", "bytes32"),
        ("keyY", "bytes32"),
        ("change", "uint16"),
        ("deadline", "uint48"),
    )
    lease: Hash32
    key_x: Hash32
    key_y: Hash32
    change: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Cumulative GPU-ms of a lease and the head of its hash chain; signed by the meter key and the session key."""

    CONTRACT: ClassVar[str] = "Meter"
    FIELDS: ClassVar[Fields] = (("lease", "bytes32"), ("gpuMs", "uint64"), ("head", "bytes32"))
    lease: Hash32
    gpu_ms: int
    head: Hash32


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of readings of one lease under one signature of the meter key. Key = (asset, boot, sequence)."""

    CONTRACT: ClassVar[str] = "Meter"
    FIELDS: ClassVar[Fields] = (
        ("asset", "uint256"),
        ("boot", "uint64"),
        ("sequence", "uint64"),
        ("lease", "bytes32"),
        ("previous", "bytes32"),
        ("head", "bytes32"),
        ("startedAtMs", "uint64"),
        ("endedAtMs", "uint64"),
        ("gpuMs", "uint64"),
        ("readings", "uint32"),
    )
    asset: int
    boot: int  # Unix ms at which the node's meter started
    sequence: int  # 0, 1, 2, ... within one boot, over all leases of the node
    lease: Hash32
    previous: Hash32  # head of the lease's chain before this segment; zero for its first
    head: Hash32
    started_at_ms: int
    ended_at_ms: int
    gpu_ms: int  # cumulative, as of the last reading
    readings: int


@lru_cache(maxsize=256)  # a process meets the contracts of its deployment; bounded all the same
def domain_separator(domain: Domain) -> Hash32:
    """Source: EIP-712, fields name, version "1", chainId, verifyingContract."""
    kind = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    parts = (kind, keccak256(domain.name.encode()), keccak256(b"1"))
    return keccak256(b"".join(parts) + domain.chain_id.to_bytes(32) + domain.address.rjust(32, b"\0"))


def struct_hash(statement: Statement) -> Hash32:
    """hashStruct of EIP-712."""
    cls = type(statement)
    type_hash, fields = eip712.layout(cls.__name__, cls.FIELDS)
    words = [eip712.word(kind, getattr(statement, attribute)) for attribute, kind in fields]
    return keccak256(type_hash + b"".join(words))


def preimage(domain: Domain, statement: Statement) -> bytes:
    """The 66 bytes `0x1901 || domain || struct` that every kind of key signs.

    Raises ValueError when the statement belongs to another contract than the domain.
    """
    if statement.CONTRACT != domain.contract:
        raise ValueError(f"{type(statement).__name__} is a statement to {statement.CONTRACT}, not to {domain.contract}")
    return b"\x19\x01" + domain_separator(domain) + struct_hash(statement)


def digest(domain: Domain, statement: Statement) -> Hash32:
    """What a wallet signs: keccak-256 of the preimage."""
    return keccak256(preimage(domain, statement))


def es256_digest(domain: Domain, statement: Statement) -> Hash32:
    """What a P-256 key signs: SHA-256 of the preimage."""
    return Hash32(hashlib.sha256(preimage(domain, statement)).digest())


def typed_data(domain: Domain, statement: Statement) -> dict[str, Any]:
    """The JSON that wallets show and sign (eth_signTypedData_v4); numbers as decimal text."""
    cls = type(statement)
    domain_fields = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    return {
        "types": {
            "EIP712Domain": [{"name": n, "type": t} for n, t in domain_fields.items()],
            cls.__name__: [{"name": n, "type": t} for n, t in cls.FIELDS],
        },
        "primaryType": cls.__name__,
        "domain": {
            "name": domain.name,
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": address_text(domain.address),
        },
        "message": {n: eip712.json_value(t, getattr(statement, eip712.python_name(n))) for n, t in cls.FIELDS},
    }


def from_message(kind: type[S], message: object) -> S:
    """The statement in the `message` of its typed data: every field once, none else. Raises BadInput."""
    names = [name for name, _ in kind.FIELDS]
    if not isinstance(message, Mapping) or set(message) != set(names):
        raise BadInput(f"{kind.__name__}: expected an object with exactly {', '.join(names)}")
    struct = kind.__name__
    return kind(
        **{eip712.python_name(n): eip712.from_json(struct, n, solidity, message[n]) for n, solidity in kind.FIELDS}
    )
