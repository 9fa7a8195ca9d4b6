"""The certificate chain under the verifier: every place where it can be wrong."""

import dataclasses
from base64 import encodebytes
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from commonhold.appraiser.devauthority import DevelopmentAuthority, DevGpu
from commonhold.appraiser.nvidia import GpuEvidence, GpuVerdict
from commonhold.appraiser.policy import Policy, development_policy, nvidia_policy

Judged = Callable[..., GpuVerdict]
RefusedBy = Callable[..., list[str]]
NONCE = bytes(range(32))
FAR = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Spec:
    """How one certificate of a chain is made; the defaults make a right one, position 0 being the leaf."""

    ca: bool = True
    ca_critical: bool = True
    path_length: int | None = None
    signs_certificates: bool = True
    signs_data: bool = False
    curve: ec.EllipticCurve = field(default_factory=ec.SECP384R1)
    digest: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA384)
    issuer_name: str | None = None
    signed_by_another: bool = False
    valid_to: datetime = FAR
    critical_extension: bool = False


LEAF_SPEC = Spec(ca=False, signs_certificates=False, signs_data=True)


def make_chain(specs: dict[int, Spec]) -> tuple[bytes, ec.EllipticCurvePrivateKey, Policy]:
    """PEM chain, leaf key and the policy that pins its root; `specs` by position replace the right ones."""
    plan = [specs.get(n, LEAF_SPEC if n == 0 else Spec()) for n in range(5)]
    keys = [ec.generate_private_key(spec.curve) for spec in plan]
    pems = []
    for n, spec in enumerate(plan):
        signer = min(n + 1, 4)
        name = spec.issuer_name or f"certificate {signer}"
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(f"certificate {n}"))
            .issuer_name(_name(name))
            .public_key(keys[n].public_key())
            .serial_number(100 + n)
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(spec.valid_to)
            .add_extension(_usage(spec), critical=True)
            .add_extension(x509.BasicConstraints(spec.ca, spec.path_length if spec.ca else None), spec.ca_critical)
        )
        if spec.critical_extension:
            unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        key = ec.generate_private_key(ec.SECP384R1()) if spec.signed_by_another else keys[signer]
        pems.append(builder.sign(key, spec.digest).public_bytes(Encoding.PEM))
    return b"".join(pems), keys[0], development_policy(pems[4])


def _usage(spec: Spec) -> x509.KeyUsage:
    none = (False,) * 3
    return x509.KeyUsage(spec.signs_data, *none, False, spec.signs_certificates, *none)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pems(chain_pem: bytes) -> list[bytes]:
    return [c.public_bytes(Encoding.PEM) for c in x509.load_pem_x509_certificates(chain_pem)]


def test_development_evidence_fails_under_the_vendor_policy(evidence: GpuEvidence, refused_by: RefusedBy) -> None:
    assert refused_by(evidence, nvidia_policy()) == ["root"]


def test_vendor_root_sent_along_does_not_help(
    authority: DevelopmentAuthority, evidence: GpuEvidence, refused_by: RefusedBy
) -> None:
    vendor = nvidia_policy()
    vendor_root = vendor.roots[0].certificate.parsed.public_bytes(Encoding.PEM)
    chain_pem = b"".join([*pems(evidence.chain_pem)[:4], vendor_root])

    assert refused_by(GpuEvidence(evidence.report, chain_pem), vendor) == ["chain"]


@pytest.mark.parametrize("missing", range(5))
def test_chain_with_a_certificate_missing_is_refused(
    evidence: GpuEvidence, policy: Policy, missing: int, refused_by: RefusedBy
) -> None:
    chain = pems(evidence.chain_pem)
    del chain[missing]

    assert refused_by(GpuEvidence(evidence.report, b"".join(chain)), policy) == ["certificates"]


@pytest.mark.parametrize("position", range(5))
def test_chain_with_a_certificate_twice_is_refused(
    evidence: GpuEvidence, policy: Policy, position: int, judged: Judged, refused_by: RefusedBy
) -> None:
    chain = pems(evidence.chain_pem)
    six = b"".join([*chain, chain[position]])
    five = b"".join([*chain[:position], chain[(position + 1) % 5], *chain[position + 1 :]])

    assert refused_by(GpuEvidence(evidence.report, six), policy) == ["certificates"]
    assert not judged(GpuEvidence(evidence.report, five), policy).accepted


def test_chain_root_first_is_refused(evidence: GpuEvidence, policy: Policy, judged: Judged) -> None:
    chain_pem = b"".join(reversed(pems(evidence.chain_pem)))

    assert not judged(GpuEvidence(evidence.report, chain_pem), policy).accepted


def test_chain_of_another_gpu_is_refused(
    authority: DevelopmentAuthority, evidence: GpuEvidence, policy: Policy, refused_by: RefusedBy
) -> None:
    other = authority.enroll_gpu(2).chain_pem

    assert refused_by(GpuEvidence(evidence.report, other), policy) == ["signature"]


def test_leaf_of_one_gpu_under_the_device_key_of_another_is_refused(
    authority: DevelopmentAuthority, evidence: GpuEvidence, policy: Policy, refused_by: RefusedBy
) -> None:
    chain_pem = b"".join([pems(evidence.chain_pem)[0], *pems(authority.enroll_gpu(2).chain_pem)[1:]])

    assert refused_by(GpuEvidence(evidence.report, chain_pem), policy) == ["chain"]


