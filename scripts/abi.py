"""Copies what forge built into the package: ABI, code and storage layout of each contract that the service talks to.

Reads contracts/out/, writes service/commonhold/chain/abi/<Name>.json and <Name>.storage.json. With --check it writes
nothing and fails when a committed file differs from the build. Called by the Makefile, after the build.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONTRACTS = ("Members", "Ledger", "Access", "Meter", "Council", "Timelock", "Factory", "Registry", "Coin")
ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "contracts" / "out"
COMMITTED = ROOT / "service" / "commonhold" / "chain" / "abi"


def main() -> int:
    """Every contract was copied, or compared; 1 and a line for each that could not be, or that differs."""
    parser = argparse.ArgumentParser(description="Copy the built ABIs into the package.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a committed ABI differs")
    check = parser.parse_args().check

    failures = 0
    for name in CONTRACTS:
        try:
            artifact = built(name)
            texts = {f"{name}.json": render(name, artifact), f"{name}.storage.json": render_storage(artifact)}
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failures += 1
            continue

        for file, text in texts.items():
            path = COMMITTED / file
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            elif not path.exists() or path.read_text(encoding="utf-8") != text:
                print(f"{path.relative_to(ROOT)}: differs from the built contract: run 'make abi'", file=sys.stderr)
                failures += 1
    return 1 if failures else 0


def built(name: str) -> Mapping[str, Any]:
    """What forge wrote about a contract. Raises ValueError when there is none, or more than one."""
    found = sorted(BUILT.glob(f"*.sol/{name}.json"))
    if len(found) != 1:
        where = ", ".join(str(path.relative_to(ROOT)) for path in found) or "none"
        raise ValueError(f"expected one built contract of this name in {BUILT.relative_to(ROOT)}, got: {where}")
    artifact: Mapping[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
    return artifact


def render(name: str, artifact: Mapping[str, Any]) -> str:
    """The text of one ABI file, the same for the same build: the ABI, what makes the contract, what runs then, and
    where each immutable stands in that. Raises ValueError when the build cannot give it."""
    bytecode, runtime = artifact["bytecode"]["object"], artifact["deployedBytecode"]
    if "__$" in bytecode:
        raise ValueError("expected bytecode with nothing left to link, got a call of an external library")
    immutables = runtime.get("immutableReferences", {}).values()
    places = sorted([place["start"] for place in found] for found in immutables)
    code = {"bytecode": bytecode, "deployedBytecode": runtime["object"], "immutables": places}
    return _text({"contractName": name, "abi": artifact["abi"], **code})


def render_storage(artifact: Mapping[str, Any]) -> str:
    """Where the contract's variables lie, and how their types are laid out. Raises ValueError when the build says not.

    Types are called as in Solidity: the compiler's names for them hold numbers that change with every source.
    """
    layout = artifact.get("storageLayout")
    if layout is None:
        raise ValueError(
            "expected a storage layout in the build: foundry.toml, extra_output; then 'forge build --force'"
        )
    types = layout["types"] or {}

    def called(kind: str) -> str:
        label: str = types[kind]["label"]
        return label

    def placed(variable: Mapping[str, Any]) -> dict[str, Any]:
        place = {name: variable[name] for name in ("label", "offset")}
        return place | {"slot": int(variable["slot"]), "type": called(variable["type"])}

    shown: dict[str, dict[str, Any]] = {}
    for kind in types.values():
        one: dict[str, Any] = {"encoding": kind["encoding"], "bytes": int(kind["numberOfBytes"])}
        one |= {name: called(kind[name]) for name in ("key", "value", "base") if name in kind}
        if "members" in kind:
            one["members"] = [placed(member) for member in kind["members"]]
        if shown.setdefault(kind["label"], one) != one:
            raise ValueError(f"two types are called {kind['label']!r}")
    return _text({"variables": [placed(variable) for variable in layout["storage"]], "types": shown})


def _text(committed: Mapping[str, Any]) -> str:
    return json.dumps(committed, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
