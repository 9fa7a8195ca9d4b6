"""What the API says of the chain, each answer at a named block, and how it refuses."""

from collections import Counter
from typing import Any

import httpx
import pytest

from commonhold.anchor import batch, merkle
from commonhold.anchor.merkle import Leaf, LeafKind
from commonhold.api.app import create_app
from commonhold.db import write
from commonhold.meter.segment import Reading, seal
from commonhold.signing import ZERO32
from commonhold.units import UNIT, Hash32, address_text, class_id, hex_text, to_hash32
from tests.actors import COMPUTE, WEEK_S, address_of, p256_of, point_of
from tests.api.conftest import sqlite_only
from tests.api.service import Service

pytestmark = pytest.mark.chain


async def get(service: Service, path: str, **params: Any) -> Any:
    answer = await service.http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:commonhold:problem:{code}")
    assert body["title"]
    assert body["detail"]
    return body


async def test_every_collection_says_what_the_chain_says(service: Service) -> None:
    asset, lease = await service.deployed.lease(600)
    await service.mirrored()
    now, window = service.clock(), service.clock() // WEEK_S
    developer, provider = (address_text(address_of(role)) for role in ("developer", "provider"))

    [row] = await get(service, "/v1/leases", holder=developer)
    [credit] = await get(service, "/v1/offers", asset=str(asset))
    [one_class] = [c for c in await get(service, "/v1/classes") if c["name"] == COMPUTE]
    detail = await get(service, f"/v1/assets/{asset}")

    assert row | {"redeemed_block": 0, "starts_at": 0} == {
        "lease": hex_text(lease),
        "holder": developer,
        "credit_id": credit["credit_id"],
        "asset": str(asset),
        "window": window,
        "tranche": 0,
        "price_wei": "0",
        "seconds": 600,
        "starts_at": 0,
        "ends_at": (window + 1) * WEEK_S,
        "session_key": hex_text(point_of("developer")),
        "redeemed_block": 0,
        "settled_ms": 0,
        "paid_wei": "0",
        "level": 3,
        "key_number": 0,
        "changes": 0,
        "part_of": None,
        "refunded_wei": None,
    }
    assert row == await get(service, f"/v1/leases/{hex_text(lease)}")
    assert row["starts_at"] >= now
    assert {m["address"] for m in await get(service, "/v1/members")} == {developer, provider}
    assert (await get(service, f"/v1/members/{developer}"))["root"] == developer
    assert (detail["units"], detail["level"], detail["policy"]) == ("8.000000", 3, "development")
    assert detail["class_name"] == COMPUTE
    assert detail["meter_key"] == hex_text(point_of("node"))
    assert len(detail["devices"]) == 8
    assert detail["holdings"] == await get(service, "/v1/holdings", owner=provider, asset=str(asset))
    assert [a["asset"] for a in await get(service, "/v1/assets")] == [str(asset)]
    assert one_class["class_id"] == hex_text(class_id(COMPUTE))
    assert (one_class["kind"], one_class["most_units"], one_class["total_units"]) == (
        "COMPUTE",
        "30.000000",
        "8.000000",
    )
    assert one_class["concentration"] == {
        "groups": 1,
        "held_units": "8.000000",
        "largest_units": "8.000000",
        "largest_bps_floor": 10_000,
        "hhi_floor": 10_000,
        "nakamoto": 1,
    }
    assert one_class["holdings"] == [{"root": provider, "units": "8.000000"}]
    assert await get(service, f"/v1/classes/{hex_text(class_id(COMPUTE))}") == one_class
    assert await get(service, "/v1/credits", holder=developer) == []
    assert await get(service, "/v1/members", limit=1, offset=5) == []


@sqlite_only
async def test_status_names_the_block_that_every_answer_is_true_at(service: Service) -> None:
    await service.deployed.admit("provider")
    await service.mirrored()
    head = await service.deployed.rpc.head()

    status = await get(service, "/status")
    answer = await service.http.get("/v1/members")
    missing = await service.http.get(f"/v1/members/{address_text(address_of('stranger'))}")

    assert (status["block"]["number"], status["block"]["hash"]) == (head.number, hex_text(head.hash))
    assert status["counts"]["members"] == 1
    assert status["faults"] == {}
    assert status["deployment"] == (await get(service, "/v1/deployment"))["fingerprint"]
    assert answer.headers["commonhold-block"] == f"{head.number} {hex_text(head.hash)}"
    assert missing.headers["commonhold-block"] == answer.headers["commonhold-block"]
    refusal(missing, 404, "not_found")
    assert (await service.http.get("/healthz")).status_code == 204
    assert (await service.http.get("/readyz")).status_code == 204


