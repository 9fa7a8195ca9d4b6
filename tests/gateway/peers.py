"""What a node talks to in its tests: a small real authorization server and segment collector, real upstreams, and real
sockets between all of them. Everything listens on loopback, on ports that the kernel chose."""

import asyncio
import base64
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey

from commonhold import keyfile
from commonhold.access import dpop, siwe
from commonhold.access.token import AccessClaims, grant_json, mint
from commonhold.gateway.asgi import App, Receive, Scope, Send, answer_json, read_body
from commonhold.gateway.config import NodeConfig
from commonhold.gateway.node import Server, serve
from commonhold.meter.segment import SignedReceipt, SignedSegment
from commonhold.p256 import p256_point
from commonhold.signing import Domain, Redemption, Rotation, Split, TopUp, digest, from_message
from commonhold.units import Address, AssetId, GpuMs, Hash32, address_text, hex_text, to_address, to_hash32

CHAIN_ID = 31_337
ASSET = AssetId(0xA55E7)
HOLDER = to_address("0x00000000000000000000000000000000000000aa")
ACCESS = Domain("Access", CHAIN_ID, Address(bytes(19) + b"\x01"))
METER = Domain("Meter", CHAIN_ID, Address(bytes(19) + b"\x02"))


class PeerServer(Server):
    """Leaves at once, where uvicorn looks ten times a second whether to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.leave.wait()


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[str]:
    """The base URL of `app`, served by uvicorn."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = PeerServer(uvicorn.Config(app, lifespan="off", log_config=None, log_level="error", access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await server.up.wait()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.force_exit = True
        server.leave.set()
        await task


