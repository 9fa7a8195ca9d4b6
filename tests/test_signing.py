"""What is signed: the same bytes here, in the contracts and in a wallet, and signatures of P-256 keys."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from commonhold import p256, signing
from commonhold.p256 import P256_ORDER
from commonhold.signing import Domain, Statement
from commonhold.units import Address, keccak256, to_address, to_hash32

ROOT = Path(__file__).parent.parent
FILE = json.loads((Path(__file__).parent / "vectors" / "eip712.json").read_text(encoding="utf-8"))
VECTORS = FILE["vectors"]
NAMES = [f"{at}_{entry['type']}" for at, entry in enumerate(VECTORS)]
CONTRACTS = ("Members", "Ledger", "Access", "Meter")
TYPES: dict[str, type[Statement]] = {
    kind.__name__: kind
    for kind in (
        signing.Admission,
        signing.Renewal,
        signing.Attachment,
        signing.Finding,
        signing.Detachment,
        signing.Recovery,
        signing.Appraisal,
        signing.Redemption,
        signing.Split,
        signing.TopUp,
        signing.Rotation,
        signing.Receipt,
        signing.Segment,
    )
}


def domain_of(contract: str) -> Domain:
    """The domain that the vectors are made for."""
    return Domain(contract, int(FILE["chainId"]), to_address(FILE["contracts"][contract]))


# --- the vectors that Solidity is tested with, too ---


def test_the_vectors_are_as_their_script_writes_them() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "vectors.py", "--check"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_vectors_have_every_statement() -> None:
    assert {entry["type"] for entry in VECTORS} == set(TYPES)


@pytest.mark.parametrize("entry", VECTORS, ids=NAMES)
def test_digests_are_those_of_the_contracts(entry: dict[str, Any]) -> None:
    statement, domain = statement_of(entry), domain_of(entry["contract"])

    assert signing.digest(domain, statement).hex() == entry["digest"].removeprefix("0x")
    if "es256Digest" in entry:
        assert signing.es256_digest(domain, statement).hex() == entry["es256Digest"].removeprefix("0x")


@pytest.mark.parametrize("entry", VECTORS, ids=NAMES)
def test_a_wallet_shows_the_vectors_with_the_same_type_and_digest(entry: dict[str, Any]) -> None:
    shown = signing.typed_data(domain_of(entry["contract"]), statement_of(entry))

    message = encode_typed_data(full_message=shown)

    types = ",".join(f"{field['type']} {field['name']}" for field in shown["types"][entry["type"]])
    assert f"{entry['type']}({types})" == entry["encodeType"]
    assert shown["message"] == entry["value"]
    assert keccak256(b"\x19" + message.version + message.header + message.body).hex() == entry["digest"][2:]


def test_the_statements_that_devices_sign_have_es256_vectors() -> None:
    assert {entry["type"] for entry in VECTORS if "es256Digest" in entry} >= {"Receipt", "Segment"}


def statement_of(entry: dict[str, Any]) -> Statement:
    kind = TYPES[entry["type"]]
    assert set(entry["value"]) == {name for name, _ in kind.FIELDS}
    values = (parsed(solidity, entry["value"][name]) for name, solidity in kind.FIELDS)
    return kind(*values)


def parsed(solidity: str, value: Any) -> Any:
    """A value of the vectors; numbers stand there as numbers or, when they are long, as decimal text."""
    if solidity == "bytes32[]":
        return tuple(to_hash32(item) for item in value)
    if solidity == "string":
        return value
    if solidity == "address":
        return to_address(value)
    return to_hash32(value) if solidity == "bytes32" else int(value)


# --- the same as a wallet shows and signs ---


def values_of(solidity: str) -> st.SearchStrategy[Any]:
    if solidity == "bytes32[]":
        return st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple)
    if solidity == "string":
        return st.text(st.characters(exclude_categories=["Cs"]))
    if solidity in ("address", "bytes32"):
        size = 20 if solidity == "address" else 32
        return st.binary(min_size=size, max_size=size)
    return st.integers(0, (1 << int(solidity.removeprefix("uint"))) - 1)


statements: st.SearchStrategy[Any] = st.one_of(
    [st.builds(kind, *(values_of(solidity) for _, solidity in kind.FIELDS)) for kind in TYPES.values()]
)
domains = st.builds(Domain, st.sampled_from(CONTRACTS), st.integers(1, 2**63), st.binary(min_size=20, max_size=20))


@given(statements, domains)
def test_a_wallet_signs_the_same_digest(statement: Statement, domain: Domain) -> None:
    domain = replace(domain, contract=statement.CONTRACT)

    message = encode_typed_data(full_message=signing.typed_data(domain, statement))

    assert b"\x19" + message.version + message.header + message.body == signing.preimage(domain, statement)


@given(statements)
def test_the_typed_data_survives_json(statement: Statement) -> None:
    shown = signing.typed_data(domain_of(statement.CONTRACT), statement)

    assert json.loads(json.dumps(shown)) == shown
    assert type(statement)(*(parsed(kind, shown["message"][name]) for name, kind in statement.FIELDS)) == statement


@given(st.data())
def test_every_field_and_the_whole_domain_count(data: st.DataObject) -> None:
    statement = data.draw(statements)
    domain = domain_of(statement.CONTRACT)
    field = data.draw(st.sampled_from(range(len(statement.FIELDS))))
    name, kind = fields(statement)[field].name, statement.FIELDS[field][1]

    other = replace(statement, **{name: data.draw(values_of(kind).filter(lambda v: v != getattr(statement, name)))})
    moved = [replace(domain, chain_id=1), replace(domain, address=Address(b"\x11" * 20))]

    digests = [signing.digest(domain, statement), signing.digest(domain, other)]
    digests += [signing.digest(elsewhere, statement) for elsewhere in moved]
    assert len(set(digests)) == 4


def test_a_statement_to_another_contract_is_refused() -> None:
    with pytest.raises(ValueError, match="Renewal is a statement to Members, not to Ledger"):
        signing.digest(domain_of("Ledger"), signing.Renewal(Address(bytes(20)), 1, 2))


@pytest.mark.parametrize(
    "statement",
    [
        signing.Renewal(Address(bytes(20)), 1 << 48, 2),
        signing.Renewal(Address(bytes(20)), -1, 2),
        signing.Renewal(Address(bytes(19)), 1, 2),
        signing.Receipt(to_hash32("0x" + "0" * 64), 1 << 64, b"\0" * 32),  # type: ignore[arg-type]
        signing.Receipt(b"\0" * 31, 1, b"\0" * 32),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_its_type_is_not_signed(statement: Statement) -> None:
    with pytest.raises(ValueError, match=r"does not fit|bytes, expected"):
        signing.digest(domain_of(statement.CONTRACT), statement)


def test_a_wallets_signature_recovers_to_its_address() -> None:
    wallet, domain = Account.from_key(b"\x07" * 32), domain_of("Members")
    statement = signing.Renewal(to_address(wallet.address), 2_000_000_000, 1_900_000_000)

    signed = wallet.sign_typed_data(full_message=signing.typed_data(domain, statement))

    assert bytes(signed.message_hash) == signing.digest(domain, statement)
    assert bytes(Account.unsafe_sign_hash(signing.digest(domain, statement), wallet.key).signature) == signed.signature


# --- signatures of devices and sessions ---

KEY = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
POINT = p256.p256_point(KEY.public_key())


@given(st.binary(max_size=100))
def test_a_signature_counts_for_its_key_and_message_only(message: bytes) -> None:
    signature = p256.sign_es256(KEY, message)
    stranger = p256.p256_point(ec.derive_private_key(0xBEEF, ec.SECP256R1()).public_key())

    assert p256.verify_es256(POINT, message, signature)
    assert int.from_bytes(signature[32:]) <= P256_ORDER // 2
    assert not p256.verify_es256(POINT, message + b"\0", signature)
    assert not p256.verify_es256(stranger, message, signature)


@given(st.binary(max_size=100))
def test_the_other_half_is_refused_until_it_is_lowered(message: bytes) -> None:
    signature = p256.sign_es256(KEY, message)
    high = signature[:32] + (P256_ORDER - int.from_bytes(signature[32:])).to_bytes(32)

    assert not p256.verify_es256(POINT, message, high)
    assert p256.low_s(high) == p256.low_s(signature) == signature


@given(st.integers(0, 511))
def test_one_bit_changed_anywhere_is_refused(bit: int) -> None:
    signature = int.from_bytes(p256.sign_es256(KEY, b"message"))

    assert not p256.verify_es256(POINT, b"message", (signature ^ 1 << bit).to_bytes(64))


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(64),
        p256.sign_es256(KEY, b"message")[:63],
        p256.sign_es256(KEY, b"message") + b"\0",
        bytes(32) + (1).to_bytes(32),
        (1).to_bytes(32) + bytes(32),
        P256_ORDER.to_bytes(32) + (1).to_bytes(32),
    ],
    ids=["empty", "zeros", "a byte short", "a byte long", "r zero", "s zero", "r the order"],
)
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    assert not p256.verify_es256(POINT, b"message", signature)


@pytest.mark.parametrize("point", [b"", bytes(64), POINT[:63], POINT + b"\0", POINT[:63] + bytes([POINT[63] ^ 1])])
def test_what_is_no_point_of_the_curve_verifies_nothing(point: bytes) -> None:
    assert p256.p256_key(point) is None
    assert not p256.verify_es256(point, b"message", p256.sign_es256(KEY, b"message"))


def test_devices_sign_sha256_of_what_wallets_hash_with_keccak() -> None:
    domain, statement = domain_of("Meter"), signing.Receipt(keccak256(b"lease"), 1, keccak256(b"head"))
    signed = KEY.sign(signing.es256_digest(domain, statement), ec.ECDSA(Prehashed(SHA256())))

    r, s = decode_dss_signature(signed)

    signature = p256.low_s(r.to_bytes(32) + s.to_bytes(32))
    assert p256.verify_es256(POINT, signing.preimage(domain, statement), signature)
