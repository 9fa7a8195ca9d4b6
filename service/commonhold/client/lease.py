"""A lease in use: requests through the provider's gateway, and receipts for what they took.

The client keeps its own count of the time its requests were in flight. It signs a receipt only up to that count: the
node measures, the developer agrees, and nobody is paid for more than both said.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.access import dpop
from commonhold.agent.busy import BusyTime
from commonhold.client.errors import (
    AnswerCut,
    BudgetSpent,
    GatewayRefused,
    ReceiptDisputed,
    ServiceRefused,
    Unreachable,
)
from commonhold.client.service import NodeAsset, Service, Token, problem
from commonhold.errors import BadInput
from commonhold.meter.segment import Signature, SignedReceipt
from commonhold.p256 import sign_es256, verify_es256
from commonhold.signing import Domain, Receipt, preimage
from commonhold.units import GpuMs, Hash32, hex_text, to_hash32

PROBLEM_PREFIX = "urn:commonhold:problem:"
RECEIPT_PATH = "/commonhold/receipt"
EARLY_S = 5  # a token is renewed this long before its end
# What the node may say above our count, in wall-clock ms: its clock rounds, and it hears the end of an answer later.
TOLERANCE_MS = 1_000
TOLERANCE_PER_REQUEST_MS = 2


@dataclass(slots=True)
class _Seen:
    """What this client saw itself use, as an upper bound for receipts."""

    busy: BusyTime
    requests: int = 0

    def most_gpu_ms(self, now_ms: int) -> GpuMs:
        slack_ms = TOLERANCE_MS + TOLERANCE_PER_REQUEST_MS * self.requests
        return GpuMs(self.busy.gpu_ms(now_ms) + slack_ms * self.busy.gpus)


class Lease:
    """Made by Client.redeem. Requests may overlap; time that overlaps counts once."""

    def __init__(
        self,
        *,
        lease: Hash32,
        token: Token,
        asset: NodeAsset,
        meter: Domain,
        key: ec.EllipticCurvePrivateKey,
        service: Service,
        http: httpx.AsyncClient,
        clock_s: Callable[[], int],
        observed_gpu_ms: int = 0,
        requests: int = 0,
    ) -> None:
        self.lease, self.token, self.asset = lease, token, asset
        self._meter, self._key, self._service, self._http, self._clock_s = meter, key, service, http, clock_s
        self._seen = _Seen(BusyTime(asset.gpus, gpu_ms=observed_gpu_ms), requests)
        self._signed_ms = 0
        self._nonce: str | None = None
        self._renewing = asyncio.Lock()

    @property
    def observed_gpu_ms(self) -> GpuMs:
        """What this client saw itself use."""
        return self._seen.busy.gpu_ms(_now_ms())

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        renew: bool = True,
    ) -> httpx.Response:
        """The upstream's whole answer, whatever its status.

        renew: get a new token, with a receipt, when this one has ended or its budget is spent, and send the request
        again, once, when that happened during it: the upstream may then see it twice. A request that takes longer than
        one token allows is cut again. Raises BudgetSpent, GatewayRefused, AnswerCut, ReceiptDisputed, ServiceRefused,
        Unreachable.
        """
        again = False
        while True:
            try:
                async with self.stream(
                    method, path, json=json, content=content, headers=headers, renew=renew
                ) as response:
                    await response.aread()
                return response
            except AnswerCut as e:
                if again or not renew or self.observed_gpu_ms < e.limit_gpu_ms:
                    raise  # once more would not help, or the budget cannot be why
                again = True
                await self._longer(e.limit_gpu_ms, BudgetSpent(402, "budget_spent", str(e), {}))

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        renew: bool = True,
    ) -> AsyncIterator[httpx.Response]:
        """The same, while it comes: read it inside with `aiter_bytes` or `aiter_lines`."""
        more = dict(headers or {})
        if json is not None:
            content = orjson.dumps(json)
            more.setdefault("Content-Type", "application/json")
        if renew and self._clock_s() >= self.token.claims.expires_at - EARLY_S:
            await self.renew()
        self._begin()
        try:
            response, token = await self._admitted(method, path, content, more, renew=renew)
            try:
                yield response
            except httpx.RemoteProtocolError as e:
                limit_ms = token.claims.limit_gpu_ms
                raise AnswerCut(f"{method} {path}: the gateway ended the answer before its end", limit_ms) from e
            except httpx.HTTPError as e:
                raise Unreachable(f"gateway {self.asset.uri}: {type(e).__name__}") from e
            finally:
                await response.aclose()
        finally:
            self._seen.busy.end(_now_ms())

    async def receipt(self) -> SignedReceipt:
        """The node's receipt for all time so far, countersigned.

        Raises ReceiptDisputed when (1) it is not of this lease, (2) not signed by the asset's meter key, (3) for less
        than one signed before, (4) for more than this client observed, with a tolerance.
        """
        response, _ = await self._admitted("GET", RECEIPT_PATH, b"", {}, renew=False)
        try:
            await response.aread()
        finally:
            await response.aclose()
        receipt, node_signature = _parse(response)
        # (1) lease
        if receipt.lease != self.lease:
            raise ReceiptDisputed(f"receipt is of lease {hex_text(receipt.lease)}, expected {hex_text(self.lease)}")
        # (2) node
        message = preimage(self._meter, receipt)
        if not verify_es256(self.asset.meter_key, message, node_signature):
            raise ReceiptDisputed("receipt is not signed by the meter key of the asset")
        # (3) growth
        if receipt.gpu_ms < self._signed_ms:
            raise ReceiptDisputed(f"receipt of {receipt.gpu_ms} GPU-ms, {self._signed_ms} were signed before")
        # (4) our own count
        most_ms = self._seen.most_gpu_ms(_now_ms())
        if receipt.gpu_ms > most_ms:
            raise ReceiptDisputed(
                f"receipt of {receipt.gpu_ms} GPU-ms, this client observed {self.observed_gpu_ms}",
                details={"claimed_gpu_ms": receipt.gpu_ms, "observed_gpu_ms": self.observed_gpu_ms, "most": most_ms},
            )
        self._signed_ms = receipt.gpu_ms
        return SignedReceipt(receipt, node_signature, Signature(sign_es256(self._key, message)))

    async def renew(self) -> Token:
        """A new token for a receipt of the time used so far."""
        old = self.token
        return await self._renewed(lambda: self.token is old)

    async def close(self) -> SignedReceipt:
        """The final receipt, at the service: what it says is what will be paid."""
        signed = await self.receipt()
        await self._service.receipt(signed)
        return signed

    def to_json(self) -> dict[str, Any]:
        """What Client.resume needs. Holds the access token: keep it as a secret."""
        return {
            "lease": hex_text(self.lease),
            "asset": str(self.asset.asset),
            "access_token": self.token.text,
            "observed_gpu_ms": self.observed_gpu_ms,
            "requests": self._seen.requests,
            "expires_at": self.token.claims.expires_at,
        }

    def _begin(self) -> None:
        self._seen.busy.begin(_now_ms())
        self._seen.requests += 1

    async def _admitted(
        self, method: str, path: str, content: bytes, headers: Mapping[str, str], *, renew: bool
    ) -> tuple[httpx.Response, Token]:
        """The open answer of the upstream, after nonces and renewals, and the token that it was given for."""
        token = self.token
        response = await self._sent(method, path, content, headers, token)
        if await _is_problem(response, 401) and problem(response)[0] == "use_dpop_nonce":
            response = await self._sent(method, path, content, headers, token)
        if renew and await _is_problem(response, 402):
            token = await self._longer(token.claims.limit_gpu_ms, BudgetSpent(402, *problem(response)))
            response = await self._sent(method, path, content, headers, token)
        if await _is_problem(response, response.status_code):
            kind = BudgetSpent if response.status_code == 402 else GatewayRefused
            raise kind(response.status_code, *problem(response))
        return response, token

    async def _longer(self, limit_ms: int, spent: BudgetSpent) -> Token:
        """A token that allows more than `limit_ms`. Raises `spent` when the lease has no more."""
        try:
            token = await self._renewed(lambda: self.token.claims.limit_gpu_ms <= limit_ms)
        except ServiceRefused as e:
            if e.code != "invalid_authorization_details":
                raise
            raise spent from e  # the lease is used up
        if token.claims.limit_gpu_ms <= limit_ms:
            raise spent
        return token

    async def _renewed(self, needed: Callable[[], bool]) -> Token:
        async with self._renewing:
            if needed():  # another request may have renewed it meanwhile
                signed = await self.receipt()
                self.token = await self._service.token("receipt", signed.to_json(), asset=self.asset, lease=self.lease)
            return self.token

    async def _sent(
        self, method: str, path: str, content: bytes, headers: Mapping[str, str], token: Token
    ) -> httpx.Response:
        request = self._http.build_request(
            method, self.asset.uri.rstrip("/") + path, content=content, headers=dict(headers)
        )
        proof = dpop.make(
            self._key,
            method=method,
            url=str(request.url),  # as it is sent: escaped
            now_s=self._clock_s(),
            jti=secrets.token_urlsafe(16),
            access_token=token.text,
            nonce=self._nonce,
        )
        request.headers.update({"Authorization": f"DPoP {token.text}", "DPoP": proof})
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as e:
            raise Unreachable(f"gateway {self.asset.uri}: {type(e).__name__}") from e
        self._nonce = response.headers.get("DPoP-Nonce", self._nonce)
        return response


async def _is_problem(response: httpx.Response, status: int) -> bool:
    """True for a refusal of the gateway itself, which is then read; an upstream's errors are the caller's business."""
    if response.status_code != status or status < 400:
        return False
    if response.headers.get("Content-Type") != "application/problem+json":
        return False
    if not response.is_closed:
        await response.aread()
        await response.aclose()
    return response.content.startswith(b"{") and PROBLEM_PREFIX in str(orjson.loads(response.content).get("type"))


def _parse(response: httpx.Response) -> tuple[Receipt, Signature]:
    try:
        data = orjson.loads(response.content)
        receipt = Receipt(to_hash32(data["lease"]), int(data["gpu_ms"]), to_hash32(data["head"]))
        return receipt, Signature(bytes.fromhex(data["node_signature"].removeprefix("0x")))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, BadInput) as e:
        raise ReceiptDisputed(f"receipt does not parse: {type(e).__name__}") from e


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
