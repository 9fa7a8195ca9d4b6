"""Who was paid of what assets earned. What an asset earned stands with the asset."""

from typing import Annotated

from fastapi import APIRouter, Query

from commonhold.api.deps import AtBlock, Paged, Read, to_id
from commonhold.api.schemas import ClaimOut, CommonsClaimOut, shaped
from commonhold.mirror import revenue
from commonhold.units import AssetId, to_address

router = APIRouter(prefix="/v1", tags=["ownership"])


@router.get("/claims", response_model=list[ClaimOut])
async def claims(
    db: Read,
    _at: AtBlock,
    page: Paged,
    asset: Annotated[str | None, Query(description="only of this asset")] = None,
    account: Annotated[str | None, Query(description="only of this account")] = None,
) -> list[ClaimOut]:
    """Revenue that was claimed, by asset and account. What is still owed: `Ledger.revenueOf`."""
    rows = await revenue.claims(
        db,
        None if asset is None else AssetId(to_id(asset, 192)),
        None if account is None else to_address(account),
    )
    return shaped(ClaimOut, rows[page.slice])


@router.get("/commons-claims", response_model=list[CommonsClaimOut])
async def commons_claims(db: Read, _at: AtBlock, page: Paged) -> list[CommonsClaimOut]:
    """What groups claimed of the commons' revenue, by root."""
    return shaped(CommonsClaimOut, (await revenue.commons_claims(db))[page.slice])
