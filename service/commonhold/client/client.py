"""The developer's SDK: credits in, answers of a provider's machine out. Needs a wallet's key to redeem, and no gas.

async with Client(service_url, wallet_key) as client:
    lease = await client.redeem(credit_id, seconds)
    answer = await lease.request("POST", "/v1/embeddings", json={"input": "hello"})
    await lease.close()
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

from commonhold.client.lease import Lease
from commonhold.client.service import Deployment, NodeAsset, Service, Token
from commonhold.client.signin import sign_in_message
from commonhold.errors import BadInput
from commonhold.p256 import p256_point
from commonhold.signing import Redemption, Rotation, Split, TopUp, digest, from_message, typed_data
from commonhold.units import Address, AssetId, Hash32, credit_parts, hex_text, to_address, to_hash32

DEADLINE_S = 600  # how long a signed redemption can still be sent to the chain
WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class SignedRedemption:
    """What the wallet signed. Kept, it can be exchanged again after any failure: it spends its credits once."""

    lease: Hash32
    redemption: Redemption
    document: Mapping[str, Any] = field(repr=False)  # the subject token

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs; whoever has it can spend these credits into this lease, and nothing else."""
        return {"lease": hex_text(self.lease), "document": dict(self.document)}

    @classmethod
    def from_json(cls, kept: Any) -> Self:
        """Raises BadInput."""
        try:
            document = kept["document"]
            return cls(to_hash32(kept["lease"]), from_message(Redemption, document["redemption"]), document)
        except (KeyError, TypeError) as e:
            raise BadInput(f"signed redemption: expected lease and document, {type(e).__name__} {e}") from e


