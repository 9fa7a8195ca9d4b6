"""A whole service over a real socket, its mirror following a real chain, and a client that speaks to it."""

import asyncio
import base64
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from eth_account.messages import encode_defunct
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import p256, signing, worker
from commonhold.access import dpop, token
from commonhold.access.ask import SUBJECT_PREFIX, TOKEN_EXCHANGE
from commonhold.access.dpop import NonceKeys
from commonhold.access.keys import PUBLISH_AHEAD_S, SigningKeys
from commonhold.access.token import AccessClaims
from commonhold.api.app import AppState, create_app
from commonhold.meter.segment import SignedReceipt
from commonhold.mirror.follow import Follower
from commonhold.units import CreditId, Hash32, address_text, hex_text
from commonhold.worker import Stage
from tests.actors import Deployed, address_of, key_of, p256_of

QUANTUM_MS = 60_000
Form = dict[str, Any]


@dataclass
class Clock:
    """The service's clock, in the test's hands."""

    now_s: int

    def __call__(self) -> int:
        return self.now_s


@dataclass
class Service:
    """A running service. `wallet` roles sign, `session` roles prove."""

    deployed: Deployed
    state: AppState
    clock: Clock
    http: httpx.AsyncClient
    follower: Follower
    nonce: str | None = None
    _following: asyncio.Task[None] | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def mirrored(self) -> None:
        """The mirror is at the chain's head."""
        while not (await self.follower.step()).idle:
            pass

    def follow(self) -> None:
        """From here on the mirror follows by itself, as in life."""
        stage = Stage("follow", self._followed, 0.01)
        self._following = asyncio.create_task(worker.run([stage], self._stop))

    async def _followed(self) -> bool:
        return not (await self.follower.step()).idle

    async def end(self) -> None:
        self._stop.set()
        if self._following is not None:
            await self._following

    def proof(self, session: str | ec.EllipticCurvePrivateKey = "developer", **changes: Any) -> str:
        """A proof for /token; `changes` replace what it says."""
        key = p256_of(session) if isinstance(session, str) else session
        said: dict[str, Any] = {
            "method": "POST",
            "url": f"{self.state.issuer}/token",
            "now_s": self.clock(),
            "jti": secrets.token_urlsafe(16),
            "nonce": self.nonce or self.state.nonce_keys.issue(self.clock()),
        }
        return dpop.make(key, **(said | changes))

    async def ask(
        self, form: Form, *, session: str | ec.EllipticCurvePrivateKey = "developer", **headers: str
    ) -> httpx.Response:
        """POST /token with a fresh proof, unless `headers` bring one."""
        sent = {"DPoP": self.proof(session)} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post("/token", data=form, headers=sent)

    async def granted(self, form: Form, *, session: str = "developer") -> AccessClaims:
        """The claims of the token that the form is answered with, verified as a gateway would."""
        answer = await self.ask(form, session=session)
        assert answer.status_code == 200, answer.text
        return await self.verified(answer)

    async def verified(self, answer: httpx.Response) -> AccessClaims:
        keys = token.key_set((await self.http.get("/jwks.json")).content)
        text = answer.json()["access_token"]
        return token.verify(text, keys, issuer=self.state.issuer, audience=None, now_s=self.clock())

    async def redemption_form(
        self, credit: int, seconds: int, *, holder: str = "developer", session: str | None = None, nonce: int = 0
    ) -> tuple[Hash32, Form]:
        """The lease that will be, and the form that asks for it."""
        statement, signature = await self.deployed.redemption(
            holder,
            CreditId(credit),
            seconds,
            session=session,
            nonce=nonce,
        )
        domain = self.deployed.deployment.domain("Access")
        document = {
            "redemption": signing.typed_data(domain, statement)["message"],
            "signature": hex_text(signature),
        }
        return signing.digest(domain, statement), exchange("redemption", document)

    def receipt_form(self, lease: Hash32, gpu_ms: int, **changes: str) -> Form:
        return exchange("receipt", self.receipt(lease, gpu_ms, **changes).to_json())

    def receipt(self, lease: Hash32, gpu_ms: int, *, node: str = "node", session: str = "developer") -> SignedReceipt:
        statement = signing.Receipt(lease, gpu_ms, Hash32(gpu_ms.to_bytes(32)))
        message = signing.preimage(self.deployed.deployment.domain("Meter"), statement)
        node_signature, session_signature = (p256.sign_es256(p256_of(role), message) for role in (node, session))
        return SignedReceipt(statement, node_signature, session_signature)  # type: ignore[arg-type]

    async def sign_in_form(self, lease: Hash32, *, wallet: str = "developer", **changes: Any) -> Form:
        """A sign-in for a lease; `changes` replace fields of the message."""
        if "nonce" not in changes:
            changes["nonce"] = (await self.http.post("/nonce")).json()["c_nonce"]
        text = self.message(lease, wallet, **changes)
        signature = Account.sign_message(encode_defunct(text=text), key_of(wallet)).signature
        details = [{"type": "gpu_time", "lease": hex_text(lease)}]
        return exchange(
            "siwe", {"message": text, "signature": hex_text(signature)}, authorization_details=json.dumps(details)
        )

    def message(self, lease: Hash32, wallet: str, *, nonce: str, **changes: Any) -> str:
        said: dict[str, Any] = {
            "domain": self.state.issuer.removeprefix("http://"),
            "address": address_text(address_of(wallet)),
            "uri": self.state.issuer,
            "chain_id": self.state.deployment.chain_id,
            "issued_at": self.clock(),
            "expires_at": self.clock() + 300,
            "resources": [f"urn:commonhold:lease:{hex_text(lease)}"],
        } | changes
        lines = [
            f"{said['domain']} wants you to sign in with your Ethereum account:",
            said["address"],
            "",
            "Use your lease of the pool.",
            "",
            f"URI: {said['uri']}",
            "Version: 1",
            f"Chain ID: {said['chain_id']}",
            f"Nonce: {nonce}",
            f"Issued At: {rfc3339(said['issued_at'])}",
        ]
        if said["expires_at"] is not None:
            lines.append(f"Expiration Time: {rfc3339(said['expires_at'])}")
        return "\n".join([*lines, "Resources:", *(f"- {resource}" for resource in said["resources"])])


