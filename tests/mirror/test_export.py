"""What a Parquet reader reads back is what the views say, of one block, and an export is there whole or not at all."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import ReadDb, make_engine, read, write
from commonhold.errors import BadInput
from commonhold.mirror import digest, export, views
from commonhold.mirror.apply import apply
from commonhold.mirror.export import FolderTaken
from commonhold.mirror.read import BlockNotMirrored, MirrorEmpty
from commonhold.mirror.tables import HISTORY, shown
from commonhold.units import hex_text
from tests.mirror.history import HISTORY as TOLD
from tests.mirror.history import NODE, hash32, play, stamp
from tests.mirror.test_past import LAST, stand_at

Rows = list[dict[str, Any]]


async def seen(db: ReadDb, name: str) -> Rows:
    """The rows of a view, in the order of its keys, as a Parquet reader gives them."""
    table = dict(views.tables())[name]
    order = ", ".join(f'"{column}"' for column in views.key(table))
    found = (await db.execute(sa.text(f'SELECT * FROM "{name}" ORDER BY {order}'))).mappings()
    return [{c.name: read_back(views.kind(table, c), row[c.name]) for c in shown(table)} for row in found]


def read_back(kind: str, value: Any) -> Any:
    if value is None:
        return None
    ways = {
        "units": Decimal,
        "time": lambda seconds: datetime.fromtimestamp(seconds, UTC),
        "amount": lambda text: Decimal(int(text, 16)),
        "yes or no": bool,
    }
    return ways.get(kind, lambda same: same)(value)


def files_of(folder: Path) -> dict[str, Rows]:
    return {path.stem: pq.read_table(path).to_pylist() for path in folder.glob("*.parquet")}


def folders_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


async def test_files_say_what_the_views_say(engine: AsyncEngine, tmp_path: Path) -> None:
    async with write(engine) as db:
        await play(db)
        await stand_at(db, LAST)

    async with read(engine) as db:
        made = await export.export(db, tmp_path / "out")
        said = {name: await seen(db, name) for name, _ in views.tables()}
        expected = hex_text(await digest.recomputed(db))

    assert files_of(tmp_path / "out") == said
    assert all(said.values())
    assert (made.block, made.block_hash, made.digest) == (LAST, hex_text(stamp(LAST).hash), expected)
    assert (made.chain_id, made.deployment, made.final) == (1, hex_text(hash32("deployment")), False)
    written = json.loads((tmp_path / "out" / export.MANIFEST).read_text())
    assert {file["view"]: file["rows"] for file in written["files"]} == {n: len(rows) for n, rows in said.items()}
    for file in written["files"]:
        content = (tmp_path / "out" / file["file"]).read_bytes()
        assert (file["sha256"], file["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))


async def test_files_of_an_earlier_block_say_what_the_views_said_then(engine: AsyncEngine, tmp_path: Path) -> None:
    said: dict[int, dict[str, Rows]] = {}
    asked = (1, LAST // 2, LAST - 1)
    async with write(engine) as db:
        for number, event in enumerate(TOLD, start=1):
            await apply(db, stamp(number), event)
            if number in asked:
                said[number] = {name: await seen(db, name) for name, _ in views.tables()}
        await stand_at(db, LAST)

    async with read(engine) as db:
        for number in asked:
            made = await export.export(db, tmp_path / str(number), at=number)
            assert files_of(tmp_path / str(number)) == said[number], number
            assert made.digest == hex_text(await digest.recomputed(db, number))


async def test_columns_are_typed_and_say_what_they_mean(engine: AsyncEngine, tmp_path: Path) -> None:
    async with write(engine) as db:
        await play(db)
        await stand_at(db, LAST)
    async with read(engine) as db:
        await export.export(db, tmp_path / "out", only=["assets", "offers"])

    assets, offers = (pq.read_schema(tmp_path / "out" / f"{name}.parquet") for name in ("assets", "offers"))
    assert assets.field("units").type == pa.decimal128(20, 6)
    assert assets.field("expires_at").type == pa.timestamp("ms", "UTC")
    assert assets.field("asset").type == pa.string()
    assert (assets.field("meter_key").nullable, assets.field("uri").nullable) == (True, False)
    assert assets.field("units").metadata[b"comment"] == b"all units of the asset"
    assert offers.field("price_wei").type == pa.decimal256(76)
    assert offers.metadata[b"commonhold.block"] == str(LAST).encode()
    assert pq.read_table(tmp_path / "out" / "assets.parquet").column("asset")[1].as_py() == f"0x{NODE:064x}"


@pytest.mark.postgres
async def test_both_databases_export_the_same_bytes(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_AT_ONCE", 2)  # several groups, the last one not full
    monkeypatch.setattr(export, "GROUP", 4)
    made = []
    for place, urls in enumerate(("_sqlite_urls", "_postgres_urls")):
        engine = make_engine(next(request.getfixturevalue(urls)))
        async with write(engine) as db:
            await play(db)
            await stand_at(db, LAST)
        async with read(engine) as db:
            made.append(await export.export(db, tmp_path / str(place)))
        await engine.dispose()

    assert made[0] == made[1]
    found = pq.ParquetFile(tmp_path / "0" / "holdings_over_time.parquet").metadata
    groups = [found.row_group(place).num_rows for place in range(found.num_row_groups)]
    assert groups == [4] * (found.num_rows // 4) + [found.num_rows % 4] * bool(found.num_rows % 4)
    assert len(groups) > 1


async def test_all_files_are_of_one_block_while_the_mirror_goes_on(engine: AsyncEngine, tmp_path: Path) -> None:
    async with write(engine) as db:
        await play(db)
        await stand_at(db, LAST)

    async with read(engine) as db:
        before = await seen(db, "anchors")
        async with write(engine) as writer:
            await writer.execute(HISTORY["anchor"].delete())
            await writer.execute(sa.text("DELETE FROM anchor"))
            await stand_at(writer, LAST + 1)
        made = await export.export(db, tmp_path / "out")

    assert made.block == LAST
    assert files_of(tmp_path / "out")["anchors"] == before != []
    assert files_of(tmp_path / "out")["anchors_over_time"]


@pytest.mark.parametrize("how", ["error", "cancelled"])
async def test_an_interrupted_export_leaves_nothing(engine: AsyncEngine, tmp_path: Path, how: str) -> None:
    async with write(engine) as db:
        await play(db)
        await stand_at(db, LAST)
    earlier = tmp_path / "out"
    async with read(engine) as db:
        await export.export(db, earlier, at=3)
    before = sorted((path.name, path.read_bytes()) for path in earlier.iterdir())

    def interrupt(view: str, rows: int, done: int, total: int) -> None:
        if view == "leases":
            raise OSError("disk full") if how == "error" else asyncio.CancelledError

    for folder, force in ((tmp_path / "new", False), (earlier, True)):
        with pytest.raises((OSError, asyncio.CancelledError)):
            async with read(engine) as db:
                await export.export(db, folder, force=force, progress=interrupt)

    assert folders_in(tmp_path) == [earlier]
    assert sorted((path.name, path.read_bytes()) for path in earlier.iterdir()) == before


async def test_what_cannot_be_exported_is_refused(engine: AsyncEngine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()  # empty: fine
    async with read(engine) as db:
        with pytest.raises(MirrorEmpty):
            await export.export(db, out)
    async with write(engine) as db:
        await play(db)
        await stand_at(db, LAST)

    async with read(engine) as db:
        with pytest.raises(BlockNotMirrored):
            await export.export(db, out, at=LAST + 1)
        with pytest.raises(BadInput, match="table holding: expected one of members, "):
            await export.export(db, out, only=["holding"])
        with pytest.raises(BadInput, match="there is no folder"):
            await export.export(db, tmp_path / "none" / "out")
        await export.export(db, out, only=["leases", "offers"])
        with pytest.raises(FolderTaken, match=r"expected nothing in it, got leases.parquet; --force replaces"):
            await export.export(db, out)
        await export.export(db, out, only=["members"], force=True)
        assert sorted(path.name for path in out.iterdir()) == [export.MANIFEST, "members.parquet"]
        (out / "notes.txt").write_text("mine")
        with pytest.raises(FolderTaken, match=r"replaces an export and nothing else, got notes.txt"):
            await export.export(db, out, force=True)
    assert (out / "notes.txt").read_text() == "mine"
