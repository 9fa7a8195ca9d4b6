"""Proofs and their nonces, made and verified here; the byte vectors are in test_vectors.py."""

import base64
import json

import pytest

from commonhold.access import dpop
from commonhold.access.dpop import MAX_AGE_S, NONCE_STEP_S, NONCE_STEPS, NonceKeys
from commonhold.p256 import sign_es256
from tests.actors import p256_of, point_of

NOW = 1_800_000_000
URL = "https://gpu1.example/v1/matmul"


def test_what_is_made_verifies() -> None:
    proof = dpop.make(
        p256_of("developer"), method="GET", url=URL + "?x=1#y", now_s=NOW, jti="1", access_token="t", nonce="n"
    )

    found = dpop.verify(proof, method="GET", url=URL, now_s=NOW, access_token="t", nonce_ok=lambda nonce: nonce == "n")

    assert found == dpop.DpopProof(dpop.thumbprint(point_of("developer")), "1", NOW, point_of("developer"))
    assert found.until == NOW + MAX_AGE_S + 1


@pytest.mark.parametrize(("age_s", "good"), [(300, True), (301, False), (-60, True), (-61, False)])
def test_a_proof_serves_until_it_can_be_forgotten(age_s: int, good: bool) -> None:
    proof = dpop.make(p256_of("developer"), method="GET", url=URL, now_s=NOW - age_s, jti="1")

    if good:
        assert dpop.verify(proof, method="GET", url=URL, now_s=NOW).until > NOW
        return
    with pytest.raises(dpop.DpopInvalid):
        dpop.verify(proof, method="GET", url=URL, now_s=NOW)


def test_a_nonce_serves_its_steps_and_no_longer() -> None:
    keys = NonceKeys(b"n" * 32)
    start = NOW - NOW % NONCE_STEP_S
    nonce = keys.issue(start)

    assert keys.ok(nonce, start)
    assert keys.ok(nonce, start + NONCE_STEPS * NONCE_STEP_S - 1)
    assert not keys.ok(nonce, start + NONCE_STEPS * NONCE_STEP_S)
    assert not keys.ok(nonce, start - 1)
    assert not keys.ok("ü", start)
    assert not NonceKeys(b"m" * 32).ok(nonce, start)


@pytest.mark.parametrize("claim", ["jti", "nonce", "access_token"])
def test_half_a_character_is_refused_as_any_other_defect(claim: str) -> None:
    """JSON can escape one half of a surrogate pair; no encoder takes it. Whoever verifies must not fall over it."""
    header = {"alg": "ES256", "typ": dpop.TYPE, "jwk": dpop.public_jwk(point_of("developer"))}
    said = {"jti": "1", "htm": "GET", "htu": URL, "iat": NOW, "nonce": "n", "ath": dpop.token_hash("t")}
    said["ath" if claim == "access_token" else claim] = "\ud800"
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, said))
    message = b".".join(parts)
    signature = base64.urlsafe_b64encode(sign_es256(p256_of("developer"), message)).rstrip(b"=")
    proof = (message + b"." + signature).decode()

    with pytest.raises(dpop.DpopInvalid):
        dpop.verify(proof, method="GET", url=URL, now_s=NOW, access_token="t", nonce_ok=lambda n: n.encode() == b"n")


def test_a_short_nonce_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        NonceKeys(b"n" * 31)


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    """A P-256 key and its thumbprint from RFC 9449, figures 2 and 9."""
    x = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"
    y = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
    point = b"".join(base64.urlsafe_b64decode(part + "=") for part in (x, y))

    assert dpop.thumbprint(point) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
