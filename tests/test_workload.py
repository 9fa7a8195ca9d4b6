"""The workload computes what it says, the same on every machine, and answers nonsense with an error."""

import base64
import hashlib

import httpx
import numpy as np
import orjson
import pytest

from commonhold import workload
from tests.gateway.peers import serving


def test_embedding_has_length_one_and_the_same_text_gives_the_same() -> None:
    first, again, other = workload.embed(["a pooled machine", "A pooled  machine!", "something else entirely"])

    assert np.linalg.norm(first) == pytest.approx(1)
    assert np.array_equal(first, again)
    assert abs(float(first @ other)) < 0.5


def test_texts_that_share_words_are_nearer_than_texts_that_do_not() -> None:
    one, near, far = workload.embed(["the node signs segments", "the node signs receipts", "blue cheese on toast"])

    assert float(one @ near) > float(one @ far) + 0.2


def test_text_without_words_gives_zeros() -> None:
    assert not workload.embed(["?!"]).any()


def test_product_checksum_is_of_the_exact_product() -> None:
    rng = np.random.default_rng(7)
    left, right = rng.integers(-8, 9, size=(2, 5, 5))
    exact = np.array([[sum(int(left[i, k]) * int(right[k, j]) for k in range(5)) for j in range(5)] for i in range(5)])

    assert workload.product_checksum(5, 7) == hashlib.sha256(exact.astype("<i8").tobytes()).hexdigest()


async def test_embeddings_are_shaped_like_openai() -> None:
    async with serving(workload.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        plain = (await http.post("/v1/embeddings", json={"input": ["hello world", "bye"], "model": "any"})).json()
        packed = (await http.post("/v1/embeddings", json={"input": "hello world", "encoding_format": "base64"})).json()

    assert [row["index"] for row in plain["data"]] == [0, 1]
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    values = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4")
    assert np.allclose(values, plain["data"][0]["embedding"])


async def test_matmul_streams_one_line_a_product() -> None:
    async with serving(workload.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        answer = await http.post("/v1/matmul", json={"n": 8, "batch": 3, "seed": 4, "stream": True})

    lines = [orjson.loads(line) for line in answer.text.splitlines()]
    assert [line["checksum"] for line in lines] == [workload.product_checksum(8, seed) for seed in (4, 5, 6)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/embeddings", b"{", 400),
        ("POST", "/v1/embeddings", b'{"input": []}', 400),
        ("POST", "/v1/embeddings", b'{"input": [1]}', 400),
        ("POST", "/v1/matmul", b'{"n": 0}', 400),
        ("POST", "/v1/matmul", b'{"n": true}', 400),
        ("POST", "/v1/matmul", b"[]", 400),
        ("GET", "/v1/matmul", b"", 405),
        ("GET", "/", b"", 404),
        ("POST", "/v1/embeddings", b" " * (5 << 20), 413),
    ],
)
async def test_nonsense_is_an_error_with_a_reason(method: str, path: str, body: bytes, status: int) -> None:
    async with serving(workload.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        answer = await http.request(method, path, content=body)

    assert answer.status_code == status
    assert answer.json()["error"]["message"]
