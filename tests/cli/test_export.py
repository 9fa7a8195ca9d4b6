"""`commonhold export` from a shell: files, a manifest, and every mistake in one line."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from commonhold import mirror
from commonhold.db import make_engine, write
from tests.cli.conftest import Run
from tests.mirror.history import play
from tests.mirror.test_past import LAST, stand_at


@pytest.fixture
def url(database_urls: Iterator[str]) -> str:
    """A database with a mirror in it."""
    found = next(database_urls)

    async def fill() -> None:
        engine = make_engine(found)
        async with write(engine) as db:
            await play(db)
            await stand_at(db, LAST)
        await engine.dispose()

    asyncio.run(fill())
    return found


def test_an_export_is_files_and_a_manifest(run: Run, url: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("--database-url", url, "--table", "holdings", "--table", "members")

    code, printed, err = run("export", out, *asked, "--at", 13, "--json")

    assert (code, err) == (0, "")
    manifest = json.loads(printed)
    assert manifest == json.loads((out / "manifest.json").read_text())
    assert (manifest["block"], [file["view"] for file in manifest["files"]]) == (13, ["members", "holdings"])
    for file in manifest["files"]:
        assert pq.read_metadata(out / file["file"]).num_rows == file["rows"] == 3

    code, printed, err = run("export", out, *asked, "--force")

    assert (code, err) == (0, "")
    assert f"block {LAST} 0x" in printed
    assert "not final yet" in printed

    code, printed, err = run("export", out, *asked)

    assert (code, printed) == (1, "")
    assert "--force replaces an export" in err.replace("\n", " ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", LAST + 1), f"block {LAST + 1}: expected one from the deployment's, 1, to the last mirrored, {LAST}"),
        (("--table", "nothing"), "table nothing: expected one of members, "),
        (("--database-url", "sqlite:///none.db"), "there is no such file"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    run: Run, url: str, tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    code, printed, err = run("export", tmp_path / "out", "--database-url", url, *arguments)

    assert (code, printed) == (1, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_pyarrow_the_command_that_installs_it_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "commonhold.mirror.export", raising=False)
    monkeypatch.delattr(mirror, "export", raising=False)

    code, _, err = run("export", tmp_path / "out", "--database-url", "sqlite:///none.db")

    assert (code, err) == (1, 'error: an export needs pyarrow: pip install "commonhold[export]"\n')
