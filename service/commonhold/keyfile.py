"""Key files: a wallet key as hexadecimal text, a P-256 key as PEM. Written once, mode 0600, never overwritten."""

import os
import stat
from pathlib import Path

import coincurve
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.errors import BadInput
from commonhold.units import Address, keccak256

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # SEC 2, 2.4.1


class KeyFileError(BadInput):
    """A key file is missing, readable by others, or holds no key. The message never shows its content."""

    code = "bad_key_file"


def read_wallet(path: Path) -> bytes:
    """The 32 bytes of a wallet key file: hexadecimal text, 0x or not. Raises KeyFileError."""
    text = _read(path).decode("ascii", errors="replace").strip().removeprefix("0x")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32 or not 0 < int.from_bytes(key) < SECP256K1_ORDER:
        raise KeyFileError(f"key file {path}: expected 64 hexadecimal digits of a key, got something else")
    return key


def write_wallet(path: Path) -> bytes:
    """A new wallet key in `path`. Raises KeyFileError when the file exists."""
    key = os.urandom(32)
    _write(path, key.hex().encode() + b"\n")
    return key


def read_p256(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 private key of an unencrypted PEM file. Raises KeyFileError."""
    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"key file {path}: expected an unencrypted PEM private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"key file {path}: expected a P-256 key, got another kind")
    return key


def write_p256(path: Path) -> ec.EllipticCurvePrivateKey:
    """A new P-256 key in `path`, PEM. Raises KeyFileError when the file exists."""
    key = ec.generate_private_key(ec.SECP256R1())
    _write(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return key


def read_or_write_p256(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key in `path`; a new one when there is no file. Raises KeyFileError."""
    return read_p256(path) if path.exists() else write_p256(path)


def read_or_write_secret(path: Path) -> bytes:
    """The 32 random bytes in `path`; new ones when there is no file. Raises KeyFileError."""
    if not path.exists():
        _write(path, os.urandom(32))
    secret = _read(path)
    if len(secret) != 32:
        raise KeyFileError(f"key file {path}: expected 32 bytes, got {len(secret)}")
    return secret


def wallet_address(key: bytes) -> Address:
    """The address of a wallet key: the last 20 bytes of the hash of its public point."""
    return Address(keccak256(coincurve.PrivateKey(key).public_key.format(compressed=False)[1:])[12:])


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise KeyFileError(f"key file {path}: not found; `commonhold key new {path}` makes one") from error
    except OSError as error:
        raise KeyFileError(f"key file {path}: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f"key file {path}: others may read it (mode {mode & 0o777:o}), expected mode 600")
    return content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"key file {path}: exists already; a key is never overwritten") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # what is signed with a key that a power cut took could never be signed again
