"""The verifier of GPU evidence: reports that are right, and reports wrong in every known way."""

import dataclasses
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonhold.appraiser.devauthority import MEASUREMENTS, DevelopmentAuthority, DevGpu
from commonhold.appraiser.nvidia import P384_ORDER, GpuEvidence, GpuVerdict
from commonhold.appraiser.policy import FirmwareFloor, Policy
from commonhold.appraiser.spdm import PARTS, SpdmReport, parse_report

Judged = Callable[..., GpuVerdict]
RefusedBy = Callable[..., list[str]]
NONCE = bytes(range(32))
RECORD = slice(45, 45 + 64 * 55)
OPAQUE_AT = 45 + 64 * 55 + 34


def flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def test_genuine_report_is_attested_with_its_claims(gpu: DevGpu, policy: Policy, judged: Judged) -> None:
    evidence = gpu.report(NONCE, driver_version="595.71.05", vbios_version="96.00.da.00.11", feature_flag="PPCIE")

    verdict = judged(evidence, policy)

    assert verdict.level == 3
    assert verdict.policy_id == policy.policy_id()
    claims = verdict.claims
    assert claims is not None
    assert (claims.driver_version, claims.vbios_version) == ("595.71.05", "96.00.da.00.11")
    assert (claims.project, claims.product, claims.feature_flag) == ("G520_0280_895", "H200", "PPCIE")
    assert (claims.n_blocks, claims.fwid) == (64, gpu.fwid)
    assert claims.device_info == "DEVELOPMENT:GH100:0000000000000001"


def test_no_reference_values_is_a_state_of_its_own(evidence: GpuEvidence, policy: Policy, judged: Judged) -> None:
    verdict = judged(evidence, policy)

    assert verdict.checks[-1].name == "reference values"
    assert verdict.checks[-1].ok is None


@pytest.mark.parametrize(("most", "level"), [(5, 3), (3, 3), (2, 2)])
def test_level_is_never_above_what_the_policy_grants(
    evidence: GpuEvidence, policy: Policy, most: int, level: int, judged: Judged
) -> None:
    assert judged(evidence, dataclasses.replace(policy, max_level=most)).level == level


def test_report_under_another_nonce_is_refused(evidence: GpuEvidence, policy: Policy, refused_by: RefusedBy) -> None:
    assert refused_by(evidence, policy, nonce=bytes(32)) == ["nonce"]


@pytest.mark.parametrize("nonce", [b"", NONCE[:31], NONCE + b"\x00"])
def test_nonce_of_another_size_is_refused(
    evidence: GpuEvidence, policy: Policy, nonce: bytes, refused_by: RefusedBy
) -> None:
    assert refused_by(evidence, policy, nonce=nonce) == ["size"]


def test_oversized_evidence_is_refused_before_it_is_parsed(
    evidence: GpuEvidence, policy: Policy, refused_by: RefusedBy
) -> None:
    assert refused_by(GpuEvidence(bytes(0x2001), evidence.chain_pem), policy) == ["size"]
    assert refused_by(GpuEvidence(evidence.report, evidence.chain_pem + b"\n" * 0x4000), policy) == ["size"]


