"""Verifier of NVIDIA GPU evidence: the GPU's own report with its certificate chain, alone or for a node of GPUs.

In: evidence, our nonce, a policy and the clock. Out: a verdict with every check. Pure: no clock, network or file is
read, and no evidence makes it raise, so any verdict can be replayed from the stored inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from commonhold.appraiser.certificates import (
    DEVICE,
    LEAF,
    ROOT,
    Certificate,
    CertificateFault,
    Chain,
    parse_chain,
    path_fault,
    validity_fault,
)
from commonhold.appraiser.policy import UNKNOWN_PRODUCT, FirmwareFloor, Policy, version_key
from commonhold.appraiser.spdm import PARTS, FeatureFlag, Malformed, SpdmReport, parse_report

MAX_REPORT_BYTES = 0x2000  # the size of NVML's buffer
MAX_CHAIN_BYTES = 0x4000  # recorded chains have 4,825 to 4,832 bytes
MAX_NODE_DEVICES = 32
REFUSED_LEVEL = 0
ATTESTED_LEVEL = 3
P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973

# Checks that may end unmade (`ok` is None) in an accepted verdict; every other one must have passed.
OPTIONAL_CHECKS = frozenset({"fwid", "product", "firmware", "reference values"})


@dataclass(frozen=True, slots=True)
class GpuEvidence:
    """What one GPU hands out: NVML's report (request || response) and its certificate chain."""

    report: bytes
    chain_pem: bytes


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a verdict. `ok` None: not made, and `detail` says why."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class GpuClaims:
    """What an accepted report says of its GPU."""

    driver_version: str
    vbios_version: str
    project: str
    product: str  # by the policy's table; "unknown" where it has none
    feature_flag: FeatureFlag | None  # None: the driver is older than the field
    fwid: bytes | None  # None: the driver is older than the field
    n_blocks: int
    device_info: str | None  # as in NVIDIA:GH100:48B02D51C9C1070B; None: the leaf does not say
    leaf_cert_serial: int  # changes with the firmware
    device_cert_serial: int
    device_spki_sha256: bytes  # the device's identity: certificate 1, the key that is fused into the GPU


@dataclass(frozen=True, slots=True)
class GpuVerdict:
    """`claims` is None, and `level` 0, if the evidence was refused: what was not verified is not handed on."""

    policy_id: bytes
    level: int
    checks: tuple[Check, ...]
    claims: GpuClaims | None

    @property
    def accepted(self) -> bool:
        return self.claims is not None

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.ok is False)


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """All or nothing: `level` is 0 and `device_spkis` is empty if any device or the node as a whole was refused."""

    policy_id: bytes
    level: int
    checks: tuple[Check, ...]
    devices: tuple[GpuVerdict, ...]
    product: str  # "unknown" also if refused
    device_spkis: tuple[bytes, ...]  # in the order of the evidence

    @property
    def accepted(self) -> bool:
        return bool(self.device_spkis)


def verify(evidence: GpuEvidence, *, nonce: bytes, policy: Policy, now_s: int) -> GpuVerdict:
    """The verdict on one GPU's evidence: level 3 if every check passed, or less where `policy` grants less.

    (1) size: report, chain and nonce have the size they may have.
    (2) request: SPDM 1.1 GET_MEASUREMENTS, signed, of all measurements, by slot 0.
    (3) nonce: the request's nonce is ours. The responder's own nonce is no challenge and is not looked at.
    (4) measurements: an exact record with each block's index once. (5) opaque: exact fields, the unknown ones skipped.
    (6) length: 96 bytes of signature follow, and nothing else.
    (7) certificates: five, leaf first, each X.509 v3 on P-384.
    (8) root: the one that was sent has a pinned key; from here on the policy's own copy stands in its place.
    (9) chain: names, basicConstraints, keyUsage, path length and signatures up to the pinned root.
    (10) validity: all of them at `now_s`. Revocation is not checked here: it needs what only the network has.
    (11) signature: ECDSA P-384 with SHA-384, by the leaf's key, over all bytes before it.
    (12) fwid: the firmware that the report names is the one the leaf was made for.
    (13) product, (14) firmware: by the policy's table and floors.
    (15) reference values: not made here, so level 4 is never granted here.
    """
    # (1) size
    size = _size(evidence, nonce)
    if not size.ok:
        return _verdict(policy, [size, *_unmade(_AFTER_SIZE, "needs size")], None)
    report = parse_report(evidence.report)
    # (2) request, (4) measurements, (5) opaque, (6) length
    request, measurements, opaque, length = _parts(report)
    # (3) nonce
    same_nonce = _nonce(evidence.report, nonce)
    # (7) certificates, (8) root, (9) chain, (10) validity
    chain, chain_checks = _chain(evidence.chain_pem, policy, now_s)
    checks = [size, request, same_nonce, measurements, opaque, length, *chain_checks]
    if isinstance(report, Malformed) or chain is None:
        return _verdict(policy, [*checks, *_unmade(_AFTER_PARSE, "needs a report and a chain that can be read")], None)
    claims = _claims(report, chain, policy)
    checks += [
        _signature(report, chain[LEAF]),  # (11)
        _same_firmware(report, chain[LEAF]),  # (12)
        _product(claims),  # (13)
        _firmware(claims, policy.floor(claims.product)),  # (14)
        Check("reference values", None, "not checked: no reference values were given"),  # (15)
    ]
    return _verdict(policy, checks, claims)


