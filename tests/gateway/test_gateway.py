"""The gateway over real sockets: who is let through, who is not and with what answer, and what reaches the upstream."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold import workload
from commonhold.access.token import mint
from commonhold.gateway.asgi import Receive, Scope, Send, answer_json, read_body
from tests.gateway.peers import Node, free_port, running, signing_key

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An upstream that tells what reached it."""
    body = await read_body(receive, 1 << 26)
    headers = [[k.decode("latin-1"), v.decode("latin-1")] for k, v in scope["headers"]]
    seen = {"method": scope["method"], "path": scope["raw_path"].decode(), "query": scope["query_string"].decode()}
    own = [(b"dpop-nonce", b"forged"), (b"commonhold-used-gpu-ms", b"0"), (b"x-kept", b"1"), (b"set-cookie", b"a=1")]
    await answer_json(send, 200, {**seen, "headers": headers, "size": len(body), "text": body[:80].decode()}, own)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    async with running(tmp_path_factory.mktemp("node"), echo) as started:
        yield started


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"urn:commonhold:problem:{code}")
    challenges = answer.headers.get_list("www-authenticate")
    assert len(challenges) == (1 if status == 401 else 0)
    return problem


async def test_request_with_token_and_proof_reaches_the_upstream(node: Node) -> None:
    token = node.issuer.token(node.session)

    answer = await node.call("POST", "/a%20b/c?x=1&y", token, content=b"hello")

    assert answer.status_code == 200
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["query"], seen["text"]) == ("POST", "/a%20b/c", "x=1&y", "hello")


async def test_request_without_token_is_told_where_to_get_one(node: Node) -> None:
    answer = await node.http.get(node.url + "/v1/models")

    refused(answer, 401, "token_missing")
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("DPoP ")
    assert "error=" not in challenge
    where = challenge.split('resource_metadata="')[1].split('"')[0]
    metadata = (await node.http.get(where)).json()
    assert metadata["resource"] == node.url
    assert metadata["authorization_servers"] == [node.issuer.url]
    assert metadata["dpop_bound_access_tokens_required"] is True


@pytest.mark.parametrize(
    ("defect", "code"),
    [
        ("other_key", "invalid_dpop_proof"),
        ("wrong_htu", "invalid_dpop_proof"),
        ("other_origin", "invalid_dpop_proof"),
        ("wrong_method", "invalid_dpop_proof"),
        ("missing_ath", "invalid_dpop_proof"),
        ("other_tokens_ath", "invalid_dpop_proof"),
        ("old", "invalid_dpop_proof"),
        ("no_proof", "invalid_dpop_proof"),
        ("two_proofs", "invalid_dpop_proof"),
        ("stale_nonce", "use_dpop_nonce"),
        ("no_nonce", "use_dpop_nonce"),
        ("bearer", "invalid_token"),
        ("bearer_with_proof", "invalid_token"),
        ("garbage", "invalid_token"),
        ("other_issuers_key", "invalid_token"),
        ("wrong_audience", "invalid_token"),
        ("other_issuer", "invalid_token"),
        ("expired", "invalid_token"),
        ("two_tokens", "token_missing"),
    ],
)
async def test_defect_is_refused(node: Node, defect: str, code: str) -> None:
    path, now_s = "/v1/models", int(time.time())
    wrong: dict[str, dict[str, Any]] = {
        "wrong_audience": {"audience": "http://127.0.0.1:1"},
        "other_issuer": {"issuer": "http://127.0.0.1:1"},
        "expired": {"issued_at": now_s - 301, "expires_at": now_s - 1},
    }
    token = node.issuer.token(node.session, **wrong.get(defect, {}))
    if defect == "garbage":
        token = token[:-8] + "AAAAAAAA"
    if defect == "other_issuers_key":
        token = mint(signing_key("k1"), node.issuer.claims(node.session))
    proof = {
        "other_key": lambda: node.proof("GET", path, token, key=ec.generate_private_key(ec.SECP256R1())),
        "wrong_htu": lambda: node.proof("GET", "/v1/embeddings", token),
        "other_origin": lambda: node.proof("GET", path, token, url="http://evil.example" + path),
        "wrong_method": lambda: node.proof("POST", path, token),
        "missing_ath": lambda: node.proof("GET", path, None),
        "other_tokens_ath": lambda: node.proof("GET", path, node.issuer.token(node.session)),
        "old": lambda: node.proof("GET", path, token, now_s=now_s - 400),
        "stale_nonce": lambda: node.proof("GET", path, token, nonce="c3RhbGU"),
        "no_nonce": lambda: node.proof("GET", path, token, nonce=None),
    }.get(defect, lambda: node.proof("GET", path, token))()
    scheme = "Bearer" if defect.startswith("bearer") else "DPoP"
    headers = [("Authorization", f"{scheme} {token}")]
    headers += [("Authorization", f"DPoP {token}")] if defect == "two_tokens" else []
    headers += [] if defect in ("no_proof", "bearer") else [("DPoP", proof)]
    headers += [("DPoP", proof)] if defect == "two_proofs" else []

    answer = await node.http.get(node.url + path, headers=headers)

    refused(answer, 401, code)
    if code != "token_missing":
        assert f'error="{code}"' in answer.headers["www-authenticate"]
    assert answer.headers["dpop-nonce"]


