"""Runs slither over the contracts and fails on what contracts/slither.json does not list. `make contracts-slither`.

That file says of each finding, by detector and by what it is about, why it is no defect. A line of it that slither does
not find any more fails as well. `--list` prints the findings that are not listed, as JSON.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
LISTED = CONTRACTS / "slither.json"
BUILD = ROOT / "build" / "slither"
FILTER = "node_modules|test|bench|dev"

_PLACE = re.compile(r"\s*\(src/[^)]*\)")


def main() -> int:
    """0 when what slither finds and what is listed are the same."""
    args = _arguments()
    found = _found(args.slither)
    listed = {(each["detector"], what) for each in json.loads(LISTED.read_text("utf-8")) for what in each["findings"]}
    new, gone = sorted(found - listed), sorted(listed - found)
    if args.list:
        by: dict[str, list[str]] = defaultdict(list)
        for detector, what in new:
            by[detector].append(what)
        print(json.dumps([{"detector": each, "why": "", "findings": by[each]} for each in by], indent=2))
        return 0

    for detector, what in new:
        print(f"not listed in {LISTED.relative_to(ROOT)}: {detector}: {what}")
    for detector, what in gone:
        print(f"listed in {LISTED.relative_to(ROOT)} and not found: {detector}: {what}")
    print(f"slither: {len(found)} findings, {len(found) - len(new)} of them listed with why")
    return 1 if new or gone else 0


def _found(slither: str) -> set[tuple[str, str]]:
    """Detector, and the first line of what it says, without the numbers of lines."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    report = BUILD / "report.json"
    command = [slither, ".", "--foundry-out-directory", str(BUILD / "out"), "--filter-paths", FILTER]
    # Its own folders: slither has forge clean them first.
    own = {"FOUNDRY_OUT": str(BUILD / "out"), "FOUNDRY_CACHE_PATH": str(BUILD / "cache")}
    ran = subprocess.run([*command, "--json", str(report)], cwd=CONTRACTS, env=os.environ | own, capture_output=True)
    if not report.exists():
        raise SystemExit(f"slither made no report:\n{ran.stderr.decode(errors='replace')[-4_000:]}")
    said = json.loads(report.read_text("utf-8"))
    if not said["success"]:
        raise SystemExit(f"slither failed: {said['error']}")
    results = said["results"].get("detectors", [])
    return {(each["check"], _PLACE.sub("", each["description"].strip().split("\n")[0])) for each in results}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slither", default="slither", help="the program")
    parser.add_argument("--list", action="store_true", help="print what is not listed, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
