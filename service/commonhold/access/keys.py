"""The keys that sign access tokens: one file a key in a directory that only the service can read. No other key of the
service signs tokens, and these sign nothing else but the mirror's digest, under a type of its own (saying.py).

Rotation has two overlaps. A new key is published for PUBLISH_AHEAD_S before it signs, so that no gateway meets a key it
has not fetched; an old one stays published for as long as tokens that it signed can live.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey, KeySet

from commonhold.access.dpop import public_jwk, thumbprint
from commonhold.access.token import MAX_SKEW_S, MAX_TTL_S
from commonhold.errors import BadInput
from commonhold.p256 import p256_point

CACHE_S = 300  # max-age of /jwks.json: how long a gateway may not notice a new key
PUBLISH_AHEAD_S = 2 * CACHE_S
RETIRE_AFTER_S = MAX_TTL_S + CACHE_S + MAX_SKEW_S

_FILE = re.compile(r"(?P<since>\d{10,12})-(?P<kid>[A-Za-z0-9_-]{43})\.pem")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and when it was made, Unix seconds. Its `kid` is its RFC 7638 thumbprint."""

    since: int
    key: ECKey

    def __repr__(self) -> str:
        return f"SigningKey(since={self.since}, kid={self.key.kid!r})"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of one directory, oldest first; never empty. A value: `rotate` returns the next one."""

    directory: Path
    keys: Sequence[SigningKey]

    @classmethod
    def open(cls, directory: Path, *, now_s: int) -> "SigningKeys":
        """The keys of `directory`, which is made, with a first key, when it is not there.

        Raises BadInput when others than the owner can read it or a file in it is no such key.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(directory)
        keys = sorted((_load(path) for path in directory.glob("*.pem")), key=lambda k: (k.since, str(k.key.kid)))
        return cls(directory, keys or [_create(directory, now_s)])

    def rotate(self, *, now_s: int) -> "SigningKeys":
        """The keys with a new one, which signs from PUBLISH_AHEAD_S on, and without those that nothing depends on."""
        keys = [*self.keys, _create(self.directory, now_s)]
        # A key is replaced when the next one begins to sign.
        kept = [
            key
            for key, after in zip(keys, [*keys[1:], None], strict=True)
            if after is None or now_s < after.since + PUBLISH_AHEAD_S + RETIRE_AFTER_S
        ]
        for key in keys:
            if key not in kept:
                _path(self.directory, key).unlink(missing_ok=True)
        return SigningKeys(self.directory, kept)

    def signing(self, now_s: int) -> ECKey:
        """The newest key that has been published long enough; the oldest when none has."""
        ready = [key for key in self.keys if key.since + PUBLISH_AHEAD_S <= now_s]
        return (ready[-1] if ready else self.keys[0]).key

    def verifying(self) -> KeySet:
        """All keys, for verifying."""
        return KeySet([key.key for key in self.keys])

    def jwks(self) -> dict[str, Any]:
        """The public keys, as served at /jwks.json."""
        members = {"use": "sig", "alg": "ES256"}
        points = [p256_point(key.key.public_key) for key in self.keys]
        return {"keys": [public_jwk(point) | {"kid": thumbprint(point)} | members for point in points]}


def _create(directory: Path, now_s: int) -> SigningKey:
    made = _wrap(ec.generate_private_key(ec.SECP256R1()), now_s)
    assert made.key.private_key is not None  # noqa: S101 - for the type checker: it was made two lines above
    pem = made.key.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Exclusive and 0600 from the first byte: there is no moment in which another account can read it.
    descriptor = os.open(_path(directory, made), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return made


def _load(path: Path) -> SigningKey:
    match = _FILE.fullmatch(path.name)
    if match is None:
        raise BadInput(f"signing key {path}: expected a name such as 1700000000-<thumbprint>.pem")
    _check_private(path)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as e:
        raise BadInput(f"signing key {path}: expected an unencrypted PEM private key") from e
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadInput(f"signing key {path}: expected a P-256 key")
    loaded = _wrap(key, int(match["since"]))
    if loaded.key.kid != match["kid"]:
        raise BadInput(f"signing key {path}: its thumbprint is {loaded.key.kid}, expected that of its name")
    return loaded


def _wrap(key: ec.EllipticCurvePrivateKey, since: int) -> SigningKey:
    return SigningKey(since, ECKey.import_key(key, {"kid": thumbprint(p256_point(key.public_key()))}))


def _path(directory: Path, key: SigningKey) -> Path:
    return directory / f"{key.since}-{key.key.kid}.pem"


def _check_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise BadInput(f"{path} can be read by others (mode {mode:04o}): expected 0700 for it, 0600 for the keys in it")