@sqlite_only
async def test_a_transfer_is_checked_with_its_numbers(service: Service) -> None:
    deployed = service.deployed
    await deployed.admit("provider", "owner")
    # Two nodes of 16: the provider holds 30 (30% of the floor of 100), the rest is in the commons.
    assets = [await deployed.register_compute(gpus=16, name=f"node{n}") for n in range(2)]
    data = await deployed.register_data(units=10 * UNIT)
    await service.mirrored()
    ask = {
        "sender": address_text(address_of("provider")),
        "receiver": address_text(address_of("owner")),
        "asset": str(assets[0]),
    }

    async def check(**changes: str) -> httpx.Response:
        return await service.http.post("/v1/transfers/check", json=ask | changes)

    good = await check(units="16")
    back = refusal(await check(units="16.000001"), 409, "refused")
    over = refusal(
        await check(asset=str(data), units="1", receiver=address_text(address_of("stranger"))), 409, "refused"
    )

    assert good.json() == {"allowed": True, "headroom_units": "14.000000"}
    assert (back["rule"], back["held_units"]) == ("ERC6909InsufficientBalance", 16 * UNIT)
    assert over["rule"] == "NotActiveMember"
    refusal(await check(units="1", asset="1"), 404, "not_found")
    refusal(await check(units="-1"), 422, "bad_field")
    refusal(await check(units="1", sender="0x12"), 422, "bad_field")
    refusal(await check(units="1", sender=ask["sender"].swapcase().replace("X", "x")), 400, "bad_input")
    refusal(await check(units="1", note="x"), 422, "bad_field")


@sqlite_only
async def test_a_redemption_is_prepared_and_checked(service: Service) -> None:
    deployed = service.deployed
    await deployed.admit("provider", "developer")
    credit = await deployed.open(await deployed.register_compute())
    await deployed.grant(credit, "developer", 600)
    await service.mirrored()
    asked: dict[str, str | int] = {
        "holder": address_text(address_of("developer")),
        "credit_id": str(credit),
        "seconds": 600,
        "session_key": hex_text(point_of("developer")),
        "nonce": "7",
    }

    prepared = await get(service, "/v1/redemptions/typed-data", **asked)
    message = prepared["typed_data"]["message"]
    good = await service.http.post("/v1/redemptions/check", json=message)
    more = await service.http.post("/v1/redemptions/check", json=message | {"amount": "601"})

    assert good.json() == {"allowed": True, "headroom_s": 20 * WEEK_S - 600, "lease": prepared["lease"]}
    assert message["nonce"] == "7"
    assert refusal(more, 409, "refused")["held_s"] == 600
    wrongs: list[dict[str, str | int]] = [{"session_key": "0x12"}, {"credit_id": "x"}, {"holder": "x"}]
    for wrong in wrongs:
        refusal(await service.http.get("/v1/redemptions/typed-data", params=asked | wrong), 400, "bad_input")
    refusal(await service.http.get("/v1/redemptions/typed-data", params=asked | {"seconds": 0}), 422, "bad_field")


