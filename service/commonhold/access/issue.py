"""Decides a token and records it, in the caller's transaction: what is used up, what is granted and what is remembered
become true together or not at all. The caller signs the claims after the commit.
"""

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from commonhold.access.ask import Ask, InvalidDetails, InvalidGrant, InvalidTarget, Pending, SlowDown
from commonhold.access.dpop import DpopInvalid, DpopProof
from commonhold.access.siwe import SiweInvalid
from commonhold.access.tables import access_answer, access_nonce, access_proof, access_token, relay
from commonhold.access.token import AccessClaims
from commonhold.db import Db
from commonhold.limits import budget
from commonhold.mirror import read
from commonhold.mirror.tiers import Settled, unsettled
from commonhold.units import Address, GpuMs, Hash32, address_text, hex_text

RATE_PERIOD_S = 60
RATE_TOKENS = 30  # tokens of one lease in RATE_PERIOD_S; a client that renews at half time needs one
MAX_PENDING_S = 60
UNSETTLED_S = 12  # a slot of Ethereum
KEEP_S = 86_400


@dataclass(frozen=True, slots=True)
class Terms:
    """What every token of this service has in common."""

    issuer: str
    chain_id: int
    window_seconds: int
    quantum_ms: int  # GPU-ms that a token allows beyond the last receipt
    ttl_s: int


async def grant(
    db: Db,
    ask: Ask,
    lease_id: Hash32,
    proof: DpopProof,
    *,
    holder: Address | None,
    until: Settled,
    terms: Terms,
    now_s: int,
    jti: str,
) -> AccessClaims:
    """The claims of the next token of a lease, recorded.

    (1) the lease exists and is the one asked for, (2) the proof's key is its present session key, (3) `holder`, when
    somebody signed in, holds it, (4) the resource is the asset's gateway, (5) the asset's appraisal is live, the time
    of the lease is now, and both are as settled as `until` says, (6) not too many tokens, (7) budget is left. `holder`
    is None when the subject token speaks for itself.
    Raises OAuthErrors; the transaction must then be rolled back.
    """
    # (1) lease
    lease = await read.lease(db, lease_id)
    if lease is None:
        raise InvalidDetails(f"lease {hex_text(lease_id)} is not on the chain", details={"available_gpu_ms": 0})
    if ask.lease is not None and ask.lease != lease_id:
        raise InvalidDetails(f"authorization_details name lease {hex_text(ask.lease)}, the subject token another")
    # (2) session key
    if proof.point != lease.session_key:
        raise InvalidGrant("DPoP proof is by another key than the lease's present session key")
    # (3) holder
    if holder is not None and holder != lease.holder:
        raise InvalidDetails(f"lease {hex_text(lease_id)} belongs to another holder")
    if holder is not None and (member := await read.member(db, holder)) is not None and member.successor is not None:
        raise InvalidDetails(f"account {address_text(holder)} was replaced: its successor has its leases")
    # (4) resource
    asset = await read.asset(db, lease.asset)
    group = None if asset is None else await read.asset_class(db, asset.class_id)
    if asset is None or group is None:
        raise InvalidTarget(f"asset {lease.asset} of lease {hex_text(lease_id)} is not mirrored")
    if ask.resource not in (None, asset.uri):
        raise InvalidTarget(f"resource {str(ask.resource)[:200]!r}, expected the asset's gateway {asset.uri!r}")
    # (5) time; the chain's clock may run ahead of ours, and it is the one that counts there
    chain_s = max(now_s, (await read.position(db)).timestamp)
    ends_at = (lease.window + 1) * terms.window_seconds
    if asset.expires_at <= chain_s:
        raise InvalidTarget(f"the appraisal of asset {lease.asset} expired at {asset.expires_at}, it is {chain_s}")
    if chain_s >= ends_at:
        raise InvalidDetails(f"the window of the lease ended at {ends_at}, it is {chain_s}", details=_nothing(ends_at))
    if lease.refunded_wei is not None:
        raise InvalidDetails(f"lease {hex_text(lease_id)} was refunded", details=_nothing(ends_at))
    if chain_s < lease.starts_at:
        wait_s = lease.starts_at - chain_s
        raise Pending(f"the lease starts at {lease.starts_at}", details={"interval": min(wait_s, MAX_PENDING_S)})
    if waits := await unsettled(
        db, until, redeemed_block=lease.redeemed_block, holder=lease.holder, asset_id=lease.asset, now_s=chain_s
    ):
        raise Pending(f"lease {hex_text(lease_id)}: {waits}", details={"interval": UNSETTLED_S})
    # (6) rate
    await _check_rate(db, lease_id, now_s)
    # (7) budget
    await budget.open_budget(db, lease_id, lease.seconds * 1000)
    limit_ms = await budget.reserve(db, lease_id, terms.quantum_ms)
    if limit_ms is None:
        raise InvalidDetails(f"lease {hex_text(lease_id)} is used up", details=_nothing(ends_at))

    claims = AccessClaims(
        issuer=terms.issuer,
        audience=asset.uri,
        chain_id=terms.chain_id,
        holder=lease.holder,
        client_id=ask.client_id or proof.jkt,
        issued_at=now_s,
        expires_at=min(now_s + terms.ttl_s, ends_at),
        jti=jti,
        scope=ask.scope,
        jkt=proof.jkt,
        lease=lease_id,
        asset=lease.asset,
        class_name=group.name,
        limit_gpu_ms=GpuMs(limit_ms),
        level=asset.level,
        policy=asset.policy,
        ends_at=ends_at,
    )
    await db.execute(
        sa.insert(access_token).values(
            jti_hash=sha256(jti),
            lease=lease_id,
            jkt=proof.jkt,
            client_id=claims.client_id,
            subject_type=ask.subject,
            limit_ms=limit_ms,
            issued_at=now_s,
            expires_at=claims.expires_at,
        )
    )
    return claims


