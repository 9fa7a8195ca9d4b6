"""Segments and receipts: what a node signs about the time it gave, and what the developer signs for.

A reading is the cumulative GPU-ms of one lease at the end of one interval. A segment is a run of readings, hash-chained
per lease, under one signature of the meter key. A receipt is a total that both keys signed. Pure: the node, the client,
the service and the audit all use this file.
"""

import hashlib
import itertools
import operator
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, NewType, Self

from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.errors import BadInput
from commonhold.p256 import p256_point, sign_es256, verify_es256
from commonhold.signing import Domain, Receipt, Segment, es256_digest, preimage
from commonhold.units import MAX_TOTAL, Hash32, hex_text, to_hash32

Signature = NewType("Signature", bytes)  # r || s, 64 bytes, low s

MAX_READINGS = 4_096  # bounds one segment's body at about 150 kB of JSON
_READING = struct.Struct(">QQ")


# A tuple, not a frozen dataclass: there is one for every reading of every node, made and taken apart in C.
class Reading(NamedTuple):
    """`gpu_ms` is the lease's total since it began, at `ended_at_ms` (Unix)."""

    ended_at_ms: int
    gpu_ms: int


def chain(previous: Hash32, lease: Hash32, readings: Iterable[Reading]) -> Hash32:
    """The head of the lease's hash chain after `readings`.

    h_i = SHA-256(h_(i-1) || lease || ended_at_ms || gpu_ms), the numbers as 8 big-endian bytes; h_0 is `previous`.
    """
    head: bytes = previous
    sha256, packed = hashlib.sha256, _READING.pack  # looked up once: this is most of a reading's cost
    for reading in readings:
        head = sha256(head + lease + packed(*reading)).digest()
    return Hash32(head)


def pack(readings: Iterable[Reading]) -> bytes:
    """16 bytes a reading, in order: what is stored and published."""
    numbers = [*itertools.chain.from_iterable(readings)]
    return struct.pack(f">{len(numbers)}Q", *numbers)


def unpack(data: bytes) -> tuple[Reading, ...]:
    """The readings that `pack` wrote. Raises BadInput when `data` is no whole number of readings."""
    if len(data) % _READING.size:
        raise BadInput(f"readings of {len(data)} bytes: expected a multiple of {_READING.size}")
    return tuple(map(Reading._make, _READING.iter_unpack(data)))


