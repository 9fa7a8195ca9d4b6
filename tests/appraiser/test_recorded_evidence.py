"""The verifier against recorded evidence of real GPUs, where it is at hand: every entry and case of its manifest.

The recordings are not part of this repository. They are looked for at COMMONHOLD_EVIDENCE, then at
../shared/evidence beside the repository; without them these tests are skipped.
"""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from commonhold.appraiser.nvidia import GpuEvidence, GpuVerdict, verify_node
from commonhold.appraiser.policy import Policy, nvidia_policy
from commonhold.appraiser.spdm import SpdmReport, parse_report

REPOSITORY = Path(__file__).resolve().parents[2]
EVIDENCE = Path(os.environ.get("COMMONHOLD_EVIDENCE") or REPOSITORY.parent / "shared" / "evidence")
MANIFEST = EVIDENCE / "manifest.json"

pytestmark = pytest.mark.skipif(not MANIFEST.is_file(), reason=f"no recorded evidence at {EVIDENCE}")

Judged = Callable[..., GpuVerdict]
Entry = dict[str, object]

# The manifest's reasons, and the checks that may say so here.
CHAIN = {"certificates", "root", "chain"}
REASONS = {
    "nonce": {"nonce"},
    "validity": {"validity"},
    "signature": {"signature"},
    "length": {"length"},
    "chain": CHAIN,
    "chain/FWID": {*CHAIN, "fwid"},
    "FWID/signature": {"fwid", "signature"},
    "signature or FWID": {"fwid", "signature"},
    "one trailing 0x00 after the signature": {"length"},
}


@dataclass(frozen=True, slots=True)
class Recording:
    """One entry with one of its cases; `case` is empty for the entry as it was recorded."""

    entry: Entry
    case: Entry

    def __str__(self) -> str:
        return f"{self.entry['id']}{'-' if self.case else ''}{self.case.get('id', '')}"

    @property
    def expected(self) -> Entry:
        return self.case or of(self.entry, "expect")


def of(entry: Entry, name: str) -> Entry:
    value = entry[name]
    assert isinstance(value, dict)
    return value


def entries(kind: str) -> list[Entry]:
    return (
        [e for e in json.loads(MANIFEST.read_bytes())["entries"] if e["format"] == kind] if MANIFEST.is_file() else []
    )


def recordings() -> list[Recording]:
    found = []
    for entry in entries("nvidia-gpu-spdm"):
        cases = entry["cases"]
        assert isinstance(cases, list)
        found += [Recording(entry, case) for case in ({}, *cases)]
    return found


def evidence_of(entry: Entry) -> GpuEvidence:
    files = of(entry, "files")
    return GpuEvidence((EVIDENCE / str(files["report"])).read_bytes(), (EVIDENCE / str(files["chain"])).read_bytes())


def nonce_of(entry: Entry) -> bytes:
    return bytes.fromhex(str(entry["nonce"]))


def at_s(entry: Entry) -> int:
    return int(datetime.fromisoformat(str(entry["verify_at"])).timestamp())


def changed(evidence: GpuEvidence, case: Entry) -> GpuEvidence:
    report, chain_pem = bytearray(evidence.report), evidence.chain_pem
    if isinstance(at := case.get("flip"), int):
        report[at] ^= 1
    if isinstance(n_bytes := case.get("truncate"), int):
        del report[-n_bytes:]
    if "chain_of" in case:
        other = next(entry for entry in entries("nvidia-gpu-spdm") if entry["id"] == case["chain_of"])
        chain_pem = evidence_of(other).chain_pem
    return GpuEvidence(bytes(report), chain_pem)


@pytest.mark.parametrize("recording", recordings(), ids=str)
def test_recorded_evidence_has_the_expected_verdict(recording: Recording, judged: Judged) -> None:
    if "rims" in recording.case:
        pytest.skip("needs RIM verification: reference values are not matched by this stage")
    unknown = recording.case.keys() - {"id", "nonce", "verify_at", "flip", "truncate", "chain_of", "verdict", "reason"}
    assert not unknown, f"the case asks for what is not done here: {unknown}"
    told = {**recording.entry, **recording.case}

    verdict = judged(changed(evidence_of(recording.entry), recording.case), nvidia_policy(), nonce_of(told), at_s(told))

    # "policy" is for evidence that may be refused or downgraded; a strict parser refuses it.
    assert verdict.accepted == (recording.expected["verdict"] == "accept"), verdict.failures
    if not verdict.accepted:
        assert {check.name for check in verdict.failures} <= REASONS[str(recording.expected["reason"])]
        assert verdict.failures


