"""What is owned: dataset versions, model versions and machines, each with its appraisal."""

from fastapi import APIRouter

from commonhold.api.deps import AtBlock, Paged, Read, to_id
from commonhold.api.schemas import AssetDetail, AssetOut, HoldingOut, shaped
from commonhold.errors import NotFound
from commonhold.mirror import read
from commonhold.units import AssetId

router = APIRouter(prefix="/v1/assets", tags=["ownership"])


@router.get("", response_model=list[AssetOut])
async def assets(db: Read, _at: AtBlock, page: Paged) -> list[AssetOut]:
    """All assets, by class and id."""
    return shaped(AssetOut, (await read.assets(db))[page.slice])


@router.get("/{asset}", response_model=AssetDetail)
async def asset(asset: str, db: Read, _at: AtBlock) -> AssetDetail:
    """One asset, with its devices and who owns it."""
    asset_id = AssetId(to_id(asset, 192))
    row = await read.asset(db, asset_id)
    if row is None:
        raise NotFound(f"no asset {asset_id}")
    group = await read.asset_class(db, row.class_id)
    shown = AssetOut.model_validate(row)
    return AssetDetail(
        **shown.model_dump(),
        class_name=group.name if group else "",
        devices=list(await read.devices(db, asset_id)),
        holdings=shaped(HoldingOut, await read.holdings(db, asset=asset_id)),
    )
