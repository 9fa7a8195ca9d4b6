"""The gateway: one ASGI application in front of any HTTP upstream, that lets leases through and meters them.

In: requests with an access token bound to a session key. Out: the upstream's answers, problem details for every "no",
and on GET /commonhold/receipt the node's signature under what the lease has used. No database, no chain: a token is
verified offline, and what was used is the meter's to say.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from commonhold.access.dpop import NonceKeys
from commonhold.access.token import AccessClaims
from commonhold.agent.meter import NodeMeter
from commonhold.errors import CommonholdError
from commonhold.gateway.allotment import Allotment
from commonhold.gateway.asgi import Disconnected, Message, Receive, Scope, Send, answer_json
from commonhold.gateway.authorize import Asked, Authorizer
from commonhold.gateway.proxy import (
    Pairs,
    RequestBody,
    check_target,
    forward,
    has_body,
    request_headers,
    upstream_url,
)
from commonhold.gateway.refusals import BadTarget, BudgetSpent, LeaseEnded, refuse
from commonhold.units import address_text, hex_text

RECEIPT_PATH = "/commonhold/receipt"
STATUS_PATH = "/commonhold/status"
METADATA_PATH = "/.well-known/oauth-protected-resource"
RECEIPT_LATE_S = 86_400  # how long after a token's end its key may still ask for the receipt
DRAIN_BYTES = 1 << 20  # of a refused request's body
DRAIN_S = 2
CONNECT_S = 10


@dataclass(frozen=True, slots=True)
class Public:
    """How the world sees this gateway. `url` is also the audience of its tokens."""

    url: str
    issuer: str

    @property
    def origin(self) -> str:
        """Scheme, host and port of the public URL."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def prefix(self) -> str:
        """The path of the public URL, without a slash at the end: "" or such as "/v1"."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def metadata_url(self) -> str:
        """Where a client without a token learns how to get one. Source: RFC 9728, 3.1."""
        return self.origin + METADATA_PATH + self.prefix


class Gateway:
    """The ASGI application. `status` gives what the node says about itself to anyone."""

    def __init__(
        self,
        *,
        public: Public,
        upstream: str,
        transport: httpx.AsyncBaseTransport,
        authorizer: Authorizer,
        meter: NodeMeter,
        nonces: NonceKeys,
        clock_s: Callable[[], int],
        wait_s: float,
        status: Callable[[], dict[str, object]],
        sealed: Callable[[], None],
    ) -> None:
        """sealed: called when there may be a new segment to report."""
        self._public, self._upstream, self._transport = public, httpx.URL(upstream), transport
        self._authorizer, self._meter, self._nonces = authorizer, meter, nonces
        self._clock_s, self._status, self._sealed = clock_s, status, sealed
        self._allotment = Allotment(wait_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return
        outlet, body = _Outlet(send), RequestBody(receive, expected=has_body(scope["headers"]))
        try:
            await self._answer(scope, body, outlet)
        except Disconnected:
            return
        except CommonholdError as e:
            if outlet.started:
                return  # an answer without its end: the server closes the connection, and the client sees it was cut
            nonce = (b"dpop-nonce", self._nonces.issue(self._clock_s()).encode())
            await body.drain(DRAIN_BYTES, DRAIN_S)
            await refuse(outlet, e, metadata_url=self._public.metadata_url, headers=[nonce])

    async def _answer(self, scope: Scope, body: RequestBody, send: "_Outlet") -> None:
        check_target(scope)
        match (scope["method"], scope["path"]):
            case ("GET", path) if path in (METADATA_PATH, METADATA_PATH + self._public.prefix):
                await answer_json(send, 200, self._metadata())
            case ("GET", path) if path == self._public.prefix + STATUS_PATH:
                await answer_json(send, 200, self._status())
            case ("GET", path) if path == self._public.prefix + RECEIPT_PATH:
                claims = await self._authorizer.receipt(self._asked(scope), RECEIPT_LATE_S)
                await answer_json(send, 200, self._receipt(claims), self._own_headers(claims))
            # As sent, not as decoded: its bytes are cut off for the upstream, and the proof is over them.
            case _ if not scope["raw_path"].startswith(f"{self._public.prefix}/".encode()):
                raise BadTarget(f"path: expected one below {self._public.prefix}/")
            case _:
                claims = await self._authorizer.use(self._asked(scope))
                await self._serve(scope, body, send, claims)

    async def _serve(self, scope: Scope, body: RequestBody, send: "_Outlet", claims: AccessClaims) -> None:
        self._check_budget(claims)
        async with self._allotment.held(claims.lease):
            self._check_budget(claims)  # again: others of this lease may have used it up during the wait
            use = _Use(self._meter, claims)
            try:
                await self._proxy(scope, body, send, claims, use)
            finally:
                use.end()

    def _check_budget(self, claims: AccessClaims) -> None:
        used_ms = self._meter.used_ms(claims.lease)
        if used_ms >= claims.limit_gpu_ms:
            raise BudgetSpent(
                f"lease used {used_ms} GPU-ms, the access token allows {claims.limit_gpu_ms}",
                details={"used_gpu_ms": used_ms, "limit_gpu_ms": claims.limit_gpu_ms},
            )

    async def _proxy(self, scope: Scope, body: RequestBody, send: "_Outlet", claims: AccessClaims, use: "_Use") -> None:
        """Until the answer is complete, the client is gone, or the budget or the window ends."""
        headers: Pairs = [(name.lower(), value) for name, value in scope["headers"]]
        own = [(b"commonhold-lease", hex_text(claims.lease).encode())]
        own.append((b"commonhold-holder", address_text(claims.holder).encode()))
        request = httpx.Request(
            scope["method"],
            upstream_url(self._upstream, self._public.prefix, scope),
            headers=request_headers(headers, own),
            content=body if has_body(headers) else None,
            extensions={"timeout": {"connect": CONNECT_S}},  # no other: the budget bounds how long an answer may take
        )
        work = asyncio.create_task(use.during(forward(self._transport, request, send, self._own_headers(claims))))
        gone = asyncio.create_task(body.gone())
        try:
            while not (work.done() or gone.done()):
                await asyncio.wait((work, gone), timeout=self._left_s(claims), return_when=asyncio.FIRST_COMPLETED)
                if not (work.done() or gone.done()):
                    self._check_time(claims)
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled():
            work.result()

    def _left_s(self, claims: AccessClaims) -> float:
        """Seconds until the budget may be spent, or the window over; a token renewed meanwhile moves the former."""
        return min(self._meter.left_ms(claims.lease) / 1_000, max(0, claims.ends_at - self._clock_s()))

    def _check_time(self, claims: AccessClaims) -> None:
        if self._meter.left_ms(claims.lease) <= 0:
            raise BudgetSpent(f"lease used all {self._meter.used_ms(claims.lease)} GPU-ms during the request")
        if self._clock_s() >= claims.ends_at:
            raise LeaseEnded(f"window of the lease ended at {claims.ends_at}, during the request")

    def _receipt(self, claims: AccessClaims) -> dict[str, object]:
        signed = self._meter.receipt(claims.lease)
        self._sealed()
        return {
            "lease": hex_text(signed.receipt.lease),
            "gpu_ms": signed.receipt.gpu_ms,
            "head": hex_text(signed.receipt.head),
            "node_signature": hex_text(signed.node_signature),
        }

    def _metadata(self) -> dict[str, object]:
        return {
            "resource": self._public.url,
            "authorization_servers": [self._public.issuer],
            "bearer_methods_supported": [],  # none of RFC 6750: tokens are bound to keys
            "dpop_bound_access_tokens_required": True,
            "dpop_signing_alg_values_supported": ["ES256"],
            "authorization_details_types_supported": ["gpu_time"],
        }

    def _asked(self, scope: Scope) -> Asked:
        def all_of(name: bytes) -> tuple[str, ...]:
            return tuple(value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name)

        url = self._public.origin + scope["raw_path"].decode("ascii")
        return Asked(scope["method"], url, all_of(b"authorization"), all_of(b"dpop"))

    def _own_headers(self, claims: AccessClaims) -> Pairs:
        used = str(self._meter.used_ms(claims.lease)).encode()
        return [
            (b"dpop-nonce", self._nonces.issue(self._clock_s()).encode()),
            (b"commonhold-used-gpu-ms", used),  # when the answer began
            (b"commonhold-limit-gpu-ms", str(claims.limit_gpu_ms).encode()),
        ]


class _Use:
    """One request's use of the GPUs: from when this is made until `end`, or until what it is `during` is over."""

    def __init__(self, meter: NodeMeter, claims: AccessClaims) -> None:
        meter.begin(claims.lease, claims.limit_gpu_ms)
        self._meter, self._lease, self._over = meter, claims.lease, False

    def end(self) -> None:
        """Ends it, once."""
        if not self._over:
            self._over = True
            self._meter.end(self._lease)

    async def during(self, work: Awaitable[None]) -> None:
        """Ends it with the answer's last byte, not when the loop comes round to what waits for that."""
        try:
            await work
        finally:
            self.end()


class _Outlet:
    """`send` that knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        await self._send(message)
