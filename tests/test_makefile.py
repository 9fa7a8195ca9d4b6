"""Every command of the Makefile can be planned in a fresh clone: none needs a file that nothing makes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The names of all files that git keeps, and the Makefile: what was installed here must not help."""
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in kept.stdout.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    return tmp_path


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # A make around this one would hand its own flags down.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *words], cwd=folder, env=outside, capture_output=True, text=True, check=False)


def test_every_command_can_be_planned(clone: Path) -> None:
    commands = re.findall(r"^make (\S+)", make(clone, "help").stdout, re.MULTILINE)

    assert {"setup", "test", "demo", "bench-mirror"} <= set(commands)
    for command in commands:
        planned = make(clone, "--dry-run", command)
        assert planned.returncode == 0, f"make {command}: {planned.stderr}"


def test_what_nothing_makes_is_refused(clone: Path) -> None:
    (clone / "tests/bench/ponder/package.json").unlink()

    assert "No rule to make target" in make(clone, "--dry-run", "bench-mirror").stderr
