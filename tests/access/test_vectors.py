"""Byte vectors: what was accepted once is accepted for ever, and each bad input is refused for the defect it is named
after. Files are never regenerated to make this pass."""

import json
from pathlib import Path
from typing import Any

import pytest

from commonhold.access import dpop, siwe, token
from commonhold.units import address_text, hex_text

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "access").glob("*.json"))


def of(kind: str) -> list[Any]:
    return [pytest.param(json.loads(p.read_text()), id=p.stem) for p in VECTORS if p.stem.startswith(f"{kind}_")]


@pytest.mark.parametrize("vector", of("token"))
def test_token(vector: dict[str, Any]) -> None:
    keys = token.key_set(vector["jwks"])

    def verify() -> token.AccessClaims:
        return token.verify(
            vector["token"], keys, issuer=vector["issuer"], audience=vector["audience"], now_s=vector["now_s"]
        )

    if "error" not in vector:
        assert token.to_json(verify()) == vector["claims"]
        return
    with pytest.raises(token.TokenInvalid) as refused:
        verify()
    assert vector["error"] in str(refused.value)
    assert vector["token"][:40] not in str(refused.value)


@pytest.mark.parametrize("vector", of("proof"))
def test_proof(vector: dict[str, Any]) -> None:
    def verify() -> dpop.DpopProof:
        return dpop.verify(
            vector["proof"],
            method=vector["method"],
            url=vector["url"],
            now_s=vector["now_s"],
            access_token=vector["access_token"],
            nonce_ok=lambda nonce: nonce == vector["nonce"],
        )

    if "error" not in vector:
        proof = verify()
        assert (proof.jkt, proof.jti, proof.iat) == (vector["jkt"], vector["jti"], vector["iat"])
        assert dpop.thumbprint(proof.point) == proof.jkt
        return
    with pytest.raises(dpop.DpopInvalid) as refused:
        verify()
    assert vector["error"] in str(refused.value)
    assert isinstance(refused.value, dpop.NonceRequired) == ("nonce" in vector["error"])


@pytest.mark.parametrize("vector", of("siwe"))
def test_sign_in_message(vector: dict[str, Any]) -> None:
    text = vector["message"].encode()
    if "error" in vector:
        with pytest.raises(siwe.SiweInvalid) as refused:
            siwe.parse(text)
        assert vector["error"] in str(refused.value)
        return

    message = siwe.parse(text)

    for name, value in vector["fields"].items():
        found = getattr(message, name)
        assert (list(found) if isinstance(found, tuple) else found) == value, name
    assert address_text(message.address) == vector["address"]
    assert hex_text(siwe.personal_digest(text)) == vector["digest"]
    assert siwe.recover(siwe.personal_digest(text), bytes.fromhex(vector["signature"][2:])) == message.address


def test_vectors_are_there() -> None:
    assert len(VECTORS) == 86
