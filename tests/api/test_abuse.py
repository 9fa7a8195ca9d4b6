"""What callers without any right may do to everybody else: nothing, however slow, large or many they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from commonhold.api.deps import MAX_BODY_BYTES
from commonhold.db import write
from tests.api.conftest import sqlite_only
from tests.api.service import Service

pytestmark = pytest.mark.chain


@asynccontextmanager
async def half_a_request(service: Service, path: str, kind: str) -> AsyncIterator[None]:
    """A client that says it has a body and sends one byte of it."""
    where = urlsplit(service.state.issuer)
    _reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n["
    writer.write(head.encode())
    await writer.drain()
    await asyncio.sleep(0.1)  # it has reached the route
    try:
        yield
    finally:
        writer.close()
        await writer.wait_closed()


@sqlite_only
@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/segments", "application/json"), ("/revoke", "application/x-www-form-urlencoded")],
)
async def test_a_client_that_never_ends_its_body_stops_no_writer(service: Service, path: str, kind: str) -> None:
    async with half_a_request(service, path, kind), asyncio.timeout(2), write(service.state.engine):
        pass


async def test_more_reports_at_once_than_connections_are_all_answered(service: Service) -> None:
    async with asyncio.timeout(8):
        answers = await asyncio.gather(*(service.http.post("/v1/segments", json=["none"]) for _ in range(40)))

    assert {answer.status_code for answer in answers} == {200}


@sqlite_only
@pytest.mark.parametrize("path", ["/v1/receipts", "/v1/segments", "/v1/transfers/check", "/v1/redemptions/check"])
@pytest.mark.parametrize("sized", [True, False])
async def test_a_body_without_end_is_refused(service: Service, path: str, sized: bool) -> None:
    sent = 0

    async def spaces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(4 * MAX_BODY_BYTES >> 16):
            sent += 1 << 16
            yield b" " * (1 << 16)

    headers = {"Content-Type": "application/json"}
    if sized:
        headers["Content-Length"] = str(4 * MAX_BODY_BYTES)
    answer = await service.http.post(path, content=spaces(), headers=headers)

    assert (answer.status_code, answer.json()["status"]) == (413, 413)


@sqlite_only
@pytest.mark.parametrize("path", ["", "/data", f"/proof?digest=0x{'00' * 32}"])
async def test_a_number_that_no_database_has_is_refused(service: Service, path: str) -> None:
    number = 1 << 63
    name, _, query = path.partition("?")

    answer = await service.http.get(f"/v1/epochs/{number}{name}", params=query)

    assert answer.status_code in (404, 422)