class Client:
    """One developer at one service. `wallet_key`: 32 bytes, secp256k1. `session_key`: P-256; None makes a new one."""

    def __init__(
        self,
        service_url: str,
        wallet_key: bytes,
        session_key: ec.EllipticCurvePrivateKey | None = None,
        *,
        clock_s: Callable[[], int] = lambda: int(time.time()),
        wait_s: float = WAIT_S,
    ) -> None:
        """wait_s: how long to wait for a lease to be on the chain and mirrored."""
        try:
            self._wallet = Account.from_key(wallet_key)
        except ValueError as e:
            raise BadInput(f"wallet key of {len(wallet_key)} bytes: expected a secp256k1 key of 32") from e
        self.session_key = session_key or ec.generate_private_key(ec.SECP256R1())
        self._clock_s, self._wait_s = clock_s, wait_s
        tls = httpx.create_ssl_context()
        # trust_env: a proxy from the environment must not see tokens.
        self._http = httpx.AsyncClient(base_url=service_url, verify=tls, trust_env=False, timeout=30)
        self._gateways = httpx.AsyncClient(verify=tls, trust_env=False, timeout=httpx.Timeout(30, read=600))
        self._service = Service(self._http, self.session_key, clock_s, wait_s)
        self._deployment: Deployment | None = None

    @property
    def address(self) -> Address:
        """The wallet's account."""
        return to_address(self._wallet.address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends all connections; leases stay as they are."""
        await self._http.aclose()
        await self._gateways.aclose()

    async def redeem(self, credit_id: int, seconds: int) -> Lease:
        """A lease of `seconds` credits with its first token. The credits are spent even if the answer gets lost: to be
        able to try again then, use `sign_redemption` and `exchange`, and keep what was signed."""
        return await self.exchange(await self.sign_redemption(credit_id, seconds))

    async def sign_redemption(self, credit_id: int, seconds: int) -> SignedRedemption:
        """The one signature that a redemption takes. Raises Unreachable, ServiceRefused."""
        if seconds < 1:
            raise BadInput(f"seconds: expected at least 1, got {seconds}")
        deployment = await self._known()
        point = p256_point(self.session_key.public_key())
        redemption = Redemption(
            holder=self.address,
            id=credit_id,
            amount=seconds,
            key_x=Hash32(point[:32]),
            key_y=Hash32(point[32:]),
            nonce=secrets.randbits(128),
            deadline=self._clock_s() + DEADLINE_S,
        )
        data = typed_data(deployment.access, redemption)
        signature = self._wallet.sign_message(encode_typed_data(full_message=data)).signature
        document = {"redemption": data["message"], "signature": hex_text(bytes(signature))}
        return SignedRedemption(Hash32(digest(deployment.access, redemption)), redemption, document)

    async def exchange(self, signed: SignedRedemption) -> Lease:
        """The lease of a signed redemption: made now, or found when it was made before.

        Raises ServiceRefused (limits and their numbers in `details`), Unreachable, TokenNotOurs.
        """
        deployment = await self._known()
        asset = await self._service.asset(credit_parts(signed.redemption.id)[0])
        issued = await self._service.token("redemption", signed.document, asset=asset, lease=signed.lease)
        return self._lease(signed.lease, issued, asset, deployment)

    async def open(self, lease: Hash32, *, observed_gpu_ms: int = 0, requests: int = 0) -> Lease:
        """A lease that the wallet holds, whose present session key is this client's: by signing in. For the part that a
        split made, or a lease whose key was rotated: then with what was observed before, or its receipts are disputed.

        Raises ServiceRefused, Unreachable, TokenNotOurs.
        """
        row = await self._service.get(f"/v1/leases/{hex_text(lease)}")
        asset = await self._service.asset(AssetId(int(row["asset"])))
        deployment, issuer, nonce = (
            await self._known(),
            await self._service.issuer(),
            await self._service.sign_in_nonce(),
        )
        urn = f"urn:commonhold:lease:{hex_text(lease)}"
        message = sign_in_message(self.address, issuer, deployment.chain_id, nonce, (urn, asset.uri), self._clock_s())
        signature = self._wallet.sign_message(encode_defunct(text=message)).signature
        document = {"message": message, "signature": hex_text(bytes(signature))}
        issued = await self._service.token("siwe", document, asset=asset, lease=lease)
        return self._lease(lease, issued, asset, deployment, observed_gpu_ms, requests)

    async def split(self, lease: Hash32, seconds: int, session_key: ec.EllipticCurvePrivateKey) -> Hash32:
        """Part of a lease is one of its own, of another session key; its id. The service pays the gas.

        `Client(url, wallet, session_key).open(part)` uses it. Raises ServiceRefused, Unreachable.
        """
        x, y = _halves(session_key)
        deployment, change = await self._known(), await self._next_change(lease)
        return await self._change(deployment, Split(lease, seconds, x, y, change, self._clock_s() + DEADLINE_S))

    async def top_up(self, lease: Hash32, seconds: int) -> None:
        """More of the wallet's credits are in the lease; its next token allows for them. The service pays the gas.

        Raises ServiceRefused (limits and their numbers in `details`), Unreachable.
        """
        deployment, change = await self._known(), await self._next_change(lease)
        await self._change(deployment, TopUp(lease, seconds, change, self._clock_s() + DEADLINE_S))

    async def rotate(self, lease: Lease, session_key: ec.EllipticCurvePrivateKey) -> Lease:
        """The same lease under another session key, which this client goes on with; what was used counts on. The time
        so far is signed for with the old key first, which proves use for an hour more. The service pays the gas.

        Raises what `Lease.close` and `open` raise; after the first, nothing has changed.
        """
        await lease.close()
        await self.rotate_key(lease.lease, session_key)
        kept = lease.to_json()
        return await self.open(lease.lease, observed_gpu_ms=kept["observed_gpu_ms"], requests=kept["requests"])

    async def rotate_key(self, lease: Hash32, session_key: ec.EllipticCurvePrivateKey) -> None:
        """The lease is bound to another session key, and this client has it. Raises ServiceRefused, Unreachable."""
        x, y = _halves(session_key)
        deployment, change = await self._known(), await self._next_change(lease)
        await self._change(deployment, Rotation(lease, x, y, change, self._clock_s() + DEADLINE_S))
        self.session_key = session_key
        self._service = Service(self._http, session_key, self._clock_s, self._wait_s)

    async def _next_change(self, lease: Hash32) -> int:
        return int((await self._service.get(f"/v1/leases/{hex_text(lease)}"))["changes"])

    async def _change(self, deployment: Deployment, statement: Split | TopUp | Rotation) -> Hash32:
        data = typed_data(deployment.access, statement)
        signature = self._wallet.sign_message(encode_typed_data(full_message=data)).signature
        body = {"primaryType": data["primaryType"], "message": data["message"], "signature": hex_text(bytes(signature))}
        return to_hash32(str((await self._service.change(body))["lease"]))

    async def resume(self, kept: Mapping[str, Any]) -> Lease:
        """The lease that `Lease.to_json` described; the session key must be the same.

        Raises BadInput, ServiceRefused, Unreachable, TokenNotOurs.
        """
        try:
            lease, asset_id, text = to_hash32(kept["lease"]), AssetId(int(kept["asset"])), str(kept["access_token"])
            observed_ms, requests, expires_at = (int(kept[n]) for n in ("observed_gpu_ms", "requests", "expires_at"))
        except (KeyError, TypeError, ValueError) as e:
            raise BadInput(f"lease as it was kept: {type(e).__name__}: {e}") from e
        asset = await self._service.asset(asset_id)
        # An ended token still gets the receipt, and with it the next token.
        issued = await self._service.checked(text, asset, lease, min(self._clock_s(), expires_at - 1))
        return self._lease(lease, issued, asset, await self._known(), observed_ms, requests)

    async def _known(self) -> Deployment:
        if self._deployment is None:
            self._deployment = await self._service.deployment()
        return self._deployment

    def _lease(
        self,
        lease: Hash32,
        issued: Token,
        asset: NodeAsset,
        deployment: Deployment,
        observed_gpu_ms: int = 0,
        requests: int = 0,
    ) -> Lease:
        return Lease(
            lease=lease,
            token=issued,
            asset=asset,
            meter=deployment.meter,
            key=self.session_key,
            service=self._service,
            http=self._gateways,
            clock_s=self._clock_s,
            observed_gpu_ms=observed_gpu_ms,
            requests=requests,
        )


def _halves(key: ec.EllipticCurvePrivateKey) -> tuple[Hash32, Hash32]:
    point = p256_point(key.public_key())
    return Hash32(point[:32]), Hash32(point[32:])
