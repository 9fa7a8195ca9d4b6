"""Writes what block explorers verify a contract by: the compiler's standard-JSON input, one file for each contract.

Reads contracts/src with all that it imports, and the compiler's settings from contracts/foundry.toml. Writes
build/standard-json/<Name>.json; with --check it also compiles each and compares the bytes with those that the package
deploys. `make standard-json`.
"""

import argparse
import json
import posixpath
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
COMMITTED = ROOT / "service" / "commonhold" / "chain" / "abi"
OUT = ROOT / "build" / "standard-json"
SOURCES = {
    name: f"src/{name}.sol"
    for name in ("Ledger", "Registry", "Members", "Access", "Meter", "Timelock", "Council", "Factory")
}
_IMPORT = re.compile(r'^\s*import\b[^;"]*"([^"]+)"', re.MULTILINE)


def standard_json(name: str) -> dict[str, Any]:
    """The input that gives the contract's bytes: sources by the names that the compiler knows them by, and settings."""
    profile = tomllib.loads((CONTRACTS / "foundry.toml").read_text(encoding="utf-8"))["profile"]["default"]
    remappings = [line for line in profile["remappings"] if not line.startswith("forge-std/")]
    sources: dict[str, str] = {}
    wanted = [SOURCES[name]]
    while wanted:
        unit = wanted.pop()
        if unit not in sources:
            sources[unit] = (CONTRACTS / unit).read_text(encoding="utf-8")
            wanted += [_unit(unit, path, remappings) for path in _IMPORT.findall(sources[unit])]
    return {
        "language": "Solidity",
        "sources": {unit: {"content": sources[unit]} for unit in sorted(sources)},
        "settings": {
            "remappings": remappings,
            "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
            "metadata": {"bytecodeHash": profile["bytecode_hash"], "appendCBOR": profile["cbor_metadata"]},
            "evmVersion": profile["evm_version"],
            "outputSelection": {SOURCES[name]: {name: ["abi", "evm.bytecode.object"]}},
        },
    }


def _unit(importer: str, path: str, remappings: list[str]) -> str:
    """The name of the file that `importer` means by `path`."""
    if path.startswith("."):
        return posixpath.normpath(posixpath.join(posixpath.dirname(importer), path))
    for line in remappings:
        prefix, _, target = line.partition("=")
        if path.startswith(prefix):
            return target + path.removeprefix(prefix)
    raise ValueError(f"{importer}: import {path}: expected a relative path or one of {remappings}")


def compiled(name: str, given: Mapping[str, Any]) -> str:
    """The creation code that the compiler makes of the input, in hex."""
    said = subprocess.run(
        [CONTRACTS / "solc", "--standard-json"], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    answer = json.loads(said.stdout)
    if wrong := [each["formattedMessage"] for each in answer.get("errors", ()) if each["severity"] == "error"]:
        raise ValueError(f"{name}: {wrong[0]}")
    code: str = answer["contracts"][SOURCES[name]][name]["evm"]["bytecode"]["object"]
    return code


def main() -> int:
    """Every file was written; 1 when --check finds other bytes than those that are deployed."""
    parser = argparse.ArgumentParser(description="Write the standard-JSON inputs that explorers verify.")
    parser.add_argument("names", nargs="*", choices=[*SOURCES, []], help="contracts; all when none is given")
    parser.add_argument("--check", action="store_true", help="compile each, compare with the committed bytes")
    args = parser.parse_args()

    OUT.mkdir(parents=True, exist_ok=True)
    failures = 0
    for name in args.names or SOURCES:
        given = standard_json(name)
        path = OUT / f"{name}.json"
        path.write_text(json.dumps(given, indent=1) + "\n", encoding="utf-8")
        said = f"{path.relative_to(ROOT)}: {len(given['sources'])} sources"
        if args.check:
            deployed = json.loads((COMMITTED / f"{name}.json").read_text(encoding="utf-8"))["bytecode"]
            same = compiled(name, given) == deployed.removeprefix("0x")
            failures += not same
            said += ", gives the deployed bytes" if same else ", gives OTHER bytes than those that are deployed"
        print(said)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
