"""The service as a client sees it: discovery, assets, the token endpoint. Speaks HTTP, believes nothing that it can
check offline."""

import asyncio
import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.access import dpop
from commonhold.access.token import GRANT_TYPE, AccessClaims, TokenInvalid, key_set, verify
from commonhold.client.errors import ServiceRefused, TokenNotOurs, Unreachable
from commonhold.meter.segment import SignedReceipt
from commonhold.p256 import p256_point
from commonhold.signing import Domain
from commonhold.units import UNIT, AssetId, Hash32, hex_text, to_address, to_units

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
SUBJECT_PREFIX = "urn:commonhold:params:oauth:token-type:"

Details = dict[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where statements count, as the service says."""

    access: Domain
    meter: Domain

    @property
    def chain_id(self) -> int:
        return self.access.chain_id


@dataclass(frozen=True, slots=True)
class NodeAsset:
    """The machine behind a lease, as mirrored from the chain."""

    asset: AssetId
    uri: str
    gpus: int  # whole GPUs, rounded up: the bound on GPU time per wall-clock time
    meter_key: bytes  # x || y


@dataclass(frozen=True, slots=True)
class Token:
    """A verified access token."""

    text: str = field(repr=False)
    claims: AccessClaims


class Service:
    """One service. `http` has its URL as base."""

    def __init__(
        self, http: httpx.AsyncClient, key: ec.EllipticCurvePrivateKey, clock_s: Callable[[], int], wait_s: float
    ) -> None:
        """wait_s: how long a token request is repeated while the service says "not yet" or is not there."""
        self._http, self._key, self._clock_s, self._wait_s = http, key, clock_s, wait_s
        self._jkt = dpop.thumbprint(p256_point(key.public_key()))
        self._nonce: str | None = None
        self._metadata: Mapping[str, Any] | None = None

    async def deployment(self) -> Deployment:
        """Raises Unreachable, ServiceRefused."""
        row = await self.get("/v1/deployment")
        chain_id = int(row["chain_id"])
        return Deployment(
            Domain("Access", chain_id, to_address(row["access"])), Domain("Meter", chain_id, to_address(row["meter"]))
        )

    async def asset(self, asset: AssetId) -> NodeAsset:
        """Raises Unreachable, ServiceRefused; also when no node serves the asset."""
        row = await self.get(f"/v1/assets/{asset}")
        if not row["meter_key"]:
            raise ServiceRefused(409, "no_node", f"no node serves asset {asset}", {})
        gpus = -(-to_units(row["units"]) // UNIT)
        return NodeAsset(asset, str(row["uri"]), gpus, bytes.fromhex(row["meter_key"][2:]))

    async def token(self, subject: str, document: Mapping[str, Any], *, asset: NodeAsset, lease: Hash32) -> Token:
        """The token for a signed statement: redemption, receipt or sign-in. Repeats the same request while the service
        is not ready, for `wait_s` at most; a repeat spends nothing twice.

        Raises ServiceRefused, Unreachable, TokenNotOurs.
        """
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token_type": SUBJECT_PREFIX + subject,
            "subject_token": base64.urlsafe_b64encode(orjson.dumps(document)).rstrip(b"="),
            "resource": asset.uri,
        }
        if subject == "siwe":  # the message names its lease for people, this names it for the service
            form["authorization_details"] = orjson.dumps([{"type": GRANT_TYPE, "lease": hex_text(lease)}])
        body = urlencode(form).encode()
        answer = await self._patiently(lambda: self._exchange(body))
        return await self.checked(str(answer.get("access_token")), asset, lease, self._clock_s())

    async def receipt(self, signed: SignedReceipt) -> None:
        """The service has the receipt. Raises ServiceRefused, Unreachable."""
        content = orjson.dumps(signed.to_json())
        _answer(await self._send("POST", "/v1/receipts", content=content, kind="application/json"))

    async def sign_in_nonce(self) -> str:
        """A nonce for one sign-in message. Raises ServiceRefused, Unreachable."""
        response = await self._send("POST", "/nonce")
        self._keep_nonce(response)
        return str(_answer(response)["c_nonce"])

    async def issuer(self) -> str:
        """The service's public URL, which sign-in messages name. Raises ServiceRefused, Unreachable."""
        return str((await self._discovered())["issuer"])

    async def change(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The lease as a signed change leaves it; the request is repeated while the service says "not yet", and a
        repeat changes nothing twice. Raises ServiceRefused, Unreachable."""
        content = orjson.dumps(body)

        async def sent() -> Mapping[str, Any]:
            return _answer(await self._send("POST", "/v1/lease-changes", content=content, kind="application/json"))

        return await self._patiently(sent)

    async def get(self, path: str) -> Mapping[str, Any]:
        """The JSON answer. Raises ServiceRefused, Unreachable."""
        return _answer(await self._send("GET", path))

    async def _patiently(self, ask: Callable[[], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any]:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._wait_s
        while True:
            try:
                return await ask()
            except (ServiceRefused, Unreachable) as e:
                if e.code != "authorization_pending" and e.status != 503:
                    raise
                asked = e.details.get("interval")
                pause_s = min(max(asked, 0.05), 60.0) if isinstance(asked, int) else 1.0
                if loop.time() + pause_s > give_up_at:
                    raise
            await asyncio.sleep(pause_s)

    async def _exchange(self, body: bytes) -> Mapping[str, Any]:
        url = str((await self._discovered())["token_endpoint"])
        if self._nonce is None:
            self._keep_nonce(await self._send("POST", "/nonce"))
        for _ in range(2):
            proof = dpop.make(
                self._key,
                method="POST",
                url=url,
                now_s=self._clock_s(),
                jti=secrets.token_urlsafe(16),
                nonce=self._nonce,
            )
            response = await self._send(
                "POST", url, content=body, kind="application/x-www-form-urlencoded", headers={"DPoP": proof}
            )
            self._keep_nonce(response)
            if not _wants_nonce(response):
                break
        return _answer(response)

    async def _discovered(self) -> Mapping[str, Any]:
        if self._metadata is None:
            self._metadata = await self.get("/.well-known/oauth-authorization-server")
        return self._metadata

    async def checked(self, text: str, asset: NodeAsset, lease: Hash32, now_s: int) -> Token:
        """The token, verified as its gateway will: by the issuer's keys, for this asset, lease and session key.

        Raises TokenNotOurs, Unreachable.
        """
        metadata = await self._discovered()
        keys = key_set(await self.get(str(metadata["jwks_uri"])))
        try:
            claims = verify(text, keys, issuer=str(metadata["issuer"]), audience=asset.uri, now_s=now_s)
        except TokenInvalid as e:
            raise TokenNotOurs(str(e)) from e
        if (claims.lease, claims.asset, claims.jkt) != (lease, asset.asset, self._jkt):
            raise TokenNotOurs(
                f"access token is for lease {hex_text(claims.lease)} of asset {claims.asset}, "
                f"expected {hex_text(lease)} of {asset.asset} and our session key"
            )
        return Token(text, claims)

    async def _send(
        self, method: str, path: str, *, content: bytes = b"", kind: str = "", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        typed = {"Content-Type": kind} if kind else {}
        try:
            return await self._http.request(method, path, content=content, headers={**typed, **(headers or {})})
        except httpx.HTTPError as e:
            raise Unreachable(f"service {self._http.base_url}: {type(e).__name__}") from e

    def _keep_nonce(self, response: httpx.Response) -> None:
        self._nonce = response.headers.get("DPoP-Nonce", self._nonce)


def problem(response: httpx.Response) -> tuple[str, str, Details]:
    """(code, text, details) of a refusal: problem details, or OAuth's form."""
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        return "unknown", f"status {response.status_code} without an explanation", {}
    code = str(body.get("code") or body.get("error") or "unknown")
    text = str(body.get("detail") or body.get("error_description") or code)
    named = {"code", "error", "detail", "error_description", "type", "title", "status"}
    details = {k: v for k, v in body.items() if k not in named and isinstance(v, str | int | bool | None)}
    return code, text, details


def _answer(response: httpx.Response) -> Mapping[str, Any]:
    if response.status_code >= 400:
        raise ServiceRefused(response.status_code, *problem(response))
    try:
        parsed = orjson.loads(response.content)
    except orjson.JSONDecodeError as e:
        raise Unreachable(f"{response.url.path}: answer is no JSON") from e
    if not isinstance(parsed, dict):
        raise Unreachable(f"{response.url.path}: expected an object, got {type(parsed).__name__}")
    return parsed


def _wants_nonce(response: httpx.Response) -> bool:
    return response.status_code == 400 and problem(response)[0] == "use_dpop_nonce"
