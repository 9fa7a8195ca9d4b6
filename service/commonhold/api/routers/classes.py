"""What is counted together under one limit, and how concentrated it is."""

from fastapi import APIRouter

from commonhold.anchor.concentration import concentration
from commonhold.api.deps import At, AtBlock, Paged, Read
from commonhold.api.schemas import KINDS, ClassOut, ConcentrationOut, GroupOut
from commonhold.db import ReadDb
from commonhold.errors import NotFound
from commonhold.limits.check import class_limits
from commonhold.mirror import read
from commonhold.units import hex_text, to_hash32

router = APIRouter(prefix="/v1/classes", tags=["ownership"])


@router.get("", response_model=list[ClassOut])
async def classes(db: Read, _at: AtBlock) -> list[ClassOut]:
    """All classes, by name."""
    return [await _shown(db, row) for row in await read.classes(db)]


@router.get("/{class_id}", response_model=ClassOut)
async def asset_class(class_id: str, db: Read, _at: AtBlock) -> ClassOut:
    """One class, by the hash of its name."""
    row = await read.asset_class(db, to_hash32(class_id))
    if row is None:
        raise NotFound(f"no class {hex_text(to_hash32(class_id))}")
    return await _shown(db, row)


@router.get("/{class_id}/groups", response_model=list[GroupOut])
async def groups(class_id: str, db: Read, at: At, page: Paged) -> list[GroupOut]:
    """What each group owns of the class, the largest first."""
    if await read.asset_class(db, to_hash32(class_id), at) is None:
        raise NotFound(f"no class {hex_text(to_hash32(class_id))}")
    found = await read.group_holdings(db, to_hash32(class_id), at, page.slice)
    return [GroupOut(root=root, units=units) for root, units in found]


async def _shown(db: ReadDb, row: read.ClassRow) -> ClassOut:
    groups = await read.group_holdings(db, row.class_id)
    limits = await class_limits(db, row.class_id)
    numbers = concentration((units for _, units in groups), row.total_units)
    return ClassOut(
        class_id=hex_text(row.class_id),
        name=row.name,
        kind=KINDS[row.kind],
        unit=row.unit,
        hold_bps=row.hold_bps,
        use_bps=row.use_bps,
        min_level=row.min_level,
        floor_units=row.floor_units,
        total_units=row.total_units,
        most_units=limits.most_units,
        concentration=ConcentrationOut.model_validate(numbers),
        holdings=[GroupOut(root=root, units=units) for root, units in groups],
    )