@asynccontextmanager
async def running(engine: AsyncEngine, deployed: Deployed, directory: Path, **changes: Any) -> AsyncIterator[Service]:
    """A service on a free port of this machine; `changes` replace parts of its state."""
    listener = socket.create_server(("127.0.0.1", 0))
    issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    clock = Clock(await deployed.now())
    parts: dict[str, Any] = {
        "engine": engine,
        "rpc": deployed.rpc,
        "deployment": deployed.deployment,
        "sender": deployed.sender("relayer"),
        "signing_keys": SigningKeys.open(directory / "keys", now_s=clock() - PUBLISH_AHEAD_S),
        "nonce_keys": NonceKeys(b"n" * 32),
        "issuer": issuer,
        "window_seconds": deployed.window_seconds,
        "submitter": address_of("submitter"),
        "quantum_ms": QUANTUM_MS,
        "token_ttl_s": 300,
        "clock": clock,
    }
    state = AppState(**(parts | changes))
    server = uvicorn.Server(uvicorn.Config(create_app(state), lifespan="off", log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with httpx.AsyncClient(base_url=issuer, trust_env=False, timeout=30) as http:
        service = Service(deployed, state, clock, http, Follower(deployed.rpc, deployed.deployment, engine))
        try:
            yield service
        finally:
            await service.end()
            server.should_exit = True
            await serving
            listener.close()


def exchange(subject: str, document: dict[str, Any], **more: str) -> Form:
    """A token request with a subject token of this kind."""
    return {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token_type": SUBJECT_PREFIX + subject,
        "subject_token": b64(json.dumps(document).encode()),
        "client_id": "tests",
    } | more


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
