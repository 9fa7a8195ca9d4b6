"""What is owned: dataset versions, model versions and machines, each with its appraisal."""

from fastapi import APIRouter

from commonhold.api.deps import At, Paged, Read, to_id
from commonhold.api.schemas import AssetDetail, AssetOut, HoldingOut, shaped
from commonhold.errors import NotFound
from commonhold.mirror import read
from commonhold.units import AssetId

router = APIRouter(prefix="/v1/assets", tags=["ownership"])


@router.get("", response_model=list[AssetOut])
async def assets(db: Read, at: At, page: Paged) -> list[AssetOut]:
    """All assets, by class and id."""
    return shaped(AssetOut, await read.assets(db, at, page.slice))


@router.get("/{asset}", response_model=AssetDetail)
async def asset(asset: str, db: Read, at: At) -> AssetDetail:
    """One asset, with its devices and who owns it."""
    asset_id = AssetId(to_id(asset, 192))
    row = await read.asset(db, asset_id, at)
    if row is None:
        raise NotFound(f"no asset {asset_id}")
    group = await read.asset_class(db, row.class_id, at)
    shown = AssetOut.model_validate(row)
    return AssetDetail(
        **shown.model_dump(),
        class_name=group.name if group else "",
        devices=list(await read.devices(db, asset_id, at)),
        holdings=shaped(HoldingOut, await read.holdings(db, asset=asset_id, at=at)),
    )


@router.get("/{asset}/owners", response_model=list[HoldingOut])
async def owners(asset: str, db: Read, at: At, page: Paged) -> list[HoldingOut]:
    """Who owns the asset, the largest owner first. The ledger's own address: the commons."""
    asset_id = AssetId(to_id(asset, 192))
    if await read.asset(db, asset_id, at) is None:
        raise NotFound(f"no asset {asset_id}")
    return shaped(HoldingOut, await read.owner_of(db, asset_id, at, page.slice))
