"""What is signed, byte by byte: EIP-712 statements, for wallets (keccak-256, secp256k1) and for hardware and session
keys (ES256: SHA-256 over the 66-byte preimage, P-256, low s). Pure. The vectors in tests/vectors/eip712.json are
checked here and in Solidity.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, ClassVar, Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from commonhold.errors import BadInput
from commonhold.units import Address, Hash32, address_text, hex_text, keccak256, to_address, to_hash32

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ZERO32 = Hash32(bytes(32))
_ES256 = ec.ECDSA(hashes.SHA256())

Fields = tuple[tuple[str, str], ...]


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
    type_hash, fields = _layout(cls.__name__, cls.FIELDS)
    words = [_word(kind, getattr(statement, attribute)) for attribute, kind in fields]
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
        "message": {n: _json_value(t, getattr(statement, _python_name(n))) for n, t in cls.FIELDS},
    }


def from_message(kind: type[S], message: object) -> S:
    """The statement in the `message` of its typed data: every field once, none else. Raises BadInput."""
    names = [name for name, _ in kind.FIELDS]
    if not isinstance(message, Mapping) or set(message) != set(names):
        raise BadInput(f"{kind.__name__}: expected an object with exactly {', '.join(names)}")
    struct = kind.__name__
    return kind(**{_python_name(n): _from_json(struct, n, solidity, message[n]) for n, solidity in kind.FIELDS})


def sign_es256(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """r || s, 64 bytes, low s (the contracts refuse the other half, OpenZeppelin P256)."""
    r, s = decode_dss_signature(key.sign(message, _ES256))
    return r.to_bytes(32) + min(s, P256_ORDER - s).to_bytes(32)


def low_s(signature: bytes) -> bytes:
    """The low-s form of a 64-byte ES256 signature, for signers that cannot choose (WebCrypto, TPMs)."""
    s = int.from_bytes(signature[32:])
    return signature[:32] + min(s, P256_ORDER - s).to_bytes(32)


def verify_es256(point: bytes, message: bytes, signature: bytes) -> bool:
    """True when `signature` (r || s, low s) is by the key `point` (x || y, 64 bytes) over `message`."""
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    if len(signature) != 64 or not (0 < r < P256_ORDER and 0 < s <= P256_ORDER // 2):
        return False
    key = p256_key(point)
    if key is None:
        return False
    try:
        key.verify(encode_dss_signature(r, s), message, _ES256)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=4096)  # bounded: points come from outside
def p256_key(point: bytes) -> ec.EllipticCurvePublicKey | None:
    """The public key of x || y (64 bytes); None when that is no point of P-256."""
    if len(point) != 64:
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point)
    except ValueError:
        return None


def p256_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """x || y of a P-256 key, 64 bytes."""
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32) + numbers.y.to_bytes(32)


@cache  # one entry a kind of statement
def _layout(name: str, fields: Fields) -> tuple[Hash32, Fields]:
    """The type hash, and (attribute, type) of each field."""
    type_hash = keccak256(f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})".encode())
    return type_hash, tuple((_python_name(field), kind) for field, kind in fields)


@cache  # one entry a name in FIELDS
def _python_name(name: str) -> str:
    return re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), name)


def _word(kind: str, value: Any) -> bytes:
    """One 32-byte word of encodeData; refuses what does not fit its type."""
    if kind == "string":
        return keccak256(value.encode())
    if kind == "bytes32[]":
        return keccak256(b"".join(_word("bytes32", item) for item in value))
    if kind == "address":
        if len(value) != 20:
            raise ValueError(f"address of {len(value)} bytes, expected 20")
        return bytes(value).rjust(32, b"\0")
    if kind == "bytes32":
        if len(value) != 32:
            raise ValueError(f"bytes32 of {len(value)} bytes, expected 32")
        return bytes(value)
    if not 0 <= value < 1 << _bits(kind):
        raise ValueError(f"{value} does not fit {kind}")
    return int(value).to_bytes(32)


@cache  # uint8 to uint256
def _bits(kind: str) -> int:
    return int(kind.removeprefix("uint"))


def _from_json(struct: str, name: str, kind: str, value: Any) -> Any:
    """The inverse of `_json_value`; numbers may be JSON integers as well."""
    if kind == "bytes32[]" and isinstance(value, list):
        return tuple(_from_json(struct, name, "bytes32", item) for item in value)
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "address" and isinstance(value, str):
        return to_address(value)
    if kind == "bytes32" and isinstance(value, str):
        return to_hash32(value)
    if kind.startswith("uint") and not isinstance(value, bool):
        bits = int(kind.removeprefix("uint"))
        number = value if isinstance(value, int) else int(value) if re.fullmatch(r"\d{1,78}", str(value)) else -1
        if 0 <= number < 1 << bits:
            return number
    raise BadInput(f"{struct}: {name}: expected {kind}, got {str(value)[:80]!r}")


def _json_value(kind: str, value: Any) -> Any:
    if kind == "string":
        return value
    if kind == "bytes32[]":
        return [hex_text(item) for item in value]
    if kind == "address":
        return address_text(value)
    return hex_text(value) if kind == "bytes32" else str(value)