def verify_node(evidences: Sequence[GpuEvidence], *, nonce: bytes, policy: Policy, now_s: int) -> NodeVerdict:
    """The verdict on all GPUs of one node, all or nothing; its level is the lowest of theirs.

    (1) count: 1 to 32 devices. How many the node must have is for the caller: a GPU left out cannot be seen here.
    (2) devices: each is accepted, under the one nonce.
    (3) distinct: no device key twice.
    (4) product: one for all, and one board where the product is unknown. (5) mode: one feature flag for all.
    """
    # (1) count
    count = Check("count", 1 <= len(evidences) <= MAX_NODE_DEVICES, f"expected 1..32 devices, got {len(evidences)}")
    if not count.ok:
        return NodeVerdict(policy.policy_id(), REFUSED_LEVEL, (count,), (), UNKNOWN_PRODUCT, ())
    # (2) devices
    devices = tuple(verify(evidence, nonce=nonce, policy=policy, now_s=now_s) for evidence in evidences)
    refused = [
        f"device {n}: {check.name}: {check.detail}" for n, device in enumerate(devices) for check in device.failures
    ]
    claims = [device.claims for device in devices if device.claims is not None]
    attested = Check("devices", len(claims) == len(devices), "; ".join(refused) or f"{len(devices)} accepted")
    # (3) distinct
    spkis = tuple(claim.device_spki_sha256 for claim in claims)
    distinct = Check("distinct", len(set(spkis)) == len(spkis), f"{len(set(spkis))} device keys in {len(spkis)} chains")
    # (4) product
    kinds = {claim.product if claim.product != UNKNOWN_PRODUCT else claim.project for claim in claims}
    product = Check("product", len(kinds) <= 1, f"expected one, got {', '.join(sorted(kinds)) or 'none'}")
    # (5) mode
    modes = {claim.feature_flag or "not said" for claim in claims}
    mode = Check("mode", len(modes) <= 1, f"expected one, got {', '.join(sorted(modes)) or 'none'}")

    checks = (count, attested, distinct, product, mode)
    if not all(check.ok for check in checks):
        return NodeVerdict(policy.policy_id(), REFUSED_LEVEL, checks, devices, UNKNOWN_PRODUCT, ())
    level = min(device.level for device in devices)
    return NodeVerdict(policy.policy_id(), level, checks, devices, claims[0].product, spkis)


_AFTER_PARSE = ("signature", "fwid", "product", "firmware", "reference values")
_CHAIN_CHECKS = ("certificates", "root", "chain", "validity")
_AFTER_SIZE = ("request", "nonce", "measurements", "opaque", "length", *_CHAIN_CHECKS, *_AFTER_PARSE)


def _verdict(policy: Policy, checks: list[Check], claims: GpuClaims | None) -> GpuVerdict:
    passed = all(check.ok or (check.ok is None and check.name in OPTIONAL_CHECKS) for check in checks)
    level = min(ATTESTED_LEVEL, policy.max_level) if passed and claims else REFUSED_LEVEL
    return GpuVerdict(policy.policy_id(), level, tuple(checks), claims if passed else None)


def _unmade(names: Sequence[str], why: str) -> list[Check]:
    return [Check(name, None, f"not checked: {why}") for name in names]


def _size(evidence: GpuEvidence, nonce: bytes) -> Check:
    sizes = (len(evidence.report), len(evidence.chain_pem), len(nonce))
    ok = sizes[0] <= MAX_REPORT_BYTES and sizes[1] <= MAX_CHAIN_BYTES and sizes[2] == 32
    expected = f"at most {MAX_REPORT_BYTES}, at most {MAX_CHAIN_BYTES} and 32"
    return Check("size", ok, f"bytes of report, chain and nonce: expected {expected}, got {sizes}")