async def test_proof_serves_once(node: Node) -> None:
    token = node.issuer.token(node.session)
    headers = node.headers("GET", "/", token)

    first = await node.http.get(node.url + "/", headers=headers)
    again = await node.http.get(node.url + "/", headers=headers)

    assert first.status_code == 200
    refused(again, 401, "invalid_dpop_proof")


async def test_proof_from_before_a_restart_is_refused_after_it(tmp_path: Path) -> None:
    port = free_port()
    where: dict[str, Any] = {"audience": f"http://127.0.0.1:{port}", "port": port}
    async with running(tmp_path, echo, **where) as node:
        token = node.issuer.token(node.session)
        headers = node.headers("GET", "/", token)
        assert (await node.http.get(node.url + "/", headers=headers)).status_code == 200
        issuer = node.issuer
    async with running(tmp_path, echo, peer=issuer, **where) as node:
        token = issuer.token(node.session)

        answer = await node.http.get(node.url + "/", headers=headers)

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"asset": 5}, 403, "not_this_node"),
        ({"chain_id": 1}, 403, "not_this_node"),
        ({"ends_at": 1}, 403, "lease_ended"),
        ({"limit_gpu_ms": 0}, 402, "budget_spent"),
    ],
)
async def test_token_for_something_else_is_refused(node: Node, changes: dict[str, Any], status: int, code: str) -> None:
    token = node.issuer.token(node.session, **changes)

    refused(await node.call("GET", "/", token), status, code)


async def test_upstream_that_is_down_is_a_502(tmp_path: Path) -> None:
    async with running(tmp_path, f"http://127.0.0.1:{free_port()}") as node:
        token = node.issuer.token(node.session)

        refused(await node.call("GET", "/", token), 502, "upstream_down")


async def test_issuer_that_is_down_is_a_503_and_nothing_is_served(tmp_path: Path, node: Node) -> None:
    token = node.issuer.token(node.session)
    async with running(tmp_path, echo, issuer=f"http://127.0.0.1:{free_port()}") as alone:
        answer = await alone.call("GET", "/", token)

    refused(answer, 503, "issuer_unreachable")
    assert answer.headers["retry-after"]


async def test_credentials_and_hop_by_hop_headers_do_not_reach_the_upstream(node: Node) -> None:
    token = node.issuer.token(node.session)
    smuggled = {
        "Connection": "x-secret, keep-alive",
        "X-Secret": "1",
        "Keep-Alive": "timeout=5",
        "TE": "trailers",
        "Upgrade": "h2c",
        "Proxy-Authorization": "Basic abc",
        "X-Forwarded-For": "10.0.0.1",
        "X_Forwarded_Host": "evil",
        "Forwarded": "for=10.0.0.1",
        "Commonhold-Lease": "0xdead",
        "Commonhold_Holder": "0xdead",
        "X-Kept": "yes",
    }

    answer = await node.call("GET", "/", token, headers=smuggled)

    names = [name for name, _ in answer.json()["headers"]]
    assert not {name.lower() for name in smuggled} - {"x-kept", "commonhold-lease", "connection"} & set(names)
    assert not {"authorization", "dpop"} & set(names)
    seen = dict(answer.json()["headers"])
    assert (seen["x-kept"], seen["commonhold-lease"]) == ("yes", "0x" + "11" * 32)
    assert names.count("commonhold-lease") == names.count("host") == 1
    assert seen["host"] != node.url.removeprefix("http://")


