"""A holder without gas changes its lease: it signs, the service relays, once; what is refused costs nobody gas."""

from typing import Any

import httpx
import pytest

from commonhold import signing
from commonhold.access import change
from commonhold.units import Hash32, hex_text
from tests.actors import point_of
from tests.api.conftest import sqlite_only
from tests.api.service import Service

pytestmark = pytest.mark.chain

SECONDS = 40_000  # 8 GPUs may deliver 28,800 within the hour in which no second can be split off


async def lease_of(service: Service, seconds: int = SECONDS, *, spare: int = 0) -> Hash32:
    """A lease of the developer's in the present window, mirrored; `spare` credits are left."""
    deployed = service.deployed
    await deployed.admit("provider", "developer")
    credit = await deployed.open(await deployed.register_compute())
    await deployed.grant(credit, "developer", seconds + spare)
    lease = await deployed.redeem("developer", credit, seconds)
    await service.mirrored()
    service.follow()
    return lease


def split(service: Service, lease: Hash32, seconds: int, *, session: str = "part", number: int = 0) -> signing.Split:
    point = point_of(session)
    halves = Hash32(point[:32]), Hash32(point[32:])
    return signing.Split(lease, seconds, *halves, number, service.clock() + 600)


def rotation(service: Service, lease: Hash32, *, session: str = "next", number: int = 0) -> signing.Rotation:
    point = point_of(session)
    return signing.Rotation(lease, Hash32(point[:32]), Hash32(point[32:]), number, service.clock() + 600)


def top_up(service: Service, lease: Hash32, seconds: int, *, number: int = 0) -> signing.TopUp:
    return signing.TopUp(lease, seconds, number, service.clock() + 600)


async def ask(service: Service, statement: signing.Statement, *, by: str = "developer") -> httpx.Response:
    data = signing.typed_data(service.deployed.deployment.domain("Access"), statement)
    signature = hex_text(service.deployed.sign(by, statement))
    body = {"primaryType": data["primaryType"], "message": data["message"], "signature": signature}
    return await service.http.post("/v1/lease-changes", json=body)


async def changed(service: Service, statement: signing.Statement) -> dict[str, Any]:
    answer = await ask(service, statement)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_split_a_top_up_and_another_key_are_relayed_once(service: Service) -> None:
    lease = await lease_of(service, spare=100)
    parting = split(service, lease, 200)

    part = await changed(service, parting)
    again = await changed(service, parting)
    topped = await changed(service, top_up(service, lease, 100, number=1))
    turning = rotation(service, lease, number=2)
    rotated = await changed(service, turning)
    again_rotated = await changed(service, turning)

    assert (part["seconds"], part["part_of"], part["session_key"]) == (200, hex_text(lease), hex_text(point_of("part")))
    assert again == part
    assert (topped["lease"], topped["seconds"], topped["changes"]) == (hex_text(lease), SECONDS - 100, 2)
    assert (rotated["session_key"], rotated["key_number"], rotated["changes"]) == (hex_text(point_of("next")), 1, 3)
    assert again_rotated == rotated


@sqlite_only
async def test_a_part_gets_its_first_token_by_signing_in(service: Service) -> None:
    lease = await lease_of(service)
    part = await changed(service, split(service, lease, 200))

    form = await service.sign_in_form(Hash32(bytes.fromhex(part["lease"][2:])))
    claims = await service.granted(form, session="part")

    assert hex_text(claims.lease) == part["lease"]


@sqlite_only
async def test_what_is_refused_costs_no_gas(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = await lease_of(service, spare=10)
    sent: list[object] = []

    async def send(*arguments: object) -> None:
        sent.append(arguments)

    monkeypatch.setattr(change, "send", send)
    late = signing.TopUp(lease, 1, 0, service.clock() - 1)
    cases = [
        (await ask(service, split(service, lease, 1), by="stranger"), 409, "bad_holder_signature"),
        (await ask(service, top_up(service, Hash32(b"\x01" * 32), 1)), 404, "not_found"),
        (await ask(service, top_up(service, lease, 11)), 409, "refused"),
        (await ask(service, top_up(service, lease, 0)), 409, "refused"),
        (await ask(service, top_up(service, lease, 1, number=3)), 409, "refused"),
        (await ask(service, split(service, lease, SECONDS + 1)), 409, "refused"),
        (await ask(service, split(service, lease, 0)), 409, "refused"),
        (await ask(service, late), 409, "refused"),
        (await service.http.post("/v1/lease-changes", json={"primaryType": "Split"}), 422, "bad_field"),
    ]
    for answer, status, code in cases:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert sent == []


@sqlite_only
async def test_a_lease_is_not_changed_without_end_at_others_cost(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await lease_of(service, spare=3)
    monkeypatch.setattr(change, "MOST_CHANGES", 2)
    for number in range(2):
        await changed(service, top_up(service, lease, 1, number=number))

    answer = await ask(service, top_up(service, lease, 1, number=2))

    assert (answer.status_code, answer.json()["code"]) == (409, "limit_exceeded")
    assert answer.json()["most"] == 2


@sqlite_only
async def test_what_the_contract_refuses_is_said_and_can_be_tried_again(service: Service) -> None:
    lease = await lease_of(service)
    await changed(service, rotation(service, lease))

    refused = await ask(service, rotation(service, lease, session="third", number=1))
    part = await changed(service, split(service, lease, 10, number=1))

    assert refused.status_code == 409
    assert refused.json()["error"] == "RotatedLately"
    assert part["seconds"] == 10
