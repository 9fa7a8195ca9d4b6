"""The decision of an appraiser: from a request, its own challenge, its policies and its clock to a result or a refusal.

Pure, so any decision can be made again from the stored inputs. Details of checks that pass say nothing of the
appraiser that made them: results of honest appraisers are equal byte by byte.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from commonhold.appraiser.binding import binding_nonce, device_commitment, gpu_nonce
from commonhold.appraiser.canonical import Json, canonical
from commonhold.appraiser.challenges import Challenge
from commonhold.appraiser.nvidia import Check, GpuClaims, GpuEvidence, NodeVerdict, verify_node
from commonhold.appraiser.policy import Policy
from commonhold.appraiser.request import MAX_CHALLENGES, ComputeRequest, ContentRequest, Request, Terms
from commonhold.appraiser.result import Kind, PolicyUsed, Refusal, Result
from commonhold.p256 import p256_key
from commonhold.signing import Domain
from commonhold.units import UNIT, Hash32, address_text, hex_text

BYTES_HASHED: Final = "bytes-hashed/1"  # built in: the appraiser saw and hashed every byte, and that is all it found
CONTENT_LEVEL: Final = 0
CONTENT_MAX_APPRAISAL_S: Final = 366 * 86_400  # bytes do not change; who may hold them is looked at once a year
CONTENT_CLOCK_TOLERANCE_S: Final = 60
BYTES_HASHED_DOCUMENT: Final[Mapping[str, Json]] = {
    "name": BYTES_HASHED,
    "max_level": CONTENT_LEVEL,
    "max_appraisal_s": CONTENT_MAX_APPRAISAL_S,
    "clock_tolerance_s": CONTENT_CLOCK_TOLERANCE_S,
}
EVIDENCE_LABEL: Final = b"commonhold/evidence/v1"

CLASS_NAME: Final = re.compile(r"(data|model|compute)/[a-z0-9][a-z0-9._-]{0,55}")


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the checks that all kinds share need of a policy."""

    used: PolicyUsed
    max_appraisal_s: int
    clock_tolerance_s: int


def appraise(
    request: Request, *, challenge: Challenge | None, policies: Mapping[str, Policy], ledger: Domain, now_s: int
) -> Result | Refusal:
    """The result when every check passed.

    challenge: the one of the request's that this appraiser gave out and has now taken back; None: there is none.
    (1) policy: this appraiser has it, for this kind. (2) class: of the kind that is asked for.
    (3) challenge: ours, in time, for this registrant, chain and ledger; no two of the request's are equal.
    (4) times: appraised now, for no longer than the policy allows, and signed for no longer than that.
    (5) meter key: a point of P-256; COMPUTE has one.
    (6) evidence: what the verifier of the kind finds. (7) product: may be registered in the class.
    """
    if isinstance(request, ContentRequest):
        return _content(request, challenge, ledger, now_s)
    return _compute(request, challenge, policies, ledger, now_s)


def refusal_before_files(
    kind: Kind, terms: Terms, meter_key: bytes | None, challenge: Challenge | None, ledger: Domain, now_s: int
) -> Refusal | None:
    """The refusal of a dataset or model that no bytes could change, before they are sent; None: there is none."""
    if terms.policy != BYTES_HASHED:
        return _unknown_policy(terms, [BYTES_HASHED])
    checks = _shared(kind, terms, meter_key, _content_rule(), challenge, ledger, now_s)
    return Refusal(tuple(checks)) if any(check.ok is False for check in checks) else None


def is_development(policy: Policy) -> bool:
    """True when the policy, or a root that it trusts, calls itself a development one."""
    return any("development" in name.lower() for name in (policy.name, *(r.certificate.name for r in policy.roots)))


def bytes_hashed_id() -> Hash32:
    """The id of the built-in policy `BYTES_HASHED`: SHA-256 of its canonical JSON, as for every policy."""
    return Hash32(hashlib.sha256(canonical(BYTES_HASHED_DOCUMENT)).digest())


def request_nonce(terms: Terms, meter_key: bytes, ledger: Domain) -> bytes:
    """The 32 bytes that every GPU must report under: they commit to all challenges, the registrant and the meter key.

    meter_key: x || y. Raises ValueError.
    """
    binding = binding_nonce(
        terms.challenges,
        provider=terms.registrant,
        chain_id=ledger.chain_id,
        ledger=ledger.address,
        meter_key=b"\x04" + meter_key,
    )
    return gpu_nonce(binding)


