"""Redeemed credits; and what a holder needs to redeem: the statement to sign, and whether it would be accepted."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Query

from commonhold.api.deps import AppState, At, AtBlock, Paged, Read, State, to_id
from commonhold.api.schemas import LeaseOut, RedemptionAllowed, RedemptionIn, TypedData
from commonhold.errors import BadInput, NotFound
from commonhold.limits import check
from commonhold.limits.rules import Denied
from commonhold.mirror import read
from commonhold.signing import Redemption, digest, from_message, typed_data
from commonhold.units import AssetId, Hash32, hex_text, to_address, to_hash32

router = APIRouter(prefix="/v1", tags=["use"])

DEADLINE_S = 600  # how long a statement from /v1/redemptions/typed-data can be relayed, unless asked for otherwise


@router.get("/leases", response_model=list[LeaseOut])
async def leases(
    db: Read,
    at: At,
    page: Paged,
    state: State,
    holder: Annotated[str | None, Query(description="only of this account")] = None,
    asset: Annotated[str | None, Query(description="only of this asset")] = None,
) -> list[LeaseOut]:
    """Leases, in order of redemption."""
    rows = await read.leases(
        db,
        holder=None if holder is None else to_address(holder),
        asset=None if asset is None else AssetId(to_id(asset, 192)),
        at=at,
        part=page.slice,
    )
    return [shown(state, row) for row in rows]


@router.get("/leases/{lease}", response_model=LeaseOut)
async def lease(lease: str, db: Read, at: At, state: State) -> LeaseOut:
    """One lease. 404 while the mirror does not show it."""
    row = await read.lease(db, to_hash32(lease), at)
    if row is None:
        raise NotFound(f"no lease {hex_text(to_hash32(lease))}")
    return shown(state, row)


@router.get("/redemptions/typed-data", response_model=TypedData)
async def redemption_typed_data(
    state: State,
    holder: str,
    credit_id: str,
    seconds: Annotated[int, Query(ge=1, lt=1 << 64)],
    session_key: Annotated[str, Query(description="x || y of the session key, 0x and 128 hexadecimal digits")],
    deadline: Annotated[int | None, Query(ge=0, lt=1 << 48, description="default: in ten minutes")] = None,
    nonce: Annotated[str | None, Query(description="any number not used with the same values; default: random")] = None,
) -> TypedData:
    """The EIP-712 statement that turns credits into a lease, for the holder's wallet to sign."""
    if len(session_key) != 130:
        raise BadInput(f"session key of {len(session_key)} characters, expected 0x and 128 hexadecimal digits")
    statement = Redemption(
        holder=to_address(holder),
        id=to_id(credit_id, 256),
        amount=seconds,
        key_x=to_hash32(session_key[:66]),
        key_y=to_hash32("0x" + session_key[66:]),
        nonce=secrets.randbits(128) if nonce is None else to_id(nonce, 256),
        deadline=state.clock() + DEADLINE_S if deadline is None else deadline,
    )
    domain = state.deployment.domain("Access")
    return TypedData(lease=digest(domain, statement), typed_data=typed_data(domain, statement))


@router.post("/redemptions/check", response_model=RedemptionAllowed)
async def check_redemption(ask: RedemptionIn, db: Read, at: AtBlock, state: State) -> RedemptionAllowed:
    """Whether this redemption would be accepted; nothing is sent. A refusal is a 409 with the numbers of the limit."""
    statement = from_message(Redemption, ask.model_dump())
    decision = await check.redemption(
        db, statement, now_s=max(state.clock(), at.timestamp), window_seconds=state.window_seconds
    )
    if isinstance(decision, Denied):
        raise decision.error()
    lease = Hash32(digest(state.deployment.domain("Access"), statement))
    return RedemptionAllowed(allowed=True, headroom_s=decision.headroom, lease=lease)


def shown(state: AppState, row: read.LeaseRow) -> LeaseOut:
    """The lease as clients see it."""
    return LeaseOut(
        lease=row.lease,
        holder=row.holder,
        credit_id=row.credit_id,
        asset=row.asset,
        window=row.window,
        tranche=row.tranche,
        price_wei=row.price_wei,
        seconds=row.seconds,
        starts_at=row.starts_at,
        ends_at=(row.window + 1) * state.window_seconds,
        session_key=row.session_key,
        redeemed_block=row.redeemed_block,
        settled_ms=row.settled_ms,
        paid_wei=row.paid_wei,
        level=row.level,
        key_number=row.key_number,
        changes=row.changes,
        part_of=row.part_of,
        refunded_wei=row.refunded_wei,
    )
