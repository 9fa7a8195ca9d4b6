"""The client against a real issuer and a real node: redeeming, using, renewing, and refusing to sign too much."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from eth_account.messages import encode_typed_data

from commonhold import workload
from commonhold.client.client import Client, SignedRedemption
from commonhold.client.errors import (
    AnswerCut,
    BudgetSpent,
    GatewayRefused,
    ReceiptDisputed,
    ServiceRefused,
    TokenNotOurs,
    Unreachable,
)
from commonhold.client.lease import EARLY_S, TOLERANCE_MS, Lease
from commonhold.errors import BadInput
from commonhold.gateway.asgi import Receive, Scope, Send, answer_json, read_body
from commonhold.p256 import p256_point, sign_es256
from commonhold.signing import Receipt, Rotation, Split, TopUp, preimage, typed_data
from commonhold.units import Hash32, address_text, credit_id, hex_text
from tests.gateway.peers import ACCESS, ASSET, METER, Issuer, Node, free_port, running, serving

WALLET = b"\x07" * 32
CREDIT = credit_id(ASSET, 2_900, 0)


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """An upstream that answers after the ms that its path names, in ten parts."""
    await read_body(receive, 1 << 20)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(10):
        await asyncio.sleep(int(scope["path"][1:]) / 10_000)
        await send({"type": "http.response.body", "body": b".", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def leased(folder: Path, upstream: Any = slow, **issuing: Any) -> AsyncIterator[tuple[Node, Client, Lease]]:
    async with running(folder, upstream, peer=Issuer(**issuing)) as node, Client(node.issuer.url, WALLET) as client:
        yield node, client, await client.redeem(CREDIT, 60)


async def test_one_signature_redeems_and_the_token_is_for_that_lease(tmp_path: Path) -> None:
    async with leased(tmp_path, pending=2) as (_, client, lease):
        claims = lease.token.claims

        assert (claims.lease, claims.asset) == (lease.lease, ASSET)
        assert address_text(client.address) == Account.from_key(WALLET).address
        signed = await client.sign_redemption(CREDIT, 60)

    message = encode_typed_data(full_message=typed_data(ACCESS, signed.redemption))
    signature = bytes.fromhex(signed.document["signature"][2:])
    assert Account.recover_message(message, signature=signature) == Account.from_key(WALLET).address


async def test_same_redemption_exchanged_again_is_the_same_lease(tmp_path: Path) -> None:
    async with running(tmp_path, slow) as node, Client(node.issuer.url, WALLET) as client:
        signed = await client.sign_redemption(CREDIT, 60)
        kept = SignedRedemption.from_json(orjson.loads(orjson.dumps(signed.to_json())))

        first, again = await client.exchange(signed), await client.exchange(kept)

    assert first.lease == again.lease == signed.lease


async def test_client_uses_the_workload(tmp_path: Path) -> None:
    async with leased(tmp_path, workload.app) as (_, _, lease):
        answer = await lease.request("POST", "/v1/embeddings", json={"input": "hello"})
        wrong = await lease.request("POST", "/v1/embeddings", json={"input": []})

        assert answer.json()["model"] == workload.MODEL
        assert wrong.status_code == 400  # the upstream's own errors are answers


async def test_path_that_needs_escaping_is_proven_as_it_is_sent(tmp_path: Path) -> None:
    async def path(scope: Scope, receive: Receive, send: Send) -> None:
        await answer_json(send, 200, scope["raw_path"].decode() + "?" + scope["query_string"].decode())

    async with leased(tmp_path, path) as (_, _, lease):
        answer = await lease.request("GET", "/naïve file?q=ä b")

    assert answer.json() == "/na%C3%AFve%20file?q=%C3%A4%20b"


async def test_receipt_is_countersigned_and_renewal_raises_the_limit(tmp_path: Path) -> None:
    async with leased(tmp_path, quantum_ms=5_000) as (node, client, lease):
        await lease.request("GET", "/50")
        before = lease.token

        after = await lease.renew()

        (receipt,) = node.issuer.receipts
        session = p256_point(client.session_key.public_key())
        assert receipt.verify(METER, node.issuer.meter_key, session) is None
        assert 50 <= receipt.receipt.gpu_ms <= lease.observed_gpu_ms + 5
        assert after.claims.limit_gpu_ms == receipt.receipt.gpu_ms + 5_000
        assert before.claims.limit_gpu_ms == 5_000


async def test_overlapping_requests_are_observed_and_charged_once(tmp_path: Path) -> None:
    async with leased(tmp_path) as (_, _, lease):
        await lease.request("GET", "/0")  # brings the nonce
        before, started = lease.observed_gpu_ms, time.monotonic()
        await asyncio.gather(*(lease.request("GET", "/300") for _ in range(3)))
        wall_ms = (time.monotonic() - started) * 1_000

        signed = await lease.close()

        assert 300 <= signed.receipt.gpu_ms <= before + wall_ms + 5
        assert 300 <= lease.observed_gpu_ms <= before + wall_ms + 5


async def test_spent_budget_is_renewed_until_the_lease_is_used_up(tmp_path: Path) -> None:
    async with leased(tmp_path, quantum_ms=100, lease_ms=200) as (node, _, lease):
        with pytest.raises(AnswerCut):
            await lease.request("GET", "/400", renew=False)
        with pytest.raises(BudgetSpent) as spent:
            await lease.request("GET", "/10", renew=False)
        with pytest.raises(BudgetSpent):
            await lease.request("GET", "/400")  # renews, and is cut at the end of the lease
        with pytest.raises(BudgetSpent):
            await lease.request("GET", "/10")

        assert spent.value.details == {"used_gpu_ms": 100, "limit_gpu_ms": 100}
        assert {r.receipt.gpu_ms for r in node.issuer.receipts} == {100, 200}


async def test_request_that_the_budget_ends_is_sent_again_under_a_new_token(tmp_path: Path) -> None:
    async with leased(tmp_path, quantum_ms=1_000) as (node, _, lease):
        answers = [await lease.request("GET", "/200") for _ in range(5)]
        overlapping = await asyncio.gather(*(lease.request("GET", "/200") for _ in range(4)))

        assert [answer.text for answer in (*answers, *overlapping)] == ["." * 10] * 9
        assert node.issuer.receipts


async def test_request_longer_than_a_token_does_not_use_up_the_lease(tmp_path: Path) -> None:
    async with leased(tmp_path, quantum_ms=100) as (node, _, lease):
        with pytest.raises(AnswerCut):
            await lease.request("GET", "/1000")
        with pytest.raises(AnswerCut):
            async with lease.stream("GET", "/1000") as stream:  # who reads while it comes decides for himself
                await stream.aread()

        assert [r.receipt.gpu_ms for r in node.issuer.receipts] == [100, 200]


async def test_token_that_is_about_to_end_is_renewed_before_the_request(tmp_path: Path) -> None:
    async with leased(tmp_path, ttl_s=EARLY_S) as (node, _, lease):
        first = lease.token
        await lease.request("GET", "/1", renew=False)
        assert lease.token is first

        await lease.request("GET", "/1")

        assert lease.token is not first
        assert len(node.issuer.receipts) == 1


async def test_lease_is_resumed_with_what_was_observed(tmp_path: Path) -> None:
    async with leased(tmp_path) as (node, client, lease):
        await lease.request("GET", "/30")
        kept = lease.to_json()
        async with Client(node.issuer.url, WALLET, client.session_key) as later:
            resumed = await later.resume(kept)

            assert resumed.observed_gpu_ms == kept["observed_gpu_ms"]
            assert (await resumed.close()).receipt.gpu_ms <= kept["observed_gpu_ms"] + 5
            async with Client(node.issuer.url, WALLET) as stranger:
                with pytest.raises(TokenNotOurs):
                    await stranger.resume(kept)
            with pytest.raises(BadInput):
                await later.resume({"lease": "0x"})


@asynccontextmanager
async def lied_to(answers: list[Any], **changes: Any) -> AsyncIterator[tuple[Issuer, Lease]]:
    """A lease at a node that runs other code: it claims what `answers` says, well signed, and serves nothing."""
    meter_key = ec.generate_private_key(ec.SECP256R1())
    lease: Lease

    async def lying(scope: Scope, receive: Receive, send: Send) -> None:
        receipt = Receipt(changes.get("lease", lease.lease), answers.pop(0), Hash32(b"\x05" * 32))
        signature = sign_es256(changes.get("key", meter_key), preimage(METER, receipt))
        fields = {"lease": hex_text(receipt.lease), "gpu_ms": receipt.gpu_ms, "head": hex_text(receipt.head)}
        await answer_json(send, 200, {**fields, "node_signature": hex_text(signature)})

    async with serving(lying) as gateway:
        issuer = Issuer(audience=gateway, meter_key=p256_point(meter_key.public_key()))
        async with serving(issuer) as issuer.url, Client(issuer.url, WALLET) as client:
            lease = await client.redeem(CREDIT, 60)
            yield issuer, lease


@pytest.mark.parametrize(
    ("gpu_ms", "changes", "reason"),
    [
        (TOLERANCE_MS + 1, {}, "observed"),
        (10, {"lease": Hash32(b"\x09" * 32)}, "of lease"),
        (10, {"key": ec.generate_private_key(ec.SECP256R1())}, "meter key"),
    ],
)
async def test_client_does_not_sign_what_it_did_not_see(gpu_ms: int, changes: dict[str, Any], reason: str) -> None:
    async with lied_to([gpu_ms, gpu_ms], **changes) as (issuer, lease):
        with pytest.raises(ReceiptDisputed, match=reason):
            await lease.renew()
        with pytest.raises(ReceiptDisputed, match=reason):
            await lease.close()

        assert issuer.receipts == []


async def test_client_signs_within_the_tolerance_and_never_less_than_before() -> None:
    async with lied_to([TOLERANCE_MS, TOLERANCE_MS - 1]) as (_, lease):
        assert (await lease.receipt()).receipt.gpu_ms == TOLERANCE_MS
        with pytest.raises(ReceiptDisputed, match="signed before"):
            await lease.receipt()


async def test_refusals_are_one_clear_error_each(tmp_path: Path) -> None:
    async with leased(tmp_path, f"http://127.0.0.1:{free_port()}") as (node, client, lease):
        with pytest.raises(GatewayRefused, match="upstream") as down:
            await lease.request("GET", "/")
        with pytest.raises(ServiceRefused) as unknown:
            await client.redeem(credit_id(5, 1, 0), 60)
        with pytest.raises(BadInput):
            await client.redeem(CREDIT, 0)
        with pytest.raises(BadInput):
            Client(node.issuer.url, b"short")
        assert (down.value.status, down.value.code) == (502, "upstream_down")
        assert unknown.value.status == 404
    async with Client(f"http://127.0.0.1:{free_port()}", WALLET) as nowhere:
        with pytest.raises(Unreachable):
            await nowhere.redeem(CREDIT, 60)


async def test_not_yet_is_given_up_after_the_wait(tmp_path: Path) -> None:
    issuer = Issuer(pending=10_000)
    async with serving(issuer) as issuer.url, Client(issuer.url, WALLET, wait_s=0.3) as client:
        issuer.meter_key = p256_point(client.session_key.public_key())
        with pytest.raises(ServiceRefused) as refused:
            await client.redeem(CREDIT, 60)

    assert refused.value.code == "authorization_pending"


async def test_client_goes_on_with_another_key_and_what_was_used_counts_on(tmp_path: Path) -> None:
    async with leased(tmp_path) as (node, client, lease):
        await lease.request("GET", "/50")
        new = ec.generate_private_key(ec.SECP256R1())

        rotated = await client.rotate(lease, new)
        await rotated.request("GET", "/50")
        last = await rotated.close()

        (change,) = node.issuer.changes
        before, after = node.issuer.receipts
        assert isinstance(change, Rotation)
        assert change.key_x + change.key_y == p256_point(new.public_key())
        assert rotated.lease == lease.lease
        assert after.verify(METER, node.issuer.meter_key, p256_point(new.public_key())) is None
        assert before.receipt.gpu_ms < after.receipt.gpu_ms == last.receipt.gpu_ms <= rotated.observed_gpu_ms + 5


async def test_part_of_a_lease_is_used_with_its_own_key(tmp_path: Path) -> None:
    async with leased(tmp_path) as (node, client, lease):
        key = ec.generate_private_key(ec.SECP256R1())
        part = await client.split(lease.lease, 20, key)
        await client.top_up(lease.lease, 5)

        async with Client(node.issuer.url, WALLET, key) as other:
            opened = await other.open(part)
            await opened.request("GET", "/50")
            signed = await opened.close()

        assert [type(change) for change in node.issuer.changes] == [Split, TopUp]
        assert signed.receipt.lease == part != lease.lease
        assert opened.token.claims.lease == part
