"""The standard-JSON inputs give the bytes that are deployed."""

import json
import shutil

import pytest

from scripts.standard_json import COMMITTED, SOURCES, compiled, standard_json

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="the compiler runs on Node")


@pytest.mark.parametrize("name", SOURCES)
def test_every_import_is_a_source(name: str) -> None:
    given = standard_json(name)

    assert SOURCES[name] in given["sources"]
    assert not any(unit.startswith("test/") or "forge-std" in unit for unit in given["sources"])


def test_compiling_gives_the_deployed_bytes() -> None:
    """The smallest; `make standard-json` compiles all."""
    deployed = json.loads((COMMITTED / "Factory.json").read_text())["bytecode"]

    assert compiled("Factory", standard_json("Factory")) == deployed.removeprefix("0x")


def test_another_setting_gives_other_bytes() -> None:
    given = standard_json("Factory")
    given["settings"]["optimizer"]["runs"] = 1

    deployed = json.loads((COMMITTED / "Factory.json").read_text())["bytecode"]
    assert compiled("Factory", given) != deployed.removeprefix("0x")
