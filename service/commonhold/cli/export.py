"""`commonhold export`: the mirror's views as Parquet files of one block."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from commonhold.cli import common
from commonhold.cli.common import JsonOption, run, show
from commonhold.cli.mirror import DatabaseOption, open_database
from commonhold.errors import CommonholdError

if TYPE_CHECKING:
    from commonhold.mirror.export import Manifest
    from commonhold.mirror.export import Progress as Told


class ExportMissing(CommonholdError):
    """The library that writes Parquet is not installed."""

    status = 501
    code = "export_missing"


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; a file a view, and manifest.json.")],
    database_url: DatabaseOption,
    at: Annotated[int | None, typer.Option("--at", help="Block to export; default: the last one mirrored.")] = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", help="A view of docs/schema.md, such as holdings; again for more. None: all."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in the folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the mirror's views to Parquet files, all as they were after one block; nothing half-written stays.

    Needs the database, read-only, and no node; a service may go on writing to it.
    """
    try:
        from commonhold.mirror import export as exporting
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pyarrow":
            raise
        raise ExportMissing('an export needs pyarrow: pip install "commonhold[export]"') from error
    exporting.check(folder, force=force)
    made = run(_export(folder, database_url, at, tuple(table or ()), force=force, quiet=as_json))
    if as_json:
        show(asdict(made), as_json=True)
        return
    show([{"table": file.view, "rows": file.rows, "bytes": file.bytes} for file in made.files], as_json=False)
    block = f"block {made.block} {made.block_hash or ''}".rstrip()
    final = "" if made.final else ", not final yet"
    common.out.print(f"{folder}: {block}{final}, digest {made.digest}", soft_wrap=True, highlight=False, markup=False)


async def _export(
    folder: Path, database_url: str, at: int | None, only: tuple[str, ...], *, force: bool, quiet: bool
) -> "Manifest":
    from commonhold import db
    from commonhold.mirror.export import export as write_views

    with _terminable(), _bar(quiet or not common.err.is_terminal) as told:
        async with open_database(database_url) as engine, db.read(engine) as reader:
            return await write_views(reader, folder, at=at, only=only, force=force, progress=told)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does: with nothing left behind."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101
    terminated = False

    def end() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield
    except asyncio.CancelledError:
        if terminated:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@contextmanager
def _bar(silent: bool) -> "Iterator[Told]":
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("tables"))
    with Progress(*columns, console=common.err, transient=True, disable=silent) as bar:
        task = bar.add_task("exporting", total=None)
        yield lambda view, rows, done, total: bar.update(
            task, description=f"{view}, {rows:,} rows", completed=done, total=total
        )
