"""Manifests: the same bytes from a folder and from an upload, and no path that could name anything else."""

import hashlib
import os
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonhold.appraiser import upload
from commonhold.appraiser.manifest import (
    Manifest,
    ManifestError,
    ManifestFile,
    hash_file,
    hash_folder,
    hash_path,
    manifest_of,
    path_fault,
)
from commonhold.appraiser.upload import BadUpload, Begin, Data, End, Splitter, TooLarge
from commonhold.units import Hash32

FILES = {"b.txt": b"second", "a/z.txt": b"first", "a/.hidden": b"", "ü/文.bin": bytes(range(256)) * 300}
MULTIPART = "multipart/form-data; boundary=XyZ"


def file_of(path: str, content: bytes = b"x") -> ManifestFile:
    return ManifestFile(path, len(content), Hash32(hashlib.sha256(content).digest()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, content in FILES.items():
        location = tmp_path / "set" / path
        location.parent.mkdir(parents=True, exist_ok=True)
        location.write_bytes(content)
    return tmp_path / "set"


def test_folder_is_hashed_in_order_of_paths(folder: Path) -> None:
    manifest = hash_folder(folder)

    assert manifest.files == tuple(file_of(path, FILES[path]) for path in sorted(FILES))
    assert manifest.n_bytes == sum(map(len, FILES.values()))
    assert hash_path(folder) == manifest


def test_content_hash_of_a_manifest_is_fixed() -> None:
    manifest = manifest_of([file_of("b", b"two"), file_of("a/ü", b"one")])

    assert (
        manifest.canonical()
        == (
            '{"files":[{"path":"a/ü","sha256":"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed","size":3},'
            '{"path":"b","sha256":"3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3","size":3}],'
            '"format":"commonhold/manifest/v1"}'
        ).encode()
    )
    assert manifest.content_hash == hashlib.sha256(manifest.canonical()).digest()


def test_file_is_hashed_under_its_own_name(folder: Path) -> None:
    assert hash_file(folder / "b.txt").files == (file_of("b.txt", b"second"),)
    assert hash_path(folder / "b.txt") == hash_file(folder / "b.txt")


def test_progress_ends_at_all_bytes(folder: Path) -> None:
    seen: list[tuple[int, int]] = []

    hash_folder(folder, lambda done, total: seen.append((done, total)))

    total = sum(map(len, FILES.values()))
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


def test_link_or_pipe_in_a_folder_is_refused_and_not_followed(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "b.txt")
    with pytest.raises(ManifestError, match="plain file"):
        hash_folder(folder)
    (folder / "link").unlink()
    (folder / "folder").symlink_to(folder / "a")
    with pytest.raises(ManifestError, match="plain file"):
        hash_folder(folder)
    (folder / "folder").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(ManifestError, match="plain file"):
        hash_folder(folder)


def test_what_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        hash_path(tmp_path / "nothing")
    with pytest.raises(ManifestError, match="1 to 10000 files, got 0"):
        hash_folder(tmp_path)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../up", "a/../../up", "a/..", ".", "./a", "a//b", "a/", "C:/a", "c:a", "a\\b", "..\\up",
     'a"b', "a\nb", "a\0b", "a\x7f", "\ud800", "a" * 1025],
)  # fmt: skip
def test_path_that_may_leave_its_folder_is_refused(path: str) -> None:
    assert path_fault(path) is not None
    with pytest.raises(ManifestError):
        manifest_of([file_of(path)])


@pytest.mark.parametrize("path", ["a", "a/b", "..a", "a..", "...", ".hidden", "%2e%2e/a", "a b/ü", "a" * 1024])
def test_path_below_its_folder_is_taken(path: str) -> None:
    assert path_fault(path) is None
    assert manifest_of([file_of(path)]).files[0].path == path


