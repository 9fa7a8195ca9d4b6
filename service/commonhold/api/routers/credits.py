"""The right to use an asset: what is offered, and who has credits."""

from typing import Annotated

from fastapi import APIRouter, Query

from commonhold.api.deps import At, AtBlock, Paged, Read, to_id
from commonhold.api.schemas import CreditOut, OfferOut, shaped
from commonhold.mirror import read
from commonhold.units import AssetId, credit_parts, to_address

router = APIRouter(prefix="/v1", tags=["use"])


@router.get("/offers", response_model=list[OfferOut])
async def offers(
    db: Read, _at: AtBlock, page: Paged, asset: Annotated[str | None, Query(description="only of this asset")] = None
) -> list[OfferOut]:
    """What can be bought (or is granted: price 0), by asset, window and tranche."""
    rows = await read.offers(db, None if asset is None else AssetId(to_id(asset, 192)), page.slice)
    return shaped(OfferOut, rows)


@router.get("/credits", response_model=list[CreditOut])
async def credits(db: Read, at: At, page: Paged, holder: str) -> list[CreditOut]:
    """Credits of one account: seconds that are not redeemed yet."""
    return [_shown(row) for row in await read.credits(db, to_address(holder), at, page.slice)]


def _shown(row: read.Credit) -> CreditOut:
    asset, window, tranche = credit_parts(row.credit_id)
    return CreditOut(
        credit_id=str(row.credit_id),
        asset=str(asset),
        window=window,
        tranche=tranche,
        holder=row.holder,
        seconds=row.seconds,
    )
