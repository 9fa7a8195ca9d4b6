"""Runs commands in this process, as `commonhold ARGUMENTS` would."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from commonhold import cli
from tests.actors import Deployed

if TYPE_CHECKING:
    from tests.cli.people import Terminal

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Exit code, standard output, standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["commonhold", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def terminal(run: Run, tmp_path: Path, deployed: Deployed) -> "Terminal":
    """The actors of a new deployment, at a terminal."""
    from tests.cli.people import Terminal

    return Terminal(tmp_path, run, deployed)