@pytest.mark.parametrize("entry", entries("nvidia-gpu-spdm"), ids=lambda entry: str(entry["id"]))
def test_recorded_claims_are_read(entry: Entry, judged: Judged) -> None:
    expected = of(of(entry, "expect"), "claims")
    evidence = evidence_of(entry)
    if of(entry, "expect")["verdict"] == "policy":
        evidence = GpuEvidence(evidence.report[:-1], evidence.chain_pem)  # without its trailing byte it is a good one

    report = parse_report(evidence.report)
    verdict = judged(evidence, nvidia_policy(), nonce_of(entry), at_s(entry))

    assert isinstance(report, SpdmReport)
    got: Entry = {
        "driver_version": report.driver_version,
        "project": report.project,
        "has_fwid": report.fwid is not None,
        "feature_flag": report.feature_flag,
        "n_blocks": len(report.measurements),
        "opaque_len": report.opaque_bytes,
        "vbios_version": report.vbios_version,
    }
    if verdict.claims is None:
        # Of a chain that was refused nothing is claimed, though the manifest names its certificates.
        of_chain = {"leaf_cert_serial", "device_cert_serial", "device_spki_sha256"}
        assert of(entry, "expect")["verdict"] == "reject"
        expected = {name: value for name, value in expected.items() if name not in of_chain}
    else:
        got["leaf_cert_serial"] = str(verdict.claims.leaf_cert_serial)
        got["device_cert_serial"] = str(verdict.claims.device_cert_serial)
        got["device_spki_sha256"] = verdict.claims.device_spki_sha256.hex()
    assert got == expected


def test_recorded_evidence_fails_under_the_development_policy(policy: Policy, judged: Judged) -> None:
    for entry in entries("nvidia-gpu-spdm"):
        verdict = judged(evidence_of(entry), policy, nonce_of(entry), at_s(entry))
        assert {check.name for check in verdict.failures} & CHAIN


def test_recorded_switch_is_no_gpu(judged: Judged) -> None:
    for entry in entries("nvidia-nvswitch-spdm"):
        verdict = judged(evidence_of(entry), nvidia_policy(), nonce_of(entry), at_s(entry))
        assert [check.name for check in verdict.failures] == ["opaque"]


def test_recorded_device_is_the_same_under_two_firmwares(judged: Judged) -> None:
    by_id = {str(entry["id"]): entry for entry in entries("nvidia-gpu-spdm")}
    spkis, leaves = set(), set()
    for name in ("h100-570.124.03-sdk", "h100-580.159.03-sdk"):
        claims = judged(evidence_of(by_id[name]), nvidia_policy(), nonce_of(by_id[name]), at_s(by_id[name])).claims
        assert claims is not None
        spkis.add(claims.device_spki_sha256)
        leaves.add(claims.leaf_cert_serial)

    assert (len(spkis), len(leaves)) == (1, 2)


@pytest.mark.parametrize("group", ["h100-ppcie-590.12-multi", "h100-ppcie-hgx-gpu"])
def test_recorded_node_of_four_is_attested(group: str) -> None:
    members = [entry for entry in entries("nvidia-gpu-spdm") if str(entry["id"]).startswith(group)]
    evidences = [evidence_of(entry) for entry in members]
    nonce, now_s = nonce_of(members[0]), at_s(members[0])

    node = verify_node(evidences, nonce=nonce, policy=nvidia_policy(), now_s=now_s)
    twice = verify_node([*evidences, evidences[0]], nonce=nonce, policy=nvidia_policy(), now_s=now_s)

    assert (node.level, len(node.device_spkis)) == (3, 4)
    assert [check.name for check in twice.checks if not check.ok] == ["distinct"]


@pytest.mark.parametrize("entry", entries("composite"), ids=lambda entry: str(entry["id"]))
def test_recorded_service_has_attested_nodes(entry: Entry) -> None:
    files = of(entry, "files")
    if "gpu_evidence.json" not in files:
        pytest.skip("a host without GPU: CPU evidence is not covered by this stage")
    nodes: dict[bytes, list[GpuEvidence]] = {}
    for one in json.loads((EVIDENCE / str(files["gpu_evidence.json"])).read_bytes()):
        report = base64.b64decode(one["evidence"])
        # The nonce is taken from the report: how each service made it is for the composite's own verifier.
        nodes.setdefault(report[4:36], []).append(GpuEvidence(report, base64.b64decode(one["certificate"])))

    for nonce, evidences in nodes.items():
        node = verify_node(evidences, nonce=nonce, policy=nvidia_policy(), now_s=at_s(entry))
        assert (node.level, node.product, len(node.device_spkis)) == (3, "H200", len(evidences))
