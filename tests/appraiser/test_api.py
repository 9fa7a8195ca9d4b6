"""One appraiser over HTTP: challenges, signed appraisals, and every refusal beside its success."""

import hashlib
import json
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from commonhold.appraiser.answer import checked
from commonhold.appraiser.api import create_app
from commonhold.appraiser.appraise import BYTES_HASHED
from commonhold.appraiser.challenges import ChallengeTable
from commonhold.appraiser.config import ConfigError, load_config, load_policies, server_of, state_of
from commonhold.appraiser.devauthority import DevelopmentAuthority, DevGpu
from commonhold.appraiser.manifest import Manifest, ManifestFile, hash_file, hash_folder, manifest_of
from commonhold.appraiser.policy import Policy, nvidia_policy
from commonhold.appraiser.request import ComputeBody, ComputeRequest, ContentBody, ContentRequest, Terms
from commonhold.appraiser.result import Kind, document_hash
from commonhold.appraiser.signature import signer_of
from commonhold.errors import BadInput
from commonhold.signing import digest, typed_data
from commonhold.units import Hash32, address_text, hex_text
from tests.appraiser.running import (
    COMPUTE_TERMS,
    DATA_TERMS,
    KEYS,
    LEDGER,
    MODEL_TERMS,
    NOW_S,
    PROVIDER,
    STRANGER,
    Appraiser,
    appraiser_of,
    listening,
    node_request,
)

MOST_BYTES = 1 << 20
OTHERS = Hash32(b"\x0b" * 32)


@pytest.fixture(scope="module")
def running(policy: Policy) -> Iterator[Appraiser]:
    with listening(appraiser_of(KEYS[0], [policy, nvidia_policy()], most_bytes=MOST_BYTES)) as appraiser:
        yield appraiser


@pytest.fixture
def appraiser(running: Appraiser) -> Appraiser:
    """The one that runs, with its clock put right."""
    running.clock.now_s = NOW_S
    return running


def post_node(appraiser: Appraiser, request: ComputeRequest) -> httpx.Response:
    return appraiser.http.post(
        "/v1/appraisals", content=ComputeBody.of(request).content(), headers={"Content-Type": "application/json"}
    )


def post_files(
    appraiser: Appraiser,
    files: dict[str, bytes],
    *,
    challenge: Hash32 | None = None,
    terms: Terms = DATA_TERMS,
    kind: Kind = Kind.DATA,
) -> httpx.Response:
    """As any HTTP client uploads files; httpx writes the multipart."""
    value = challenge or appraiser.challenge()
    request = ContentRequest(kind, replace(terms, challenges=(value, OTHERS)), None, None)  # type: ignore[arg-type]
    parts: list[tuple[str, Any]] = [("request", (None, ContentBody.of(request).content(), "application/json"))]
    parts += [("file", (path, content)) for path, content in files.items()]
    return appraiser.http.post("/v1/appraisals", files=parts)


def failed(answer: httpx.Response) -> list[str]:
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    assert answer.json()["code"] == "appraisal_refused"
    return [check["name"] for check in answer.json()["checks"]]


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert {"type", "title", "detail"} <= set(problem)
    return answer.status_code, problem["code"]


def test_front_page_names_signer_and_shows_development(appraiser: Appraiser, policy: Policy) -> None:
    front = appraiser.http.get("/").json()

    assert (front["signer"], front["chain_id"]) == (address_text(appraiser.address), LEDGER.chain_id)
    assert {p["name"]: (p["id"], p["development"]) for p in front["policies"]} == {
        "development": (hex_text(policy.policy_id()), True),
        "nvidia-production": (hex_text(nvidia_policy().policy_id()), False),
        BYTES_HASHED: (front["policies"][-1]["id"], False),
    }
    assert "DEVELOPMENT ONLY" in front["notice"]


