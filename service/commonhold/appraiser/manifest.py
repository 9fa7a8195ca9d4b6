"""Manifest of a dataset's folder or a model's file: path, size and SHA-256 of every file, in one canonical form.

Used on both sides: a provider hashes what it has, an appraiser what it was sent, and both get the same bytes, whose
SHA-256 is the content hash on chain. Imports nothing of HTTP.
"""

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from commonhold.appraiser.canonical import Json, canonical
from commonhold.errors import BadInput
from commonhold.units import Hash32

FORMAT: Final = "commonhold/manifest/v1"
MAX_FILES: Final = 10_000
MAX_PATH_BYTES: Final = 1_024
CHUNK_BYTES: Final = 1 << 20

# Control characters, and what forms cannot carry unchanged in a file name: " and \ (HTML, "multipart/form-data").
_NOT_IN_PATH: Final = re.compile(r'[\x00-\x1f\x7f"\\]')
_DRIVE: Final = re.compile(r"[A-Za-z]:")

Progress = Callable[[int, int], None]  # bytes hashed, bytes in all


class ManifestError(BadInput):
    """Files that no manifest can be made of; the message begins with the path."""

    code = "bad_manifest"


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file. `path` is relative, with `/` between its names."""

    path: str
    size: int
    sha256: Hash32


@dataclass(frozen=True, slots=True)
class Manifest:
    """Files by ascending path, each once. Made by `manifest_of`."""

    files: tuple[ManifestFile, ...]

    @property
    def n_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size for file in self.files)

    @property
    def content_hash(self) -> Hash32:
        """SHA-256 of `canonical`: what an appraisal says of a DATA or MODEL asset's content."""
        return Hash32(hashlib.sha256(self.canonical()).digest())

    def canonical(self) -> bytes:
        """The manifest's document in the one form that is hashed."""
        files: list[Json] = [{"path": f.path, "sha256": f.sha256.hex(), "size": f.size} for f in self.files]
        return canonical({"files": files, "format": FORMAT})


def path_fault(path: str) -> str | None:
    """None when `path` can only name a file below the folder it is put in; else what is wrong with it."""
    if not path:
        return "expected a path, got none"
    if path.startswith("/") or _DRIVE.match(path):
        return "expected a relative path, got an absolute one"
    if _NOT_IN_PATH.search(path):
        return 'control characters, " and \\ are not allowed in a path'
    if any(name in ("", ".", "..") for name in path.split("/")):
        return "expected names with one / between, and neither . nor .."
    try:
        n_bytes = len(path.encode())
    except UnicodeEncodeError:
        return "expected UTF-8"
    return None if n_bytes <= MAX_PATH_BYTES else f"expected at most {MAX_PATH_BYTES} bytes, got {n_bytes}"


def manifest_of(files: Iterable[ManifestFile]) -> Manifest:
    """The manifest of `files`, given in any order. Raises ManifestError."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    if not 1 <= len(ordered) <= MAX_FILES:
        raise ManifestError(f"manifest: expected 1 to {MAX_FILES} files, got {len(ordered)}")
    seen: dict[str, str] = {}
    for file in ordered:
        fault = path_fault(file.path)
        if fault is not None:
            raise ManifestError(f"{file.path[:200]!r}: {fault}")
        # Two spellings of one name look the same and are the same file on some systems.
        name = unicodedata.normalize("NFC", file.path)
        if name in seen:
            raise ManifestError(f"{file.path!r}: expected each path once, got it and {seen[name]!r}")
        seen[name] = file.path
    for name in seen:
        for parent in PurePosixPath(name).parents:
            if str(parent) in seen:
                raise ManifestError(f"{name!r}: lies below {str(parent)!r}, which is a file")
    manifest = Manifest(ordered)
    if manifest.n_bytes == 0:
        raise ManifestError(f"manifest: expected at least one byte in {len(ordered)} files, got none")
    return manifest


def hash_folder(folder: Path, progress: Progress | None = None) -> Manifest:
    """The manifest of every file below `folder`, hidden ones too. Links are refused, not followed.

    Reads each file once, in parts of 1 MiB. Raises ManifestError.
    """
    return _hash_all(sorted(_walk(folder, folder)), progress)


def hash_file(location: Path, progress: Progress | None = None) -> Manifest:
    """The manifest of one file under its own name. Raises ManifestError."""
    return _hash_all([(location.name, location, _size(location))], progress)


def hash_path(location: Path, progress: Progress | None = None) -> Manifest:
    """The manifest of a folder or of a file, whichever `location` is. Raises ManifestError."""
    return hash_folder(location, progress) if location.is_dir() else hash_file(location, progress)


def _walk(folder: Path, root: Path) -> Iterator[tuple[str, Path, int]]:
    """(path in the manifest, location, size) of every file below `folder`."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as e:
        raise ManifestError(f"{folder}: expected a folder that can be read: {e.strerror}") from e
    for entry in entries:
        if not entry.is_symlink() and entry.is_dir():
            yield from _walk(entry, root)
        else:
            yield entry.relative_to(root).as_posix(), entry, _size(entry)


def _size(location: Path) -> int:
    try:
        status = location.lstat()
    except OSError as e:
        raise ManifestError(f"{location}: expected a file that can be read: {e.strerror}") from e
    if not stat.S_ISREG(status.st_mode):
        raise ManifestError(f"{location}: expected a plain file, got a link or something else that is none")
    return status.st_size


def _hash_all(found: list[tuple[str, Path, int]], progress: Progress | None) -> Manifest:
    files: list[ManifestFile] = []
    done, total = 0, sum(size for _, _, size in found)
    for path, location, size in found:
        digest = hashlib.sha256()
        for chunk in _read(location, size):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
        files.append(ManifestFile(path, size, Hash32(digest.digest())))
    return manifest_of(files)


def _read(location: Path, size: int) -> Iterator[bytes]:
    n_bytes = 0
    try:
        # O_NOFOLLOW: what was a file when it was found may be a link by now.
        with os.fdopen(os.open(location, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                n_bytes += len(chunk)
                yield chunk
    except OSError as e:
        raise ManifestError(f"{location}: expected a file that can be read: {e.strerror}") from e
    if n_bytes != size:
        raise ManifestError(f"{location}: changed while it was read, expected {size} bytes, got {n_bytes}")
