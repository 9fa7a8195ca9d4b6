"""What was used and delivered, in integer milliseconds, never without the assurance level behind it."""

from typing import Annotated

from fastapi import APIRouter, Query

from commonhold.api.deps import AtBlock, Paged, Read, to_id
from commonhold.api.schemas import DeliveredOut, HoursOut, LeaseTotalOut, shaped
from commonhold.meter import totals
from commonhold.mirror import read
from commonhold.units import AssetId

router = APIRouter(prefix="/v1", tags=["metering"])


@router.get("/hours", response_model=list[HoursOut])
async def hours(db: Read, _at: AtBlock) -> list[HoursOut]:
    """GPU time that nodes signed for, by class, window, assurance level and policy."""
    names = {row.class_id: row.name for row in await read.classes(db)}
    return [
        HoursOut(
            class_id=row.class_id,
            class_name=names[row.class_id],
            window=row.window,
            level=row.level,
            policy=row.policy,
            gpu_ms=row.gpu_ms,
            segments=row.segments,
        )
        for row in await totals.metered(db)
    ]


@router.get("/totals", response_model=list[LeaseTotalOut])
async def lease_totals(
    db: Read, _at: AtBlock, page: Paged, asset: Annotated[str | None, Query(description="only of this asset")] = None
) -> list[LeaseTotalOut]:
    """Per lease: what was metered, what both sides signed for, what is settled; in order of redemption."""
    rows = await totals.lease_totals(db, None if asset is None else AssetId(to_id(asset, 192)))
    return shaped(LeaseTotalOut, rows[page.slice])


@router.get("/delivered", response_model=list[DeliveredOut])
async def delivered(db: Read, _at: AtBlock, page: Paged) -> list[DeliveredOut]:
    """GPU time settled on the chain, by class, window, group (as it was then) and assurance level."""
    return shaped(DeliveredOut, (await read.delivered(db))[page.slice])
