"""P-256 keys, of hardware and of sessions: ES256 signatures, SHA-256 and low s. Pure. What they sign: signing.py."""

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ES256 = ec.ECDSA(hashes.SHA256())


def sign_es256(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """r || s, 64 bytes, low s (the contracts refuse the other half, OpenZeppelin P256)."""
    r, s = decode_dss_signature(key.sign(message, _ES256))
    return r.to_bytes(32) + min(s, P256_ORDER - s).to_bytes(32)


def low_s(signature: bytes) -> bytes:
    """The low-s form of a 64-byte ES256 signature, for signers that cannot choose (WebCrypto, TPMs)."""
    s = int.from_bytes(signature[32:])
    return signature[:32] + min(s, P256_ORDER - s).to_bytes(32)


def verify_es256(point: bytes, message: bytes, signature: bytes) -> bool:
    """True when `signature` (r || s, low s) is by the key `point` (x || y, 64 bytes) over `message`."""
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    if len(signature) != 64 or not (0 < r < P256_ORDER and 0 < s <= P256_ORDER // 2):
        return False
    key = p256_key(point)
    if key is None:
        return False
    try:
        key.verify(encode_dss_signature(r, s), message, _ES256)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=4096)  # bounded: points come from outside
def p256_key(point: bytes) -> ec.EllipticCurvePublicKey | None:
    """The public key of x || y (64 bytes); None when that is no point of P-256."""
    if len(point) != 64:
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point)
    except ValueError:
        return None


def p256_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """x || y of a P-256 key, 64 bytes."""
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