@pytest.mark.parametrize(
    ("paths", "message"),
    [(["a", "a"], "each path once"), (["\u00fc", "u\u0308"], "each path once"), (["a", "a/b"], "lies below 'a'")],
)
def test_two_files_in_one_place_are_refused(paths: list[str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        manifest_of(map(file_of, paths))


def test_files_without_a_byte_are_refused() -> None:
    with pytest.raises(ManifestError, match="at least one byte"):
        manifest_of([file_of("a", b""), file_of("b", b"")])


async def chunks_of(content: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def sent(folder: Path, manifest: Manifest) -> bytes:
    content = b"".join([chunk async for chunk in upload.body(b'{"kind":"DATA"}', manifest, folder, "XyZ")])
    assert len(content) == upload.body_bytes(b'{"kind":"DATA"}', manifest, "XyZ")
    return content


@pytest.mark.parametrize("size", [1_000, 1 << 16, 1 << 20])
async def test_upload_hashed_as_it_arrives_is_the_folders_manifest(folder: Path, size: int) -> None:
    parts = upload.events(MULTIPART, chunks_of(await sent(folder, hash_folder(folder)), size))

    assert await upload.read_request(parts) == b'{"kind":"DATA"}'
    assert await upload.read_manifest(parts, most_bytes=1 << 20) == hash_folder(folder)


async def test_upload_of_one_byte_too_many_is_refused(folder: Path) -> None:
    content, n_bytes = await sent(folder, hash_folder(folder)), hash_folder(folder).n_bytes
    for most_bytes, refused in ((n_bytes, False), (n_bytes - 1, True)):
        parts = upload.events(MULTIPART, chunks_of(content, 1_000))
        await upload.read_request(parts)
        if refused:
            with pytest.raises(TooLarge, match=f"at most {most_bytes} bytes"):
                await upload.read_manifest(parts, most_bytes=most_bytes)
        else:
            assert (await upload.read_manifest(parts, most_bytes=most_bytes)).n_bytes == n_bytes


async def test_file_that_changed_since_it_was_hashed_is_not_sent(folder: Path) -> None:
    manifest = hash_folder(folder)
    (folder / "b.txt").write_bytes(b"s")

    with pytest.raises(ManifestError, match="expected 6 bytes, got 1"):
        await sent(folder, manifest)


BODY = (
    b'--XyZ\r\nContent-Disposition: form-data; name="request"\r\n\r\n{}\r\n'
    b'--XyZ\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: text/plain\r\n\r\n'
    b"\r\n--Xy \r\n--XyZ\r\n"
    b'content-disposition: form-data; name="file"; filename="b"\r\n\r\n\r\n--XyZ--\r\n'
)
EVENTS = [Begin("request", None), b"{}", Begin("file", "a"), b"\r\n--Xy ", Begin("file", "b"), b""]


def split(body: bytes, cuts: list[int], content_type: str = MULTIPART) -> list[Begin | bytes]:
    """Parts of a body that arrives cut in pieces: begin, content, begin, content, ..."""
    splitter = Splitter(content_type)
    parts: list[Begin | bytes] = []
    content = b""
    edges = [0, *sorted(cuts), len(body)]
    for start, end in pairwise(edges):
        for event in splitter.feed(body[start:end]):
            match event:
                case Begin():
                    parts.append(event)
                    content = b""
                case Data(chunk):
                    content += chunk
                case End():
                    parts.append(content)
    splitter.close()
    return parts


@given(st.lists(st.integers(0, len(BODY)), max_size=12))
def test_parts_do_not_depend_on_how_the_body_is_cut(cuts: list[int]) -> None:
    assert split(BODY, cuts) == EVENTS


WRONG: dict[str, tuple[str, bytes]] = {
    "preamble": ("a line with the boundary", b"hello\r\n" + BODY),
    "boundary_glued": ("a line with the boundary", BODY.replace(b"--Xy ", b"--XyZ ")),
    "header_without_name": ("one Content-Disposition", BODY.replace(b"\r\nContent-Type: text/plain", b"\r\n--XyZ")),
    "cut": ("ended before", BODY[:150]),
    "empty": ("ended before", b""),
    "epilogue": ("nothing behind", b'--XyZ\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--XyZ--\r\nmore'),
    "no_disposition": ("one Content-Disposition", b"--XyZ\r\nContent-Type: text/plain\r\n\r\n\r\n--XyZ--"),
    "two_dispositions": (
        "one Content-Disposition",
        b'--XyZ\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
        b'content-disposition: form-data; name="file"; filename="b"\r\n\r\n\r\n--XyZ--',
    ),
    "other_filename": (
        "one Content-Disposition",
        b'--XyZ\r\nContent-Disposition: form-data; name="file"; filename="a"; filename*=UTF-8\'\'b\r\n\r\n\r\n--XyZ--',
    ),
    "base64": (
        "Content-Transfer-Encoding",
        b'--XyZ\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--XyZ--',
    ),
    "latin_1": ("UTF-8", b'--XyZ\r\nContent-Disposition: form-data; name="\xfc"\r\n\r\n\r\n--XyZ--'),
    "long_header": ("within 4096 bytes", b"--XyZ\r\nX: " + b"a" * 5_000),
}


@pytest.mark.parametrize("defect", WRONG)
def test_upload_of_another_form_is_refused(defect: str) -> None:
    message, body = WRONG[defect]

    with pytest.raises(BadUpload, match=message):
        split(body, [])


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary="]
)
def test_upload_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(BadUpload, match="boundary"):
        Splitter(content_type)
