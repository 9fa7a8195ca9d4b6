"""What the page shows, as text: the mirror's rows, with every GPU-hour beside its level and policy."""

from datetime import UTC, datetime

from commonhold.anchor.concentration import concentration
from commonhold.api.schemas import KINDS
from commonhold.db import ReadDb
from commonhold.limits import check
from commonhold.limits.rules import BPS
from commonhold.meter import totals
from commonhold.mirror import read
from commonhold.mirror.digest import digest
from commonhold.units import Hash32, address_text, gpu_hours_text, hex_text, level_text, units_text

SHORT = 12  # characters of an id that are shown
MOST_ASSETS = 100
MOST_GROUPS = 50
MOST_LEASES = 50
MOST_ANCHORS = 50

Row = dict[str, object]


async def overview(db: ReadDb) -> Row:
    """Everything on the page that the database says, true at one block."""
    at = await read.position(db)
    return {
        "position": {
            "number": at.number,
            "hash": hex_text(at.hash),
            "time": _time(at.timestamp),
            "finalized": at.finalized,
        },
        "digest": hex_text(await digest(db)),
        "counts": await read.counts(db),
        "classes": [await _class(db, row) for row in await read.classes(db)],
        "assets": [await _asset(db, row) for row in await read.assets(db, part=slice(0, MOST_ASSETS))],
        "hours": await _hours(db),
        "leases": [await _lease(db, row) for row in await read.newest_leases(db, MOST_LEASES)],
        "anchors": [
            {
                "epoch": row.epoch,
                "root": hex_text(row.root),
                "count": row.count,
                "gpu_ms": row.gpu_ms,
                "submitter": address_text(row.submitter),
                "uri": row.uri,
                # Anybody may anchor, and name any URI: one that runs in a browser is shown, and is no link.
                "link": row.uri.startswith(("http://", "https://")),
            }
            for row in await read.newest_anchors(db, MOST_ANCHORS)
        ],
    }


async def _class(db: ReadDb, row: read.ClassRow) -> Row:
    limits = await check.class_limits(db, row.class_id)
    groups = await read.group_holdings(db, row.class_id)
    numbers = concentration((units for _, units in groups), row.total_units)
    members = await read.group_sizes(db)
    return {
        "name": row.name,
        "kind": KINDS[row.kind],
        "unit": row.unit,
        "total": units_text(row.total_units),
        "hold_percent": _percent(row.hold_bps),
        "use_percent": _percent(row.use_bps),
        "floor": units_text(row.floor_units),
        "most": units_text(limits.most_units),
        "largest_percent": _percent(numbers.largest_bps_floor),
        "hhi": numbers.hhi_floor,
        "nakamoto": numbers.nakamoto or "none",
        "commons": units_text(row.total_units - numbers.held_units) if row.total_units > numbers.held_units else "",
        "groups": [
            {
                "root": address_text(root),
                "members": members.get(root, 1),
                "units": units_text(units),
                "percent": min(100.0, units * BPS // limits.base_units / 100),
                "over": units > limits.most_units,
            }
            for root, units in groups[:MOST_GROUPS]
        ],
    }


async def _asset(db: ReadDb, row: read.AssetRow) -> Row:
    return {
        "id": str(row.asset),
        "short": _short(str(row.asset)),
        "class": await _class_name(db, row.class_id),
        "units": units_text(row.units),
        "level": level_text(row.level, row.policy),
        "development": "development" in row.policy,
        "devices": len(await read.devices(db, row.asset)),
        "expires": _time(row.expires_at),
        "operator": address_text(row.operator),
    }


async def _hours(db: ReadDb) -> list[Row]:
    return [
        {
            "class": await _class_name(db, row.class_id),
            "window": row.window,
            "level": level_text(row.level, row.policy),
            "development": "development" in row.policy,
            "metered": gpu_hours_text(row.gpu_ms),
            "segments": row.segments,
        }
        for row in await totals.metered(db)
    ]


async def _lease(db: ReadDb, row: read.LeaseRow) -> Row:
    asset = await read.asset(db, row.asset)
    return {
        "id": hex_text(row.lease),
        "short": _short(hex_text(row.lease)),
        "holder": address_text(row.holder),
        "class": await _class_name(db, asset.class_id) if asset else "",
        "level": level_text(asset.level, asset.policy) if asset else "",
        "window": row.window,
        "seconds": row.seconds,
        "settled": f"{row.settled_ms // 1000}.{row.settled_ms % 1000:03d}",
        "paid": row.paid_wei,
    }


async def _class_name(db: ReadDb, class_id: Hash32) -> str:
    row = await read.asset_class(db, class_id)
    return row.name if row else hex_text(class_id)


def _percent(bps: int) -> str:
    return f"{bps / 100:g}"


def _short(text: str) -> str:
    return text if len(text) <= SHORT else text[:SHORT] + "…"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