async def test_segments_and_receipts_are_answered_each_and_proven(service: Service) -> None:
    asset, lease = await service.deployed.lease(600)
    await service.mirrored()
    domain = service.state.deployment.domain("Meter")
    service.clock.now_s = await service.deployed.now() + 60
    start_ms = (service.clock() - 50) * 1_000
    readings = [Reading(start_ms + 1_000 * n, 4_000 * n) for n in range(1, 6)]
    segment = seal(
        domain,
        p256_of("node"),
        asset=asset,
        boot=start_ms,
        sequence=0,
        lease=lease,
        previous=ZERO32,
        started_at_ms=start_ms,
        readings=readings,
    )
    receipt = service.receipt(lease, 20_000)

    first = (await service.http.post("/v1/segments", json=[segment.to_json(), {"asset": 1}])).json()
    again = (await service.http.post("/v1/segments", json=[segment.to_json()])).json()
    posted = (await service.http.post("/v1/receipts", json=receipt.to_json())).json()
    before = await get(service, "/v1/receipts", lease=hex_text(lease))
    async with write(service.state.engine) as db:
        epoch = await batch.close(db, domain=domain, submitter=service.state.submitter, now_s=service.clock())
    assert epoch is not None
    [listed] = await get(service, "/v1/epochs")
    proof = await get(service, "/v1/epochs/0/proof", digest=hex_text(segment.digest(domain)))
    data = await service.http.get("/v1/epochs/0/data")

    assert [answer["status"] for answer in first] == ["recorded", "rejected"]
    assert first[1]["code"] == "invalid"
    assert again == [first[0] | {"status": "duplicate"}]
    assert posted == {"status": "recorded", "digest": before[0]["digest"], "code": None, "reason": None}
    assert before == [receipt.to_json() | {"digest": hex_text(receipt.digest(domain)), "epoch": None}]
    assert (await get(service, "/v1/receipts", lease=hex_text(lease)))[0]["epoch"] == 0
    assert (listed["number"], listed["state"], listed["count"], listed["root"]) == (
        0,
        "frozen",
        2,
        hex_text(epoch.root),
    )
    assert listed == await get(service, "/v1/epochs/0")
    leaf = Leaf(LeafKind.SEGMENT, lease, segment.digest(domain), 20_000)
    assert proof["leaf_hash"] == hex_text(leaf.hash())
    assert merkle.verify(to_hash32(listed["root"]), leaf, [Hash32(to_hash32(node)) for node in proof["proof"]])
    assert data.headers["cache-control"].endswith("immutable")
    assert data.json()["epoch"] == 0
    [hours] = await get(service, "/v1/hours")
    assert (hours["class_name"], hours["level"], hours["policy"], hours["gpu_ms"]) == (
        COMPUTE,
        3,
        "development",
        20_000,
    )
    [total] = await get(service, "/v1/totals", asset=str(asset))
    assert (total["metered_ms"], total["receipted_ms"], total["settled_ms"]) == (20_000, 20_000, 0)
    assert await get(service, "/v1/delivered") == await get(service, "/v1/anchors") == []
    for path in ("/v1/epochs/1", "/v1/epochs/1/data", f"/v1/epochs/1/proof?digest={proof['leaf']['digest']}"):
        refusal(await service.http.get(path), 404, "not_found")
    refusal(await service.http.post("/v1/segments", json={}), 400, "bad_input")
    refusal(await service.http.post("/v1/segments", content=b"["), 400, "bad_input")
    refusal(await service.http.post("/v1/receipts", json={"lease": 1}), 400, "bad_input")
    stale = service.receipt(lease, 19_999).to_json()
    assert refusal(await service.http.post("/v1/receipts", json=stale), 409, "refused")["outcome"] == "misfit"
    refusal(await service.http.post("/v1/receipts", json=stale | {"lease": "0x" + "11" * 32}), 404, "not_found")


@sqlite_only
async def test_what_is_not_there_is_refused_in_one_form(service: Service) -> None:
    http = service.http
    for path in (f"/v1/leases/0x{'11' * 32}", "/v1/assets/1", f"/v1/classes/0x{'11' * 32}", "/v1/nothing"):
        refusal(await http.get(path), 404, "not_found")
    for path in ("/v1/leases/0x12", "/v1/assets/0x12", "/v1/members/x", "/v1/holdings?asset=01"):
        refusal(await http.get(path), 400, "bad_input")
    refusal(await http.get("/v1/members?limit=0"), 422, "bad_field")
    refusal(await http.get("/v1/credits"), 422, "bad_field")
    refusal(await http.delete("/v1/members"), 405, "method_not_allowed")
    oauth = await http.get("/token")
    assert (oauth.status_code, oauth.json()["error"]) == (405, "invalid_request")


@sqlite_only
async def test_the_openapi_document_names_every_path_and_every_refusal(service: Service) -> None:
    document = await get(service, "/openapi.json")

    operations = [op for methods in document["paths"].values() for op in methods.values()]
    names = Counter(operation["operationId"] for operation in operations)
    assert max(names.values()) == 1
    assert all(operation.get("description") for operation in operations)
    assert all(set(operation["responses"]) & {"200", "204"} for operation in operations)
    assert all("422" not in operation["responses"] and "default" in operation["responses"] for operation in operations)
    references = {part for part in str(document).split("'") if part.startswith("#/components/schemas/")}
    assert {r.rsplit("/", 1)[1] for r in references} <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in str(document)
    assert create_app(service.state).openapi() == document
