"""What joins a node's devices, its meter key and its provider: the nonce that every GPU signs, and device commitments.

In: bytes of exact length. Out: 32 bytes. Pure: agent and appraisers compute the same bytes apart from each other.
Every field but the label has a fixed length, so two different inputs never make the same preimage.
"""

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec

BIND_LABEL = b"commonhold/bind/v1"
GPU_LABEL = b"commonhold/bind/v1/gpu"
DEVICE_LABEL = b"commonhold/device/v1"


def binding_nonce(
    challenges: Sequence[bytes], *, provider: bytes, chain_id: int, ledger: bytes, meter_key: bytes
) -> bytes:
    """The 32 bytes that commit to all appraisers' challenges, the provider, the ledger and the meter key.

    challenges: n >= 1 of 32 bytes, distinct, in any order: an appraiser that repeats another's has not made its own.
    provider, ledger: addresses of 20 bytes. meter_key: uncompressed P-256 point, 65 bytes. Raises ValueError.
    """
    if not challenges or len(set(challenges)) != len(challenges):
        raise ValueError(f"challenges: expected at least one and no two equal, got {len(challenges)}")
    for challenge in challenges:
        _sized("challenge", challenge, 32)
    _sized("provider", provider, 20)
    _sized("ledger", ledger, 20)
    _sized("meter_key", meter_key, 65)
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), meter_key)
    except ValueError as e:
        raise ValueError(f"meter_key: expected an uncompressed point on P-256, got {meter_key.hex()}") from e
    if not 0 < chain_id < 1 << 256:
        raise ValueError(f"chain_id: expected 1..2^256-1, got {chain_id}")
    return hashlib.sha256(
        BIND_LABEL
        + hashlib.sha256(b"".join(sorted(challenges))).digest()
        + provider
        + chain_id.to_bytes(32, "big")
        + ledger
        + meter_key
    ).digest()


def gpu_nonce(binding: bytes) -> bytes:
    """The nonce that each GPU of the node signs: 32 bytes made from `binding_nonce`'s."""
    return hashlib.sha256(GPU_LABEL + _sized("binding", binding, 32)).digest()


def device_commitment(device_spki_sha256: bytes) -> bytes:
    """How a device is named on chain: 32 bytes, the same for every appraisal of one GPU, so that it counts once.

    It hides the key from who has never seen the GPU's chain; who has seen it can recognise the device.
    """
    return hashlib.sha256(DEVICE_LABEL + _sized("device_spki_sha256", device_spki_sha256, 32)).digest()


def _sized(what: str, value: bytes, n_bytes: int) -> bytes:
    if len(value) != n_bytes:
        raise ValueError(f"{what}: expected {n_bytes} bytes, got {len(value)}")
    return value
