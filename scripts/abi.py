"""Copies what forge built into the package: one ABI file for each contract that the service talks to.

Reads contracts/out/, writes service/commonhold/chain/abi/<Name>.json. With --check it writes nothing and fails when a
committed file differs from the build. Called by the Makefile, after the build.
"""

import argparse
import json
import sys
from pathlib import Path

CONTRACTS = ("Members", "Ledger", "Access", "Meter", "Coin")
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
        path = COMMITTED / f"{name}.json"
        try:
            text = render(name)
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failures += 1
            continue

        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path.relative_to(ROOT)}: differs from the built contract: run 'make abi'", file=sys.stderr)
            failures += 1
    return 1 if failures else 0


def render(name: str) -> str:
    """The text of one ABI file, the same for the same build. Raises ValueError when the build cannot give it."""
    found = sorted(BUILT.glob(f"*.sol/{name}.json"))
    if len(found) != 1:
        where = ", ".join(str(path.relative_to(ROOT)) for path in found) or "none"
        raise ValueError(f"expected one built contract of this name in {BUILT.relative_to(ROOT)}, got: {where}")

    artifact = json.loads(found[0].read_text(encoding="utf-8"))
    bytecode = artifact["bytecode"]["object"]
    if "__$" in bytecode:
        raise ValueError("expected bytecode with nothing left to link, got a call of an external library")
    committed = {"contractName": name, "abi": artifact["abi"], "bytecode": bytecode}
    return json.dumps(committed, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