async def acknowledge(db: Db, lease_id: Hash32, gpu_ms: int) -> bool:
    """True when a receipt's total, whose signatures the meter has checked, freed budget for the next token.

    A node may overshoot a lease by the time of its last requests; that part is recorded, and frees nothing.
    """
    lease = await read.lease(db, lease_id)
    if lease is None:
        return False
    limit_ms = lease.seconds * 1000
    await budget.open_budget(db, lease_id, limit_ms)
    return await budget.settle(db, lease_id, min(gpu_ms, limit_ms))


async def consume_proof(db: Db, proof: DpopProof) -> None:
    """The proof is used; a second use raises DpopInvalid."""
    row = {"jkt": proof.jkt, "jti_hash": sha256(proof.jti), "until": proof.until}
    if not await _insert_once(db, access_proof, row):
        raise DpopInvalid("DPoP proof was used before")


async def consume_nonce(db: Db, nonce: str, until: int) -> None:
    """The sign-in nonce is used; a second use raises SiweInvalid."""
    if not await _insert_once(db, access_nonce, {"nonce_hash": sha256(nonce), "until": until}):
        raise SiweInvalid("sign-in message was used before")


async def forget(db: Db, now_s: int) -> int:
    """Rows that nothing can depend on any more are gone; returns how many. Tokens stay KEEP_S, for questions about
    them."""
    over = [(table, table.c.until <= now_s) for table in (access_proof, access_nonce, access_answer)]
    over += [(access_token, access_token.c.expires_at <= now_s - KEEP_S)]
    over += [(relay, relay.c.claimed_until <= now_s - KEEP_S)]
    return sum([(await db.execute(sa.delete(table).where(old))).rowcount for table, old in over])


def sha256(text: str) -> Hash32:
    """What an id is stored under."""
    return Hash32(hashlib.sha256(text.encode()).digest())


async def _check_rate(db: Db, lease: Hash32, now_s: int) -> None:
    recent = sa.select(sa.func.count()).select_from(access_token)
    recent = recent.where(access_token.c.lease == lease, access_token.c.issued_at > now_s - RATE_PERIOD_S)
    count = (await db.execute(recent)).scalar_one()
    if count >= RATE_TOKENS:
        raise SlowDown(
            f"{count} tokens of the lease in {RATE_PERIOD_S} s, expected at most {RATE_TOKENS}",
            details={"interval": RATE_PERIOD_S, "limit": RATE_TOKENS},
        )


async def _insert_once(db: Db, table: sa.Table, row: dict[str, object]) -> bool:
    """True when the row is new. One statement: of two at once, one gets True."""
    insert = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    return (await db.execute(insert(table).values(row).on_conflict_do_nothing())).rowcount == 1


def _nothing(ends_at: int) -> dict[str, str | int | bool | None]:
    return {"available_gpu_ms": 0, "ends_at": ends_at}
