"""From a holder's signature to a token, with the chain in between: once, whatever happens on the way."""

import asyncio
import json

import httpx
import pytest

from commonhold.access import relay
from commonhold.access.ask import subject_json
from commonhold.access.relay import CLAIM_S
from commonhold.chain.rpc import RpcUnavailable
from commonhold.chain.send import Mined, Sender
from commonhold.db import read, write
from commonhold.mirror import read as mirror
from commonhold.units import hex_text
from tests.actors import WEEK_S, address_of
from tests.api.conftest import sqlite_only
from tests.api.service import QUANTUM_MS, Service, b64

pytestmark = pytest.mark.chain


async def credit_of(service: Service, seconds: int = 600, *, holder: str = "developer") -> int:
    """A credit that the developer has `seconds` of, mirrored."""
    deployed = service.deployed
    await deployed.admit("provider", holder)
    credit = await deployed.open(await deployed.register_compute())
    await deployed.grant(credit, holder, seconds)
    await service.mirrored()
    return credit


async def leases(service: Service) -> list[mirror.LeaseRow]:
    async with read(service.state.engine) as db:
        return await mirror.leases(db)


async def test_a_redemption_becomes_a_lease_and_a_token(service: Service) -> None:
    credit = await credit_of(service)
    service.follow()
    lease, form = await service.redemption_form(credit, 600)

    answer = await service.ask(form | {"resource": "http://127.0.0.1:9/", "scope": "train inference"})

    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "DPoP"
    assert body["scope"] == "inference train"
    claims = await service.verified(answer)
    assert (claims.lease, claims.limit_gpu_ms, claims.level, claims.policy) == (lease, QUANTUM_MS, 3, "development")
    assert body["authorization_details"] == [
        {
            "type": "gpu_time",
            "lease": hex_text(lease),
            "asset": str(claims.asset),
            "class": "compute/h100-sxm",
            "limit_gpu_ms": QUANTUM_MS,
            "level": 3,
            "policy": "development",
            "ends_at": (service.clock() // WEEK_S + 1) * WEEK_S,
        }
    ]
    assert body["expires_in"] == 300
    assert len(await leases(service)) == 1


@sqlite_only
async def test_a_redemption_exchanged_twice_gives_one_lease_and_no_more_time(service: Service) -> None:
    credit = await credit_of(service)
    service.follow()
    lease, form = await service.redemption_form(credit, 600)

    first = await service.granted(form)
    again = await service.granted(form)

    assert (first.lease, again.lease) == (lease, lease)
    assert first.jti != again.jti
    assert first.limit_gpu_ms == again.limit_gpu_ms == QUANTUM_MS
    assert [row.seconds for row in await leases(service)] == [600]


async def test_redemptions_at_once_are_sent_once(service: Service) -> None:
    credit = await credit_of(service)
    service.follow()
    lease, form = await service.redemption_form(credit, 600)
    before = await service.deployed.rpc.nonce(service.deployed.sender("relayer").address)

    answers = await asyncio.gather(*(service.ask(form) for _ in range(6)))

    assert [answer.status_code for answer in answers] == [200] * 6
    assert [row.lease for row in await leases(service)] == [lease]
    assert await service.deployed.rpc.nonce(service.deployed.sender("relayer").address) == before + 1


@sqlite_only
async def test_a_redemption_over_the_use_limit_is_refused_with_the_numbers(service: Service) -> None:
    # 20% of 100 GPUs x one week; both are the group's.
    most_s = 20 * WEEK_S
    deployed = service.deployed
    await deployed.admit("provider", "developer", "affiliate", "owner")
    for number in range(3):
        asset = await deployed.register_compute(gpus=8, name=f"node{number}")
        credit = await deployed.open(asset)
        # Each group stays within its limit; then they merge.
        await deployed.grant(credit, "developer" if number < 2 else "affiliate", 8 * WEEK_S)
    await deployed.attach("affiliate", "developer")
    await service.mirrored()
    service.follow()
    codes: list[httpx.Response] = []
    for credit_row in [row for holder in ("developer", "affiliate") for row in await credits(service, holder)]:
        holder = "developer" if len(codes) < 2 else "affiliate"
        _, form = await service.redemption_form(credit_row.credit_id, 8 * WEEK_S, holder=holder)
        codes.append(await service.ask(form, session=holder))

    assert [answer.status_code for answer in codes] == [200, 200, 400]
    refusal = codes[2].json()
    assert refusal["error"] == "access_denied"
    assert refusal["rule"] == "OverUseLimit"
    assert (refusal["most_s"], refusal["asked_s"], refusal["redeemed_s"]) == (most_s, 8 * WEEK_S, 16 * WEEK_S)
    assert len(await leases(service)) == 2


async def credits(service: Service, holder: str) -> list[mirror.Credit]:
    async with read(service.state.engine) as db:
        return await mirror.credits(db, address_of(holder))


@sqlite_only
async def test_what_a_holder_does_not_have_is_not_redeemed(service: Service) -> None:
    credit = await credit_of(service, 600)
    _, form = await service.redemption_form(credit, 601)

    answer = await service.ask(form)

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_authorization_details"
    assert answer.json()["available_seconds"] == 600
    assert await leases(service) == []


@sqlite_only
async def test_a_redemption_by_another_signer_or_for_another_key_is_refused(service: Service) -> None:
    credit = await credit_of(service)
    _, form = await service.redemption_form(credit, 600)
    _, other = await service.redemption_form(credit, 600, nonce=1)
    mixed = form | {"subject_token": _with_signature_of(form, other)}

    wrong_signature = await service.ask(mixed)
    wrong_key = await service.ask(form, session="stranger")

    assert [a.json()["error"] for a in (wrong_signature, wrong_key)] == ["invalid_grant", "invalid_grant"]
    assert "signed by its holder" in wrong_signature.json()["error_description"]
    assert "session key" in wrong_key.json()["error_description"]
    assert await leases(service) == []


@sqlite_only
async def test_a_lease_that_is_not_mirrored_yet_is_pending_and_then_there(service: Service) -> None:
    credit = await credit_of(service)
    service.state.relay_wait_s = 0
    lease, form = await service.redemption_form(credit, 600)

    pending = await service.ask(form)
    await service.mirrored()
    claims = await service.granted(form)

    assert pending.status_code == 400
    assert pending.json()["error"] == "authorization_pending"
    assert pending.json()["interval"] == int(pending.headers["retry-after"]) == 2
    assert claims.lease == lease


class Failing(Sender):
    """A relayer whose connection fails before the transaction is sent, or after it is mined."""

    def __init__(self, inner: Sender, *, stored: bool) -> None:
        self.inner, self.stored, self.failures = inner, stored, 1

    async def transact(self, name, function, *args, check=True) -> Mined:  # type: ignore[no-untyped-def]
        if not self.failures:
            return await self.inner.transact(name, function, *args, check=check)
        self.failures -= 1
        if self.stored:
            await self.inner.transact(name, function, *args, check=check)
        raise RpcUnavailable("node 127.0.0.1: connection lost")


@pytest.mark.parametrize("stored", [False, True], ids=["failed_not_stored", "failed_but_stored"])
async def test_a_retry_after_a_lost_relay_finds_one_lease(service: Service, stored: bool) -> None:
    credit = await credit_of(service)
    service.follow()
    service.state.sender = Failing(service.deployed.sender("relayer"), stored=stored)
    lease, form = await service.redemption_form(credit, 600)

    lost = await service.ask(form)
    claims = await service.granted(form)

    assert (lost.status_code, lost.json()["error"]) == (503, "temporarily_unavailable")
    assert int(lost.headers["retry-after"]) > 0
    assert claims.lease == lease
    assert [row.lease for row in await leases(service)] == [lease]


@sqlite_only
async def test_the_chain_saying_that_the_lease_exists_is_as_good_as_sending_it(service: Service) -> None:
    """The mirror is behind: another service has relayed the same redemption."""
    credit = await credit_of(service)
    lease, form = await service.redemption_form(credit, 600)
    statement, signature = await service.deployed.redemption("developer", credit, 600)  # type: ignore[arg-type]
    await service.deployed.send("stranger", "Access", "redeemFor", statement, signature)
    service.follow()

    assert (await service.granted(form)).lease == lease


@sqlite_only
async def test_the_gas_that_one_group_can_make_us_pay_is_bounded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MOST_RELAYS", 2)
    monkeypatch.setattr(relay, "RELAY_PERIOD_S", 600)
    credit = await credit_of(service)
    await service.deployed.admit("affiliate", "owner")
    await service.deployed.attach("affiliate", "developer")
    for other in ("affiliate", "owner"):
        await service.deployed.grant(credit, other, 10)  # type: ignore[arg-type]
    await service.mirrored()
    service.follow()
    before = await service.deployed.rpc.nonce(service.deployed.sender("relayer").address)

    forms = [(await service.redemption_form(credit, 1, nonce=nonce))[1] for nonce in range(3)]
    codes = [(await service.ask(form)).status_code for form in forms]
    _, of_affiliate = await service.redemption_form(credit, 1, holder="affiliate")
    _, of_other = await service.redemption_form(credit, 1, holder="owner")
    refused = await service.ask(of_affiliate, session="affiliate")

    assert codes == [200, 200, 400]
    assert (refused.json()["error"], refused.headers["retry-after"]) == ("slow_down", str(relay.RELAY_PERIOD_S))
    assert (await service.ask(of_other, session="owner")).status_code == 200
    assert (await service.ask(forms[0])).status_code == 200  # what is a lease costs nothing
    assert await service.deployed.rpc.nonce(service.deployed.sender("relayer").address) == before + 3

    service.clock.now_s = await service.deployed.now() + 600
    _, later = await service.redemption_form(credit, 1, nonce=9)
    assert (await service.ask(later)).status_code == 200


@sqlite_only
async def test_relays_under_way_are_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror shows them only later, so that the bound of one group would come too late."""
    monkeypatch.setattr(relay, "MOST_UNDER_WAY", 2)
    credit = await credit_of(service)
    service.state.relay_wait_s = 0
    forms = [(await service.redemption_form(credit, 1, nonce=nonce))[1] for nonce in range(3)]

    codes = [(await service.ask(form)).json()["error"] for form in (*forms, forms[0])]

    assert codes == ["authorization_pending", "authorization_pending", "slow_down", "authorization_pending"]


@sqlite_only
async def test_a_claim_left_by_a_crash_lapses(service: Service) -> None:
    credit = await credit_of(service)
    service.follow()
    service.state.relay_wait_s = 0.2
    lease, form = await service.redemption_form(credit, 600)
    async with write(service.state.engine) as db:
        assert await relay.claim(db, lease, service.clock())
        assert not await relay.claim(db, lease, service.clock() + CLAIM_S - 1)

    held = await service.ask(form)
    service.clock.now_s += CLAIM_S
    claims = await service.granted(form)

    assert held.json()["error"] == "authorization_pending"
    assert claims.lease == lease


@sqlite_only
async def test_without_a_relayer_redemptions_are_for_the_holder_to_send(service: Service) -> None:
    credit = await credit_of(service)
    service.state.sender = None
    _, form = await service.redemption_form(credit, 600)

    answer = await service.ask(form)

    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


@sqlite_only
async def test_a_lease_of_a_future_window_is_pending_until_it_starts(service: Service) -> None:
    deployed = service.deployed
    await deployed.admit("provider", "developer")
    credit = await deployed.open(await deployed.register_compute(), window=await deployed.window(1))
    await deployed.grant(credit, "developer", 600)
    await service.mirrored()
    service.follow()
    lease, form = await service.redemption_form(credit, 600)

    early = await service.ask(form)
    service.clock.now_s = (service.clock() // WEEK_S + 1) * WEEK_S
    claims = await service.granted(form)

    assert (early.json()["error"], early.json()["interval"]) == ("authorization_pending", 60)
    assert claims.lease == lease


def _with_signature_of(form: dict[str, str], other: dict[str, str]) -> str:
    document = subject_json(form["subject_token"]) | {"signature": subject_json(other["subject_token"])["signature"]}
    return b64(json.dumps(document).encode())