def test_node_gets_a_signature_that_recovers(appraiser: Appraiser, gpu: DevGpu) -> None:
    request = node_request([gpu], [appraiser.challenge(), OTHERS])

    answer = post_node(appraiser, request)

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["appraisal"]["resultHash"] == hex_text(document_hash(body["result"]))
    assert (body["appraisal"]["units"], body["appraisal"]["level"]) == ("1000000", "3")
    assert body["result"]["policy"]["development"] is True
    assert body["signer"] == address_text(appraiser.address)


def test_signature_is_over_the_statement_of_the_ledger(appraiser: Appraiser) -> None:
    value = appraiser.challenge()
    manifest = hash_of({"a": b"one"})
    request = ContentRequest(Kind.DATA, replace(DATA_TERMS, challenges=(value, OTHERS)), None, manifest)

    signed = checked(post_files(appraiser, {"a": b"one"}, challenge=value).json(), request, LEDGER, [appraiser.address])

    assert signer_of(digest(LEDGER, signed.appraisal), signed.signature) == appraiser.address
    assert typed_data(LEDGER, signed.appraisal)["message"]["registrant"] == address_text(PROVIDER)


def hash_of(files: dict[str, bytes]) -> Manifest:
    return manifest_of(
        ManifestFile(path, len(content), Hash32(hashlib.sha256(content).digest())) for path, content in files.items()
    )


def test_challenge_is_good_once_also_when_the_answer_is_no(appraiser: Appraiser, gpu: DevGpu) -> None:
    accepted = node_request([gpu], [appraiser.challenge()])
    refused = node_request([gpu], [appraiser.challenge()], replace(COMPUTE_TERMS, class_name="compute/h100-sxm"))

    assert post_node(appraiser, accepted).status_code == 200
    assert failed(post_node(appraiser, accepted)) == ["challenge"]
    assert failed(post_node(appraiser, refused)) == ["product class"]
    assert failed(post_node(appraiser, refused)) == ["challenge"]


def test_challenge_sent_eight_times_at_once_is_answered_once(appraiser: Appraiser, gpu: DevGpu) -> None:
    request = node_request([gpu], [appraiser.challenge()])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post_node(appraiser, request).status_code, range(8)))

    assert sorted(answers) == [200] + [422] * 7


