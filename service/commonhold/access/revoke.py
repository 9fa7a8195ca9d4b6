"""Is a token still good, and the end of one before its time: introspection (RFC 7662) and revocation (RFC 7009).

Tokens are JWTs that gateways verify offline; `exp` is the main control, and this is for what cannot wait for it. A
token is known by SHA-256 of its `jti`. `revoked_at` is set once and by one statement; nothing clears it, and a token
that is issued again for the same lease is another token.
"""

from typing import Any, Literal

import sqlalchemy as sa
from joserfc.jwk import KeySet

from commonhold.access import token
from commonhold.access.issue import sha256
from commonhold.access.tables import access_token
from commonhold.access.token import AccessClaims, TokenInvalid
from commonhold.db import Db, ReadDb
from commonhold.mirror import read

Status = Literal["valid", "revoked", "unknown"]


async def status(db: ReadDb, jti: str) -> Status:
    """What the record says of a token: "unknown" when no token with this id was issued here, or it is long gone."""
    found = sa.select(access_token.c.revoked_at).where(access_token.c.jti_hash == sha256(jti))
    row = (await db.execute(found)).one_or_none()
    if row is None:
        return "unknown"
    return "valid" if row.revoked_at is None else "revoked"


async def introspect(db: ReadDb, text: str, *, keys: KeySet, issuer: str, now_s: int) -> dict[str, Any]:
    """The answer of introspection: the claims when the token is good now, else only that it is not.

    Good: genuine, in time, issued here, not revoked, and its lease is still on the chain (a reorg can take it away).
    """
    claims = _claims(text, keys, issuer, now_s)
    if claims is None or await status(db, claims.jti) != "valid" or await read.lease(db, claims.lease) is None:
        return {"active": False}
    return {"active": True, "token_type": "DPoP", **token.to_json(claims)}


async def revoke(db: Db, text: str, *, keys: KeySet, issuer: str, now_s: int) -> bool:
    """True when the token is revoked by this call. One that is invalid, over or revoked is left as it is: to whoever
    asks, all of these are the same success."""
    claims = _claims(text, keys, issuer, now_s)
    if claims is None:
        return False
    statement = (
        sa.update(access_token)
        .where(access_token.c.jti_hash == sha256(claims.jti), access_token.c.revoked_at.is_(None))
        .values(revoked_at=now_s)
    )
    return (await db.execute(statement)).rowcount == 1


def _claims(text: str, keys: KeySet, issuer: str, now_s: int) -> AccessClaims | None:
    try:
        return token.verify(text, keys, issuer=issuer, audience=None, now_s=now_s)
    except TokenInvalid:
        return None