async def test_upstream_cannot_speak_for_the_gateway(node: Node) -> None:
    answer = await node.call("GET", "/", node.issuer.token(node.session))

    assert len(answer.headers.get_list("dpop-nonce")) == 1
    assert answer.headers["dpop-nonce"] != "forged"
    assert answer.headers.get_list("commonhold-limit-gpu-ms") == ["60000"]
    assert answer.headers["x-kept"] == "1"


async def test_cookies_of_one_caller_are_not_sent_with_the_request_of_another(node: Node) -> None:
    await node.call("GET", "/", node.issuer.token(node.session))
    node.http.cookies.clear()

    seen = (await node.call("GET", "/", node.issuer.token(node.session))).json()

    assert "cookie" not in dict(seen["headers"])


@pytest.mark.parametrize("path", ["/%2e%2e/b", "/a/%2E/b", "/a%2f..%2fb", "/a%5c..%5cb"])
async def test_path_that_climbs_is_refused(node: Node, path: str) -> None:
    raw = httpx.URL(node.url).copy_with(raw_path=path.encode())

    refused(await node.http.get(raw), 400, "bad_target")


async def test_two_framings_of_one_body_are_not_both_passed_on(node: Node) -> None:
    path = "/"
    token = node.issuer.token(node.session)
    head = node.headers("POST", path, token)
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", "Content-Length: 4", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in head.items()]
    body = "5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    url = httpx.URL(node.url)

    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    if answer.startswith(b"HTTP/1.1 200"):  # a server may as well refuse such a message
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        seen = orjson.loads(await reader.readexactly(length))
        names = [name for name, _ in seen["headers"]]
        assert seen["size"] == 5
        assert "content-length" not in names
    else:
        assert answer.startswith(b"HTTP/1.1 400")


async def test_large_body_passes_as_a_stream(node: Node) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * (1 << 18)

    answer = await node.call("PUT", "/", node.issuer.token(node.session), content=parts())

    assert answer.json()["size"] == 64 << 18


async def test_refused_large_body_hears_the_answer(node: Node) -> None:
    answer = await node.http.post(node.url + "/", content=b"x" * (512 << 10))

    refused(answer, 401, "token_missing")


async def test_answer_streams_before_it_is_complete(tmp_path: Path) -> None:
    more = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"second"})

    async with running(tmp_path, slow) as node:
        more.clear()
        token = node.issuer.token(node.session)
        headers = node.headers("GET", "/", token)
        async with node.http.stream("GET", node.url + "/", headers=headers) as answer:
            chunks = answer.aiter_bytes()
            assert await anext(chunks) == b"first"
            more.set()
            assert await anext(chunks) == b"second"


async def test_workload_behind_the_gateway(tmp_path: Path) -> None:
    async with running(tmp_path, workload.app) as node:
        token = node.issuer.token(node.session)

        answer = await node.call("POST", "/v1/embeddings", token, json={"input": "hello"})

    assert len(answer.json()["data"][0]["embedding"]) == workload.DIMENSIONS


async def test_public_url_with_a_path_is_not_passed_on(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path, echo, audience=f"http://127.0.0.1:{port}/gw/v1", port=port) as node:
        token = node.issuer.token(node.session)

        answer = await node.call("GET", "/models", token)
        metadata = await node.http.get(f"http://127.0.0.1:{port}/.well-known/oauth-protected-resource/gw/v1")
        outside = await node.http.get(f"http://127.0.0.1:{port}/other")
        # As long as the prefix, but not it: what is cut off would end in the middle of a letter.
        disguised = await node.http.get(f"http://127.0.0.1:{port}/gw/%761/models")

    assert answer.json()["path"] == "/models"
    assert metadata.json()["resource"] == node.url
    refused(outside, 400, "bad_target")
    refused(disguised, 400, "bad_target")


async def test_status_says_what_the_node_is_and_that_there_is_no_gpu(node: Node) -> None:
    status = (await node.http.get(node.url + "/commonhold/status")).json()

    assert (status["policy"], status["level"], status["gpus"]) == ("development", 3, 1)
    assert "allocation time" in status["telemetry"]["gpu_time"]
