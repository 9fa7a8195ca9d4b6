"""Key files: written once, for their owner alone, and never shown."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold import keyfile
from commonhold.keyfile import KeyFileError


def test_a_wallet_key_reads_back_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "wallet.key"

    key = keyfile.write_wallet(path)

    assert keyfile.read_wallet(path) == key
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_p256_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "meter.pem"

    first = keyfile.read_or_write_p256(path)

    assert keyfile.read_or_write_p256(path).private_numbers() == first.private_numbers()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_is_made_once_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "nonce.key"

    secret = keyfile.read_or_write_secret(path)

    assert len(secret) == 32
    assert keyfile.read_or_write_secret(path) == secret
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="others may read it"):
        keyfile.read_or_write_secret(path)
    path.chmod(0o600)
    path.write_bytes(b"")  # as a crash between making and writing it leaves it
    with pytest.raises(KeyFileError, match="expected 32 bytes, got 0"):
        keyfile.read_or_write_secret(path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    before = keyfile.write_wallet(path)

    with pytest.raises(KeyFileError, match="exists already"):
        keyfile.write_p256(path)

    assert keyfile.read_wallet(path) == before


def test_a_p256_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p384.pem"
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match="expected a P-256 key, got another kind"):
        keyfile.read_p256(path)


def test_a_folder_is_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"directory|others may read"):
        keyfile.read_wallet(tmp_path)