def test_changed_bytes_of_the_report_are_refused(evidence: GpuEvidence, policy: Policy, judged: Judged) -> None:
    # Every byte before the record, the heads of every tenth block, a byte of every digest, every second byte after.
    # All 4,129 bytes of a recorded H200 report were tried once (18 s): none was accepted.
    record = range(RECORD.start, RECORD.stop)
    heads = [at for at in record if (at - 45) // 55 % 10 == 0 and (at - 45) % 55 < 7]
    digests = [at for at in record if (at - 45) % 55 == 7 + (at - 45) // 55 % 48]
    places = [*range(RECORD.start), *heads, *digests, *range(RECORD.stop, len(evidence.report), 2)]

    for at in places:
        mutant = GpuEvidence(flipped(evidence.report, at, 1 << at % 8), evidence.chain_pem)
        assert not judged(mutant, policy).accepted, f"byte {at}"


def test_every_truncation_of_the_report_is_refused(evidence: GpuEvidence) -> None:
    for n_bytes in range(len(evidence.report)):
        assert not isinstance(parse_report(evidence.report[:n_bytes]), SpdmReport), n_bytes


@pytest.mark.parametrize("extra", [b"\x00", b"\n", bytes(96)])
def test_bytes_after_the_signature_are_refused(
    evidence: GpuEvidence, policy: Policy, extra: bytes, refused_by: RefusedBy
) -> None:
    assert refused_by(GpuEvidence(evidence.report + extra, evidence.chain_pem), policy) == ["length"]
    assert refused_by(GpuEvidence(evidence.report[:-1], evidence.chain_pem), policy) == ["length"]


def test_twin_signature_passes_so_a_hash_of_evidence_tells_no_replay(
    evidence: GpuEvidence, policy: Policy, judged: Judged
) -> None:
    s = int.from_bytes(evidence.report[-48:], "big")
    twin = GpuEvidence(evidence.report[:-48] + (P384_ORDER - s).to_bytes(48, "big"), evidence.chain_pem)

    details = {
        check.detail for e in (evidence, twin) for check in judged(e, policy).checks if check.name == "signature"
    }

    assert details == {"by the leaf's key; s is high", "by the leaf's key; s is low"}


@pytest.mark.parametrize("half", [bytes(48), P384_ORDER.to_bytes(48, "big"), b"\xff" * 48])
def test_signature_halves_out_of_range_are_refused(
    evidence: GpuEvidence, policy: Policy, half: bytes, refused_by: RefusedBy
) -> None:
    for report in (evidence.report[:-48] + half, evidence.report[:-96] + half + evidence.report[-48:]):
        assert refused_by(GpuEvidence(report, evidence.chain_pem), policy) == ["signature"]


def opaque_of(body: bytes, change: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]]) -> bytes:
    fields, at = [], OPAQUE_AT
    while at < len(body):
        kind, n_bytes = struct.unpack_from("<HH", body, at)
        fields.append((kind, body[at + 4 : at + 4 + n_bytes]))
        at += 4 + n_bytes
    opaque = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in change(fields))
    return body[: OPAQUE_AT - 2] + len(opaque).to_bytes(2, "little") + opaque


def without(kind: int) -> Callable[[bytes], bytes]:
    return lambda body: opaque_of(body, lambda fields: [field for field in fields if field[0] != kind])


def replaced(kind: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda body: opaque_of(body, lambda fields: [(k, value if k == kind else v) for k, v in fields])


def set_byte(at: int, value: int) -> Callable[[bytes], bytes]:
    return lambda body: body[:at] + bytes((value,)) + body[at + 1 :]


WELL_SIGNED_BUT_WRONG: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "spdm_1_2": ("request", set_byte(0, 0x12)),
    "signature_not_asked": ("request", set_byte(2, 0)),
    "one_measurement_asked": ("request", set_byte(3, 1)),
    "slot_1": ("request", set_byte(36, 1)),
    "response_is_an_error": ("measurements", set_byte(38, 0x7F)),
    "no_blocks": ("measurements", set_byte(41, 0)),
    "one_block_more_than_there_is": ("measurements", set_byte(41, 65)),
    "record_one_byte_longer": ("measurements", set_byte(42, 0xC1)),
    "block_index_twice": ("measurements", set_byte(45 + 55, 1)),
    "block_index_zero": ("measurements", set_byte(45, 0)),
    "block_index_past_the_last": ("measurements", set_byte(45 + 63 * 55, 65)),
    "block_of_another_specification": ("measurements", set_byte(46, 2)),
    "block_one_byte_longer": ("measurements", set_byte(47, 52)),
    "raw_measurement": ("measurements", set_byte(49, 0x81)),
    "digest_one_byte_shorter": ("measurements", set_byte(50, 47)),
    "opaque_length_past_the_end": ("opaque", set_byte(OPAQUE_AT - 1, 0xFF)),
    "opaque_length_one_byte_short": ("opaque", lambda body: set_byte(OPAQUE_AT - 2, body[OPAQUE_AT - 2] - 1)(body)),
    "opaque_field_past_the_end": (
        "opaque",
        lambda body: opaque_of(body, lambda fields: fields)[:-4] + b"\x24\x00\x03\x00",
    ),
    "no_driver_version": ("opaque", without(3)),
    "no_vbios_version": ("opaque", without(6)),
    "no_chip_sku": ("opaque", without(15)),
    "no_project": ("opaque", without(17)),
    "no_project_sku": ("opaque", without(18)),
    "driver_version_twice": ("opaque", lambda body: opaque_of(body, lambda fields: [*fields, (3, b"999.99\x00")])),
    "driver_version_without_nul": ("opaque", replaced(3, b"580.159.03")),
    "driver_version_with_text_behind_nul": ("opaque", replaced(3, b"580\x00.159\x00")),
    "driver_version_empty": ("opaque", replaced(3, b"\x00")),
    "project_not_ascii": ("opaque", replaced(17, b"G\xf620\x00")),
    "vbios_version_of_7_bytes": ("opaque", replaced(6, bytes(7))),
    "fwid_of_47_bytes": ("opaque", replaced(20, bytes(47))),
    "unknown_feature_flag": ("opaque", replaced(36, b"\x03\x00")),
    "empty": ("request", lambda _: b""),
}


