"""The decision and its document: equal bytes from every honest appraiser, and what each check refuses."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from commonhold.appraiser.appraise import BYTES_HASHED, appraise, bytes_hashed_id, evidence_hash, is_development
from commonhold.appraiser.binding import device_commitment
from commonhold.appraiser.canonical import canonical
from commonhold.appraiser.challenges import MAX_OPEN_PER_PEER, VALID_S, Challenge, ChallengeTable, TooManyChallenges
from commonhold.appraiser.devauthority import DevelopmentAuthority, DevGpu
from commonhold.appraiser.manifest import ManifestFile, manifest_of
from commonhold.appraiser.nvidia import verify_node
from commonhold.appraiser.policy import Policy, nvidia_policy
from commonhold.appraiser.request import ComputeRequest, ContentRequest
from commonhold.appraiser.result import Kind, Refusal, Result, document_hash
from commonhold.appraiser.signature import sign, signer_of
from commonhold.keyfile import wallet_address
from commonhold.signing import Domain
from commonhold.units import Address, Hash32, class_id, keccak256
from tests.appraiser.running import (
    COMPUTE_TERMS,
    DATA_TERMS,
    LEDGER,
    METER_KEY,
    MODEL_TERMS,
    NOW_S,
    PROVIDER,
    STRANGER,
    node_request,
)

OURS, THEIRS = Hash32(b"\xaa" * 32), Hash32(b"\x0b" * 32)
CHALLENGE = Challenge(OURS, PROVIDER, LEDGER, NOW_S + VALID_S, "127.0.0.1")
MANIFEST = manifest_of([ManifestFile("a", 1_500_000, Hash32(b"\x01" * 32)), ManifestFile("b", 0, Hash32(b"\x02" * 32))])
DATA = ContentRequest(Kind.DATA, replace(DATA_TERMS, challenges=(OURS, THEIRS)), None, MANIFEST)
MODEL = ContentRequest(
    Kind.MODEL, replace(MODEL_TERMS, challenges=(OURS,)), None, manifest_of([ManifestFile("m", 9, Hash32(bytes(32)))])
)

Decide = Callable[..., Result | Refusal]


@pytest.fixture(scope="module")
def gpus(authority: DevelopmentAuthority) -> list[DevGpu]:
    return [authority.enroll_gpu(serial) for serial in (1, 2)]


@pytest.fixture(scope="module")
def node(gpus: list[DevGpu]) -> ComputeRequest:
    return node_request(gpus, [OURS, THEIRS])


@pytest.fixture(scope="module")
def decide(policy: Policy) -> Decide:
    """The decision of an appraiser that has the development policy and gave out OURS."""

    def decided(
        request: ComputeRequest | ContentRequest,
        *,
        challenge: Challenge | None = CHALLENGE,
        policies: tuple[Policy, ...] = (policy,),
        ledger: Domain = LEDGER,
        now_s: int = NOW_S,
    ) -> Result | Refusal:
        named = {policy.name: policy for policy in policies}
        return appraise(request, challenge=challenge, policies=named, ledger=ledger, now_s=now_s)

    return decided


def accepted(found: Result | Refusal) -> Result:
    assert isinstance(found, Result), found
    return found


def refused_by(found: Result | Refusal) -> list[str]:
    assert isinstance(found, Refusal), found
    assert found.failed
    return [check.name for check in found.failed]


def test_node_is_appraised_with_its_gpus_and_meter_key(decide: Decide, node: ComputeRequest, policy: Policy) -> None:
    result = accepted(decide(node))

    appraisal = result.appraisal(NOW_S + 600)
    assert (appraisal.units, appraisal.level, appraisal.policy) == (2_000_000, 3, "development")
    assert (appraisal.class_id, appraisal.registrant) == (class_id("compute/h200-sxm"), PROVIDER)
    assert (appraisal.meter_key_x + appraisal.meter_key_y, appraisal.expires_at) == (METER_KEY, NOW_S + 3_600)
    assert appraisal.content_hash == evidence_hash(node.evidences)
    spkis = verify_node(node.evidences, nonce=node.evidences[0].report[4:36], policy=policy, now_s=NOW_S).device_spkis
    assert appraisal.devices == tuple(sorted(device_commitment(spki) for spki in spkis))
    assert len(appraisal.devices) == 2


def test_document_of_a_node_says_development_and_what_was_claimed(decide: Decide, node: ComputeRequest) -> None:
    document = json.loads(canonical(accepted(decide(node)).document()))

    assert document["policy"]["development"] is True
    assert document["challenges"] == sorted(document["challenges"])
    assert document["claims"]["product"] == "H200"
    assert [gpu["driver_version"] for gpu in document["claims"]["gpus"]] == ["580.159.03"] * 2
    assert {check["name"] for check in document["checks"]} >= {
        "challenge",
        "clock",
        "gpu 1: signature",
        "product class",
    }


def test_document_does_not_tell_a_gpu_apart(decide: Decide, node: ComputeRequest, gpus: list[DevGpu]) -> None:
    text = canonical(accepted(decide(node)).document()).decode()

    assert f"{gpus[0].serial:016X}" not in text
    assert "DEVELOPMENT:GH100" not in text


def test_honest_appraisers_make_the_same_bytes(decide: Decide, node: ComputeRequest, policy: Policy) -> None:
    theirs = replace(CHALLENGE, value=THEIRS, expires_at=NOW_S + 7, peer="10.0.0.1")
    turned = replace(node, terms=replace(node.terms, challenges=(THEIRS, OURS)))

    results = [
        accepted(decide(node)),
        accepted(decide(node, now_s=NOW_S + 60)),
        accepted(decide(node, challenge=theirs, now_s=NOW_S - 60)),
        accepted(decide(turned)),
        accepted(decide(node, policies=(nvidia_policy(), policy))),
    ]

    assert len({canonical(result.document()) for result in results}) == 1
    assert len({result.result_hash() for result in results}) == 1


def test_data_is_its_bytes_at_level_0(decide: Decide) -> None:
    result = accepted(decide(DATA))

    appraisal = result.appraisal(NOW_S + 1)
    assert (appraisal.units, appraisal.level, appraisal.devices) == (1_500_000, 0, ())
    assert (appraisal.meter_key_x, appraisal.meter_key_y) == (bytes(32), bytes(32))
    assert (appraisal.policy, appraisal.content_hash) == (BYTES_HASHED, MANIFEST.content_hash)


def test_bytes_of_a_result_are_fixed(decide: Decide) -> None:
    result = accepted(decide(DATA))

    assert bytes_hashed_id().hex() == "0f0b514d803c9ea8a2be21e66851ef2f75ca4cef2552eb211afc3a4b87feb3ba"
    assert result.result_hash().hex() == "57f209fd77e9338ea5144ae02c5b775165b91a9156cb7d95821f2e7ed29dd33b"
    assert document_hash(json.loads(canonical(result.document()))) == result.result_hash()


def test_data_served_by_a_node_names_its_key_as_declared(decide: Decide) -> None:
    result = accepted(decide(replace(DATA, meter_key=METER_KEY)))

    assert result.appraisal(NOW_S + 1).meter_key_x == METER_KEY[:32]
    assert [check.ok for check in result.checks if check.name == "meter key"] == [None]


def test_model_is_one_file(decide: Decide) -> None:
    assert accepted(decide(MODEL)).units == 9
    assert refused_by(decide(replace(MODEL, manifest=MANIFEST))) == ["one file"]


def changed(request: ContentRequest, **change: object) -> ContentRequest:
    return replace(request, terms=replace(request.terms, **change))  # type: ignore[arg-type]


WRONG: dict[str, tuple[list[str], ContentRequest]] = {
    "policy_of_another_kind": (["policy"], changed(DATA, policy="development")),
    "class_of_another_kind": (["class"], changed(DATA, class_name="compute/h200-sxm")),
    "class_model": (["class"], changed(DATA, class_name="model/llm")),
    "class_without_name": (["class"], changed(DATA, class_name="data/")),
    "class_upper_case": (["class"], changed(DATA, class_name="data/Text")),
    "challenges_of_others_only": (["challenge"], changed(DATA, challenges=(THEIRS,))),
    "challenge_twice": (["challenge"], changed(DATA, challenges=(OURS, THEIRS, THEIRS))),
    "challenges_33": (["challenge"], changed(DATA, challenges=(OURS, *(Hash32(bytes([n]) * 32) for n in range(32))))),
    "another_registrant": (["challenge"], changed(DATA, registrant=STRANGER)),
    "clock_61_s_fast": (["clock"], changed(DATA, appraised_at=NOW_S + 61)),
    "clock_61_s_slow": (["clock"], changed(DATA, appraised_at=NOW_S - 61)),
    "expires_at_once": (["expiry", "deadline"], changed(DATA, expires_at=NOW_S)),
    "expires_after_a_year": (["expiry"], changed(DATA, expires_at=NOW_S + 366 * 86_400 + 1)),
    "deadline_passed": (["deadline"], changed(DATA, deadline=NOW_S)),
    "deadline_after_expiry": (["deadline"], changed(DATA, deadline=NOW_S + 3_601)),
    "meter_key_off_the_curve": (["meter key"], replace(DATA, meter_key=b"\x01" * 64)),
    "meter_key_zero": (["meter key"], replace(DATA, meter_key=bytes(64))),
}


@pytest.mark.parametrize("defect", WRONG)
def test_wrong_request_is_refused_by_the_check_that_sees_it(decide: Decide, defect: str) -> None:
    checks, request = WRONG[defect]

    assert refused_by(decide(request)) == checks


@pytest.mark.parametrize(
    "change", [{"appraised_at": NOW_S + 60}, {"appraised_at": NOW_S - 60}, {"deadline": NOW_S + 3_600}]
)
def test_times_at_their_limits_are_taken(decide: Decide, change: dict[str, int]) -> None:
    accepted(decide(changed(DATA, **change)))


def test_challenge_that_is_not_ours_or_late_is_refused(decide: Decide) -> None:
    assert refused_by(decide(DATA, challenge=None)) == ["challenge"]
    assert refused_by(decide(DATA, challenge=replace(CHALLENGE, value=Hash32(b"\xcc" * 32)))) == ["challenge"]
    assert refused_by(decide(DATA, challenge=replace(CHALLENGE, expires_at=NOW_S))) == ["challenge"]
    accepted(decide(DATA, challenge=replace(CHALLENGE, expires_at=NOW_S + 1)))


def test_challenge_for_another_ledger_or_chain_is_refused(decide: Decide) -> None:
    for other in (replace(LEDGER, chain_id=1), replace(LEDGER, address=Address(bytes(20)))):
        assert refused_by(decide(DATA, ledger=other)) == ["challenge"]


def test_product_is_appraised_in_its_own_class_only(decide: Decide, gpus: list[DevGpu]) -> None:
    def asked(class_name: str, project: str) -> ComputeRequest:
        return node_request(gpus, [OURS], replace(COMPUTE_TERMS, class_name=class_name), project)

    assert accepted(decide(asked("compute/h100-sxm", "G520_0202_885"))).claims["product"] == "H100"
    assert refused_by(decide(asked("compute/h100-sxm", "G520_0280_895"))) == ["product class"]
    assert refused_by(decide(asked("compute/h200-sxm", "G520_0202_885"))) == ["product class"]
    assert refused_by(decide(asked("compute/h200-sxm", "G520_9999_999"))) == ["product class"]


def test_evidence_for_other_terms_is_refused_by_its_nonce(decide: Decide, node: ComputeRequest) -> None:
    other_key = replace(
        node,
        meter_key=METER_KEY[:32] + (2**256 - 2**224 + 2**192 + 2**96 - 1 - int.from_bytes(METER_KEY[32:])).to_bytes(32),
    )
    for request in (
        other_key,
        replace(node, terms=replace(node.terms, challenges=(OURS,))),
        replace(node, evidences=(node.evidences[0], node.evidences[0])),
    ):
        assert refused_by(decide(request))[0] in ("devices", "distinct")


def test_vendors_policy_refuses_development_evidence(decide: Decide, node: ComputeRequest) -> None:
    request = replace(node, terms=replace(node.terms, policy="nvidia-production"))

    assert refused_by(decide(request)) == ["policy"]
    failed = refused_by(decide(request, policies=(nvidia_policy(),)))
    assert "gpu 0: root" in failed


def test_development_is_seen_in_the_root_too(policy: Policy) -> None:
    assert is_development(policy)
    assert is_development(replace(policy, name="trusted"))
    assert not is_development(nvidia_policy())


def test_challenge_is_taken_once_and_forgotten_when_it_expires() -> None:
    table = ChallengeTable()
    first, second = (table.issue(PROVIDER, LEDGER, peer="a", now_s=NOW_S + n) for n in (0, 1))

    assert (table.take([THEIRS, first.value]), table.take([first.value])) == (first, None)
    table.issue(PROVIDER, LEDGER, peer="a", now_s=second.expires_at)
    assert (len(table), table.take([second.value])) == (1, None)


def test_open_challenges_are_bounded_by_peer_and_in_all() -> None:
    table = ChallengeTable(most=MAX_OPEN_PER_PEER + 1)
    for _ in range(MAX_OPEN_PER_PEER):
        table.issue(PROVIDER, LEDGER, peer="a", now_s=NOW_S)

    with pytest.raises(TooManyChallenges, match="again in 120 s"):
        table.issue(STRANGER, LEDGER, peer="a", now_s=NOW_S)
    last = table.issue(PROVIDER, LEDGER, peer="b", now_s=NOW_S)
    with pytest.raises(TooManyChallenges):
        table.issue(PROVIDER, LEDGER, peer="c", now_s=NOW_S)
    table.take([last.value])
    table.issue(PROVIDER, LEDGER, peer="c", now_s=NOW_S)
    table.issue(PROVIDER, LEDGER, peer="a", now_s=NOW_S + VALID_S)
    assert len(table) == 1


def test_signature_recovers_and_its_twin_with_high_s_does_not() -> None:
    key, digest = b"\x05" * 32, keccak256(b"statement")
    signature = sign(key, digest)
    s = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - int.from_bytes(signature[32:64])
    twin = signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])

    assert signer_of(digest, signature) == wallet_address(key)
    assert signer_of(keccak256(b"another"), signature) != wallet_address(key)
    assert signer_of(digest, twin) is None
    assert signer_of(digest, signature[:64]) is None
    assert signer_of(digest, signature[:64] + b"\x00") is None
    assert signer_of(digest, bytes(64) + b"\x1b") is None
