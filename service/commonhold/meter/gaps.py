"""Which segments are missing: holes in a node's own count. A function of the stored segments, kept as rows."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import sqlalchemy as sa

from commonhold.db import Db, ReadDb
from commonhold.meter.tables import gap, segment
from commonhold.signing import Segment
from commonhold.units import AssetId


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments `first_missing` to `last_missing` of one boot; what they would tell lies between the two times."""

    asset: AssetId
    boot: int
    first_missing: int
    last_missing: int
    from_ms: int
    until_ms: int


async def gaps(db: ReadDb, asset: AssetId | None = None) -> list[Gap]:
    """All gaps, or those of one asset, in order."""
    c = gap.c
    wanted = () if asset is None else (c.asset == asset,)
    found = await db.execute(sa.select(gap).where(*wanted).order_by(c.asset, c.boot, c.first_missing))
    return [Gap(*row) for row in found]


async def restate(db: Db, added: Iterable[Segment]) -> None:
    """The gaps beside `added`, which are stored, are what they are now."""
    runs: dict[tuple[int, int], list[int]] = defaultdict(list)
    for one in added:
        runs[one.asset, one.boot].append(one.sequence)
    for (asset, boot), sequences in runs.items():
        await _restate(db, asset, boot, min(sequences), max(sequences))


async def _restate(db: Db, asset: int, boot: int, lowest: int, highest: int) -> None:
    c = segment.c
    of_boot = sa.select(c.sequence, c.started_at_ms, c.ended_at_ms).where(c.asset == asset, c.boot == boot)
    before = of_boot.where(c.sequence < lowest).order_by(c.sequence.desc()).limit(1)
    after = of_boot.where(c.sequence > highest).order_by(c.sequence).limit(1)
    run = of_boot.where(c.sequence >= lowest, c.sequence <= highest).order_by(c.sequence)
    start = (await db.execute(before)).one_or_none()
    stored = [
        (-1, boot, boot) if start is None else tuple(start),
        *map(tuple, await db.execute(run)),
        *map(tuple, await db.execute(after)),
    ]
    first, last = stored[0][0] + 1, stored[-1][0] - 1
    here = (gap.c.asset == asset, gap.c.boot == boot, gap.c.first_missing >= first, gap.c.first_missing <= last)
    await db.execute(sa.delete(gap).where(*here))
    rows = [
        {
            "asset": asset,
            "boot": boot,
            "first_missing": earlier + 1,
            "last_missing": later - 1,
            "from_ms": ended_at_ms,
            "until_ms": started_at_ms,
        }
        for (earlier, _, ended_at_ms), (later, started_at_ms, _) in pairwise(stored)
        if later > earlier + 1
    ]
    if rows:
        await db.execute(sa.insert(gap), rows)
