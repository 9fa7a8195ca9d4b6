"""The development authority: stable devices, kept keys, the layout of real reports, and no way to pass for NVIDIA."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from commonhold.appraiser.devauthority import ROOT_NAME, DevelopmentAuthority, DevGpu
from commonhold.appraiser.nvidia import GpuEvidence, GpuVerdict
from commonhold.appraiser.policy import Policy, development_policy, nvidia_policy
from commonhold.appraiser.spdm import SpdmReport, parse_report

Judged = Callable[..., GpuVerdict]
NONCE = bytes(range(32))


def spki_of(verdict: GpuVerdict) -> bytes:
    assert verdict.claims is not None
    return verdict.claims.device_spki_sha256


def test_every_certificate_says_that_it_is_for_development(gpu: DevGpu) -> None:
    names = [c.subject.rfc4514_string() for c in x509.load_pem_x509_certificates(gpu.chain_pem)]

    assert len(names) == 5
    assert all("Commonhold development" in name for name in names)
    assert ROOT_NAME == "Commonhold development authority - not NVIDIA"
    assert ROOT_NAME in names[4]


def test_evidence_passes_under_its_own_policy_only(evidence: GpuEvidence, policy: Policy, judged: Judged) -> None:
    other = development_policy(DevelopmentAuthority.create().root_pem)

    assert judged(evidence, policy).level == 3
    assert judged(evidence, other).level == 0
    assert judged(evidence, nvidia_policy()).level == 0


def test_layout_is_that_of_a_real_report(gpu: DevGpu) -> None:
    # Sizes of recorded reports: 4,130 bytes for a driver of ten characters, 4,049 and 4,117 for older drivers.
    new = gpu.report(NONCE, responder_nonce=b"\x5a" * 32).report
    old = gpu.report(NONCE, driver_version="550.90.07", feature_flag=None).report

    assert (len(new), len(old)) == (4130, 4117)
    assert new[:45].hex() == "11e001ff" + NONCE.hex() + "00" + "11600000" + "40" + "c00d00"
    assert new[45:52].hex() == "01013300013000"
    assert new[3565:3597] == b"\x5a" * 32
    assert int.from_bytes(new[3597:3599], "little") == 435
    assert new[3599:3611].hex() == "06000800" + "00d9009602000000"


def test_responder_nonce_is_drawn_anew(gpu: DevGpu) -> None:
    assert gpu.report(NONCE).report[3565:3597] != gpu.report(NONCE).report[3565:3597]


def test_report_of_64_blocks_is_parsed_back(gpu: DevGpu) -> None:
    report = parse_report(gpu.report(NONCE, vbios_version="96.00.5e.00.01", driver_version="545.00").report)

    assert isinstance(report, SpdmReport)
    assert (len(report.measurements), report.vbios_version, report.driver_version) == (64, "96.00.5e.00.01", "545.00")


def test_device_key_stays_with_the_serial_and_the_leaf_changes_with_the_firmware(
    authority: DevelopmentAuthority, policy: Policy, judged: Judged
) -> None:
    first, again = authority.enroll_gpu(5), authority.enroll_gpu(5)
    updated = authority.enroll_gpu(5, firmware=b"newer firmware")
    verdicts = [judged(gpu.report(NONCE), policy) for gpu in (first, again, updated, authority.enroll_gpu(6))]

    assert first.chain_pem == again.chain_pem
    assert spki_of(verdicts[0]) == spki_of(verdicts[2]) != spki_of(verdicts[3])
    leaves = [verdict.claims.leaf_cert_serial for verdict in verdicts if verdict.claims]
    assert leaves[0] == leaves[1] != leaves[2]


def test_saved_authority_is_loaded_with_the_same_devices(
    authority: DevelopmentAuthority, gpu: DevGpu, policy: Policy, judged: Judged, tmp_path: Path
) -> None:
    authority.save(tmp_path / "authority")

    loaded = DevelopmentAuthority.load(tmp_path / "authority")

    assert loaded.root_pem == authority.root_pem
    assert loaded.enroll_gpu(1).chain_pem == gpu.chain_pem
    assert judged(loaded.enroll_gpu(1).report(NONCE), policy).level == 3


def test_keys_are_readable_by_their_owner_only_and_never_overwritten(
    authority: DevelopmentAuthority, tmp_path: Path
) -> None:
    authority.save(tmp_path)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.key.pem")}
    assert modes == {f"{name}.key.pem": 0o600 for name in ("root", "identity", "provisioner")}
    with pytest.raises(FileExistsError):
        DevelopmentAuthority.create().save(tmp_path)
    assert DevelopmentAuthority.load(tmp_path).root_pem == authority.root_pem


def test_key_of_another_authority_is_not_loaded(authority: DevelopmentAuthority, tmp_path: Path) -> None:
    authority.save(tmp_path / "one")
    DevelopmentAuthority.create().save(tmp_path / "two")
    (tmp_path / "one" / "root.key.pem").write_bytes((tmp_path / "two" / "root.key.pem").read_bytes())

    with pytest.raises(ValueError, match=r"root\.key\.pem"):
        DevelopmentAuthority.load(tmp_path / "one")


def test_keys_are_in_no_repr(authority: DevelopmentAuthority, gpu: DevGpu) -> None:
    assert "key=" not in repr(authority) + repr(gpu)


def test_authority_of_a_given_span_is_refused_outside_of_it(judged: Judged) -> None:
    authority = DevelopmentAuthority.create(
        valid_from=datetime(2026, 1, 1, tzinfo=UTC), valid_to=datetime(2027, 1, 1, tzinfo=UTC)
    )
    policy = development_policy(authority.root_pem)
    evidence = authority.enroll_gpu(1).report(NONCE)
    middle_s, end_s = (int(datetime(*day, tzinfo=UTC).timestamp()) for day in ((2026, 7, 1), (2027, 1, 1)))

    assert judged(evidence, policy, now_s=middle_s).level == 3
    assert [check.name for check in judged(evidence, policy, now_s=end_s + 61).failures] == ["validity"]