def test_schema_stands_for_itself(appraiser: Appraiser) -> None:
    schema = appraiser.http.get("/openapi.json").json()

    body = schema["paths"]["/v1/appraisals"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "$ref" not in json.dumps(body)
    assert set(body["properties"]["meter_key"]["properties"]) == {"x", "y"}


def test_challenge_expires_after_two_minutes(appraiser: Appraiser) -> None:
    in_time, late = appraiser.challenge(), appraiser.challenge()

    appraiser.clock.now_s = NOW_S + 119
    terms = replace(DATA_TERMS, appraised_at=NOW_S + 119)
    assert post_files(appraiser, {"a": b"x"}, challenge=in_time, terms=terms).status_code == 200
    appraiser.clock.now_s = NOW_S + 120
    assert failed(post_files(appraiser, {"a": b"x"}, challenge=late, terms=terms)) == ["challenge"]


def test_challenge_of_another_registrant_is_refused(appraiser: Appraiser) -> None:
    answer = post_files(appraiser, {"a": b"x"}, challenge=appraiser.challenge(STRANGER))

    assert failed(answer) == ["challenge"]
    assert address_text(STRANGER) in answer.json()["detail"]


def test_challenges_of_other_appraisers_only_are_refused(appraiser: Appraiser, gpu: DevGpu) -> None:
    assert failed(post_node(appraiser, node_request([gpu], [OTHERS]))) == ["challenge"]


def test_challenge_for_another_ledger_is_not_given(appraiser: Appraiser) -> None:
    right = {"registrant": address_text(PROVIDER), "chain_id": LEDGER.chain_id, "ledger": address_text(LEDGER.address)}

    assert appraiser.http.post("/v1/challenges", json=right).status_code == 201
    for wrong in ({"chain_id": 1}, {"ledger": address_text(STRANGER)}):
        assert code(appraiser.http.post("/v1/challenges", json={**right, **wrong})) == (409, "wrong_ledger")
    for malformed in ({"chain_id": "31337"}, {"registrant": "0x11"}, {"more": 1}):
        assert code(appraiser.http.post("/v1/challenges", json={**right, **malformed})) == (400, "bad_input")


def test_open_challenges_of_one_peer_are_bounded(policy: Policy) -> None:
    one = appraiser_of(KEYS[0], [policy])
    one = replace(one, state=replace(one.state, challenges=ChallengeTable(most_per_peer=3)))
    body = {"registrant": address_text(PROVIDER), "chain_id": LEDGER.chain_id, "ledger": address_text(LEDGER.address)}

    with listening(one) as appraiser:
        for _ in range(3):
            appraiser.challenge()
        answer = appraiser.http.post("/v1/challenges", json=body)
        appraiser.clock.now_s += 120
        again = appraiser.http.post("/v1/challenges", json=body)

    assert code(answer) == (429, "too_many_challenges")
    assert answer.headers["retry-after"] == "120"
    assert again.status_code == 201


def test_clock_that_is_off_by_more_than_the_policy_allows_is_refused(appraiser: Appraiser, gpu: DevGpu) -> None:
    for off_s, checks in ((60, []), (61, ["clock"]), (-60, []), (-61, ["clock"])):
        request = node_request([gpu], [appraiser.challenge()], replace(COMPUTE_TERMS, appraised_at=NOW_S + off_s))
        answer = post_node(appraiser, request)
        assert (answer.status_code == 200) if not checks else (failed(answer) == checks)


def test_expiry_beyond_the_policy_is_refused(appraiser: Appraiser, gpu: DevGpu) -> None:
    for validity_s, checks in ((86_400, []), (86_401, ["expiry"])):
        terms = replace(COMPUTE_TERMS, expires_at=NOW_S + validity_s)
        answer = post_node(appraiser, node_request([gpu], [appraiser.challenge()], terms))
        assert (answer.status_code == 200) if not checks else (failed(answer) == checks)


def test_tampered_report_is_refused_with_the_checks_that_failed(appraiser: Appraiser, gpu: DevGpu) -> None:
    request = node_request([gpu], [appraiser.challenge()])
    report = bytearray(request.evidences[0].report)
    report[62] ^= 1  # in the first measurement
    tampered = replace(request, evidences=(replace(request.evidences[0], report=bytes(report)),))

    assert failed(post_node(appraiser, tampered)) == ["devices", "gpu 0: signature"]


def test_folder_and_model_are_hashed_by_the_appraiser(appraiser: Appraiser, tmp_path: Path) -> None:
    files = {"a/b.txt": b"text", "ü.bin": bytes(range(256)) * 999, "a/empty": b""}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)

    data = post_files(appraiser, files)
    model = post_files(appraiser, {"b.txt": b"text"}, kind=Kind.MODEL, terms=MODEL_TERMS)

    assert data.json()["appraisal"]["contentHash"] == hex_text(hash_folder(tmp_path).content_hash)
    assert data.json()["appraisal"]["units"] == str(hash_folder(tmp_path).n_bytes)
    assert (data.json()["result"]["level"], data.json()["appraisal"]["policy"]) == (0, BYTES_HASHED)
    assert model.json()["appraisal"]["contentHash"] == hex_text(hash_file(tmp_path / "a" / "b.txt").content_hash)


def test_upload_beyond_the_cap_is_413_and_leaves_the_challenge_open(appraiser: Appraiser) -> None:
    challenge = appraiser.challenge()

    answer = post_files(appraiser, {"a": bytes(MOST_BYTES), "b": b"x"}, challenge=challenge)

    assert code(answer) == (413, "too_large")
    assert answer.json()["most_bytes"] == MOST_BYTES
    assert post_files(appraiser, {"a": bytes(MOST_BYTES)}, challenge=challenge).status_code == 200


@pytest.mark.parametrize(
    "path", ["../up", "/etc/passwd", "a/../../up", "a//b", "./a", "a/", "C:/a", "a/..", "a\\b", 'a"b/../c']
)
def test_upload_of_a_path_that_leaves_its_folder_is_refused(appraiser: Appraiser, path: str) -> None:
    assert code(post_files(appraiser, {"fine": b"x", path: b"x"})) == (400, "bad_manifest")