@pytest.mark.parametrize("defect", WELL_SIGNED_BUT_WRONG)
def test_malformed_report_is_refused_though_well_signed(
    gpu: DevGpu, policy: Policy, defect: str, judged: Judged
) -> None:
    part, change = WELL_SIGNED_BUT_WRONG[defect]
    evidence = gpu.sign(change(gpu.report(NONCE).report[:-96]))

    verdict = judged(evidence, policy)

    assert [check.name for check in verdict.failures if check.name in PARTS] == [part]


def test_opaque_fields_of_unknown_types_are_skipped(gpu: DevGpu, policy: Policy, judged: Judged) -> None:
    body = opaque_of(gpu.report(NONCE).report[:-96], lambda fields: [(999, b"new"), *fields, (26, b""), (26, b"x")])

    assert judged(gpu.sign(body), policy).level == 3


def test_blocks_in_another_order_keep_their_index(gpu: DevGpu) -> None:
    body = gpu.report(NONCE).report[:-96]
    blocks = [body[at : at + 55] for at in range(RECORD.start, RECORD.stop, 55)]
    report = parse_report(gpu.sign(body[:45] + b"".join(reversed(blocks)) + body[RECORD.stop :]).report)

    assert isinstance(report, SpdmReport)
    assert report.measurements == MEASUREMENTS


def test_report_naming_other_firmware_than_the_leaf_is_refused(
    gpu: DevGpu, policy: Policy, refused_by: RefusedBy
) -> None:
    assert refused_by(dataclasses.replace(gpu, fwid=bytes(48)).report(NONCE), policy) == ["fwid"]


def test_fwid_is_skipped_and_said_so_where_an_old_driver_names_none(
    gpu: DevGpu, policy: Policy, judged: Judged
) -> None:
    verdict = judged(gpu.report(NONCE, with_fwid=False, feature_flag=None), policy)

    assert verdict.level == 3
    assert {check.name: check.ok for check in verdict.checks}["fwid"] is None


def test_blackwell_leaf_names_its_firmware_in_a_list(
    authority: DevelopmentAuthority, policy: Policy, judged: Judged, refused_by: RefusedBy
) -> None:
    gpu = authority.enroll_gpu(9, blackwell=True)

    assert judged(gpu.report(NONCE), policy).level == 3
    assert refused_by(dataclasses.replace(gpu, fwid=bytes(48)).report(NONCE), policy) == ["fwid"]


def test_product_that_is_not_in_the_table_is_unknown(gpu: DevGpu, policy: Policy, judged: Judged) -> None:
    claims = judged(gpu.report(NONCE, project="1010_0200_882"), policy).claims

    assert claims is not None
    assert claims.product == "unknown"


@pytest.mark.parametrize(
    ("driver", "vbios", "refused"),
    [
        ("580.95.05", "96.00.d9.00.02", []),
        ("580.159.03", "96.00.da.00.02", []),
        ("580.95.04", "96.00.d9.00.02", ["firmware"]),
        ("99.0", "96.00.d9.00.02", ["firmware"]),
        ("580.95.05", "96.00.9f.00.02", ["firmware"]),
        ("580.95-beta", "96.00.d9.00.02", ["firmware"]),
    ],
)
def test_firmware_below_the_floor_is_refused(
    gpu: DevGpu, policy: Policy, driver: str, vbios: str, refused: list[str], refused_by: RefusedBy
) -> None:
    floors = (FirmwareFloor("H200", "580.95.05", "96.00.d9.00.02"),)
    evidence = gpu.report(NONCE, driver_version=driver, vbios_version=vbios)

    assert refused_by(evidence, dataclasses.replace(policy, firmware_floors=floors)) == refused


@settings(max_examples=150, deadline=None)
@given(
    report=st.binary(max_size=300), chain_pem=st.binary(max_size=300), nonce=st.binary(max_size=40), now_s=st.integers()
)
def test_any_bytes_are_refused_without_raising(
    policy: Policy, report: bytes, chain_pem: bytes, nonce: bytes, now_s: int, judged: Judged
) -> None:
    assert not judged(GpuEvidence(report, chain_pem), policy, nonce, now_s).accepted


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_spliced_report_is_refused_without_raising(
    evidence: GpuEvidence, policy: Policy, data: st.DataObject, judged: Judged
) -> None:
    start = data.draw(st.integers(0, len(evidence.report)))
    stop = data.draw(st.integers(start, min(len(evidence.report), start + 80)))
    report = evidence.report[:start] + data.draw(st.binary(max_size=80)) + evidence.report[stop:]

    assert judged(GpuEvidence(report, evidence.chain_pem), policy).accepted == (report == evidence.report)
