"""DPoP (RFC 9449): proof that whoever sends a request holds the session key. Pure: the service and the gateway verify,
clients make. Nothing is remembered here: the caller keeps `(jkt, jti)` of accepted proofs until `DpopProof.until`.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from commonhold.errors import CommonholdError
from commonhold.p256 import p256_key, p256_point

TYPE = "dpop+jwt"
MAX_PROOF_BYTES = 4_096
MAX_AGE_S = 300  # laptops' clocks are minutes off; where a nonce is asked for, it is what makes a proof fresh
MAX_AHEAD_S = 60
NONCE_STEP_S = 60
NONCE_STEPS = 5  # a nonce serves for the step it was made in and the four after it


class DpopInvalid(CommonholdError):
    """The proof is missing, malformed, for another request, too old, or was used before."""

    status = 400
    code = "invalid_dpop_proof"


class NonceRequired(DpopInvalid):
    """The proof is good but carries no fresh nonce: the answer has one, and the client tries again."""

    code = "use_dpop_nonce"


@dataclass(frozen=True, slots=True)
class DpopProof:
    """A verified proof. `jkt` is the key's RFC 7638 thumbprint, `point` its x || y (64 bytes). A replay of `jti` under
    the same key must be refused until `until`; later the proof is too old anyway."""

    jkt: str
    jti: str
    iat: int
    point: bytes

    @property
    def until(self) -> int:
        return self.iat + MAX_AGE_S + 1


class NonceKeys:
    """Stateless DPoP nonces: an HMAC over the minute, so that every process with the same secret knows them all."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError(f"nonce secret of {len(secret)} bytes, expected at least 32")
        self._secret = secret

    def issue(self, now_s: int) -> str:
        """The nonce to hand out now."""
        return self._at(now_s // NONCE_STEP_S)

    def ok(self, nonce: str, now_s: int) -> bool:
        """True for a nonce handed out at most NONCE_STEPS steps ago."""
        step = now_s // NONCE_STEP_S
        given = nonce.encode()
        return any(hmac.compare_digest(self._at(step - back).encode(), given) for back in range(NONCE_STEPS))

    def mac(self, purpose: bytes, data: bytes) -> bytes:
        """A MAC for another stateless value under the same secret; `purpose` keeps them apart."""
        return hmac.digest(self._secret, len(purpose).to_bytes(1) + purpose + data, "sha256")

    def _at(self, step: int) -> str:
        return _b64(self.mac(b"dpop-nonce", step.to_bytes(8)))


def make(
    key: ec.EllipticCurvePrivateKey,
    *,
    method: str,
    url: str,
    now_s: int,
    jti: str,
    access_token: str | None = None,
    nonce: str | None = None,
) -> str:
    """A proof for one request. `jti` must not have been used with this key before (16 random bytes do)."""
    header = {"alg": "ES256", "typ": TYPE, "jwk": public_jwk(p256_point(key.public_key()))}
    claims: dict[str, Any] = {"jti": jti, "htm": method, "htu": _without_query(url), "iat": now_s}
    if access_token is not None:
        claims["ath"] = token_hash(access_token)
    if nonce is not None:
        claims["nonce"] = nonce
    return jwt.encode(header, claims, ECKey.import_key(key), algorithms=["ES256"])


def verify(
    proof: str,
    *,
    method: str,
    url: str,
    now_s: int,
    access_token: str | None = None,
    nonce_ok: Callable[[str], bool] | None = None,
) -> DpopProof:
    """What a proof proves: that the holder of `point` made this request now. Source: RFC 9449, section 4.3.

    (1) size, (2) the signature verifies under the key in the header, which is a public P-256 key, (3) type, (4) claims,
    (5) this method and URL, (6) this access token, (7) a fresh nonce where `nonce_ok` asks for one, (8) time.
    The caller MUST compare `jkt` with what the token or lease is bound to, and refuse a `jti` seen before.
    Raises DpopInvalid; NonceRequired when only the nonce is missing or stale.
    """
    # (1) size
    if len(proof) > MAX_PROOF_BYTES:
        raise DpopInvalid(f"DPoP proof of {len(proof)} characters: expected at most {MAX_PROOF_BYTES}")
    # (2) signature
    points: list[bytes] = []

    def session_key(signed: Any) -> ECKey:
        point, key = _header_key(signed.headers())
        points.append(point)
        return key

    try:
        decoded = jwt.decode(proof, session_key, algorithms=["ES256"])
    except (JoseError, ValueError, TypeError, RecursionError) as e:
        raise DpopInvalid(f"DPoP proof does not verify: {type(e).__name__}") from e
    # (3) type
    if decoded.header.get("typ") != TYPE:
        raise DpopInvalid(f"DPoP proof has type {decoded.header.get('typ')!r}, expected {TYPE!r}")
    # (4) claims
    claims = decoded.claims
    jti, htm, htu = (_text(claims, name) for name in ("jti", "htm", "htu"))
    iat = claims.get("iat")
    if type(iat) is not int or not 0 <= iat < 1 << 53:
        raise DpopInvalid("DPoP proof: claim 'iat' is not a whole number")
    # (5) method and URL
    if htm != method:
        raise DpopInvalid(f"DPoP proof is for method {htm[:20]!r}, expected {method!r}")
    if _normal(htu) != _normal(_without_query(url)):
        raise DpopInvalid(f"DPoP proof is for {htu[:200]!r}, expected {_without_query(url)!r}")
    # (6) access token
    if access_token is not None and not _same(_text(claims, "ath"), token_hash(access_token)):
        raise DpopInvalid("DPoP proof is for another access token")
    # (7) nonce
    nonce = claims.get("nonce")
    if nonce_ok is not None and not (isinstance(nonce, str) and nonce.isascii() and nonce_ok(nonce)):
        raise NonceRequired("DPoP proof needs the nonce of the DPoP-Nonce header")
    # (8) time
    if not now_s - MAX_AGE_S <= iat <= now_s + MAX_AHEAD_S:
        raise DpopInvalid(f"DPoP proof is from {iat}, it is {now_s}: expected at most {MAX_AGE_S} s old")
    return DpopProof(jkt=thumbprint(points[0]), jti=jti, iat=iat, point=points[0])


def thumbprint(point: bytes) -> str:
    """The `jkt` of a P-256 key x || y. Source: RFC 7638."""
    return _b64(hashlib.sha256(json.dumps(public_jwk(point), sort_keys=True, separators=(",", ":")).encode()).digest())


def public_jwk(point: bytes) -> dict[str, str]:
    """The public JWK of x || y, with the members that a thumbprint covers and no others."""
    return {"crv": "P-256", "kty": "EC", "x": _b64(point[:32]), "y": _b64(point[32:])}


def token_hash(access_token: str) -> str:
    """The `ath` of an access token."""
    return _b64(hashlib.sha256(access_token.encode()).digest())


def _header_key(header: Mapping[str, Any]) -> tuple[bytes, ECKey]:
    jwk = header.get("jwk")
    if not isinstance(jwk, dict) or jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or "d" in jwk:
        raise DpopInvalid("DPoP proof: expected a public P-256 key in 'jwk'")
    point = b"".join(_coordinate(jwk.get(name)) for name in ("x", "y"))
    key = p256_key(point)
    if key is None:
        raise DpopInvalid("DPoP proof: 'jwk' is no point of P-256")
    return point, ECKey.import_key(key)


def _coordinate(text: object) -> bytes:
    if not isinstance(text, str) or len(text) != 43 or not text.isascii():  # 32 bytes, RFC 7518 6.2.1.2
        raise DpopInvalid("DPoP proof: a coordinate of 'jwk' is not 32 bytes")
    data = base64.urlsafe_b64decode(text + "=")
    if _b64(data) != text:  # the decoder skips foreign characters and stray bits
        raise DpopInvalid("DPoP proof: a coordinate of 'jwk' is not 32 bytes")
    return data


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 2_048:
        raise DpopInvalid(f"DPoP proof: claim {name!r} is missing or not text")
    try:
        value.encode()
    except UnicodeEncodeError as e:  # JSON can escape a lone surrogate
        raise DpopInvalid(f"DPoP proof: claim {name!r} is not text") from e
    return value


def _without_query(url: str) -> str:
    return url.split("#", 1)[0].split("?", 1)[0]


def _normal(url: str) -> tuple[str, str, int | None, str]:
    """Scheme and host in lower case, no default port, no empty path. Source: RFC 9449, 4.3; RFC 3986, 6.2."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise DpopInvalid("DPoP proof: claim 'htu' is no URL") from e
    if parts.query or parts.fragment or parts.username is not None:
        raise DpopInvalid("DPoP proof: claim 'htu' has a query, fragment or user name")
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port or default, parts.path or "/"


def _same(text: str, expected: str) -> bool:
    return hmac.compare_digest(text.encode(), expected.encode())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
