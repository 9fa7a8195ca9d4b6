"""Who a sign-in is for and when, its nonce, and who signed; the grammar's vectors are in test_vectors.py."""

from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from commonhold.access import siwe
from commonhold.access.dpop import NonceKeys
from commonhold.access.siwe import SiweMessage
from commonhold.keyfile import SECP256K1_ORDER
from commonhold.units import Hash32
from tests.actors import address_of, key_of

NOW = 1_800_000_000
KEYS = NonceKeys(b"n" * 32)
LEASE = "urn:commonhold:lease:0x11"
MESSAGE = SiweMessage(
    scheme=None,
    domain="commonhold.example",
    address=address_of("developer"),
    statement=None,
    uri="https://commonhold.example",
    chain_id=1,
    nonce="0" * 64,
    issued_at=NOW,
    expires_at=NOW + 300,
    not_before=None,
    request_id=None,
    resources=(LEASE,),
)


def check(message: SiweMessage, now_s: int = NOW) -> None:
    uris = ("https://commonhold.example", "https://commonhold.example/token")
    siwe.check(message, domain="commonhold.example", uris=uris, chain_id=1, resources=[LEASE], now_s=now_s)


@pytest.mark.parametrize(
    "changes",
    [
        {"domain": "commonhold.example.evil.example"},
        {"domain": "commonhold.example:443"},
        {"uri": "https://commonhold.example/"},
        {"chain_id": 5},
        {"expires_at": None},
        {"expires_at": NOW},
        {"issued_at": NOW - 601},
        {"issued_at": NOW + 61},
        {"not_before": NOW + 1},
        {"resources": ()},
        {"resources": (LEASE + "0",)},
    ],
    ids=str,
)
def test_a_message_for_somebody_else_or_another_time_is_refused(changes: dict[str, Any]) -> None:
    check(MESSAGE)

    with pytest.raises(siwe.SiweInvalid):
        check(replace(MESSAGE, **changes))


def test_a_nonce_is_ours_until_it_ends() -> None:
    nonce = siwe.make_nonce(KEYS, NOW, b"entropy-here")

    assert siwe.nonce_until(KEYS, nonce, NOW) == NOW + 600
    assert siwe.make_nonce(KEYS, NOW, b"entropy-else") != nonce
    for wrong, keys, now_s in (
        (nonce, KEYS, NOW + 600),
        (nonce, NonceKeys(b"m" * 32), NOW),
        (nonce[:-1] + ("0" if nonce[-1] != "0" else "1"), KEYS, NOW),
        (nonce.upper(), KEYS, NOW),
        ("0" * 63, KEYS, NOW),
    ):
        with pytest.raises(siwe.SiweInvalid):
            siwe.nonce_until(keys, wrong, now_s)


def test_a_dpop_nonce_is_no_sign_in_nonce() -> None:
    with pytest.raises(siwe.SiweInvalid):
        siwe.nonce_until(KEYS, KEYS.issue(NOW), NOW)


def test_recovery_finds_the_signer_and_no_second_form_of_the_signature() -> None:
    digest = siwe.personal_digest(b"hello")
    signature = bytes(Account.unsafe_sign_hash(digest, key_of("developer")).signature)
    s = int.from_bytes(signature[32:64])
    mirrored = signature[:32] + (SECP256K1_ORDER - s).to_bytes(32) + bytes([55 - signature[64]])
    by_parity = signature[:64] + bytes([signature[64] - 27])

    assert siwe.recover(digest, signature) == siwe.recover(digest, by_parity) == address_of("developer")
    assert siwe.recover(digest, mirrored) is None
    assert siwe.recover(digest, signature[:64]) is None
    assert siwe.recover(digest, signature + b"\0") is None
    assert siwe.recover(digest, signature[:64] + b"\x1d") is None
    assert siwe.recover(digest, bytes(65)) is None


@given(st.binary(min_size=65, max_size=65), st.binary(min_size=32, max_size=32))
def test_recovery_never_fails_on_any_bytes(signature: bytes, digest: bytes) -> None:
    found = siwe.recover(Hash32(digest), signature[:64] + bytes([27 + signature[64] % 2]))

    assert found is None or len(found) == 20


@given(st.binary(max_size=300))
def test_no_other_error_leaves_the_parser(message: bytes) -> None:
    with pytest.raises(siwe.SiweInvalid):
        siwe.parse(message)
