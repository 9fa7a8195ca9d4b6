"""Files on their way to an appraiser: multipart/form-data, written by providers and read as it arrives.

The appraiser hashes a file while it comes and stores nothing, neither in memory nor on disk. What it reads is the
strict form that HTTP clients write (RFC 7578): a part `request`, then parts `file` whose file name is the path.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from commonhold.appraiser.manifest import MAX_FILES, Manifest, ManifestError, ManifestFile, manifest_of, path_fault
from commonhold.errors import BadInput, CommonholdError
from commonhold.units import Hash32

MAX_HEADER_BYTES: Final = 4_096
MAX_REQUEST_BYTES: Final = 65_536
READ_BYTES: Final = 1 << 16
BOUNDARY: Final = re.compile(r'multipart/form-data; *boundary=("?)([0-9A-Za-z\'()+_,./:=?-]{1,70})\1', re.IGNORECASE)
_DISPOSITION: Final = re.compile(r'form-data; *name="([^"]*)"(?:; *filename="([^"]*)")?', re.IGNORECASE)


class BadUpload(BadInput):
    """An upload that is not of the form that is read here."""

    code = "bad_upload"


class TooLarge(CommonholdError):
    """More bytes than this appraiser takes; nothing of them was kept."""

    status = 413
    code = "too_large"


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins. `filename` None: the part is no file."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the part that began last."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The part ends."""


Event = Begin | Data | End


