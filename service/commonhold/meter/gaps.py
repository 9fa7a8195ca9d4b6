"""Which segments are missing: holes in a node's own count. A function of the stored segments, kept as rows."""

from collections import defaultdict
from collections.abc import Callable, Iterable
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


_s = segment.c
_mine = (_s.asset == sa.bindparam("of"), _s.boot == sa.bindparam("of_boot"))
_lowest = sa.bindparam("lowest", type_=sa.BigInteger)
_highest = sa.bindparam("highest", type_=sa.BigInteger)


def _edge(choose: Callable[..., sa.ColumnElement[int]], beside: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(choose(_s.sequence)).where(*_mine, beside).scalar_subquery()


# Those from the lowest to the highest, and one on each side. Built once: what differs is bound.
_RUN = (
    sa.select(_s.sequence, _s.started_at_ms, _s.ended_at_ms)
    .where(
        *_mine,
        _s.sequence >= sa.func.coalesce(_edge(sa.func.max, _s.sequence < _lowest), _lowest),
        _s.sequence <= sa.func.coalesce(_edge(sa.func.min, _s.sequence > _highest), _highest),
    )
    .order_by(_s.sequence)
)
_FORGET = sa.delete(gap).where(
    gap.c.asset == sa.bindparam("of"),
    gap.c.boot == sa.bindparam("of_boot"),
    gap.c.first_missing.between(sa.bindparam("first"), sa.bindparam("last")),
)


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
    here = {"of": asset, "of_boot": boot}
    found = await db.execute(_RUN, {**here, "lowest": lowest, "highest": highest})
    stored = [(row.sequence, row.started_at_ms, row.ended_at_ms) for row in found]
    if stored[0][0] == lowest:  # nothing is before it
        stored.insert(0, (-1, boot, boot))
    await db.execute(_FORGET, {**here, "first": stored[0][0] + 1, "last": stored[-1][0] - 1})
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
