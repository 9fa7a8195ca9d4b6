"""`commonhold mirror`: check the mirror's tables against its own log of events, and make them anew from it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from commonhold.cli import common
from commonhold.cli.common import JsonOption, run, show
from commonhold.errors import BadInput, CommonholdError
from commonhold.units import hex_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

app = typer.Typer(no_args_is_help=True, help="Check the mirror's tables, make them anew; no node is asked.")

DatabaseOption = Annotated[
    str,
    typer.Option("--database-url", envvar="COMMONHOLD_DATABASE_URL", help="sqlite:///path or postgresql://..."),
]


class MirrorDiffers(CommonholdError):
    """The mirror's tables are not what its events say."""

    code = "mirror_differs"


@app.command()
def verify(database_url: DatabaseOption, as_json: JsonOption = False) -> None:
    """Recompute the digest from the rows, from the history and from the events. Exits with 1 on any difference."""
    run(_verify(database_url, as_json))


@app.command()
def rebuild(database_url: DatabaseOption, as_json: JsonOption = False) -> None:
    """Make rows, history and digest anew from the events, in one transaction; stop the service before."""
    run(_rebuild(database_url, as_json))


@app.command("grant-reader")
def grant_reader(
    role: Annotated[
        str, typer.Argument(help="A role of the PostgreSQL server: CREATE ROLE reader LOGIN PASSWORD '...'")
    ],
    database_url: DatabaseOption,
) -> None:
    """Let a PostgreSQL role read the views of docs/schema.md, and no table; it stays so when the schema is upgraded.

    SQLite has no roles: there the file is opened read-only, as in `sqlite3 'file:ledger.db?mode=ro'`.
    """
    run(_grant_reader(role, database_url))


async def _grant_reader(role: str, database_url: str) -> None:
    from sqlalchemy.exc import ProgrammingError

    from commonhold import db
    from commonhold.mirror import views

    async with open_database(database_url) as engine:
        if engine.dialect.name != "postgresql":
            raise BadInput("SQLite has no roles: open the file read-only, as in sqlite3 'file:ledger.db?mode=ro'")
        try:
            async with db.write(engine) as writer:
                await writer.run_sync(views.grant, role)
        except ProgrammingError as error:
            raise BadInput(f"role {role}: {error.orig}") from error
    common.out.print(f"{role} may read the views of docs/schema.md", highlight=False)


async def _verify(database_url: str, as_json: bool) -> None:
    from commonhold import db
    from commonhold.mirror import verify as verifying

    async with open_database(database_url) as engine, db.read(engine) as reader:
        with bar("applying events", as_json) as progress:
            verdicts = await verifying.verify(reader, progress)
    if as_json:
        show([{"from": v.name, "ok": v.ok, "digest": hex_text(v.got)} for v in verdicts], as_json=True)
    else:
        for verdict in verdicts:
            common.out.print(f"{verifying.shown(verdict)}", soft_wrap=True, highlight=False)
    if wrong := [verifying.shown(verdict) for verdict in verdicts if not verdict.ok]:
        raise MirrorDiffers("; ".join(wrong))


async def _rebuild(database_url: str, as_json: bool) -> None:
    from commonhold import db
    from commonhold.mirror import verify as verifying

    async with open_database(database_url) as engine, db.write(engine) as writer:
        with bar("applying events", as_json) as progress:
            made = await verifying.rebuild(writer, progress)
    show({"digest": hex_text(made)}, as_json=as_json)


@asynccontextmanager
async def open_database(url: str) -> "AsyncIterator[AsyncEngine]":
    """The engine of a database with the schema of this version. Raises BadInput when there is no such file."""
    from commonhold import db, migrate

    engine = db.make_engine(url)
    try:
        _exists(url)
        await migrate.check(engine)
        yield engine
    finally:
        await engine.dispose()


def _exists(url: str) -> None:
    """SQLite would make an empty database of a wrong name."""
    from sqlalchemy.engine import make_url

    path = make_url(url).database
    if url.startswith("sqlite") and not (path and Path(path).is_file()):
        raise BadInput(f"database {url}: there is no such file")


@contextmanager
def bar(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; what it gives is told how much is done, and of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=common.err, transient=True, disable=quiet) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
