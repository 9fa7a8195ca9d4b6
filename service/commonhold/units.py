"""The numbers and names that every stage shares, and their text forms.

Inside the service all quantities are integers and all addresses and hashes are bytes. Text exists at the edges only:
this file is where it is read and written. Pure; imports nothing of the package but errors.
"""

import re
from typing import NewType

import sha3

from commonhold.errors import BadInput

Address = NewType("Address", bytes)  # 20 bytes
Hash32 = NewType("Hash32", bytes)  # 32 bytes
AssetId = NewType("AssetId", int)  # 192 bits
CreditId = NewType("CreditId", int)  # asset << 64 | window << 32 | tranche
Window = NewType("Window", int)  # timestamp // window_seconds
Units = NewType("Units", int)  # 6 decimals; COMPUTE: 1_000_000 is one GPU
Seconds = NewType("Seconds", int)  # one credit is one second of one unit
GpuMs = NewType("GpuMs", int)  # GPU-milliseconds
Wei = NewType("Wei", int)  # the payment token's smallest unit
BlockNumber = NewType("BlockNumber", int)

UNIT = 1_000_000  # Units in 1.0: ILedger, "6 decimals"
MS_PER_HOUR = 3_600_000
LEVELS = ("declared", "keyed", "challenged", "attested", "measured", "bound")  # assurance levels 0 to 5, README.md
MAX_TOTAL = 2**63 - 1  # ILedger: class totals stay below 2^63, so sums fit a signed 64-bit column


def keccak256(data: bytes) -> Hash32:
    """The hash of the EVM, 32 bytes."""
    return Hash32(sha3.keccak_256(data).digest())


def to_address(text: str) -> Address:
    """The 20 bytes of a hexadecimal address; a mixed-case one must carry its EIP-55 checksum.

    Raises BadInput.
    """
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise BadInput(f"address {text[:60]!r}: expected 0x and 40 hexadecimal digits, got {len(text)} characters")
    address = Address(bytes.fromhex(text[2:]))
    if text[2:] not in (text[2:].lower(), text[2:].upper()) and text != address_text(address):
        raise BadInput(f"address {text}: EIP-55 checksum does not match, expected {address_text(address)}")
    return address


def address_text(address: bytes) -> str:
    """The EIP-55 form of a 20-byte address. Source: EIP-55."""
    digits = address.hex()
    digest = sha3.keccak_256(digits.encode()).hexdigest()
    return "0x" + "".join(c.upper() if int(h, 16) >= 8 else c for c, h in zip(digits, digest, strict=False))


def to_hash32(text: str) -> Hash32:
    """The 32 bytes of 0x and 64 hexadecimal digits. Raises BadInput."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", text):
        raise BadInput(f"hash {text[:80]!r}: expected 0x and 64 hexadecimal digits, got {len(text)} characters")
    return Hash32(bytes.fromhex(text[2:]))


def hex_text(data: bytes) -> str:
    """0x and the lower-case hexadecimal digits of `data`."""
    return "0x" + data.hex()


def to_units(text: str) -> Units:
    """Units from decimal text with at most 6 decimals, not negative. Raises BadInput."""
    match = re.fullmatch(r"([0-9]{1,13})(?:\.([0-9]{1,6}))?", text.strip())
    if not match:
        raise BadInput(f"units {text[:40]!r}: expected a number with at most 6 decimals, such as 1.5")
    whole, decimals = match.groups(default="")
    units = int(whole) * UNIT + int(decimals.ljust(6, "0") or 0)
    if units > MAX_TOTAL:
        raise BadInput(f"units {text}: expected at most {units_text(MAX_TOTAL)}")
    return Units(units)


def units_text(units: int) -> str:
    """Decimal text of units, always 6 decimals."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    return f"{sign}{units // UNIT}.{units % UNIT:06d}"


def gpu_hours_text(gpu_ms: int) -> str:
    """GPU-hours with 6 decimals, rounded down, for people."""
    micro_hours = gpu_ms * 1_000_000 // MS_PER_HOUR
    return f"{micro_hours // 1_000_000}.{micro_hours % 1_000_000:06d}"


def level_text(level: int, policy: str) -> str:
    """An assurance level as people read it, never without the policy it was appraised under."""
    return f"{level} {LEVELS[level]} ({policy})"


def credit_id(asset: int, window: int, tranche: int) -> CreditId:
    """The id of the credits of one tranche of one asset in one window. Source: IAccess."""
    if not (0 <= asset < 1 << 192 and 0 <= window < 1 << 32 and 0 <= tranche < 1 << 32):
        raise BadInput(f"credit id: asset {asset}, window {window}, tranche {tranche} do not fit 192, 32 and 32 bits")
    return CreditId(asset << 64 | window << 32 | tranche)


def credit_parts(credit: int) -> tuple[AssetId, Window, int]:
    """(asset, window, tranche) of a credit id."""
    return AssetId(credit >> 64), Window(credit >> 32 & 0xFFFF_FFFF), credit & 0xFFFF_FFFF


def class_id(name: str) -> Hash32:
    """The id of a class: the hash of its name."""
    return keccak256(name.encode())
