"""The access token: a JWT (RFC 9068) for one lease, bound to its session key. Pure: the service mints it, gateways and
clients verify it offline; nothing here knows SQL, the chain or a clock.

Evolution: claims and members of `authorization_details` are added, never renamed or removed; verifiers ignore what they
do not know. The bytes in tests/vectors/access/ must verify for ever.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, KeySet

from commonhold.errors import CommonholdError
from commonhold.units import Address, AssetId, GpuMs, Hash32, address_text, hex_text, to_address, to_hash32

ALGORITHM = "ES256"  # the only one that every stock library verifies by default, and hardware keys make
TYPE = "at+jwt"
GRANT_TYPE = "gpu_time"  # `type` of the authorization details, RFC 9396
MAX_TTL_S = 300
MAX_TOKEN_BYTES = 8_192
MAX_SKEW_S = 30  # how far the verifier's clock may be behind the issuer's

T = TypeVar("T")


class TokenInvalid(CommonholdError):
    """The access token is not one that this verifier accepts."""

    status = 401
    code = "invalid_token"


class UnknownKey(TokenInvalid):
    """The token names a key that is not in the key set: fetching the key set again may help, once."""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a token says. `limit_gpu_ms` counts from the lease's first second: it is the most cumulative GPU time that
    the gateway may have served on the lease, not what this token adds."""

    issuer: str
    audience: str
    chain_id: int
    holder: Address
    client_id: str
    issued_at: int
    expires_at: int
    jti: str
    scope: str
    jkt: str
    lease: Hash32
    asset: AssetId
    class_name: str
    limit_gpu_ms: GpuMs
    level: int
    policy: str
    ends_at: int  # the end of the lease's window, Unix seconds


def mint(key: ECKey, claims: AccessClaims) -> str:
    """The signed token. `key` is private and has its `kid`."""
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}
    return jwt.encode(header, to_json(claims), key, algorithms=[ALGORITHM])


def verify(token: str, keys: KeySet, *, issuer: str, audience: str | None, now_s: int) -> AccessClaims:
    """The claims of a token that is genuine, in time and meant for `audience`.

    (1) size, (2) signature by one of `keys`, ES256 only, (3) type, (4) claims, (5) issuer and audience, (6) time.
    `audience=None` leaves the audience to the caller: only the issuer itself may, who answers for all of them.
    The caller MUST check the proof of possession against `jkt`. Raises TokenInvalid; UnknownKey for an unknown `kid`.
    """
    # (1) size
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenInvalid(f"access token of {len(token)} characters: expected at most {MAX_TOKEN_BYTES}")
    # (2) signature
    try:
        decoded = jwt.decode(token, lambda signed: _named_key(keys, signed.headers()), algorithms=[ALGORITHM])
    except InvalidKeyIdError as e:
        raise UnknownKey("access token names a key that the key set does not have") from e
    except (JoseError, ValueError, TypeError, RecursionError) as e:
        raise TokenInvalid(f"access token does not verify: {type(e).__name__}") from e
    # (3) type
    if str(decoded.header.get("typ", "")).lower().removeprefix("application/") != TYPE:
        raise TokenInvalid(f"access token has type {decoded.header.get('typ')!r}, expected {TYPE!r}")
    # (4) claims
    claims = from_json(decoded.claims)
    # (5) issuer and audience
    if claims.issuer != issuer:
        raise TokenInvalid(f"access token is from {claims.issuer[:200]!r}, expected {issuer!r}")
    if audience is not None and claims.audience != audience:
        raise TokenInvalid(f"access token is for {claims.audience[:200]!r}, expected {audience!r}")
    # (6) time
    if now_s >= claims.expires_at:
        raise TokenInvalid(f"access token expired at {claims.expires_at}, it is {now_s}")
    if claims.issued_at > now_s + MAX_SKEW_S:
        raise TokenInvalid(f"access token was issued at {claims.issued_at}, it is {now_s}")
    if claims.expires_at - claims.issued_at > MAX_TTL_S:
        raise TokenInvalid(f"access token lives {claims.expires_at - claims.issued_at} s, expected at most {MAX_TTL_S}")
    return claims


