"""Writes what follows from the statements in tests/vectors/eip712.json: their types and digests.

In: contract, type and value of each entry; the fields of a type are those of signing.py, the hashes are eth-account's,
which shares no code with it. With --check it writes nothing and fails when the file differs.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from eth_account.messages import encode_typed_data

from commonhold import signing
from commonhold.eip712 import Fields
from commonhold.units import keccak256

FILE = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "eip712.json"
ES256 = ("Receipt", "Segment")  # signed by P-256 keys


def main() -> int:
    """The file is complete, or was compared; 1 when it differs."""
    parser = argparse.ArgumentParser(description="Complete the EIP-712 vectors.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file differs")
    check = parser.parse_args().check

    before = FILE.read_text(encoding="utf-8")
    document = json.loads(before)
    document["vectors"] = [_completed(document, entry) for entry in document["vectors"]]
    after = json.dumps(document, indent=1) + "\n"
    if not check:
        FILE.write_text(after, encoding="utf-8")
    elif after != before:
        print(f"{FILE.name}: differs from what follows from its statements", file=sys.stderr)
        return 1
    return 0


def _completed(document: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    contract, name, value = entry["contract"], entry["type"], entry["value"]
    fields: Fields = getattr(signing, name).FIELDS
    domain = {
        "name": f"Commonhold {contract}",
        "version": "1",
        "chainId": int(document["chainId"]),
        "verifyingContract": document["contracts"][contract],
    }
    types = {name: [{"name": field, "type": kind} for field, kind in fields]}
    message = encode_typed_data(domain, types, {f: _number(kind, value[f]) for f, kind in fields})
    preimage = b"\x19" + message.version + message.header + message.body
    made = {
        "contract": contract,
        "type": name,
        "encodeType": f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})",
        "value": {field: value[field] for field, _ in fields},
        "digest": f"0x{keccak256(preimage).hex()}",
    }
    return made | ({"es256Digest": f"0x{hashlib.sha256(preimage).hexdigest()}"} if name in ES256 else {})


def _number(kind: str, value: Any) -> Any:
    return int(value) if kind.startswith("uint") else value


if __name__ == "__main__":
    sys.exit(main())
