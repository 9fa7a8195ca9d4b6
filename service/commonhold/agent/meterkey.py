"""The meter key: the node's P-256 key, made on the machine and never leaving it. The appraisal binds it to the GPUs."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.errors import BadInput


def load(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a PEM file (PKCS #8, without password). Raises BadInput."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as e:
        raise BadInput(f"meter key {path}: there is no such file") from e
    except (OSError, ValueError, TypeError) as e:
        raise BadInput(f"meter key {path}: expected a P-256 key as PEM without password ({type(e).__name__})") from e
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadInput(f"meter key {path}: expected a P-256 key, got another kind")
    return key


def load_or_create(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in the file; a new one, readable by its owner alone, when there is no file."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return load(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return key