def key_set(document: bytes | Mapping[str, Any]) -> KeySet:
    """The verification keys of a JWKS: P-256 keys for signatures that have a `kid`; all others are left out.

    Raises TokenInvalid when the document is no JWKS or has no such key.
    """
    try:
        parsed = json.loads(document) if isinstance(document, bytes) else document
        usable = [k for k in parsed["keys"] if k.get("crv") == "P-256" and k.get("use") != "enc" and k.get("kid")]
        public = [{name: value for name, value in k.items() if name != "d"} for k in usable]
        keys = [ECKey.import_key(k) for k in public]
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise TokenInvalid(f"key set does not parse: {type(e).__name__}") from e
    if not keys:
        raise TokenInvalid("key set has no P-256 key with a kid")
    return KeySet(list(keys))


def to_json(claims: AccessClaims) -> dict[str, Any]:
    """The claims as they stand in the token, and in the answer of introspection."""
    return {
        "iss": claims.issuer,
        "sub": f"eip155:{claims.chain_id}:{address_text(claims.holder)}",
        "aud": claims.audience,
        "client_id": claims.client_id,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "jti": claims.jti,
        "scope": claims.scope,
        "cnf": {"jkt": claims.jkt},
        "authorization_details": [grant_json(claims)],
    }


def grant_json(claims: AccessClaims) -> dict[str, Any]:
    """The authorization details as granted."""
    return {
        "type": GRANT_TYPE,
        "lease": hex_text(claims.lease),
        "asset": str(claims.asset),
        "class": claims.class_name,
        "limit_gpu_ms": claims.limit_gpu_ms,
        "level": claims.level,
        "policy": claims.policy,
        "ends_at": claims.ends_at,
    }


def from_json(claims: Mapping[str, Any]) -> AccessClaims:
    """The claims of a decoded token. Raises TokenInvalid, naming the claim that is missing or of a wrong kind."""
    namespace, chain_id, holder = _subject(_typed(claims, "sub", str))
    if namespace != "eip155":
        raise TokenInvalid(f"claim 'sub' is in namespace {namespace[:20]!r}, expected 'eip155'")
    details = _typed(claims, "authorization_details", list)
    if len(details) != 1 or not isinstance(details[0], dict) or details[0].get("type") != GRANT_TYPE:
        raise TokenInvalid(f"claim 'authorization_details': expected one of type {GRANT_TYPE!r}")
    grant = details[0]
    try:
        return AccessClaims(
            issuer=_typed(claims, "iss", str),
            audience=_typed(claims, "aud", str),
            chain_id=int(chain_id),
            holder=to_address(holder),
            client_id=_typed(claims, "client_id", str),
            issued_at=_whole(claims, "iat"),
            expires_at=_whole(claims, "exp"),
            jti=_typed(claims, "jti", str),
            scope=_typed(claims, "scope", str),
            jkt=_typed(_typed(claims, "cnf", dict), "jkt", str),
            lease=to_hash32(_typed(grant, "lease", str)),
            asset=AssetId(int(_typed(grant, "asset", str))),
            class_name=_typed(grant, "class", str),
            limit_gpu_ms=GpuMs(_whole(grant, "limit_gpu_ms")),
            level=_whole(grant, "level"),
            policy=_typed(grant, "policy", str),
            ends_at=_whole(grant, "ends_at"),
        )
    except TokenInvalid:
        raise
    except (CommonholdError, ValueError) as e:
        raise TokenInvalid(f"access token has a claim that does not parse: {e}") from e


def _named_key(keys: KeySet, header: Mapping[str, Any]) -> Any:
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise TokenInvalid("access token names no key")
    return keys.get_by_kid(kid)


def _subject(subject: str) -> tuple[str, str, str]:
    parts = subject.split(":")
    if len(parts) != 3 or not parts[1].isdecimal():
        raise TokenInvalid(f"claim 'sub' is {subject[:80]!r}, expected eip155:<chain>:<address>")
    return parts[0], parts[1], parts[2]


def _typed(claims: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = claims.get(name)
    if not isinstance(value, kind):
        raise TokenInvalid(f"claim {name!r}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def _whole(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 1 << 63:  # bool is an int to isinstance
        raise TokenInvalid(f"claim {name!r}: expected a whole number from 0, got {type(value).__name__}")
    return value