def test_upload_of_nothing_or_of_one_path_twice_is_refused(appraiser: Appraiser) -> None:
    value = appraiser.challenge()
    twice: list[tuple[str, Any]] = [("file", ("a", b"x")), ("file", ("a", b"y"))]
    request = ContentRequest(Kind.DATA, replace(DATA_TERMS, challenges=(value,)), None, None)  # type: ignore[arg-type]
    head: tuple[str, Any] = ("request", (None, ContentBody.of(request).content(), "application/json"))

    for parts in ([head, *twice], [head, ("file", ("a", b""))], [head]):
        answer = appraiser.http.post("/v1/appraisals", files=parts)
        assert code(answer) == (400, "bad_manifest"), answer.text
    assert code(appraiser.http.post("/v1/appraisals", files=[*twice, head])) == (400, "bad_upload")


def test_model_of_two_files_is_refused(appraiser: Appraiser) -> None:
    answer = post_files(appraiser, {"a": b"x", "b": b"y"}, kind=Kind.MODEL, terms=MODEL_TERMS)

    assert failed(answer) == ["one file"]


def test_refusal_that_needs_no_bytes_comes_before_the_cap(appraiser: Appraiser) -> None:
    terms = replace(DATA_TERMS, class_name="model/llm")

    assert failed(post_files(appraiser, {"a": bytes(MOST_BYTES + 1)}, terms=terms)) == ["class"]


def test_malformed_request_is_400_and_leaves_the_challenge_open(appraiser: Appraiser, gpu: DevGpu) -> None:
    right = json.loads(ComputeBody.of(node_request([gpu], [appraiser.challenge()])).content())
    defects: list[dict[str, Any]] = [
        {"evidences": []},
        {"evidences": right["evidences"] * 33},
        {"evidences": [{"report": "!", "chain_pem": ""}]},
        {"evidences": [{"report": "A" * 11_000, "chain_pem": ""}]},
        {"appraised_at": str(NOW_S)},
        {"appraised_at": -1},
        {"deadline": 1 << 48},
        {"challenges": ["0x00"]},
        {"kind": "DATA"},
        {"unknown": 1},
        {"meter_key": None},
    ]

    for defect in defects:
        assert code(appraiser.http.post("/v1/appraisals", json={**right, **defect})) == (400, "bad_input"), defect
    for field in right:
        without = {name: value for name, value in right.items() if name != field}
        assert code(appraiser.http.post("/v1/appraisals", json=without)) == (400, "bad_input")
    assert appraiser.http.post("/v1/appraisals", json=right).status_code == 200


def test_other_bodies_and_addresses_are_problems_too(appraiser: Appraiser) -> None:
    json_headers = {"Content-Type": "application/json"}

    assert code(appraiser.http.post("/v1/appraisals", content=b"{", headers=json_headers)) == (400, "bad_input")
    huge = b" " * (2 * 1024 * 1024 + 1)
    assert code(appraiser.http.post("/v1/appraisals", content=huge, headers=json_headers)) == (413, "too_large")
    assert code(appraiser.http.post("/v1/appraisals", content=b"x")) == (400, "bad_upload")
    assert code(appraiser.http.get("/nothing")) == (404, "http_error")
    assert code(appraiser.http.delete("/")) == (405, "http_error")


def test_broken_connection_gives_the_challenge_back(appraiser: Appraiser) -> None:
    challenge = appraiser.challenge()

    def broken() -> Iterator[bytes]:
        request = ContentRequest(Kind.DATA, replace(DATA_TERMS, challenges=(challenge,)), None, None)  # type: ignore[arg-type]
        yield b'--B\r\nContent-Disposition: form-data; name="request"\r\n\r\n' + ContentBody.of(request).content()
        yield b'\r\n--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
        raise ConnectionError("the line broke")

    with pytest.raises(ConnectionError):
        appraiser.http.post(
            "/v1/appraisals", content=broken(), headers={"Content-Type": "multipart/form-data; boundary=B"}
        )

    # The appraiser may still be reading when this arrives; a challenge that is in use is not used up by asking.
    answers = (post_files(appraiser, {"a": b"x"}, challenge=challenge).status_code for _ in range(1_000))
    assert 200 in answers


