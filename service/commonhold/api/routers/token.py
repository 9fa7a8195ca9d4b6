"""The token endpoint. The order of the steps makes real clients work: one retries with the same body after being told
the DPoP nonce, so nothing is used up before that."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from commonhold.access import answers, dpop, relay, siwe, wallet
from commonhold.access.ask import (
    ACCESS_TOKEN_TYPE,
    MAX_BODY_BYTES,
    SUBJECT_PREFIX,
    SUBJECTS,
    TOKEN_EXCHANGE,
    Ask,
    InvalidDetails,
    InvalidGrant,
    OAuthError,
    Pending,
    parse_ask,
    parse_form,
    parse_redemption,
    parse_sign_in,
)
from commonhold.access.issue import acknowledge, consume_nonce, consume_proof, grant
from commonhold.access.token import AccessClaims, grant_json, mint
from commonhold.api.deps import AppState, State, fresh, limited_body
from commonhold.api.schemas import TokenOut
from commonhold.chain.send import TransactionTimeout
from commonhold.db import Db, write
from commonhold.db import read as begin_read
from commonhold.errors import BadInput, CommonholdError, Unavailable
from commonhold.limits import check
from commonhold.limits.rules import Denied
from commonhold.meter.record import Rejected, record_receipt
from commonhold.meter.segment import SignedReceipt
from commonhold.mirror import read
from commonhold.mirror.tiers import Settled
from commonhold.signing import digest
from commonhold.units import Address, Hash32, hex_text

router = APIRouter(tags=["oauth"])

PENDING_INTERVAL_S = 2

_FORM = {
    "parameters": [
        {"name": "DPoP", "in": "header", "required": True, "schema": {"type": "string"}, "description": "RFC 9449"},
        {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}},
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["grant_type", "subject_token", "subject_token_type"],
                    "properties": {
                        "grant_type": {"type": "string", "const": TOKEN_EXCHANGE},
                        "subject_token": {"type": "string", "description": "base64url of a signed JSON document"},
                        "subject_token_type": {"type": "string", "enum": [SUBJECT_PREFIX + s for s in SUBJECTS]},
                        "resource": {"type": "string", "description": "the asset's gateway"},
                        "scope": {"type": "string"},
                        "client_id": {"type": "string"},
                        "authorization_details": {"type": "string", "description": "RFC 9396, one of type gpu_time"},
                    },
                }
            }
        },
    },
}


class InvalidClient(OAuthError):
    """Clients are public here; one that tries to authenticate expects something else."""

    status = 401
    code = "invalid_client"


@dataclass(frozen=True, slots=True)
class Once:
    """The request under its Idempotency-Key; `key` is None when it has none."""

    key: Hash32 | None
    request: Hash32


@router.post("/token", response_model=TokenOut, openapi_extra=_FORM)
async def token(request: Request, response: Response, state: State) -> dict[str, Any]:
    """An access token for a lease, in exchange for something signed (RFC 8693), bound to the lease's session key.

    (1) form and sizes, (2) client, (3) DPoP with its nonce, (4) the subject token's form, time and domain, (5) its
    signature, (6) limits, (7) one transaction: what is used up, what is granted, what is remembered, (8) signature.
    """
    now_s = state.clock()
    # (1) form
    body = await limited_body(request, MAX_BODY_BYTES)
    form = parse_form(request.headers.get("content-type", ""), body)
    ask = parse_ask(form)
    # (2) client
    if "authorization" in request.headers or {"client_secret", "client_assertion"} & form.keys():
        raise InvalidClient("clients do not authenticate here: send client_id, if any, in the form")
    # (3) DPoP
    proof = _proof(request, state, now_s)
    header = request.headers.get("idempotency-key")
    key = None if header is None else answers.key_hash(header, client_id=ask.client_id, jkt=proof.jkt)
    once = Once(key, Hash32(hashlib.sha256(body).digest()))
    # (4) to (7)
    exchange = {"redemption": _redemption, "siwe": _sign_in, "receipt": _receipt}[ask.subject]
    claims = await exchange(state, ask, proof, once, now_s)
    # (8) signature
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    response.headers["DPoP-Nonce"] = state.nonce_keys.issue(now_s)
    return {
        "access_token": mint(state.signing_keys.signing(now_s), claims),
        "issued_token_type": ACCESS_TOKEN_TYPE,
        "token_type": "DPoP",
        "expires_in": max(0, claims.expires_at - state.clock()),
        "scope": claims.scope,
        "authorization_details": [grant_json(claims)],
    }


def lease_urn(lease: Hash32) -> str:
    """How a sign-in message names the lease that it is for."""
    return f"urn:commonhold:lease:{hex_text(lease)}"


def _proof(request: Request, state: AppState, now_s: int) -> dpop.DpopProof:
    proofs = request.headers.getlist("dpop")
    if len(proofs) != 1:
        raise dpop.DpopInvalid(f"{len(proofs)} DPoP headers, expected one: tokens are bound to the session key")
    # The public URL, not the one that a proxy called.
    url = f"{state.issuer}/token"
    nonces = state.nonce_keys
    return dpop.verify(proofs[0], method="POST", url=url, now_s=now_s, nonce_ok=lambda nonce: nonces.ok(nonce, now_s))


async def _sign_in(state: AppState, ask: Ask, proof: dpop.DpopProof, once: Once, now_s: int) -> AccessClaims:
    """A token for a lease that exists, to whoever signs in as its holder."""
    # (4) form, time and domain
    text, signature = parse_sign_in(ask.subject_token)
    message = siwe.parse(text)
    if ask.lease is None:
        raise InvalidDetails("authorization_details: expected the lease that the token is for")
    siwe.check(
        message,
        domain=urlsplit(state.issuer).netloc,
        uris=(state.issuer, f"{state.issuer}/token"),
        chain_id=state.deployment.chain_id,
        resources=[lease_urn(ask.lease), *([ask.resource] if ask.resource else [])],
        now_s=now_s,
    )
    until = siwe.nonce_until(state.nonce_keys, message.nonce, now_s)
    # (5) signature
    head = await fresh(state)
    if not await wallet.signed(state.rpc, message.address, siwe.personal_digest(text), signature, at=head):
        raise siwe.SiweInvalid("sign-in message is not signed by its account")
    settled = await state.settled()
    # (7) one transaction
    async with write(state.engine) as db:
        stored = await _begin(db, proof, once, now_s)
        if stored is not None:
            return stored
        await consume_nonce(db, message.nonce, until)
        return await _grant(db, state, settled, ask, ask.lease, proof, once, now_s, holder=message.address)


async def _receipt(state: AppState, ask: Ask, proof: dpop.DpopProof, once: Once, now_s: int) -> AccessClaims:
    """The next token of a lease, for the receipt of the time used so far."""
    # (4) form
    try:
        signed = SignedReceipt.from_json(ask.subject_token)
    except BadInput as e:
        raise InvalidGrant(f"subject token: {e}") from e
    await fresh(state)
    settled = await state.settled()
    # (5), (7) signatures and record in one transaction with the token
    async with write(state.engine) as db:
        stored = await _begin(db, proof, once, now_s)
        if stored is not None:
            return stored
        outcome = await record_receipt(db, signed, now_s=now_s, domain=state.deployment.domain("Meter"))
        if isinstance(outcome, Rejected):
            kind = InvalidDetails if outcome.code == "unknown" else InvalidGrant
            raise kind(f"receipt is not accepted: {outcome.reason}")
        await acknowledge(db, signed.receipt.lease, signed.receipt.gpu_ms)
        return await _grant(db, state, settled, ask, signed.receipt.lease, proof, once, now_s)


async def _redemption(state: AppState, ask: Ask, proof: dpop.DpopProof, once: Once, now_s: int) -> AccessClaims:
    """The first token of a lease, which this request makes unless it exists."""
    # (4) form
    redemption, signature = parse_redemption(ask.subject_token)
    lease = Hash32(digest(state.deployment.domain("Access"), redemption))
    if proof.point != redemption.key_x + redemption.key_y:
        raise InvalidGrant("DPoP proof is by another key than the session key of the redemption")
    # (5) signature
    head = await fresh(state)
    if not await wallet.signed(state.rpc, redemption.holder, lease, signature, at=head):
        raise InvalidGrant("redemption is not signed by its holder")
    # (6) limits, all of them at one block
    async with begin_read(state.engine) as snapshot:
        chain_s = max(now_s, (await read.position(snapshot)).timestamp)
        decision = await check.redemption(snapshot, redemption, now_s=chain_s, window_seconds=state.window_seconds)
    settled = await state.settled()
    async with write(state.engine) as db:
        stored = await _begin(db, proof, once, now_s)
        if stored is not None:
            return stored
        # After the decision, never before it: a lease that was mirrored in between has used up its credits.
        if await read.lease(db, lease) is not None:
            await relay.release(db, lease)
            return await _grant(db, state, settled, ask, lease, proof, once, now_s)
        if isinstance(decision, Denied):
            raise relay.refused(decision)
        if state.sender is None:
            raise Unavailable("this service relays no redemptions: redeem on the chain, then sign in")
        mine = await relay.claim(db, lease, now_s)
        if mine:
            await relay.check_rate(db, redemption.holder, now_s)
    # From here on every outcome is committed step by step; relay.py says what happens if we die in between.
    try:
        if mine:
            await relay.send(state.sender, redemption, signature)
        if not await relay.arrived(state.engine, lease, state.relay_wait_s):
            raise Pending(
                f"redemption is on its way, lease {hex_text(lease)} is not mirrored yet",
                details={"interval": PENDING_INTERVAL_S, "lease": hex_text(lease)},
            )
        settled = await state.settled()
        # (7) one transaction
        async with write(state.engine) as db:
            await relay.release(db, lease)
            return await _grant(db, state, settled, ask, lease, proof, once, state.clock())
    except CommonholdError as error:
        under_way = isinstance(error, Pending | TransactionTimeout)
        async with write(state.engine) as db:
            if once.key is not None:
                await answers.release(db, once.key)
            if mine and not under_way:
                await relay.release(db, lease)
        raise


async def _begin(db: Db, proof: dpop.DpopProof, once: Once, now_s: int) -> AccessClaims | None:
    """Uses up the proof; the token of an earlier answer when this request was answered before."""
    await consume_proof(db, proof)
    return None if once.key is None else await answers.begin(db, once.key, once.request, now_s)


async def _grant(
    db: Db,
    state: AppState,
    settled: Settled,
    ask: Ask,
    lease: Hash32,
    proof: dpop.DpopProof,
    once: Once,
    now_s: int,
    holder: Address | None = None,
) -> AccessClaims:
    jti = secrets.token_urlsafe(16)
    claims = await grant(db, ask, lease, proof, holder=holder, until=settled, terms=state.terms, now_s=now_s, jti=jti)
    if once.key is not None:
        await answers.finish(db, once.key, claims)
    return claims