@dataclass(frozen=True, slots=True)
class SignedSegment:
    segment: Segment
    readings: tuple[Reading, ...]
    signature: Signature

    def digest(self, domain: Domain) -> Hash32:
        """What the meter key signed, hashed: names this segment in trees and answers."""
        return Hash32(hashlib.sha256(_preimage(domain, self.segment)).digest())

    def verify(self, domain: Domain, meter_key: bytes) -> str | None:
        """None when all of this holds, else what does not:

        (1) at least one reading, at most MAX_READINGS, as many as the segment says;
        (2) times ascend strictly, from after the start to the segment's end, and nothing is before the boot;
        (3) totals never fall, and the last one is the segment's;
        (4) the readings lead the chain from `previous` to `head`;
        (5) the signature is the meter key's.

        What depends on other segments, on the asset and on the clock is meter/record.py's to check.
        """
        segment, readings = self.segment, self.readings
        # (1) how many
        if not 1 <= len(readings) <= MAX_READINGS or len(readings) != segment.readings:
            return f"{len(readings)} readings, the segment says {segment.readings}, at most {MAX_READINGS} are allowed"
        ended_at_ms, totals = zip(*readings, strict=True)
        # (2) times
        times = (segment.started_at_ms, *ended_at_ms)
        if segment.started_at_ms < segment.boot:
            return f"starts at {segment.started_at_ms}, before its boot at {segment.boot}"
        if any(map(operator.le, times[1:], times)):
            return "times of the readings do not ascend strictly from the segment's start"
        if times[-1] != segment.ended_at_ms:
            return f"last reading ends at {times[-1]}, the segment at {segment.ended_at_ms}"
        # (3) totals
        if any(map(operator.lt, totals[1:], totals)):
            return "total of the readings falls"
        if totals[-1] != segment.gpu_ms:
            return f"last reading's total is {totals[-1]} GPU-ms, the segment's {segment.gpu_ms}"
        # (4) chain
        head = chain(segment.previous, segment.lease, readings)
        if head != segment.head:
            return f"readings lead to {hex_text(head)}, the segment's head is {hex_text(segment.head)}"
        # (5) signature
        if not verify_es256(meter_key, _preimage(domain, segment), self.signature):
            return "signature is not by the asset's meter key"
        return None

    def to_json(self) -> dict[str, Any]:
        """The wire form: ids as decimal text, hashes and signatures as 0x text, numbers as they are."""
        s = self.segment
        return {
            "asset": str(s.asset),
            "boot": s.boot,
            "sequence": s.sequence,
            "lease": hex_text(s.lease),
            "previous": hex_text(s.previous),
            "head": hex_text(s.head),
            "started_at_ms": s.started_at_ms,
            "ended_at_ms": s.ended_at_ms,
            "gpu_ms": s.gpu_ms,
            "readings": [[*reading] for reading in self.readings],
            "signature": hex_text(self.signature),
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """The segment of `to_json`'s form, and of no other. Raises BadInput."""
        fields = _fields(data, "segment", _SEGMENT_FIELDS)
        pairs = fields["readings"]
        if not isinstance(pairs, list) or not 1 <= len(pairs) <= MAX_READINGS:
            raise BadInput(f"segment: readings: expected a list of 1 to {MAX_READINGS} pairs")
        readings = _readings(pairs)
        return cls(
            Segment(
                asset=_decimal(fields, "asset", 192),
                boot=_integer(fields, "boot"),
                sequence=_integer(fields, "sequence"),
                lease=_hash(fields, "lease"),
                previous=_hash(fields, "previous"),
                head=_hash(fields, "head"),
                started_at_ms=_integer(fields, "started_at_ms"),
                ended_at_ms=_integer(fields, "ended_at_ms"),
                gpu_ms=_integer(fields, "gpu_ms"),
                readings=len(readings),
            ),
            readings,
            _signature(fields, "signature"),
        )


def seal(
    domain: Domain,
    key: ec.EllipticCurvePrivateKey,
    *,
    asset: int,
    boot: int,
    sequence: int,
    lease: Hash32,
    previous: Hash32,
    started_at_ms: int,
    readings: Sequence[Reading],
) -> SignedSegment:
    """The segment of `readings`, signed. `previous` is the head of the lease's chain so far: 32 zero bytes at first.

    Raises ValueError when nobody would accept it: no readings, times that do not ascend, totals that fall.
    """
    if not readings:
        raise ValueError("a segment has at least one reading")
    segment = Segment(
        asset=asset,
        boot=boot,
        sequence=sequence,
        lease=lease,
        previous=previous,
        head=chain(previous, lease, readings),
        started_at_ms=started_at_ms,
        ended_at_ms=readings[-1].ended_at_ms,
        gpu_ms=readings[-1].gpu_ms,
        readings=len(readings),
    )
    signature = Signature(sign_es256(key, preimage(domain, segment)))
    signed = SignedSegment(segment, tuple(readings), signature)
    defect = signed.verify(domain, p256_point(key.public_key()))
    if defect:
        raise ValueError(f"segment {sequence} of boot {boot}: {defect}")
    return signed


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    receipt: Receipt
    node_signature: Signature
    session_signature: Signature

    def digest(self, domain: Domain) -> Hash32:
        """What both keys signed, hashed. The same as `Meter.receiptDigest`."""
        return es256_digest(domain, self.receipt)

    def verify(self, domain: Domain, meter_key: bytes, session_key: bytes) -> str | None:
        """None when both signatures are over this receipt, else which one is not."""
        message = preimage(domain, self.receipt)
        if not verify_es256(meter_key, message, self.node_signature):
            return "node signature is not by the asset's meter key"
        if not verify_es256(session_key, message, self.session_signature):
            return "session signature is not by the lease's session key"
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "lease": hex_text(self.receipt.lease),
            "gpu_ms": self.receipt.gpu_ms,
            "head": hex_text(self.receipt.head),
            "node_signature": hex_text(self.node_signature),
            "session_signature": hex_text(self.session_signature),
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """The receipt of `to_json`'s form, and of no other. Raises BadInput."""
        fields = _fields(data, "receipt", ("lease", "gpu_ms", "head", "node_signature", "session_signature"))
        return cls(
            Receipt(_hash(fields, "lease"), _integer(fields, "gpu_ms"), _hash(fields, "head")),
            _signature(fields, "node_signature"),
            _signature(fields, "session_signature"),
        )


_SEGMENT_FIELDS = (
    "asset",
    "boot",
    "sequence",
    "lease",
    "previous",
    "head",
    "started_at_ms",
    "ended_at_ms",
    "gpu_ms",
    "readings",
    "signature",
)


def _fields(data: object, what: str, names: tuple[str, ...]) -> Mapping[str, object]:
    if not isinstance(data, dict):
        raise BadInput(f"{what}: expected an object, got {type(data).__name__}")
    if data.keys() != frozenset(names):
        missing, unknown = sorted(set(names) - data.keys()), sorted(map(str, data.keys() - set(names)))
        raise BadInput(f"{what}: missing fields {missing}, unknown fields {unknown[:5]}")
    return data


def _integer(fields: Mapping[str, object], name: str) -> int:
    value = fields[name]
    if type(value) is not int or not 0 <= value <= MAX_TOTAL:  # bool is an int
        raise BadInput(f"{name} {str(value)[:40]!r}: expected an integer from 0 to {MAX_TOTAL}")
    return value


def _decimal(fields: Mapping[str, object], name: str, bits: int) -> int:
    value = fields[name]
    if not isinstance(value, str) or not re.fullmatch(r"0|[1-9][0-9]{0,77}", value) or int(value) >> bits:
        raise BadInput(f"{name} {str(value)[:80]!r}: expected decimal text of at most {bits} bits")
    return int(value)


def _hash(fields: Mapping[str, object], name: str) -> Hash32:
    value = fields[name]
    if not isinstance(value, str):
        raise BadInput(f"{name}: expected hexadecimal text, got {type(value).__name__}")
    return to_hash32(value)


def _signature(fields: Mapping[str, object], name: str) -> Signature:
    value = fields[name]
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-f]{128}", value):
        raise BadInput(f"{name}: expected 0x and 128 lower-case hexadecimal digits")
    return Signature(bytes.fromhex(value[2:]))


