"""What a service says its mirror's digest is, signed: two operators' words can be held against each other, and kept.

A JWS (RFC 7515) by one of the keys at /jwks.json, whose type keeps it from passing for an access token (RFC 8725,
3.11). Pure.
"""

from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from commonhold.errors import BadInput, CommonholdError
from commonhold.units import BlockNumber, Hash32, hex_text, to_hash32

TYPE = "commonhold-digest+jwt"
ALGORITHM = "ES256"


class SayingInvalid(CommonholdError):
    """A signed digest is no such thing, or of other keys."""

    status = 502
    code = "saying_invalid"


@dataclass(frozen=True, slots=True)
class Saying:
    """The digest of one deployment's mirror after one block."""

    issuer: str
    issued_at: int  # Unix seconds
    chain_id: int
    deployment: Hash32  # fingerprint
    block: BlockNumber
    block_hash: Hash32 | None  # None: a final block without events, whose hash is not kept
    digest: Hash32


def sign(saying: Saying, key: ECKey) -> str:
    """The compact JWS."""
    claims = {
        "iss": saying.issuer,
        "iat": saying.issued_at,
        "chain_id": saying.chain_id,
        "deployment": hex_text(saying.deployment),
        "block": saying.block,
        "block_hash": None if saying.block_hash is None else hex_text(saying.block_hash),
        "digest": hex_text(saying.digest),
    }
    return jwt.encode({"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


def verify(text: str, keys: KeySet) -> Saying:
    """What was signed by one of `keys`. Raises SayingInvalid."""
    try:
        decoded = jwt.decode(text, keys, algorithms=[ALGORITHM])
        if decoded.header.get("typ") != TYPE:
            raise SayingInvalid(f"signed digest has type {decoded.header.get('typ')!r}, expected {TYPE!r}")
        claims = decoded.claims
        block_hash = claims["block_hash"]
        return Saying(
            issuer=str(claims["iss"]),
            issued_at=int(claims["iat"]),
            chain_id=int(claims["chain_id"]),
            deployment=to_hash32(claims["deployment"]),
            block=BlockNumber(int(claims["block"])),
            block_hash=None if block_hash is None else to_hash32(block_hash),
            digest=to_hash32(claims["digest"]),
        )
    except (JoseError, ValueError, TypeError, KeyError, BadInput) as error:
        raise SayingInvalid(f"signed digest: {error}") from error