def evidence_hash(evidences: tuple[GpuEvidence, ...]) -> Hash32:
    """One hash over all evidence of a node, in its order: the content hash of a COMPUTE asset."""
    parts = (hashlib.sha256(part).digest() for e in evidences for part in (e.report, e.chain_pem))
    return Hash32(hashlib.sha256(EVIDENCE_LABEL + b"".join(parts)).digest())


def _class(kind: Kind, name: str) -> Check:
    match = CLASS_NAME.fullmatch(name)
    ok = match is not None and match[1] == kind.lower()
    return Check("class", ok, f"expected one of {kind.lower()}/..., got {name[:64]!r}")


def _challenge(terms: Terms, challenge: Challenge | None, ledger: Domain, now_s: int) -> Check:
    n = len(terms.challenges)
    fault = None
    if challenge is None or challenge.value not in terms.challenges:
        fault = f"expected one of this appraiser that is open, got none among {n}: never issued, expired, or used"
    elif challenge.expires_at <= now_s:
        fault = f"expected it by {challenge.expires_at}, got it at {now_s}"
    elif challenge.registrant != terms.registrant:
        fault = f"expected registrant {address_text(challenge.registrant)}, got {address_text(terms.registrant)}"
    elif challenge.ledger != ledger:
        fault = f"expected for chain {ledger.chain_id} and ledger {address_text(ledger.address)}, got it for another"
    elif n > MAX_CHALLENGES or len(set(terms.challenges)) != n:
        fault = f"expected at most {MAX_CHALLENGES} and no two equal, got {n}"
    return Check("challenge", fault is None, fault or f"one of {n} is the appraiser's, for this registrant and ledger")


def _times(terms: Terms, rule: _Rule, now_s: int) -> list[Check]:
    off_s, validity_s = abs(terms.appraised_at - now_s), terms.expires_at - terms.appraised_at
    clock = Check("clock", True, f"appraised at a time within {rule.clock_tolerance_s} s of the appraiser's clock")
    if off_s > rule.clock_tolerance_s:
        detail = f"expected within {rule.clock_tolerance_s} s of {now_s}, got {terms.appraised_at}, {off_s} s off"
        clock = Check("clock", False, detail)
    expiry = Check(
        "expiry",
        0 < validity_s <= rule.max_appraisal_s,
        f"expected 1..{rule.max_appraisal_s} s after it was appraised, got {validity_s}",
    )
    deadline = Check("deadline", True, "after it was appraised, and not after it expires")
    if not max(now_s, terms.appraised_at) < terms.deadline <= terms.expires_at:
        detail = f"expected after {now_s} and not after {terms.expires_at}, got {terms.deadline}"
        deadline = Check("deadline", False, detail)
    return [clock, expiry, deadline]


def _meter_key(kind: Kind, key: bytes | None) -> Check:
    if key is None:
        return Check("meter key", None if kind is not Kind.COMPUTE else False, "none: served by no node")
    if p256_key(key) is None:
        return Check("meter key", False, "expected a point of P-256, got none")
    if kind is Kind.COMPUTE:
        return Check("meter key", True, "a point of P-256; the nonce that every GPU signed commits to it")
    return Check("meter key", None, "a point of P-256, as declared: nothing attests it")


def _content(request: ContentRequest, challenge: Challenge | None, ledger: Domain, now_s: int) -> Result | Refusal:
    terms, manifest, n_files = request.terms, request.manifest, len(request.manifest.files)
    refused = refusal_before_files(request.kind, terms, request.meter_key, challenge, ledger, now_s)
    if refused is not None:
        return refused
    rule = _content_rule()
    checks = _shared(request.kind, terms, request.meter_key, rule, challenge, ledger, now_s)
    # (6) the bytes were counted and hashed on their way here
    checks.append(Check("bytes", True, f"hashed {manifest.n_bytes} bytes in {n_files} files"))
    if request.kind is Kind.MODEL:
        checks.append(Check("one file", n_files == 1, f"expected a model in one file, got {n_files}"))
    if any(check.ok is False for check in checks):
        return Refusal(tuple(checks))
    return Result(
        kind=request.kind,
        class_name=terms.class_name,
        registrant=terms.registrant,
        chain_id=ledger.chain_id,
        ledger=ledger.address,
        policy=rule.used,
        challenges=tuple(sorted(terms.challenges)),
        content_hash=manifest.content_hash,
        evidence={"manifest_sha256": hex_text(manifest.content_hash)},
        claims={"files": n_files, "bytes": manifest.n_bytes},
        checks=tuple(checks),
        units=manifest.n_bytes,  # the class's unit is the megabyte: 1.000000 is 10^6 bytes
        level=CONTENT_LEVEL,
        devices=(),
        meter_key=request.meter_key,
        appraised_at=terms.appraised_at,
        expires_at=terms.expires_at,
    )