def test_policy_that_hides_its_development_root_is_refused(policy: Policy) -> None:
    state = appraiser_of(KEYS[0], [policy]).state

    create_app(state)
    with pytest.raises(BadInput, match="trusts a development root"):
        create_app(replace(state, policies={"trusted": replace(policy, name="trusted")}))
    with pytest.raises(BadInput, match="under its own name"):
        create_app(replace(state, policies={"trusted": policy}))


def test_key_is_not_shown(appraiser: Appraiser) -> None:
    assert appraiser.state.key.hex() not in repr(appraiser.state)
    assert repr(appraiser.state.key) not in repr(appraiser.state)


@pytest.fixture
def config_file(tmp_path: Path, authority: DevelopmentAuthority) -> Path:
    (tmp_path / "key").write_text(KEYS[0].hex())
    (tmp_path / "key").chmod(stat.S_IRUSR | stat.S_IWUSR)
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    path = tmp_path / "appraiser.json"
    path.write_text(json.dumps(CONFIG))
    return path


CONFIG: dict[str, object] = {
    "key": "key",
    "chain_id": LEDGER.chain_id,
    "ledger": address_text(LEDGER.address),
    "development_root": "root.pem",
    "host": "127.0.0.1",
    "port": 0,
}


def test_configured_appraiser_has_the_shipped_policies_and_the_development_one(
    config_file: Path, policy: Policy
) -> None:
    state = state_of(load_config(config_file), lambda: NOW_S)

    assert state.policies == {"nvidia-production": nvidia_policy(), "development": policy}
    assert (state.domain, state.key) == (LEDGER, KEYS[0])
    assert server_of(state, host="127.0.0.1", port=0).config.port == 0


def test_policies_of_a_folder_count_alone(config_file: Path, policy: Policy) -> None:
    folder, roots = config_file.parent / "policies", config_file.parent / "roots"
    folder.mkdir()
    roots.mkdir()
    (folder / "mine.json").write_bytes(policy.canonical_json())
    (roots / "development_root.pem").write_bytes((config_file.parent / "root.pem").read_bytes())

    assert load_policies(folder) == {"development": policy}
    with pytest.raises(ConfigError, match="'development' twice"):
        load_policies(folder, config_file.parent / "root.pem")
    (folder / "mine.json").unlink()
    with pytest.raises(ConfigError, match="found none"):
        load_policies(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"port": "8101"}, "port: expected a number"),
        ({"port": 65_536}, "port: expected a number in 0..65535"),
        ({"chain_id": True}, "chain_id: expected a number"),
        ({"ledger": "0x12"}, "ledger: address '0x12'"),
        ({"ledger": 5}, "ledger: expected text"),
        ({"keyfile": "key"}, "unknown field 'keyfile'"),
        ({"most_bytes": 0}, "most_bytes: expected a number"),
        ({"development_root": "key"}, "root_pem: expected a root certificate"),
        ({"development_root": "nothing.pem"}, "No such file"),
        ({"key": "nothing"}, "not found"),
        ({"policies": "nothing"}, "found none"),
    ],
)
def test_wrong_configuration_is_one_error_naming_the_field(
    config_file: Path, change: dict[str, object], message: str
) -> None:
    config_file.write_text(json.dumps({**CONFIG, **change}))

    with pytest.raises(BadInput, match=message):
        state_of(load_config(config_file), lambda: NOW_S)


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({n: v for n, v in CONFIG.items() if n != "key"})])
def test_configuration_of_another_form_is_refused(config_file: Path, text: str) -> None:
    config_file.write_text(text)
    with pytest.raises(ConfigError, match=r"appraiser\.json: expected"):
        load_config(config_file)
    with pytest.raises(ConfigError, match="No such file"):
        load_config(config_file.with_name("nothing"))
