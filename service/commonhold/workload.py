"""A small workload behind a gateway: embeddings and matrix products, computed when asked, over HTTP.

In: JSON. Out: JSON, or one JSON line a product when `stream` is set. It knows nothing of leases: the gateway in front
of it does. Anyone may call it who reaches it, so it listens on loopback.
"""

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import orjson
import uvicorn

from commonhold.errors import BadInput, CommonholdError, NotFound
from commonhold.gateway.asgi import Disconnected, Receive, Scope, Send, answer_json, read_body

MODEL = "commonhold-hash-256"
DIMENSIONS = 256
BUCKETS = 8_192  # hashed features; 8 MiB of projection
MAX_INPUTS = 256
MAX_BODY_BYTES = 4 << 20
MAX_N = 2_048  # one product of this size is 17 GFLOP
MAX_BATCH = 256
MAX_ENTRY = 8  # |entry| of a factor: sums of 2048 products stay exact in float64

_SEED = 20_260_101  # of the projection: the same text gives the same embedding on every machine

Vectors = npt.NDArray[np.float32]
Handler = Callable[[Mapping[str, object], Send], Awaitable[None]]


class MethodNotAllowed(CommonholdError):
    """The endpoint is there, the method is not."""

    status = 405
    code = "method_not_allowed"


def embed(texts: list[str]) -> Vectors:
    """One row of length 1 and DIMENSIONS columns for each text; a text without words gives a row of zeros.

    Words and pairs of words are hashed into signed buckets (Weinberger et al. 2009), then projected by a fixed random
    matrix, which keeps angles (Johnson-Lindenstrauss).
    """
    features = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for row, text in zip(features, texts, strict=True):
        for feature in _features(text):
            value = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest())
            row[value % BUCKETS] += 1.0 if value >> 63 else -1.0
    vectors = features @ _projection()
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def product_checksum(n: int, seed: int) -> str:
    """SHA-256 of the product of two n x n integer matrices made from `seed`: the same on every machine, because the
    sums are exact in float64."""
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-MAX_ENTRY, MAX_ENTRY + 1, size=(2, n, n)).astype(np.float64)
    return hashlib.sha256((left @ right).astype("<i8").tobytes()).hexdigest()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        return
    try:
        handler = _route(scope["method"], scope["path"])
        body = await read_body(receive, MAX_BODY_BYTES)
        await handler(_object(body), send)
    except Disconnected:
        return
    except CommonholdError as e:
        await answer_json(
            send, e.status, {"error": {"message": str(e), "type": "invalid_request_error", "code": e.code}}
        )


def run_workload(host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM."""
    uvicorn.run(app, host=host, port=port, lifespan="off", access_log=False, log_level="warning")


async def _models(_: Mapping[str, object], send: Send) -> None:
    await answer_json(
        send, 200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "commonhold"}]}
    )


async def _embeddings(request: Mapping[str, object], send: Send) -> None:
    texts = request.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_INPUTS or not all(isinstance(t, str) for t in texts):
        raise BadInput(f"input: expected text or a list of 1 to {MAX_INPUTS} texts")
    form = request.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise BadInput(f"encoding_format {str(form)[:20]!r}: expected float or base64")
    vectors = await asyncio.to_thread(embed, texts)
    n_tokens = sum(len(_words(text)) for text in texts)
    rows = [
        base64.b64encode(row.astype("<f4").tobytes()).decode() if form == "base64" else row.tolist() for row in vectors
    ]
    await answer_json(
        send,
        200,
        {
            "object": "list",
            "model": MODEL,
            "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)],
            "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
        },
    )


async def _matmul(request: Mapping[str, object], send: Send) -> None:
    n = _integer(request, "n", 256, 1, MAX_N)
    batch = _integer(request, "batch", 1, 1, MAX_BATCH)
    seed = _integer(request, "seed", 0, 0, 2**31)
    stream = request.get("stream", False) is True
    if stream:
        kind = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
    checksums: list[str] = []
    started = time.perf_counter()
    for i in range(batch):
        before = time.perf_counter()
        checksums.append(await asyncio.to_thread(product_checksum, n, seed + i))
        if stream:
            line = {"index": i, "checksum": checksums[-1], "seconds": round(time.perf_counter() - before, 6)}
            await send({"type": "http.response.body", "body": orjson.dumps(line) + b"\n", "more_body": True})
    if stream:
        await send({"type": "http.response.body", "body": b""})
        return
    seconds = round(time.perf_counter() - started, 6)
    checksum = hashlib.sha256("".join(checksums).encode()).hexdigest()
    flop = 2 * n**3 * batch
    await answer_json(
        send, 200, {"n": n, "batch": batch, "seed": seed, "checksum": checksum, "seconds": seconds, "flop": flop}
    )


_ROUTES = {
    "/v1/models": ("GET", _models),
    "/v1/embeddings": ("POST", _embeddings),
    "/v1/matmul": ("POST", _matmul),
}


def _route(method: str, path: str) -> Handler:
    if path not in _ROUTES:
        raise NotFound(f"path {path[:80]!r}: expected one of {', '.join(_ROUTES)}")
    expected, handler = _ROUTES[path]
    if method != expected:
        raise MethodNotAllowed(f"{path}: expected {expected}, got {method}")
    return handler


def _object(body: bytes) -> Mapping[str, object]:
    try:
        parsed = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as e:
        raise BadInput(f"body is no JSON: {e}") from e
    if not isinstance(parsed, dict):
        raise BadInput(f"body: expected a JSON object, got {type(parsed).__name__}")
    return parsed


def _integer(request: Mapping[str, object], name: str, default: int, least: int, most: int) -> int:
    value = request.get(name, default)
    if type(value) is not int or not least <= value <= most:  # bool is an int
        raise BadInput(f"{name} {str(value)[:20]!r}: expected an integer from {least} to {most}")
    return value


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _features(text: str) -> list[str]:
    words = _words(text)
    return words + [f"{left} {right}" for left, right in pairwise(words)]


@lru_cache(maxsize=1)
def _projection() -> Vectors:
    rng = np.random.default_rng(_SEED)
    scale = np.float32(1 / np.sqrt(DIMENSIONS))
    return rng.standard_normal((BUCKETS, DIMENSIONS), dtype=np.float32) * scale