def _compute(
    request: ComputeRequest,
    challenge: Challenge | None,
    policies: Mapping[str, Policy],
    ledger: Domain,
    now_s: int,
) -> Result | Refusal:
    terms, policy = request.terms, policies.get(request.terms.policy)
    if policy is None:
        return _unknown_policy(terms, policies)
    used = PolicyUsed(policy.name, Hash32(policy.policy_id()), is_development(policy))
    rule = _Rule(used, policy.max_appraisal_s, policy.clock_tolerance_s)
    checks = _shared(Kind.COMPUTE, terms, request.meter_key, rule, challenge, ledger, now_s)
    if any(check.ok is False for check in checks):  # before the costly part, and its nonce needs what was checked
        return Refusal(tuple(checks))
    # (6) at the time that all appraisers are asked to agree on, so that all get the same verdict
    verdict = verify_node(
        request.evidences,
        nonce=request_nonce(terms, request.meter_key, ledger),
        policy=policy,
        now_s=terms.appraised_at,
    )
    checks += verdict.checks
    for n, device in enumerate(verdict.devices):
        checks += [Check(f"gpu {n}: {check.name}", check.ok, check.detail) for check in device.checks]
    if not verdict.accepted:
        return Refusal(tuple(checks))
    # (7) a class counts one product
    allowed = policy.classes_of(verdict.product)
    detail = f"{verdict.product}: expected {' or '.join(allowed) or 'no class'}, got {terms.class_name}"
    checks.append(Check("product class", terms.class_name in allowed, detail))
    if terms.class_name not in allowed:
        return Refusal(tuple(checks))
    return Result(
        kind=Kind.COMPUTE,
        class_name=terms.class_name,
        registrant=terms.registrant,
        chain_id=ledger.chain_id,
        ledger=ledger.address,
        policy=used,
        challenges=tuple(sorted(terms.challenges)),
        content_hash=evidence_hash(request.evidences),
        evidence={"gpus": [_evidence(evidence) for evidence in request.evidences]},
        claims=_claims(verdict),
        checks=tuple(checks),
        units=len(verdict.device_spkis) * UNIT,
        level=verdict.level,
        devices=tuple(sorted(Hash32(device_commitment(spki)) for spki in verdict.device_spkis)),
        meter_key=request.meter_key,
        appraised_at=terms.appraised_at,
        expires_at=terms.expires_at,
    )


def _content_rule() -> _Rule:
    used = PolicyUsed(BYTES_HASHED, bytes_hashed_id(), development=False)
    return _Rule(used, CONTENT_MAX_APPRAISAL_S, CONTENT_CLOCK_TOLERANCE_S)


def _unknown_policy(terms: Terms, known: Iterable[str]) -> Refusal:
    # (1) without a policy there is nothing to hold the rest to
    expected = ", ".join(sorted(known)) or "none: this appraiser has no policy for it"
    return Refusal((Check("policy", False, f"expected one of {expected}; got {terms.policy!r}"),))


def _shared(
    kind: Kind,
    terms: Terms,
    meter_key: bytes | None,
    rule: _Rule,
    challenge: Challenge | None,
    ledger: Domain,
    now_s: int,
) -> list[Check]:
    """Checks (1) to (5)."""
    name = f"{rule.used.name}{', which proves nothing' if rule.used.development else ''}"
    return [
        Check("policy", True, name),
        _class(kind, terms.class_name),
        _challenge(terms, challenge, ledger, now_s),
        *_times(terms, rule, now_s),
        _meter_key(kind, meter_key),
    ]


def _evidence(evidence: GpuEvidence) -> Json:
    return {
        "report_sha256": hashlib.sha256(evidence.report).hexdigest(),
        "chain_sha256": hashlib.sha256(evidence.chain_pem).hexdigest(),
    }


def _claims(verdict: NodeVerdict) -> dict[str, Json]:
    gpus: list[Json] = [_gpu_claims(device.claims) for device in verdict.devices if device.claims is not None]
    return {"product": verdict.product, "gpus": gpus}


def _gpu_claims(claims: GpuClaims) -> Json:
    # Not the device's key, serials or name: results are published, and these would tell a GPU apart for ever. Its
    # commitment does so as well, but to those alone who have seen the GPU.
    return {
        "device": hex_text(device_commitment(claims.device_spki_sha256)),
        "product": claims.product,
        "project": claims.project,
        "driver_version": claims.driver_version,
        "vbios_version": claims.vbios_version,
        "mode": claims.feature_flag,
        "fwid": None if claims.fwid is None else claims.fwid.hex(),
    }
