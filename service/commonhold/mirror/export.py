"""The mirror's views as Parquet files of one block, for people who compute elsewhere.

In: one `ReadDb`, and the folder to make. Out: a file a view, typed by the mirror's own tables, and manifest.json, which
names the block and every file's hash. Rows are in the order of their keys and nothing in a file depends on the
database, so that two mirrors of a deployment export the same bytes. Caller: `commonhold export`. Needs pyarrow.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from commonhold.db import ReadDb
from commonhold.errors import BadInput, CommonholdError
from commonhold.mirror import digest, history, read, views
from commonhold.mirror.tables import STATE, cursor, shown, shown_in
from commonhold.units import hex_text

FORMAT = "commonhold-export/1"
MANIFEST = "manifest.json"
GROUP = 65_536  # rows of a row group, the most that is in memory at once
_AT_ONCE = 4_096  # rows from the database, as Python has them; a divisor of GROUP

Progress = Callable[[str, int, int, int], None]


class FolderTaken(CommonholdError):
    """There is something in the folder that an export would have to replace."""

    status = 409
    code = "folder_taken"


@dataclass(frozen=True, slots=True)
class File:
    """One view in its file."""

    view: str
    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was exported: manifest.json. Hashes are 0x text, but for those of the files."""

    format: str
    chain_id: int
    deployment: str  # its fingerprint, as in signed digests
    block: int
    block_hash: str | None  # None: not kept, of a final block without events
    final: bool  # False: a reorg may still undo the block
    digest: str  # of the mirrored state after the block
    files: list[File]


def check(folder: Path, *, force: bool) -> None:
    """The folder can be made, or by `force` an export in it replaced. Raises FolderTaken and BadInput."""
    if not folder.parent.is_dir():
        raise BadInput(f"folder {folder}: there is no folder {folder.parent}")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadInput(f"folder {folder}: expected a folder, got a file")
    inside = sorted(path.name for path in folder.iterdir())
    if inside and not force:
        raise FolderTaken(f"folder {folder}: expected nothing in it, got {inside[0]}; --force replaces an export")
    if others := [name for name in inside if name != MANIFEST and not name.endswith(".parquet")]:
        raise FolderTaken(f"folder {folder}: --force replaces an export and nothing else, got {others[0]}")


