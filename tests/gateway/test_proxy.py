"""What of a request and of an answer passes between the caller and the upstream."""

from typing import Any

import httpx
import pytest

from commonhold.gateway.proxy import check_target, request_headers, response_headers, upstream_url
from commonhold.gateway.refusals import BadTarget


def scope(path: bytes, query: bytes = b"", method: str = "GET") -> dict[str, Any]:
    return {"method": method, "raw_path": path, "query_string": query}


@pytest.mark.parametrize("path", [b"/", b"/a", b"/a/b%20c", b"/a.b/..c", b"/v1/models:go"])
def test_plain_path_passes(path: bytes) -> None:
    check_target(scope(path))


@pytest.mark.parametrize(
    "path",
    [
        b"/a/../b",
        b"/./a",
        b"/a/%2e%2e/b",
        b"/a\\..\\b",
        b"http://evil/",
        b"*",
        b"",
        b"/a b",
        b"/a\tb",
        b"/\xff",
        b"/a#b",
    ],
)
def test_path_that_climbs_or_confuses_is_refused(path: bytes) -> None:
    with pytest.raises(BadTarget):
        check_target(scope(path))


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_method_that_reflects_or_tunnels_is_refused(method: str) -> None:
    with pytest.raises(BadTarget):
        check_target(scope(b"/", method=method))


def test_upstreams_own_path_and_query_are_kept() -> None:
    upstream = httpx.URL("http://127.0.0.1:9/base/")

    assert str(upstream_url(upstream, "/gw", scope(b"/gw/a%2Fb", b"x=1"))) == "http://127.0.0.1:9/base/a%2Fb?x=1"
    assert str(upstream_url(httpx.URL("http://u"), "", scope(b"/a"))) == "http://u/a"


def test_length_beside_a_transfer_coding_is_dropped() -> None:
    both = [(b"transfer-encoding", b"chunked"), (b"content-length", b"4")]

    assert request_headers(both, []) == []
    assert request_headers(both[1:], []) == both[1:]


def test_headers_that_connection_names_are_dropped_in_both_directions() -> None:
    named = [
        (b"connection", b"X-One , x-two"),
        (b"connection", b"close"),
        (b"x-one", b"1"),
        (b"x-two", b"2"),
        (b"a", b"b"),
    ]

    assert request_headers(named, []) == [(b"a", b"b")]
    assert response_headers(named, [(b"own", b"1")]) == [(b"a", b"b"), (b"own", b"1")]