@pytest.mark.parametrize("end", [b"", b"\n\n", b"\r\n", b"\n" + bytes(5)])
def test_blanks_and_nuls_behind_the_chain_are_taken(
    evidence: GpuEvidence, policy: Policy, end: bytes, judged: Judged
) -> None:
    assert judged(GpuEvidence(evidence.report, evidence.chain_pem.rstrip() + end), policy).level == 3


@pytest.mark.parametrize("junk", [b"subject=/CN=GPU\n", b"\x00", b"-----BEGIN CERTIFICATE-----\n"])
def test_text_before_the_chain_is_refused(
    evidence: GpuEvidence, policy: Policy, junk: bytes, refused_by: RefusedBy
) -> None:
    assert refused_by(GpuEvidence(evidence.report, junk + evidence.chain_pem), policy) == ["certificates"]


def test_clock_before_or_after_validity_is_refused(
    evidence: GpuEvidence, policy: Policy, judged: Judged, refused_by: RefusedBy
) -> None:
    first_s = int(datetime(2020, 10, 17, tzinfo=UTC).timestamp())
    last_s = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())

    for now_s in (first_s - 60, last_s + 60):
        assert judged(evidence, policy, now_s=now_s).level == 3
    for now_s in (first_s - 61, last_s + 61, 0, -1, 1 << 62):
        assert refused_by(evidence, policy, now_s=now_s) == ["validity"]


CHAIN_DEFECTS: dict[str, tuple[dict[int, Spec], list[str]]] = {
    "leaf_is_a_ca": ({0: dataclasses.replace(LEAF_SPEC, ca=True)}, ["chain"]),
    "leaf_signs_no_data": ({0: dataclasses.replace(LEAF_SPEC, signs_data=False)}, ["chain"]),
    "leaf_issuer_name": ({0: dataclasses.replace(LEAF_SPEC, issuer_name="another")}, ["chain"]),
    "leaf_signed_by_another": ({0: dataclasses.replace(LEAF_SPEC, signed_by_another=True)}, ["chain"]),
    "leaf_signed_with_sha256": ({0: dataclasses.replace(LEAF_SPEC, digest=hashes.SHA256())}, ["certificates"]),
    "leaf_on_p256": ({0: dataclasses.replace(LEAF_SPEC, curve=ec.SECP256R1())}, ["certificates"]),
    "leaf_unknown_critical_extension": (
        {0: dataclasses.replace(LEAF_SPEC, critical_extension=True)},
        ["certificates"],
    ),
    "device_is_no_ca": ({1: Spec(ca=False)}, ["chain"]),
    "device_ca_not_critical": ({1: Spec(ca_critical=False)}, ["chain"]),
    "device_signs_no_certificates": ({1: Spec(signs_certificates=False)}, ["chain"]),
    "provisioner_path_length_0": ({2: Spec(path_length=0)}, ["chain"]),
    "identity_path_length_1": ({3: Spec(path_length=1)}, ["chain"]),
    "root_path_length_2": ({4: Spec(path_length=2)}, ["chain"]),
    "provisioner_signed_by_another": ({2: Spec(signed_by_another=True)}, ["chain"]),
    "identity_issuer_name": ({3: Spec(issuer_name="another")}, ["chain"]),
    "provisioner_expired": ({2: Spec(valid_to=datetime(2026, 1, 1, tzinfo=UTC))}, ["validity"]),
    "root_expired": ({4: Spec(valid_to=datetime(2026, 1, 1, tzinfo=UTC))}, ["validity"]),
    "path_lengths_just_enough": ({1: Spec(path_length=0), 2: Spec(path_length=1), 4: Spec(path_length=3)}, []),
}


@pytest.mark.parametrize("defect", CHAIN_DEFECTS)
def test_chain_with_a_defect_is_refused(gpu: DevGpu, defect: str, refused_by: RefusedBy) -> None:
    specs, refused = CHAIN_DEFECTS[defect]
    chain_pem, leaf_key, policy = make_chain(specs)
    signer = dataclasses.replace(gpu, chain_pem=chain_pem, leaf_key=leaf_key)
    evidence = signer.report(NONCE, with_fwid=False)

    assert refused_by(evidence, policy) == refused


def test_changed_bytes_of_the_chain_are_refused(evidence: GpuEvidence, policy: Policy, judged: Judged) -> None:
    chain = [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in pems(evidence.chain_pem)]
    whole = pems(evidence.chain_pem)

    for position, der in enumerate(chain[:4]):
        for at in range(position, len(der), 9):
            mutant = [*whole]
            mutant[position] = pem_of(der[:at] + bytes((der[at] ^ 1 << at % 8,)) + der[at + 1 :])
            assert not judged(GpuEvidence(evidence.report, b"".join(mutant)), policy).accepted, f"{position}: {at}"


def pem_of(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + encodebytes(der) + b"-----END CERTIFICATE-----\n"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_spliced_certificate_is_refused_without_raising(
    evidence: GpuEvidence, policy: Policy, data: st.DataObject, judged: Judged
) -> None:
    whole = pems(evidence.chain_pem)
    position = data.draw(st.integers(0, 3))
    der = x509.load_pem_x509_certificate(whole[position]).public_bytes(Encoding.DER)
    start = data.draw(st.integers(0, len(der) - 1))
    mutant = der[:start] + data.draw(st.binary(min_size=1, max_size=8)) + der[start + data.draw(st.integers(0, 8)) :]
    chain_pem = b"".join([*whole[:position], pem_of(mutant), *whole[position + 1 :]])

    assert judged(GpuEvidence(evidence.report, chain_pem), policy).accepted == (mutant == der)
