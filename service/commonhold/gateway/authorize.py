"""Who may use this node now: the access token and the proof of possession of one request, checked offline.

In: method, URL and headers. Out: the token's claims. The one thing kept is which proofs were used.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from commonhold.access import dpop
from commonhold.access.dpop import DpopInvalid, NonceKeys
from commonhold.access.token import AccessClaims, TokenInvalid
from commonhold.errors import Unavailable
from commonhold.gateway.keyset import IssuerKeys
from commonhold.gateway.refusals import (
    BearerRefused,
    LeaseEnded,
    NotThisNode,
    ProofOfOtherKey,
    ProofReplayed,
    TokenMissing,
)
from commonhold.units import AssetId

MAX_PROOFS = 200_000  # some 30 MB; at the longest life of a proof that is 600 requests a second


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as it matters here. `url` is the public one."""

    method: str
    url: str
    authorization: tuple[str, ...] = field(repr=False)
    proofs: tuple[str, ...] = field(repr=False)


class UsedProofs:
    """Proofs that were accepted and could still be replayed. When full, requests are refused, none is forgotten."""

    def __init__(self, most: int = MAX_PROOFS) -> None:
        self._most = most
        self._until: dict[bytes, int] = {}  # by a hash: callers choose how long a jti is

    def claim(self, jkt: str, jti: str, until_s: int, now_s: int) -> bool:
        """True for the first use. Raises Unavailable when there is no room to remember it."""
        if len(self._until) >= self._most:
            self._until = {key: until for key, until in self._until.items() if until > now_s}
            if len(self._until) >= self._most:
                raise Unavailable(f"more than {self._most} proofs in use at once")
        key = hashlib.sha256(f"{jkt} {jti}".encode()).digest()
        if key in self._until:
            return False
        self._until[key] = until_s
        return True


class Authorizer:
    """Decides for one asset. `nonces` is of this process alone: so a proof made before a restart cannot be replayed
    after it, although the list of used proofs is gone."""

    def __init__(
        self,
        *,
        keys: IssuerKeys,
        audience: str,
        asset: AssetId,
        chain_id: int,
        nonces: NonceKeys,
        clock_s: Callable[[], int],
    ) -> None:
        self._keys, self._audience, self._asset, self._chain_id = keys, audience, asset, chain_id
        self._nonces, self._clock_s = nonces, clock_s
        self._used = UsedProofs()

    async def use(self, asked: Asked) -> AccessClaims:
        """The claims of whoever may use the GPUs now.

        (1) one token, sent as DPoP; (2) one proof; (3) genuine token for this gateway, in time; (4) proof for this
        request and token, with our nonce; (5) by the token's key; (6) not used before; (7) for this node's asset;
        (8) within the lease's window. Raises CommonholdError, with the status to answer.
        """
        claims = await self._verified(asked, late_s=0)
        # (8) window
        now_s = self._clock_s()
        if now_s >= claims.ends_at:
            raise LeaseEnded(f"window of the lease ended at {claims.ends_at}, it is {now_s}")
        return claims

    async def receipt(self, asked: Asked, late_s: int) -> AccessClaims:
        """The same for who asks what was used: the token may have expired up to `late_s` ago, and the window with it.

        Without this, who comes late could never sign for what was used, and the lease would be lost.
        """
        return await self._verified(asked, late_s=late_s)

    async def _verified(self, asked: Asked, *, late_s: int) -> AccessClaims:
        now_s = self._clock_s()
        # (1) token
        token = _token(asked.authorization)
        # (2) proof
        if len(asked.proofs) != 1:
            raise DpopInvalid(f"{len(asked.proofs)} DPoP headers, expected one")
        # (3) genuine, ours, in time
        at_s = min(now_s, max(_expiry(token) - 1, now_s - late_s)) if late_s else now_s
        claims = await self._keys.verify(token, audience=self._audience, now_s=at_s)
        # (4) proof
        proof = dpop.verify(
            asked.proofs[0],
            method=asked.method,
            url=asked.url,
            now_s=now_s,
            access_token=token,
            nonce_ok=lambda nonce: self._nonces.ok(nonce, now_s),
        )
        # (5) key
        if proof.jkt != claims.jkt:
            raise ProofOfOtherKey("DPoP proof is by another key than the access token is bound to")
        # (6) replay: last of what may fail for the proof, so that nothing is remembered for who has no token
        if not self._used.claim(proof.jkt, proof.jti, proof.until, now_s):
            raise ProofReplayed("DPoP proof was used before")
        # (7) node
        if (claims.asset, claims.chain_id) != (self._asset, self._chain_id):
            raise NotThisNode(
                f"access token is for asset {claims.asset} on chain {claims.chain_id}, "
                f"expected {self._asset} on chain {self._chain_id}"
            )
        return claims


def _token(authorization: tuple[str, ...]) -> str:
    if len(authorization) != 1:
        raise TokenMissing(f"{len(authorization)} Authorization headers, expected one: DPoP and an access token")
    scheme, _, token = authorization[0].partition(" ")
    if scheme.lower() == "bearer":
        raise BearerRefused("access token is bound to a key: send it as DPoP with a proof, not as Bearer")
    if scheme.lower() != "dpop" or not token.strip():
        raise TokenMissing("Authorization header: expected DPoP and an access token")
    return token.strip()


def _expiry(token: str) -> int:
    """What an unverified token says of its end; 0 when it says nothing. Only ever narrows what `verify` decides."""
    try:
        payload = token.split(".")[1]
        expires_at = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
    except (IndexError, ValueError, KeyError, TypeError) as e:
        raise TokenInvalid(f"access token does not parse: {type(e).__name__}") from e
    return expires_at if type(expires_at) is int else 0
