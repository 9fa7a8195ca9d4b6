"""Signatures of appraisers: secp256k1 over an EIP-712 digest, r || s || v, as the contracts take them. Pure."""

from typing import Final

import coincurve

from commonhold.keyfile import SECP256K1_ORDER
from commonhold.units import Address, Hash32, keccak256

V_OFFSET: Final = 27  # of Ethereum's v


def sign(key: bytes, digest: Hash32) -> bytes:
    """The signature of `digest` by the 32 bytes of `key`; deterministic, with low s."""
    signature = coincurve.PrivateKey(key).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes((signature[64] + V_OFFSET,))


def signer_of(digest: Hash32, signature: bytes) -> Address | None:
    """The address that signed `digest`; None when this is no signature that a contract would take (high s, odd v)."""
    if len(signature) != 65 or signature[64] - V_OFFSET not in (0, 1):
        return None
    if int.from_bytes(signature[32:64]) > SECP256K1_ORDER // 2:
        return None
    try:
        recoverable = signature[:64] + bytes((signature[64] - V_OFFSET,))
        key = coincurve.PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except ValueError:
        return None
    return Address(keccak256(key.format(compressed=False)[1:])[12:])
