"""Who owns which asset, in units; and whether a transfer would be accepted."""

from typing import Annotated

from fastapi import APIRouter, Query

from commonhold.api.deps import At, AtBlock, Paged, Read, State, to_id
from commonhold.api.schemas import HoldingOut, TransferAllowed, TransferIn, shaped
from commonhold.limits import check
from commonhold.limits.rules import Denied
from commonhold.mirror import read
from commonhold.units import AssetId, to_address, to_units

router = APIRouter(prefix="/v1", tags=["ownership"])


@router.get("/holdings", response_model=list[HoldingOut])
async def holdings(
    db: Read,
    at: At,
    page: Paged,
    asset: Annotated[str | None, Query(description="only of this asset")] = None,
    owner: Annotated[str | None, Query(description="only of this account")] = None,
) -> list[HoldingOut]:
    """Holdings, by asset and owner. Those of the ledger's own address are the commons."""
    rows = await read.holdings(
        db,
        asset=None if asset is None else AssetId(to_id(asset, 192)),
        owner=None if owner is None else to_address(owner),
        at=at,
        part=page.slice,
    )
    return shaped(HoldingOut, rows)


@router.post("/transfers/check", response_model=TransferAllowed)
async def check_transfer(ask: TransferIn, db: Read, at: AtBlock, state: State) -> TransferAllowed:
    """Whether the ledger would accept a transfer; nothing is sent. A refusal is a 409 with the numbers of the limit."""
    decision = await check.transfer(
        db,
        sender=to_address(ask.sender),
        receiver=to_address(ask.receiver),
        asset=AssetId(to_id(ask.asset, 192)),
        units=to_units(ask.units),
        now_s=max(state.clock(), at.timestamp),
    )
    if isinstance(decision, Denied):
        raise decision.error()
    return TransferAllowed(allowed=True, headroom_units=decision.headroom)
