"""Tokens of a lease that exists: sign-in, renewal, and every refusal of the token endpoint with its answer."""

import asyncio
import hashlib
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from commonhold.access import answers, dpop, issue
from commonhold.access.issue import forget
from commonhold.access.tables import access_nonce, access_proof, access_token
from commonhold.chain.rpc import Rpc
from commonhold.db import read, write
from commonhold.limits.tables import budget
from commonhold.units import Hash32, hex_text
from tests.actors import WEEK_S, YEAR_S, point_of
from tests.api.conftest import sqlite_only
from tests.api.service import QUANTUM_MS, Form, Service

pytestmark = pytest.mark.chain


async def lease_of(service: Service, seconds: int = 600) -> Any:
    """The developer has a lease, mirrored."""
    _, lease = await service.deployed.lease(seconds)
    await service.mirrored()
    return lease


async def count(service: Service, table: sa.Table) -> int:
    async with read(service.state.engine) as db:
        return (await db.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()


@sqlite_only
async def test_a_holder_signs_in_for_a_lease(service: Service) -> None:
    lease = await lease_of(service)

    claims = await service.granted(await service.sign_in_form(lease))

    assert (claims.lease, claims.limit_gpu_ms) == (lease, QUANTUM_MS)
    assert claims.client_id == "tests"
    assert claims.jkt == dpop.thumbprint(point_of("developer"))


async def test_a_sign_in_nonce_serves_once_under_concurrency(service: Service) -> None:
    lease = await lease_of(service)
    form = await service.sign_in_form(lease)

    answers = await asyncio.gather(*(service.ask(form) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {a.json()["error"] for a in answers if a.status_code == 400} == {"invalid_grant"}
    assert await count(service, access_token) == 1
    assert await count(service, access_nonce) == 1


async def test_a_proof_serves_once_under_concurrency(service: Service) -> None:
    lease = await lease_of(service)
    proof = service.proof()
    forms = [service.receipt_form(lease, 0) for _ in range(8)]

    answers = await asyncio.gather(*(service.ask(form, DPoP=proof) for form in forms))

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {a.json()["error"] for a in answers if a.status_code == 400} == {"invalid_dpop_proof"}
    assert await count(service, access_proof) == 1


@sqlite_only
async def test_a_receipt_renews_and_a_stale_one_gives_no_new_time(service: Service) -> None:
    lease = await lease_of(service, 100)

    tokens = [await service.granted(service.receipt_form(lease, ms)) for ms in (0, 30_000, 30_000, 90_000)]

    assert [claims.limit_gpu_ms for claims in tokens] == [60_000, 90_000, 90_000, 100_000]
    older = await service.ask(service.receipt_form(lease, 29_999))
    assert older.json()["error"] == "invalid_grant"
    spent = await service.ask(service.receipt_form(lease, 100_000))
    assert spent.json()["error"] == "invalid_authorization_details"
    assert spent.json()["available_gpu_ms"] == 0
    async with read(service.state.engine) as db:
        row = (await db.execute(sa.select(budget))).one()
    # The last receipt came with a refusal, and nothing of a refused request is stored.
    assert (row.limit_ms, row.granted_ms, row.receipted_ms) == (100_000, 100_000, 90_000)


@sqlite_only
async def test_every_refusal_has_its_answer(service: Service, subtests: pytest.Subtests) -> None:
    """ACCESS over HTTP: the table of answers, each next to the request that would have been granted."""
    lease = await lease_of(service)
    state, now = service.state, service.clock()
    good = service.receipt_form(lease, 0)
    other = Rpc("http://127.0.0.1:9")

    async def sign_in(**changes: Any) -> Form:
        return await service.sign_in_form(lease, **changes)

    table: list[tuple[str, Form, dict[str, Any], int, str]] = [
        # name, form, headers, status, error
        ("no_grant_type", good | {"grant_type": ""}, {}, 400, "invalid_request"),
        ("other_grant_type", good | {"grant_type": "client_credentials"}, {}, 400, "unsupported_grant_type"),
        ("other_subject_type", good | {"subject_token_type": "urn:x"}, {}, 400, "invalid_request"),
        ("refresh_token", good | {"requested_token_type": "urn:x"}, {}, 400, "invalid_request"),
        ("parameter_twice", good | {"subject_token": ["a", "b"]}, {}, 400, "invalid_request"),
        ("subject_no_json", good | {"subject_token": "e30.e30"}, {}, 400, "invalid_grant"),
        ("subject_a_list", good | {"subject_token": "W10"}, {}, 400, "invalid_grant"),
        ("client_authenticates", good, {"Authorization": "Basic eA=="}, 401, "invalid_client"),
        ("client_secret", good | {"client_secret": "x"}, {}, 401, "invalid_client"),
        ("no_proof", good, {"DPoP": ""}, 400, "invalid_dpop_proof"),
        ("proof_no_nonce", good, {"DPoP": service.proof(nonce=None)}, 400, "use_dpop_nonce"),
        ("proof_foreign_nonce", good, {"DPoP": service.proof(nonce="x")}, 400, "use_dpop_nonce"),
        ("proof_wrong_htu", good, {"DPoP": service.proof(url="http://x/token")}, 400, "invalid_dpop_proof"),
        ("proof_wrong_htm", good, {"DPoP": service.proof(method="GET")}, 400, "invalid_dpop_proof"),
        ("proof_old", good, {"DPoP": service.proof(now_s=now - 301)}, 400, "invalid_dpop_proof"),
        ("foreign_key", good, {"DPoP": service.proof("stranger")}, 400, "invalid_grant"),
        ("unknown_gateway", good | {"resource": "http://x/"}, {}, 400, "invalid_target"),
        ("two_gateways", good | {"resource": ["http://x/", "http://127.0.0.1:9/"]}, {}, 400, "invalid_target"),
        ("unknown_scope", good | {"scope": "inference admin"}, {}, 400, "invalid_scope"),
        ("other_details", good | {"authorization_details": '[{"type":"x"}]'}, {}, 400, "invalid_authorization_details"),
        ("details_no_json", good | {"authorization_details": "{"}, {}, 400, "invalid_authorization_details"),
        ("other_lease", good | {"authorization_details": _details("0x" + "11" * 32)}, {}, 400,
         "invalid_authorization_details"),
        ("siwe_no_lease", (await sign_in()) | {"authorization_details": ""}, {}, 400, "invalid_authorization_details"),
        ("siwe_wrong_domain", await sign_in(domain="evil.example"), {}, 400, "invalid_grant"),
        ("siwe_wrong_uri", await sign_in(uri="https://evil.example/"), {}, 400, "invalid_grant"),
        ("siwe_wrong_chain", await sign_in(chain_id=1), {}, 400, "invalid_grant"),
        ("siwe_no_expiry", await sign_in(expires_at=None), {}, 400, "invalid_grant"),
        ("siwe_expired", await sign_in(expires_at=now), {}, 400, "invalid_grant"),
        ("siwe_issued_long_ago", await sign_in(issued_at=now - 601), {}, 400, "invalid_grant"),
        ("siwe_issued_ahead", await sign_in(issued_at=now + 61), {}, 400, "invalid_grant"),
        ("siwe_other_resources", await sign_in(resources=["urn:x:y"]), {}, 400, "invalid_grant"),
        ("siwe_foreign_nonce", await sign_in(nonce="a" * 64), {}, 400, "invalid_grant"),
        ("siwe_foreign_wallet", await sign_in(wallet="stranger"), {}, 400, "invalid_authorization_details"),
        ("siwe_address_of_another", await sign_in(address="0x" + "11" * 20), {}, 400, "invalid_grant"),
        ("receipt_foreign_session", service.receipt_form(lease, 1, session="stranger"), {}, 400, "invalid_grant"),
        ("receipt_foreign_node", service.receipt_form(lease, 1, node="other"), {}, 400, "invalid_grant"),
        ("receipt_unknown_lease", service.receipt_form(b"\x11" * 32, 1), {}, 400,  # type: ignore[arg-type]
         "invalid_authorization_details"),
        ("idempotency_key_bad", good, {"Idempotency_Key": "a b"}, 400, "invalid_request"),
    ]  # fmt: skip
    for name, form, headers, status, error in table:
        with subtests.test(name):
            answer = await service.ask(form, **headers)
            assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["content-type"] == "application/json"
            assert state.nonce_keys.ok(answer.headers["dpop-nonce"], now)
            assert set(answer.json()["error_description"]) <= {chr(c) for c in range(0x20, 0x7F)} - {'"', "\\"}
    with subtests.test("not_a_form"):
        json_body = await service.http.post("/token", json=good, headers={"DPoP": service.proof()})
        assert (json_body.status_code, json_body.json()["error"]) == (400, "invalid_request")
    with subtests.test("body_too_large"):
        answer = await service.ask(good | {"subject_token": "a" * 70_000})
        assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")
    with subtests.test("rpc_down"):
        state.rpc, rpc = other, state.rpc
        answer = await service.ask(good)
        state.rpc = rpc
        await other.close()
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    with subtests.test("mirror_stale"):
        await service.deployed.anvil.mine(state.max_behind + 1)
        answer = await service.ask(good)
        await service.mirrored()
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert "behind" in answer.json()["error_description"]

    assert await count(service, access_token) == await count(service, access_proof) == 0
    assert (await service.granted(good)).lease == lease


@sqlite_only
async def test_time_ends_a_lease_and_an_appraisal(service: Service) -> None:
    lease = await lease_of(service)
    now = service.clock()

    service.clock.now_s = now + YEAR_S + WEEK_S
    expired = await service.ask(service.receipt_form(lease, 0))
    service.clock.now_s = (now // WEEK_S + 1) * WEEK_S - 100
    short = await service.granted(service.receipt_form(lease, 0))
    service.clock.now_s += 100
    ended = await service.ask(service.receipt_form(lease, 0))

    assert expired.json()["error"] == "invalid_target"
    assert short.expires_at == short.ends_at == short.issued_at + 100
    assert (ended.json()["error"], ended.json()["ends_at"]) == ("invalid_authorization_details", short.ends_at)


@sqlite_only
async def test_too_many_tokens_are_slowed_down(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue, "RATE_TOKENS", 3)
    lease = await lease_of(service)
    form = service.receipt_form(lease, 0)
    for _ in range(3):
        await service.granted(form)

    answer = await service.ask(form)
    service.clock.now_s += 60
    later = await service.ask(form)

    assert (answer.status_code, answer.json()["error"]) == (400, "slow_down")
    assert answer.headers["retry-after"] == "60"
    assert answer.headers["ratelimit-policy"] == '"tokens";q=3;w=60'
    assert answer.headers["ratelimit"] == '"tokens";r=0;t=60'
    assert later.status_code == 200


async def test_an_idempotency_key_gives_the_same_token(service: Service) -> None:
    lease = await lease_of(service)
    form = await service.sign_in_form(lease)

    first = await service.verified(await service.ask(form, Idempotency_Key='"one"'))
    again = await service.verified(await service.ask(form, Idempotency_Key="one"))
    other_body = await service.ask(form | {"scope": "train"}, Idempotency_Key="one")
    other_key = await service.ask(form, Idempotency_Key="two")

    assert first == again
    assert (other_body.status_code, other_body.json()["error"]) == (422, "idempotency_key_reused")
    assert (other_key.status_code, other_key.json()["error"]) == (400, "invalid_grant")
    assert await count(service, access_token) == 1
    async with write(service.state.engine) as db:
        assert await forget(db, service.clock() + 86_400 + 300) == 5


@sqlite_only
async def test_a_key_in_flight_is_a_conflict_and_a_failure_frees_it(service: Service) -> None:
    lease = await lease_of(service)
    good, bad = service.receipt_form(lease, 0), service.receipt_form(lease, 0, session="stranger")
    key = answers.key_hash("one", client_id="tests", jkt=dpop.thumbprint(point_of("developer")))
    body = service.http.build_request("POST", "/token", data=good).read()
    async with write(service.state.engine) as db:
        await answers.begin(db, key, Hash32(hashlib.sha256(body).digest()), service.clock())

    in_flight = await service.ask(good, Idempotency_Key="one")
    failed = await service.ask(bad, Idempotency_Key="two")
    after = await service.ask(good, Idempotency_Key="two")

    assert (in_flight.status_code, in_flight.json()["error"]) == (409, "request_in_progress")
    assert (failed.status_code, after.status_code) == (400, 200)


async def test_a_failing_commit_is_a_500_and_nothing_is_stored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await lease_of(service)
    form = await service.sign_in_form(lease)

    with monkeypatch.context() as patch:
        patch.setattr(service.state.engine.dialect, "do_commit", _fail)
        failed = await service.ask(form)
        reported = await service.http.post("/v1/receipts", json=service.receipt(lease, 5).to_json())

    assert (failed.status_code, failed.json()["error"]) == (500, "server_error")
    assert "commit" not in failed.text
    assert (reported.status_code, reported.json()["code"]) == (500, "internal_error")
    assert await count(service, access_token) == await count(service, access_nonce) == 0
    assert (await service.http.get("/v1/receipts", params={"lease": hex_text(lease)})).json() == []
    assert (await service.granted(form)).lease == lease


def _fail(_connection: object) -> None:
    raise RuntimeError("commit failed: disk full")


@sqlite_only
async def test_a_revoked_token_stays_revoked(service: Service) -> None:
    lease = await lease_of(service)
    form = service.receipt_form(lease, 0)
    answer = await service.ask(form)
    text = answer.json()["access_token"]

    async def active(token: str) -> dict[str, Any]:
        found = await service.http.post("/introspect", data={"token": token})
        assert found.headers["cache-control"] == "no-store"
        return orjson.loads(found.content)  # type: ignore[no-any-return]

    before = await active(text)
    revoked = [await service.http.post("/revoke", data={"token": token}) for token in (text, text, "x.y.z")]
    renewed = (await service.ask(form)).json()["access_token"]

    assert before["active"] is True
    assert before["authorization_details"] == answer.json()["authorization_details"]
    assert [answer.status_code for answer in revoked] == [200, 200, 200]
    assert await active(text) == {"active": False}
    assert (await active(renewed))["active"] is True
    service.clock.now_s += 300
    assert await active(renewed) == {"active": False}


@sqlite_only
async def test_a_lease_undone_by_a_reorg_has_no_active_token(service: Service) -> None:
    deployed = service.deployed
    await deployed.admit("provider", "developer")
    credit = await deployed.open(await deployed.register_compute())
    await deployed.grant(credit, "developer", 600)
    before = await deployed.anvil.snapshot()
    lease = await deployed.redeem("developer", credit, 600)
    await service.mirrored()
    text = (await service.ask(service.receipt_form(lease, 0))).json()["access_token"]

    await deployed.anvil.revert(before)
    await deployed.anvil.mine(2)
    await service.mirrored()

    told = await service.http.post("/introspect", data={"token": text})
    assert told.json() == {"active": False}
    head = await deployed.rpc.head("latest")
    assert told.headers["commonhold-block"] == f"{head.number} {hex_text(head.hash)}"
    again = await service.ask(service.receipt_form(lease, 0))
    assert again.json()["error"] == "invalid_authorization_details"


@sqlite_only
async def test_a_stock_client_can_discover_and_retries_with_the_nonce(service: Service) -> None:
    lease = await lease_of(service)
    metadata = (await service.http.get("/.well-known/oauth-authorization-server")).json()
    alias = (await service.http.get("/.well-known/openid-configuration")).json()
    form = service.receipt_form(lease, 0)

    challenge = await service.ask(form, DPoP=service.proof(nonce=None))
    service.nonce = challenge.headers["dpop-nonce"]
    answer = await service.http.post(metadata["token_endpoint"], data=form, headers={"DPoP": service.proof()})

    assert metadata == alias
    assert metadata["issuer"] == service.state.issuer
    assert metadata["protected_resources"] == ["http://127.0.0.1:9/"]
    assert challenge.json()["error"] == "use_dpop_nonce"
    assert answer.status_code == 200
    keys = await service.http.get(metadata["jwks_uri"])
    assert "max-age=300" in keys.headers["cache-control"]
    assert (await service.http.get(metadata["service_documentation"])).is_success
    assert all("d" not in key for key in keys.json()["keys"])


def _details(lease: str) -> str:
    return f'[{{"type":"gpu_time","lease":"{lease}"}}]'
