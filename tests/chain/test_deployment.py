"""The deployment file: what is read is what was written, and a bad file says what is wrong with it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from commonhold.chain.deployment import MADE, Deployment
from commonhold.errors import BadInput
from commonhold.signing import Domain
from commonhold.units import Address, BlockNumber, Hash32
from tests.actors import genesis

ADDRESSES = ("members", "ledger", "access", "meter", "council", "timelock", "factory", "token", "deployer")
BAD = Path(__file__).parent / "deployments"
GOOD = Deployment(
    chain_id=31337,
    members=Address(b"\x01" * 20),
    ledger=Address(b"\x02" * 20),
    access=Address(b"\x03" * 20),
    meter=Address(b"\x04" * 20),
    council=Address(b"\x07" * 20),
    timelock=Address(b"\x08" * 20),
    factory=Address(b"\x09" * 20),
    token=Address(b"\x05" * 20),
    block=BlockNumber(7),
    block_hash=Hash32(b"\x06" * 32),
    deployer=Address(b"\xab" * 20),
    salt=Hash32(b"\x0a" * 32),
    code={name: Hash32(bytes([at]) * 32) for at, name in enumerate(MADE)},
    genesis=genesis(),
)
REASONS = {
    "address_checksum_wrong": "deployer: address 0xAbABaBAb.*: EIP-55 checksum does not match",
    "address_short": "members: address '0x0101': expected 0x and 40 hexadecimal digits",
    "address_twice": "address 0x0202.* is given twice",
    "address_zero": "the zero address is no contract",
    "block_negative": "block: expected a whole number below 2.63, got -1",
    "chain_id_text": "chain_id: expected a whole number below 2.63, got '31337'",
    "chain_id_true": "chain_id: expected a whole number below 2.63, got True",
    "hash_number": "block_hash: expected text, got 6",
    "hash_short": "block_hash: hash '0x06': expected 0x and 64 hexadecimal digits",
    "key_extra": "unknown: owner; expected only access, block",
    "genesis_field_missing": "genesis: missing: horizon",
    "genesis_class_odd": "classes: kind: expected one of DATA, MODEL, COMPUTE, got 'GPU'",
    "code_missing": "code: expected a hash for each of Members, .*, got ",
    "key_missing": "missing: ledger, meter",
    "key_twice": "expected JSON, got: key 'chain_id' twice",
    "list": "expected a JSON object, got: list",
    "not_json": "expected JSON, got: Expecting",
    "not_utf8": "expected a readable JSON file, got: not UTF-8",
}


def test_a_saved_deployment_loads_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"

    GOOD.save(path)

    assert Deployment.load(path) == GOOD
    assert [file.name for file in tmp_path.iterdir()] == ["deployment.json"]


def test_every_bad_file_has_a_reason() -> None:
    assert sorted(path.stem for path in BAD.glob("*.json")) == sorted(REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_a_bad_file_is_refused_naming_it_and_its_defect(name: str) -> None:
    path = BAD / f"{name}.json"

    with pytest.raises(BadInput, match=rf"^deployment {re.escape(str(path))}: {REASONS[name]}"):
        Deployment.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.json: expected a readable JSON file, got: No such file"):
        Deployment.load(tmp_path / "nowhere.json")


def test_every_field_counts_in_the_fingerprint_and_the_order_of_the_file_does_not() -> None:
    changes = [
        {"chain_id": 1},
        {"block": BlockNumber(8)},
        {"block_hash": Hash32(b"\x07" * 32)},
        *({name: Address(b"\x0f" * 20)} for name in ADDRESSES),
        {"salt": Hash32(b"\x0f" * 32)},
        {"code": {**GOOD.code, "Meter": Hash32(b"\x0f" * 32)}},
        {"genesis": replace(GOOD.genesis, horizon=GOOD.genesis.horizon + 1)},
    ]
    turned = json.dumps(dict(reversed(json.loads(GOOD.to_json()).items())))

    prints = {GOOD.fingerprint(), *(replace(GOOD, **change).fingerprint() for change in changes)}  # type: ignore[arg-type]

    assert len(prints) == 1 + len(changes)
    assert Deployment.from_json(turned).fingerprint() == GOOD.fingerprint()


def test_contracts_are_found_by_name_and_address() -> None:
    for name in (*MADE, "Coin"):
        assert GOOD.contract_at(GOOD.address_of(name)) == name
    assert GOOD.contract_at(GOOD.deployer) is None
    assert GOOD.followed == (
        GOOD.members,
        GOOD.ledger,
        GOOD.access,
        GOOD.meter,
        GOOD.council,
        GOOD.timelock,
    )
    assert GOOD.domain("Ledger") == Domain("Ledger", 31337, GOOD.ledger)
