"""Signing keys on disk: private, rotated with both overlaps."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from commonhold.access import token
from commonhold.access.keys import PUBLISH_AHEAD_S, RETIRE_AFTER_S, SigningKeys
from commonhold.errors import BadInput

NOW = 1_800_000_000


def kids(keys: SigningKeys) -> list[str]:
    return [key["kid"] for key in keys.jwks()["keys"]]


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    keys = SigningKeys.open(tmp_path / "a" / "keys", now_s=NOW)

    [path] = (tmp_path / "a" / "keys").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.name == f"{NOW}-{kids(keys)[0]}.pem"
    assert keys.signing(NOW).kid == kids(keys)[0]
    assert kids(SigningKeys.open(tmp_path / "a" / "keys", now_s=NOW + 1)) == kids(keys)


def test_a_new_key_is_published_before_it_signs_and_an_old_one_after(tmp_path: Path) -> None:
    first = SigningKeys.open(tmp_path / "keys", now_s=NOW)
    old = kids(first)[0]
    later = NOW + 10_000

    second = first.rotate(now_s=later)

    assert len(kids(second)) == 2
    assert second.signing(later + PUBLISH_AHEAD_S - 1).kid == old
    assert second.signing(later + PUBLISH_AHEAD_S).kid != old
    assert old in kids(second.rotate(now_s=later + PUBLISH_AHEAD_S + RETIRE_AFTER_S - 1))
    third = second.rotate(now_s=later + PUBLISH_AHEAD_S + RETIRE_AFTER_S)
    assert old not in kids(third)
    assert kids(SigningKeys.open(tmp_path / "keys", now_s=later)) != [old]
    assert not list((tmp_path / "keys").glob(f"*{old}*"))


def test_the_published_set_is_public_and_usable(tmp_path: Path) -> None:
    keys = SigningKeys.open(tmp_path / "keys", now_s=NOW)

    assert all(set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in keys.jwks()["keys"])
    assert [key.kid for key in token.key_set(keys.jwks())] == kids(keys)
    for wrong in (b"", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"EC","crv":"P-256","kid":"a"}]}', b"[" * 5000):
        with pytest.raises(token.TokenInvalid):
            token.key_set(wrong)


def test_files_that_others_can_read_or_that_are_no_key_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    keys = SigningKeys.open(directory, now_s=NOW)
    [path] = directory.iterdir()
    good = path.read_bytes()
    rsa_key = rsa.generate_private_key(65_537, 2_048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    def refused(part: str) -> None:
        with pytest.raises(BadInput, match=part):
            SigningKeys.open(directory, now_s=NOW)

    path.chmod(0o640)
    refused("read by others")
    path.chmod(0o600)
    directory.chmod(0o755)
    refused("read by others")
    directory.chmod(0o700)
    for content, part in ((b"x", "PEM"), (rsa_key, "P-256")):
        path.write_bytes(content)
        refused(part)
    path.write_bytes(good)
    other = path.rename(directory / f"{NOW}-{'A' * 43}.pem")
    refused("thumbprint")
    other.rename(directory / "key.pem")
    refused("expected a name")
    assert "PRIVATE" not in repr(keys.keys[0])
    assert keys.keys[0].key.kid in repr(keys.keys[0])  # type: ignore[operator]