def _parts(report: SpdmReport | Malformed) -> list[Check]:
    if isinstance(report, SpdmReport):
        return [Check(part, True, "as expected") for part in PARTS]
    bad = PARTS.index(report.part)
    return [
        *(Check(part, True, "as expected") for part in PARTS[:bad]),
        Check(report.part, False, report.detail),
        *_unmade(PARTS[bad + 1 :], f"needs {report.part}"),
    ]


def _nonce(report: bytes, nonce: bytes) -> Check:
    return Check("nonce", report[4:36] == nonce, f"expected {nonce.hex()}, got {report[4:36].hex()}")


def _chain(chain_pem: bytes, policy: Policy, now_s: int) -> tuple[Chain | None, list[Check]]:
    # (7) certificates
    try:
        chain = parse_chain(chain_pem)
    except CertificateFault as e:
        return None, [Check("certificates", False, str(e)), *_unmade(_CHAIN_CHECKS[1:], "needs certificates")]
    certificates = Check("certificates", True, "five on P-384")
    # (8) root
    sent = chain[ROOT]
    pinned = policy.root(sent.spki_sha256)
    if pinned is None:
        detail = f"expected a root pinned by {policy.name}, got {sent.name} with key {sent.spki_sha256.hex()}"
        return chain, [certificates, Check("root", False, detail), *_unmade(_CHAIN_CHECKS[2:], "needs root")]
    # (9) chain
    path = path_fault(chain, pinned.certificate)
    # (10) validity
    validity = validity_fault(chain, pinned.certificate, now_s=now_s, tolerance_s=policy.clock_tolerance_s)
    return chain, [
        certificates,
        Check("root", True, f"{pinned.name} of {policy.name}"),
        Check("chain", path is None, path or "each certificate signs the one before it"),
        Check("validity", validity is None, validity or f"all valid at {now_s}"),
    ]


def _claims(report: SpdmReport, chain: Chain, policy: Policy) -> GpuClaims:
    return GpuClaims(
        driver_version=report.driver_version,
        vbios_version=report.vbios_version,
        project=report.project,
        product=policy.product(report.project),
        feature_flag=report.feature_flag,
        fwid=report.fwid,
        n_blocks=len(report.measurements),
        device_info=chain[LEAF].device_info,
        leaf_cert_serial=chain[LEAF].serial,
        device_cert_serial=chain[DEVICE].serial,
        device_spki_sha256=chain[DEVICE].spki_sha256,
    )


def _signature(report: SpdmReport, leaf: Certificate) -> Check:
    r, s = (int.from_bytes(half, "big") for half in (report.signature[:48], report.signature[48:]))
    try:
        leaf.key.verify(encode_dss_signature(r, s), report.signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return Check("signature", False, f"expected one by the leaf's key over {len(report.signed)} bytes, got another")
    # High s is not refused: 25 of 39 recorded reports have it, so GPUs do not normalise. The twin (r, n - s) passes
    # too; a hash of evidence therefore tells no replay, the nonce does.
    return Check("signature", True, f"by the leaf's key; s is {'high' if s > P384_ORDER // 2 else 'low'}")


def _same_firmware(report: SpdmReport, leaf: Certificate) -> Check:
    if report.fwid is None:
        return Check("fwid", None, "not checked: the report names none, as with older drivers")
    named = ", ".join(fwid.hex() for fwid in leaf.fwids) or "none"
    return Check("fwid", leaf.fwids == (report.fwid,), f"report names {report.fwid.hex()}, leaf {named}")


def _product(claims: GpuClaims) -> Check:
    if claims.product == UNKNOWN_PRODUCT:
        return Check("product", None, f"not known: {claims.project} is not in the policy's table")
    return Check("product", True, f"{claims.project} is {claims.product}")


def _firmware(claims: GpuClaims, floor: FirmwareFloor | None) -> Check:
    if floor is None:
        return Check("firmware", None, f"not checked: the policy has no floor for {claims.product}")
    for what, got, least, base in (
        ("driver", claims.driver_version, floor.driver_version, 10),
        ("VBIOS", claims.vbios_version, floor.vbios_version, 16),
    ):
        try:
            if least is not None and version_key(got, base) < version_key(least, base):
                return Check("firmware", False, f"{what}: expected at least {least}, got {got}")
        except ValueError:
            return Check("firmware", False, f"{what}: expected a version of numbers, got {got}")
    return Check("firmware", True, f"driver {claims.driver_version}, VBIOS {claims.vbios_version}")