@dataclass
class Issuer:
    """A service for one node and its clients: mints real tokens, checks real proofs, collects real segments."""

    url: str = ""
    audience: str = ""
    quantum_ms: int = 60_000
    ttl_s: int = 300
    lease_ms: int = 3_600_000
    pending: int = 0  # how many token requests are answered "not yet"
    down: bool = False  # segments are answered 503
    gpus: str = "1.000000"
    meter_key: bytes = b""
    key: ECKey = field(default_factory=lambda: signing_key("k1"))
    nonces: dpop.NonceKeys = field(default_factory=lambda: dpop.NonceKeys(secrets.token_bytes(32)))
    published: list[ECKey] = field(default_factory=list)
    segments: dict[tuple[int, int], SignedSegment] = field(default_factory=dict)
    deliveries: int = 0
    receipts: list[SignedReceipt] = field(default_factory=list)
    sessions: dict[Hash32, bytes] = field(default_factory=dict)
    changes: list[Split | TopUp | Rotation] = field(default_factory=list)
    answer: Callable[[SignedSegment], dict[str, Any] | None] = lambda _: None

    def claims(self, session: ec.EllipticCurvePrivateKey, **changes: Any) -> AccessClaims:
        now_s = int(time.time())
        claims = AccessClaims(
            issuer=self.url,
            audience=self.audience,
            chain_id=CHAIN_ID,
            holder=HOLDER,
            client_id="test",
            issued_at=now_s,
            expires_at=now_s + self.ttl_s,
            jti=secrets.token_urlsafe(8),
            scope="inference",
            jkt=dpop.thumbprint(p256_point(session.public_key())),
            lease=Hash32(b"\x11" * 32),
            asset=ASSET,
            class_name="compute/h100-sxm",
            limit_gpu_ms=GpuMs(self.quantum_ms),
            level=3,
            policy="development",
            ends_at=now_s + 3_600,
        )
        return replace(claims, **changes)

    def token(self, session: ec.EllipticCurvePrivateKey, **changes: Any) -> str:
        return mint(self.key, self.claims(session, **changes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await read_body(receive, 1 << 22)
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        nonce = [(b"dpop-nonce", self.nonces.issue(int(time.time())).encode())]
        match scope["path"]:
            case "/.well-known/oauth-authorization-server":
                document = {"issuer": self.url, "token_endpoint": f"{self.url}/token"}
                await answer_json(send, 200, {**document, "jwks_uri": f"{self.url}/jwks.json"})
            case "/jwks.json":
                keys = [key.as_dict(private=False) for key in (self.key, *self.published)]
                await answer_json(send, 200, {"keys": keys})
            case "/nonce":
                await answer_json(send, 200, {"c_nonce": secrets.token_hex(16), "expires_in": 60}, nonce)
            case "/token":
                status, content = self._token(dict(parse_qsl(body.decode())), headers.get("dpop", ""))
                await answer_json(send, status, content, nonce)
            case "/v1/deployment":
                addresses = {"access": address_text(ACCESS.address), "meter": address_text(METER.address)}
                await answer_json(send, 200, {"chain_id": CHAIN_ID, **addresses})
            case "/v1/segments":
                await self._segments(orjson.loads(body), send)
            case "/v1/receipts":
                self.receipts.append(SignedReceipt.from_json(orjson.loads(body)))
                await answer_json(send, 200, {"status": "recorded"})
            case path if path.startswith("/v1/leases/"):
                await answer_json(send, 200, {"asset": str(ASSET), "changes": len(self.changes)})
            case "/v1/lease-changes":
                await answer_json(send, 200, {"lease": hex_text(self._changed(orjson.loads(body)))})
            case path if path == f"/v1/assets/{ASSET}":
                row = {"asset": str(ASSET), "units": self.gpus, "uri": self.audience}
                await answer_json(send, 200, {**row, "meter_key": hex_text(self.meter_key)})
            case path:
                problem = {"type": "urn:commonhold:problem:not_found", "code": "not_found", "detail": f"no {path}"}
                await answer_json(send, 404, problem)

    def _changed(self, body: dict[str, Any]) -> Hash32:
        """The lease that a holder's statement changes; of a split the part."""
        kinds: dict[str, type[Split | TopUp | Rotation]] = {each.__name__: each for each in (Split, TopUp, Rotation)}
        statement = from_message(kinds[body["primaryType"]], body["message"])
        assert statement.change == len(self.changes)
        self.changes.append(statement)
        lease = digest(ACCESS, statement) if isinstance(statement, Split) else statement.lease
        if not isinstance(statement, TopUp):
            self.sessions[lease] = statement.key_x + statement.key_y
        return lease

    def _token(self, form: dict[str, str], proof: str) -> tuple[int, dict[str, Any]]:
        now_s = int(time.time())
        ok = lambda nonce: self.nonces.ok(nonce, now_s)  # noqa: E731
        try:
            shown = dpop.verify(proof, method="POST", url=f"{self.url}/token", now_s=now_s, nonce_ok=ok)
        except dpop.DpopInvalid as e:
            return 400, {"error": e.code, "error_description": str(e)}
        if self.pending:
            self.pending -= 1
            return 400, {"error": "authorization_pending", "error_description": "not mirrored yet", "interval": 0}
        text = form["subject_token"]
        document = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if form["subject_token_type"].endswith(":receipt"):
            signed = SignedReceipt.from_json(document)
            lease, used_ms = signed.receipt.lease, signed.receipt.gpu_ms
            if defect := signed.verify(METER, self.meter_key, self.sessions[lease]):
                return 400, {"error": "invalid_grant", "error_description": defect}
            self.receipts.append(signed)
        elif form["subject_token_type"].endswith(":siwe"):
            siwe.parse(document["message"].encode())
            lease = to_hash32(orjson.loads(form["authorization_details"])[0]["lease"])
            assert self.sessions[lease] == shown.point
            used_ms = max((each.receipt.gpu_ms for each in self.receipts if each.receipt.lease == lease), default=0)
        else:
            redemption = _redemption(document["redemption"])
            lease, used_ms = digest(ACCESS, redemption), 0
            self.sessions[lease] = shown.point
        if used_ms >= self.lease_ms:
            refused = {"error": "invalid_authorization_details", "error_description": "lease is used up"}
            return 400, {**refused, "available_gpu_ms": 0}
        limit_ms = min(self.lease_ms, used_ms + self.quantum_ms)
        key = ec.derive_private_key(1, ec.SECP256R1())  # any: `jkt` comes from the proof
        claims = self.claims(key, jkt=shown.jkt, lease=lease, limit_gpu_ms=limit_ms)
        granted = {"access_token": mint(self.key, claims), "authorization_details": [grant_json(claims)]}
        return 200, {**granted, "token_type": "DPoP", "expires_in": 300}

    async def _segments(self, items: list[Any], send: Send) -> None:
        self.deliveries += 1
        if self.down:
            await answer_json(send, 503, {"code": "unavailable"})
            return
        answers = []
        for item in items:
            signed = SignedSegment.from_json(item)
            key = (signed.segment.boot, signed.segment.sequence)
            if said := self.answer(signed):
                answers.append(said)
                continue
            assert signed.verify(METER, self.meter_key) is None
            answers.append({"status": "duplicate" if key in self.segments else "recorded"})
            assert self.segments.setdefault(key, signed) == signed  # never two contents under one key
        await answer_json(send, 200, answers)


@dataclass
class Node:
    """A running node with its surroundings."""

    issuer: Issuer
    config: NodeConfig
    session: ec.EllipticCurvePrivateKey
    http: httpx.AsyncClient
    nonce: str | None = None

    @property
    def url(self) -> str:
        return self.config.audience

    def proof(self, method: str, path: str, token: str | None, **changes: Any) -> str:
        given: dict[str, Any] = {"url": self.url + path, "key": self.session, "nonce": self.nonce, **changes}
        return dpop.make(
            given.pop("key"),
            method=changes.get("method", method),
            url=given["url"],
            now_s=changes.get("now_s", int(time.time())),
            jti=changes.get("jti", secrets.token_urlsafe(8)),
            access_token=token,
            nonce=given["nonce"],
        )

    async def primed(self) -> "Node":
        """With a fresh nonce, as any answer to a request with a token brings it."""
        token = self.issuer.token(self.session)
        headers = {"Authorization": f"DPoP {token}", "DPoP": self.proof("GET", "/", token)}
        self.nonce = (await self.http.get(self.url + "/", headers=headers)).headers["DPoP-Nonce"]
        return self

    def headers(self, method: str, path: str, token: str) -> dict[str, str]:
        return {"Authorization": f"DPoP {token}", "DPoP": self.proof(method, path, token)}

    async def call(self, method: str, path: str, token: str, **more: Any) -> httpx.Response:
        headers = {**self.headers(method, path, token), **more.pop("headers", {})}
        return await self.http.request(method, self.url + path, headers=headers, **more)


@asynccontextmanager
async def running(
    folder: Path, upstream: App | str, *, peer: Issuer | None = None, **changes: Any
) -> AsyncIterator[Node]:
    """A node in this process, in front of `upstream`, primed with a nonce."""
    issuer = peer or Issuer()
    async with serving(issuer) as service_url:
        if isinstance(upstream, str):
            async with started(folder, upstream, issuer, service_url, **changes) as node:
                yield node
        else:
            async with (
                serving(upstream) as upstream_url,
                started(folder, upstream_url, issuer, service_url, **changes) as node,
            ):
                yield node


@asynccontextmanager
async def started(
    folder: Path, upstream_url: str, peer: Issuer, service_url: str, **changes: Any
) -> AsyncIterator[Node]:
    config = make_config(folder, upstream_url, service_url, **changes)
    peer.url, peer.audience = service_url, config.audience
    peer.meter_key = p256_point(keyfile.read_or_write_p256(Path(config.meter_key)).public_key())
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(config, stop, lambda _: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=10) as http:
            session = ec.generate_private_key(ec.SECP256R1())
            node = Node(peer, config, session, http)
            yield await node.primed() if not task.done() else node
    finally:
        stop.set()
        await task


def make_config(folder: Path, upstream_url: str, service_url: str, **changes: Any) -> NodeConfig:
    port = free_port()
    config = NodeConfig(
        service_url=service_url,
        issuer=service_url,
        audience=f"http://127.0.0.1:{port}",
        asset=str(ASSET),
        chain_id=CHAIN_ID,
        meter=address_text(METER.address),
        meter_key=str(folder / "meter.pem"),
        upstream=upstream_url,
        gpus=1,
        spool=str(folder / "spool"),
        host="127.0.0.1",
        port=port,
        level=3,
        policy="development",
        interval_ms=50,
    )
    return replace(config, **changes)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def signing_key(kid: str) -> ECKey:
    return ECKey.import_key(ec.generate_private_key(ec.SECP256R1()), {"kid": kid, "use": "sig", "alg": "ES256"})


def _redemption(message: dict[str, str]) -> Redemption:
    return Redemption(
        holder=to_address(message["holder"]),
        id=int(message["id"]),
        amount=int(message["amount"]),
        key_x=to_hash32(message["keyX"]),
        key_y=to_hash32(message["keyY"]),
        nonce=int(message["nonce"]),
        deadline=int(message["deadline"]),
    )
