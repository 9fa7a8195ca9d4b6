"""Idempotency-Key: a client that lost the answer asks again and gets the same token, not another one.

A key belongs to one client and session key. What is stored are the claims, without the signature: signed again, they
are the same token. A failure is not stored, so the key stays usable for the retry.
"""

import hashlib
import re

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from commonhold.access import token
from commonhold.access.ask import AnswerInFlight, KeyReused, OAuthError
from commonhold.access.tables import access_answer
from commonhold.access.token import AccessClaims
from commonhold.db import Db
from commonhold.units import Hash32

IN_FLIGHT_S = 60  # a request that a crash cut off holds its key no longer than this


def key_hash(header: str, *, client_id: str | None, jkt: str) -> Hash32:
    """What a key is stored under. Quoted (a structured field, as the draft says) and bare are the same key.

    Raises OAuthError.
    """
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not re.fullmatch(r"[\x21-\x7e]{1,128}", key):
        raise OAuthError("Idempotency-Key: expected 1 to 128 visible ASCII characters")
    return Hash32(hashlib.sha256(orjson.dumps([client_id, jkt, key])).digest())


async def begin(db: Db, key: Hash32, request: Hash32, now_s: int) -> AccessClaims | None:
    """Claims the key for `request` (a hash of the form); the stored claims when it was answered before.

    Raises KeyReused for another request, AnswerInFlight when the first is not answered yet.
    """
    insert = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    row = {"key_hash": key, "request_hash": request, "claims": None, "until": now_s + IN_FLIGHT_S}
    claim = insert(access_answer).values(row)
    claim = claim.on_conflict_do_update(
        index_elements=[access_answer.c.key_hash],
        set_={"request_hash": request, "claims": None, "until": row["until"]},
        where=access_answer.c.until <= now_s,
    )
    if (await db.execute(claim)).rowcount == 1:
        return None
    found = (await db.execute(sa.select(access_answer).where(access_answer.c.key_hash == key))).one()
    if found.request_hash != request:
        raise KeyReused("Idempotency-Key was used with another request")
    if found.claims is None:
        raise AnswerInFlight("a request with this Idempotency-Key is being answered", details={"interval": 1})
    return token.from_json(orjson.loads(found.claims))


async def finish(db: Db, key: Hash32, claims: AccessClaims) -> None:
    """The key's answer is this token, for as long as it lives."""
    stored = {"claims": orjson.dumps(token.to_json(claims)), "until": claims.expires_at}
    await db.execute(sa.update(access_answer).where(access_answer.c.key_hash == key).values(stored))


async def release(db: Db, key: Hash32) -> None:
    """The key is free again, unless it has its answer."""
    mine = (access_answer.c.key_hash == key, access_answer.c.claims.is_(None))
    await db.execute(sa.delete(access_answer).where(*mine))
