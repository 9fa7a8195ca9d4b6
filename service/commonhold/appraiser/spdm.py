"""The SPDM 1.1 measurement report of an NVIDIA GPU, parsed strictly.

In: the bytes that NVML returns, GET_MEASUREMENTS request || MEASUREMENTS response. Out: `SpdmReport`, or `Malformed`
naming the part that is wrong. Pure, and without keys: nvidia.py decides what a well-formed report is worth.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# Offsets are those of the report, request included. Source: DMTF DSP0274 1.1, 10.11; measured on recorded reports.
REQUEST_BYTES = 37
RECORD_AT = 45
BLOCK_BYTES = 55  # index, specification, size, then type, size and 48 bytes of SHA-384
DIGEST_BYTES = 48
NONCE_BYTES = 32
SIGNATURE_BYTES = 96  # r || s, 48 bytes each, big-endian

# 0x11 is SPDM 1.1, 0xe0 GET_MEASUREMENTS, then "signature asked" and "all measurements"; the slot follows the nonce.
REQUEST_HEAD = bytes.fromhex("11e001ff")
REQUEST_SLOT = b"\x00"
RESPONSE_HEAD = bytes.fromhex("11600000")  # 0x60 MEASUREMENTS; both parameters are zero for slot 0
BLOCK_HEAD = bytes.fromhex("013300013000")  # DMTF specification, 51 bytes: digest of firmware, 48 bytes

# Opaque fields that are read. Every other type is skipped: drivers add types without telling.
DRIVER_VERSION = 3
VBIOS_VERSION = 6
CHIP_SKU = 15
PROJECT = 17
PROJECT_SKU = 18
FWID = 20
FEATURE_FLAG = 36
KNOWN_FIELDS = frozenset({DRIVER_VERSION, VBIOS_VERSION, CHIP_SKU, PROJECT, PROJECT_SKU, FWID, FEATURE_FLAG})

Part = Literal["request", "measurements", "opaque", "length"]
PARTS: tuple[Part, ...] = ("request", "measurements", "opaque", "length")
# Single GPU passthrough, several GPUs passthrough, protected PCIe (eight GPUs with their switches).
FeatureFlag = Literal["SPT", "MPT", "PPCIE"]
FEATURE_FLAGS: dict[bytes, FeatureFlag] = {b"\x00\x00": "SPT", b"\x01\x00": "MPT", b"\x02\x00": "PPCIE"}

# ASCII, then at least one NUL: older drivers end at the first NUL, newer ones pad the field with them.
_TEXT = re.compile(rb"([0-9A-Za-z._-]{1,64})\x00+")


@dataclass(frozen=True, slots=True)
class Malformed:
    """`part` is the first part of the report that is not as it must be; the parts before it are."""

    part: Part
    detail: str


@dataclass(frozen=True, slots=True)
class SpdmReport:
    """What a report says. Nothing here is believed before its signature is."""

    nonce: bytes
    measurements: tuple[bytes, ...]  # block 1 is at 0
    driver_version: str
    vbios_version: str
    project: str  # PROJECT_PROJECTSKU_CHIPSKU: which product the board is
    feature_flag: FeatureFlag | None  # None: a driver older than the field
    fwid: bytes | None  # None: a driver older than the field
    opaque_bytes: int
    signed: bytes
    signature: bytes


class _Fault(Exception):
    """Ends parsing with a `Malformed`; it never leaves this file."""


def parse_report(report: bytes) -> SpdmReport | Malformed:
    """The report in parts, every byte accounted for, or the first part that is malformed."""
    part: Part = "request"
    try:
        _equal("request head", report[:4], REQUEST_HEAD)
        _equal("request slot", report[36:37], REQUEST_SLOT)

        part = "measurements"
        measurements = _measurements(report)

        part = "opaque"
        opaque_at = RECORD_AT + len(measurements) * BLOCK_BYTES + NONCE_BYTES + 2
        if len(report) < opaque_at:
            raise _Fault(f"opaque length: expected to end at {opaque_at}, report is {len(report)} bytes")
        opaque_bytes = int.from_bytes(report[opaque_at - 2 : opaque_at], "little")
        signature_at = opaque_at + opaque_bytes
        fields = _opaque_fields(report[opaque_at:signature_at], opaque_bytes)
        read = SpdmReport(
            nonce=report[4:36],
            measurements=measurements,
            driver_version=_text(fields, DRIVER_VERSION),
            vbios_version=_vbios_version(_required(fields, VBIOS_VERSION)),
            project="_".join(_text(fields, kind) for kind in (PROJECT, PROJECT_SKU, CHIP_SKU)),
            feature_flag=_feature_flag(fields.get(FEATURE_FLAG)),
            fwid=_fwid(fields.get(FWID)),
            opaque_bytes=opaque_bytes,
            signed=report[:signature_at],
            signature=report[signature_at:],
        )

        part = "length"
        # The signed range comes from the parse: a report is on record with a zero byte after its signature.
        if len(read.signature) != SIGNATURE_BYTES:
            raise _Fault(f"report: expected {signature_at + SIGNATURE_BYTES} bytes, got {len(report)}")
        return read
    except _Fault as fault:
        return Malformed(part, str(fault))


def _measurements(report: bytes) -> tuple[bytes, ...]:
    _equal("response head", report[REQUEST_BYTES : REQUEST_BYTES + 4], RESPONSE_HEAD)
    n_blocks = int.from_bytes(report[41:42], "little")
    record_bytes = int.from_bytes(report[42:RECORD_AT], "little")
    record = report[RECORD_AT : RECORD_AT + record_bytes]
    if n_blocks == 0 or record_bytes != n_blocks * BLOCK_BYTES or len(record) != record_bytes:
        raise _Fault(
            f"measurement record: expected {n_blocks} > 0 blocks of {BLOCK_BYTES} bytes, "
            f"got {len(record)} of {record_bytes} bytes"
        )

    digests: dict[int, bytes] = {}
    for at in range(0, record_bytes, BLOCK_BYTES):
        index, block = record[at], record[at + 1 : at + BLOCK_BYTES]
        if not 1 <= index <= n_blocks or index in digests:
            raise _Fault(f"measurement block at {RECORD_AT + at}: index {index} is twice there or not in 1..{n_blocks}")
        _equal(f"head of measurement block {index}", block[: len(BLOCK_HEAD)], BLOCK_HEAD)
        digests[index] = block[len(BLOCK_HEAD) :]
    return tuple(digests[index] for index in range(1, n_blocks + 1))


def _opaque_fields(opaque: bytes, expected_bytes: int) -> dict[int, bytes]:
    if len(opaque) != expected_bytes:
        raise _Fault(f"opaque data: expected {expected_bytes} bytes, got {len(opaque)}")
    fields: dict[int, bytes] = {}
    for kind, value in _tlvs(opaque):
        if kind in fields:
            raise _Fault(f"opaque field {kind}: expected once, got twice")
        if kind in KNOWN_FIELDS:
            fields[kind] = value
    return fields


def _tlvs(opaque: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(opaque):
        kind = int.from_bytes(opaque[at : at + 2], "little")
        n_bytes = int.from_bytes(opaque[at + 2 : at + 4], "little")
        end = at + 4 + n_bytes
        if end > len(opaque):
            raise _Fault(f"opaque field {kind} at {at}: expected to end by {len(opaque)}, ends at {end}")
        yield kind, opaque[at + 4 : end]
        at = end


def _required(fields: dict[int, bytes], kind: int) -> bytes:
    # An NVSwitch's report has the same head, root and signature; these fields are what tells a GPU's from it.
    if kind not in fields:
        raise _Fault(f"opaque field {kind}: expected in every GPU report, got none")
    return fields[kind]


def _text(fields: dict[int, bytes], kind: int) -> str:
    value = _required(fields, kind)
    match = _TEXT.fullmatch(value)
    if match is None:
        raise _Fault(f"opaque field {kind}: expected a version in ASCII ended by NUL, got {value[:64].hex()}")
    return match[1].decode("ascii")


def _vbios_version(value: bytes) -> str:
    """00d0009603000000 -> 96.00.d0.00.03: the lower word in reverse, then the first byte of the upper one."""
    if len(value) != 8:
        raise _Fault(f"opaque field {VBIOS_VERSION}: expected 8 bytes, got {len(value)}")
    return ".".join(f"{byte:02x}" for byte in (*reversed(value[:4]), value[4]))


def _feature_flag(value: bytes | None) -> FeatureFlag | None:
    if value is None:
        return None
    if value not in FEATURE_FLAGS:
        raise _Fault(f"opaque field {FEATURE_FLAG}: expected SPT, MPT or PPCIE, got {value.hex()}")
    return FEATURE_FLAGS[value]


def _fwid(value: bytes | None) -> bytes | None:
    if value is not None and len(value) != DIGEST_BYTES:
        raise _Fault(f"opaque field {FWID}: expected {DIGEST_BYTES} bytes, got {len(value)}")
    return value


def _equal(what: str, got: bytes, expected: bytes) -> None:
    if got != expected:
        raise _Fault(f"{what}: expected {expected.hex()}, got {got.hex() or 'no bytes'}")