class Splitter:
    """Splits a body into the events of its parts, however it is cut into chunks; keeps less than a header of it."""

    def __init__(self, content_type: str) -> None:
        """content_type: the header of the request. Raises BadUpload."""
        match = BOUNDARY.fullmatch(content_type)
        if match is None:
            raise BadUpload(f"content type {content_type[:100]!r}: expected multipart/form-data with a boundary")
        self._delimiter = b"\r\n--" + match[2].encode("ascii")
        self._state: Literal["delimiter", "header", "body", "end"] = "delimiter"
        self._rest = bytearray(b"\r\n")  # the first delimiter stands at the start of the body, without a line before it

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that `chunk` completes. Raises BadUpload."""
        self._rest += chunk
        while True:
            if self._state == "body":
                at = self._rest.find(self._delimiter)
                ready = at if at >= 0 else max(0, len(self._rest) - len(self._delimiter) + 1)
                if ready:
                    yield Data(bytes(self._rest[:ready]))
                    del self._rest[:ready]
                if at < 0:
                    return
                yield End()
                self._state = "delimiter"
            elif self._state == "delimiter":
                if not self._delimiter_ends():
                    return
            elif self._state == "header":
                at = self._rest.find(b"\r\n\r\n")
                if at > MAX_HEADER_BYTES or (at < 0 and len(self._rest) > MAX_HEADER_BYTES):
                    raise BadUpload(f"upload: expected a part's header within {MAX_HEADER_BYTES} bytes")
                if at < 0:
                    return
                header = bytes(self._rest[:at])
                del self._rest[: at + 4]
                self._state = "body"
                yield _begin(header)
            else:
                if bytes(self._rest) not in (b"", b"\r", b"\r\n"):
                    raise BadUpload("upload: expected nothing behind the last part")
                return

    def close(self) -> None:
        """Says that the body ended. Raises BadUpload if it ended too early."""
        if self._state != "end":
            raise BadUpload("upload: ended before its last part did")

    def _delimiter_ends(self) -> bool:
        """True when the whole delimiter line was there; the state is then that of what follows."""
        n_bytes = len(self._delimiter)
        line = bytes(self._rest[: n_bytes + 2])
        if not (self._delimiter + b"\r\n").startswith(line) and not (self._delimiter + b"--").startswith(line):
            raise BadUpload("upload: expected a line with the boundary")
        if len(line) < n_bytes + 2:
            return False
        del self._rest[: n_bytes + 2]
        self._state = "header" if line.endswith(b"\r\n") else "end"
        return True


async def events(content_type: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """The events of a body that arrives in `chunks`. Raises BadUpload."""
    splitter = Splitter(content_type)
    async for chunk in chunks:
        for event in splitter.feed(chunk):
            yield event
    splitter.close()


async def read_request(parts: AsyncIterator[Event]) -> bytes:
    """The first part, `request`, whole. Raises BadUpload and TooLarge."""
    first = await anext(parts, None)
    if first != Begin("request", None):
        raise BadUpload(f"upload: expected the part 'request' first, got {first!r:.100}")
    content = bytearray()
    async for event in parts:
        if not isinstance(event, Data):
            break
        content += event.chunk
        if len(content) > MAX_REQUEST_BYTES:
            raise TooLarge(f"part 'request': expected at most {MAX_REQUEST_BYTES} bytes")
    return bytes(content)


async def read_manifest(parts: AsyncIterator[Event], *, most_bytes: int) -> Manifest:
    """The manifest of all remaining parts, each a `file`, hashed as they come.

    Raises BadUpload, ManifestError, and TooLarge when they have more than `most_bytes` together.
    """
    files: list[ManifestFile] = []
    path, size, total, digest = "", 0, 0, hashlib.sha256()
    async for event in parts:
        match event:
            case Begin(name, filename):
                path, size, digest = _file_path(name, filename), 0, hashlib.sha256()
                if len(files) == MAX_FILES:
                    raise ManifestError(f"upload: expected at most {MAX_FILES} files")
            case Data(chunk):
                total += len(chunk)
                if total > most_bytes:
                    raise TooLarge(
                        f"upload: expected at most {most_bytes} bytes in all files", details={"most_bytes": most_bytes}
                    )
                digest.update(chunk)
                size += len(chunk)
            case End():
                files.append(ManifestFile(path, size, Hash32(digest.digest())))
    return manifest_of(files)


def body_bytes(request: bytes, manifest: Manifest, boundary: str) -> int:
    """How many bytes `body` yields, so that the request can say its length."""
    heads = sum(len(_head(boundary, file.path)) + file.size + 2 for file in manifest.files)
    return len(_head(boundary, None)) + len(request) + 2 + heads + len(_tail(boundary))


async def body(request: bytes, manifest: Manifest, location: Path, boundary: str) -> AsyncIterator[bytes]:
    """The multipart body: `request`, then the files of `manifest` as they lie under `location` (a folder, or the file).

    boundary: random, so that no file contains it. Raises ManifestError when a file is not as it was when hashed.
    """
    yield _head(boundary, None) + request + b"\r\n"
    for file in manifest.files:
        yield _head(boundary, file.path)
        for chunk in _content(file, location):
            yield chunk
        yield b"\r\n"
    yield _tail(boundary)


def _content(file: ManifestFile, location: Path) -> Iterator[bytes]:
    left = file.size
    location = location if location.is_file() else location / file.path
    try:
        with location.open("rb") as source:
            while left and (chunk := source.read(min(READ_BYTES, left))):
                left -= len(chunk)
                yield chunk
    except OSError as e:
        raise ManifestError(f"{location}: expected a file that can be read: {e.strerror}") from e
    if left:
        raise ManifestError(
            f"{location}: changed since it was hashed, expected {file.size} bytes, got {file.size - left}"
        )


def _head(boundary: str, path: str | None) -> bytes:
    name = "request" if path is None else f'file"; filename="{path}'
    kind = "application/json" if path is None else "application/octet-stream"
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {kind}\r\n\r\n'.encode()


def _tail(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


def _begin(header: bytes) -> Begin:
    try:
        lines = [line.partition(":") for line in header.decode().split("\r\n")]
    except UnicodeDecodeError as e:
        raise BadUpload("upload: expected the header of a part in UTF-8") from e
    fields = {name.lower(): value.strip() for name, colon, value in lines if colon}
    if fields.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise BadUpload("upload: expected files as they are, got a Content-Transfer-Encoding")
    match = _DISPOSITION.fullmatch(fields.get("content-disposition", ""))
    if match is None or len(fields) != len(lines):
        raise BadUpload('upload: expected one Content-Disposition: form-data; name="..."; filename="..." in each part')
    return Begin(match[1], match[2])


def _file_path(name: str, filename: str | None) -> str:
    if name != "file" or filename is None:
        raise BadUpload(f"upload: expected parts 'file' with a file name behind 'request', got {name[:100]!r}")
    fault = path_fault(filename)
    if fault is not None:
        raise ManifestError(f"{filename[:200]!r}: {fault}")
    return filename
