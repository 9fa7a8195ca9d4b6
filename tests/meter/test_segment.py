"""What a signed segment and a signed receipt are, and what they are not."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from commonhold.errors import BadInput
from commonhold.meter.segment import Reading, SignedReceipt, SignedSegment, chain, pack, seal, unpack
from commonhold.p256 import p256_point, sign_es256
from commonhold.signing import ZERO32, Domain, Receipt, preimage
from commonhold.units import Address, Hash32

VECTORS = Path(__file__).parents[1] / "vectors" / "meter"
DOMAIN = Domain("Meter", 31337, Address(bytes.fromhex("11" * 20)))
NODE = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
SESSION = ec.derive_private_key(0xBEE, ec.SECP256R1())
STRANGER = ec.derive_private_key(0xBAD, ec.SECP256R1())
NODE_POINT, SESSION_POINT = p256_point(NODE.public_key()), p256_point(SESSION.public_key())
LEASE = Hash32(bytes.fromhex("22" * 32))
START = 1_800_000_000_000


def sealed(readings: list[Reading] | None = None) -> SignedSegment:
    run = readings or [Reading(START + 1_000, 800), Reading(START + 2_000, 800), Reading(START + 2_500, 1_300)]
    boot, sequence = START - 10, 3
    place = {"asset": 77, "boot": boot, "sequence": sequence, "lease": LEASE, "previous": ZERO32}
    return seal(DOMAIN, NODE, **place, started_at_ms=START, readings=run)  # type: ignore[arg-type]


def vector(name: str) -> object:
    return json.loads((VECTORS / name).read_text())


def test_chain_is_the_documented_hash() -> None:
    first = hashlib.sha256(ZERO32 + LEASE + (5).to_bytes(8) + (7).to_bytes(8)).digest()
    second = hashlib.sha256(first + LEASE + (6).to_bytes(8) + (9).to_bytes(8)).digest()

    assert chain(ZERO32, LEASE, []) == ZERO32
    assert chain(ZERO32, LEASE, [Reading(5, 7), Reading(6, 9)]) == second
    assert chain(Hash32(first), LEASE, [Reading(6, 9)]) == second


def test_sealed_segment_verifies_and_survives_json() -> None:
    signed = sealed()

    assert signed.verify(DOMAIN, NODE_POINT) is None
    assert SignedSegment.from_json(json.loads(json.dumps(signed.to_json()))) == signed


def test_good_vector_verifies() -> None:
    signed = SignedSegment.from_json(vector("segment_good.json"))

    assert signed.verify(DOMAIN, NODE_POINT) is None


@pytest.mark.parametrize("path", sorted(VECTORS.glob("segment_refused_*.json")), ids=lambda path: path.stem)
def test_defective_segment_is_refused_for_its_defect(path: Path) -> None:
    case = json.loads(path.read_text())

    defect = SignedSegment.from_json(case["segment"]).verify(DOMAIN, NODE_POINT)

    assert defect is not None
    assert case["says"] in defect


@pytest.mark.parametrize("path", sorted(VECTORS.glob("segment_unreadable_*.json")), ids=lambda path: path.stem)
def test_unreadable_segment_is_bad_input(path: Path) -> None:
    case = json.loads(path.read_text())

    with pytest.raises(BadInput) as refusal:
        SignedSegment.from_json(case["segment"])

    assert case["says"] in str(refusal.value)


def test_there_are_defects_of_each_kind() -> None:
    assert len(list(VECTORS.glob("segment_refused_*.json"))) >= 12
    assert len(list(VECTORS.glob("segment_unreadable_*.json"))) >= 8


@pytest.mark.parametrize("body", [None, [], "x", 5, {}])
def test_what_is_no_object_is_bad_input(body: object) -> None:
    with pytest.raises(BadInput):
        SignedSegment.from_json(body)
    with pytest.raises(BadInput):
        SignedReceipt.from_json(body)


def test_sealing_what_nobody_would_accept_fails() -> None:
    with pytest.raises(ValueError, match="ascend"):
        sealed([Reading(START, 0)])
    with pytest.raises(ValueError, match="falls"):
        sealed([Reading(START + 1, 5), Reading(START + 2, 4)])


def test_segment_of_another_chain_is_refused() -> None:
    signed = sealed()

    assert signed.verify(Domain("Meter", 1, DOMAIN.address), NODE_POINT) == "signature is not by the asset's meter key"


def receipt(node: ec.EllipticCurvePrivateKey, session: ec.EllipticCurvePrivateKey) -> SignedReceipt:
    statement = Receipt(LEASE, 1_300, Hash32(bytes.fromhex("33" * 32)))
    message = preimage(DOMAIN, statement)
    return SignedReceipt(statement, sign_es256(node, message), sign_es256(session, message))  # type: ignore[arg-type]


def test_receipt_needs_both_signatures() -> None:
    assert receipt(NODE, SESSION).verify(DOMAIN, NODE_POINT, SESSION_POINT) is None
    assert "node" in str(receipt(STRANGER, SESSION).verify(DOMAIN, NODE_POINT, SESSION_POINT))
    assert "session" in str(receipt(NODE, STRANGER).verify(DOMAIN, NODE_POINT, SESSION_POINT))
    assert "node" in str(receipt(SESSION, NODE).verify(DOMAIN, NODE_POINT, SESSION_POINT))


def test_receipt_survives_json() -> None:
    signed = receipt(NODE, SESSION)

    assert SignedReceipt.from_json(json.loads(json.dumps(signed.to_json()))) == signed


runs = st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 40_000)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(runs, st.data())
def test_any_run_seals_and_any_changed_number_is_refused(run: list[tuple[int, int]], data: st.DataObject) -> None:
    at, total, readings = START, 0, []
    for wall_ms, gpu_ms in run:
        at, total = at + wall_ms, total + gpu_ms
        readings.append(Reading(at, total))
    signed = sealed(readings)
    assert signed.verify(DOMAIN, NODE_POINT) is None
    assert unpack(pack(readings)) == tuple(readings)

    body = signed.to_json()
    field = data.draw(st.sampled_from([name for name, value in body.items() if isinstance(value, int)]))
    body[field] += 1

    assert SignedSegment.from_json(body).verify(DOMAIN, NODE_POINT) is not None