_as_reading = partial(tuple.__new__, Reading)  # Reading._make of what is a pair already, without a call into Python


def _readings(pairs: list[Any]) -> tuple[Reading, ...]:
    """All at once, since it runs for every reading of every node; one by one to say which is none."""
    if set(map(type, pairs)) == {list} and set(map(len, pairs)) == {2}:
        numbers = [*itertools.chain.from_iterable(pairs)]
        if set(map(type, numbers)) == {int} and min(numbers) >= 0 and max(numbers) <= MAX_TOTAL:
            return tuple(map(_as_reading, pairs))
    return tuple(map(_reading, pairs))


def _reading(pair: object) -> Reading:
    if not isinstance(pair, list) or len(pair) != 2:
        raise BadInput("segment: readings: expected pairs of ended_at_ms and gpu_ms")
    ended_at_ms, gpu_ms = pair
    if type(ended_at_ms) is int and type(gpu_ms) is int and 0 <= ended_at_ms <= MAX_TOTAL and 0 <= gpu_ms <= MAX_TOTAL:
        return Reading(ended_at_ms, gpu_ms)
    raise BadInput(f"segment: readings: {str(pair)[:80]}: expected integers from 0 to {MAX_TOTAL}")


@lru_cache(maxsize=64)  # verified, then named by its digest: the same bytes twice in a row
def _preimage(domain: Domain, segment: Segment) -> bytes:
    return preimage(domain, segment)