async def export(
    db: ReadDb,
    folder: Path,
    *,
    at: int | None = None,
    only: Collection[str] = (),
    force: bool = False,
    progress: Progress = lambda view, rows, done, total: None,
) -> Manifest:
    """`folder` holds the views as they were after block `at`, whole and on the disk; on any error nothing changed.

    at: None: the last block. only: names of views; none: all. progress: told the view, its rows so far, and how many
    views are done, of how many. Raises FolderTaken, BadInput, MirrorEmpty and BlockNotMirrored.
    """
    check(folder, force=force)
    wanted = _wanted(only)
    where = await read.position(db)
    number = where.number if at is None else (await read.at_block(db, at)).number
    block_hash = where.hash if number == where.number else await read.block_hash(db, number)
    chain_id, deployment = (await db.execute(sa.select(cursor.c.chain_id, cursor.c.deployment))).one()
    files = []
    with _whole(folder, force=force) as made:
        for done, (view, table) in enumerate(wanted.items()):
            progress(view, 0, done, len(wanted))
            about = {"view": view, "chain_id": chain_id, "deployment": hex_text(deployment), "block": number}
            rows = 0
            with pq.ParquetWriter(made / f"{view}.parquet", schema(table, about), compression="zstd") as writer:
                async for group in _groups(db, table, number, None if number == where.number else number):
                    writer.write_table(group, row_group_size=GROUP)
                    rows += group.num_rows
                    progress(view, rows, done, len(wanted))
            files.append(_file(made / f"{view}.parquet", view, rows))
        manifest = Manifest(
            format=FORMAT,
            chain_id=chain_id,
            deployment=hex_text(deployment),
            block=number,
            block_hash=None if block_hash is None else hex_text(block_hash),
            final=number <= where.finalized,
            digest=hex_text(await digest.digest(db, at=None if number == where.number else number)),
            files=files,
        )
        (made / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    return manifest


def schema(table: sa.Table, about: dict[str, object] | None = None) -> pa.Schema:
    """The columns of a view's table with their types, and as metadata what they mean and what the file is about."""
    fields = [
        pa.field(column.name, _type(table, column), column.nullable, {"comment": views.comment(table, column)})
        for column in shown(table)
    ]
    return pa.schema(fields, {f"commonhold.{name}": str(value) for name, value in (about or {}).items()})


def _type(table: sa.Table, column: sa.Column[Any]) -> pa.DataType:
    found = {
        "hex": pa.string(),
        "text": pa.string(),
        "yes or no": pa.bool_(),
        "time": pa.timestamp("s", "UTC"),
        "units": pa.decimal128(20, 6),
        "amount": pa.decimal256(76),  # the most digits there are; contracts keep amounts below 2^192
    }
    kind = views.kind(table, column)
    if kind == "number":
        return pa.int64() if isinstance(column.type, sa.BigInteger) else pa.int32()
    return found[kind]


def _wanted(only: Collection[str]) -> dict[str, sa.Table]:
    there = dict(views.tables())
    if unknown := [name for name in only if name not in there]:
        raise BadInput(f"table {unknown[0]}: expected one of {', '.join(there)}")
    return {name: table for name, table in there.items() if not only or name in only}


async def _groups(db: ReadDb, table: sa.Table, until: int, at: int | None) -> AsyncIterator[pa.Table]:
    """The rows in the order of their keys, GROUP at once and less in the last; streamed. at: None: as they are."""
    rows: sa.FromClause = table
    if table in STATE and at is not None:
        rows = history.as_of(table, at)
    found = sa.select(*shown_in(rows, table))
    if table not in STATE:
        found = found.where(table.c.from_block <= until)
    ordered = found.order_by(*(rows.c[name] for name in views.key(table)))
    shape = schema(table)
    parts: list[pa.RecordBatch] = []
    streamed = await db.stream(ordered, execution_options={"yield_per": _AT_ONCE})
    async for part in streamed.partitions(_AT_ONCE):
        columns = zip(shown(table), zip(*part, strict=True), strict=True)
        arrays = [_array(table, column, values) for column, values in columns]
        parts.append(pa.RecordBatch.from_arrays(arrays, schema=shape))
        if len(parts) == GROUP // _AT_ONCE:
            yield pa.Table.from_batches(parts)
            parts = []
    if parts:
        yield pa.Table.from_batches(parts)


def _array(table: sa.Table, column: sa.Column[Any], values: tuple[Any, ...]) -> pa.Array:
    """The values of a column, as the driver gives them, in its type."""
    kind, wanted = views.kind(table, column), _type(table, column)
    if kind == "hex":
        return pa.array([_hex(value) for value in values], wanted)
    if kind == "time":
        return pa.array(values, pa.int64()).cast(wanted)
    if kind == "units":  # the same digits, with the point six places further left
        whole = pa.array(values, pa.int64()).cast(pa.decimal128(19))
        return pa.Array.from_buffers(wanted, len(values), whole.buffers())
    return pa.array(values, wanted)


def _hex(value: bytes | int | None) -> str | None:
    if value is None:
        return None
    return f"0x{value:064x}" if isinstance(value, int) else hex_text(value)


@contextmanager
def _whole(folder: Path, *, force: bool) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its place at the end, or is gone after an error."""
    folder = folder.resolve()  # what a link leads to, and not the link
    made, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{end}") for end in ("part", "old"))
    made.mkdir()
    try:
        yield made
        for path in (*made.iterdir(), made):
            _sync(path)
        if force and folder.exists():
            check(folder, force=True)  # again: an export takes a while
            folder.rename(old)
        try:
            made.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        _sync(folder.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """What is written at the path outlives a power cut."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _file(path: Path, view: str, rows: int) -> File:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
    return File(view, path.name, rows, path.stat().st_size, found.hexdigest())
