"""Brings the node's segments to the service and keeps at it: until each is acknowledged, then until an anchored epoch
is known to include it. Nothing is ever dropped here; the spool says what is left, also after a restart.

In: the spool. Out: POST /v1/segments, and the proofs that the service gives back, checked before they count.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from commonhold.agent.spool import SegmentKey, Spool
from commonhold.anchor.merkle import Leaf, LeafKind, verify
from commonhold.errors import BadInput, Unavailable
from commonhold.meter.segment import SignedSegment
from commonhold.signing import Domain
from commonhold.units import Hash32, hex_text, to_hash32

MAX_SEGMENTS = 50  # of one request: with 60 readings each, about 150 kB
MAX_PROOFS = 100  # segments looked for in one pass, two small requests each
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
PROVE_EVERY_S = 60.0

log = logging.getLogger(__name__)


class ServiceUnreachable(Unavailable):
    """The service does not answer, or not as agreed."""

    code = "service_unreachable"


@dataclass(frozen=True, slots=True)
class Sent:
    """One pass over what was unsent."""

    acknowledged: int = 0
    later: int = 0  # not yet: the service does not know the lease yet, say
    refused: int = 0  # for good; kept in the spool as evidence


class Reporter:
    """`http` has the service's URL as its base. `domain`: of the contract Meter."""

    def __init__(self, spool: Spool, http: httpx.AsyncClient, domain: Domain) -> None:
        self._spool, self._http, self._domain = spool, http, domain
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There may be a new segment."""
        self._news.set()

    async def run(self, stop: asyncio.Event, prove_every_s: float = PROVE_EVERY_S) -> None:
        """Sends whenever there is news, again with growing pauses while something is left; until `stop`."""
        stopped = asyncio.create_task(stop.wait())
        loop = asyncio.get_running_loop()
        wait_s, prove_at = FIRST_WAIT_S, loop.time() + prove_every_s
        while not stop.is_set():
            self._news.clear()
            try:
                left = (await self.send()).later > 0
                if loop.time() >= prove_at:
                    prove_at = loop.time() + prove_every_s
                    await self.prove()
            except ServiceUnreachable as e:
                log.warning("segments wait in the spool: %s", e)
                left = True
            wait_s = min(wait_s * 2, LONGEST_WAIT_S) if left else FIRST_WAIT_S
            news = asyncio.create_task(self._news.wait())
            timeout = wait_s if left else max(0.0, prove_at - loop.time())
            await asyncio.wait((news, stopped), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
        stopped.cancel()

    async def send(self) -> Sent:
        """Sends everything unsent, oldest first. Raises ServiceUnreachable; what was answered until then counts."""
        acknowledged = later = refused = 0
        for batch in _batches(self._spool.unsent):
            answers = await self._post(batch)
            for signed, answer in zip(batch, answers, strict=True):
                match answer:
                    case {"status": "recorded" | "duplicate"}:
                        self._spool.add_acknowledged(_key(signed))
                        acknowledged += 1
                    case {"status": "rejected", "code": "unknown", "reason": reason}:
                        log.info("segment %s: not yet: %s", _key(signed), reason)
                        later += 1
                    case {"status": "rejected", "code": str(code), "reason": reason}:
                        log.error("segment %s: refused (%s): %s", _key(signed), code, reason)
                        self._spool.add_refused(_key(signed), code, str(reason))
                        refused += 1
                    case _:
                        raise ServiceUnreachable(f"answer to a segment has an unknown form: {str(answer)[:200]}")
        return Sent(acknowledged, later, refused)

    async def prove(self) -> int:
        """Looks for anchored epochs that include what is acknowledged; how many segments that settled.

        The root is the service's word; an auditor holds it against the chain. Raises ServiceUnreachable.
        """
        roots: dict[int, Hash32 | None] = {}
        return sum([await self._proven(signed, roots) for signed in self._spool.unproven[:MAX_PROOFS]])

    async def _proven(self, signed: SignedSegment, roots: dict[int, Hash32 | None]) -> bool:
        """`roots` are those read in this pass, by epoch; None: not anchored yet."""
        digest, segment = signed.digest(self._domain), signed.segment
        answer = await self._get(f"/v1/epochs/0/proof?digest={hex_text(digest)}")
        if "proof" not in answer and isinstance(number := answer.get("epoch"), int):
            answer = await self._get(f"/v1/epochs/{number}/proof?digest={hex_text(digest)}")  # it is in another one
        if "proof" not in answer:
            return False
        try:
            number, proof = int(answer["epoch"]), [to_hash32(node) for node in answer["proof"]]
            if number not in roots:
                row = await self._get(f"/v1/epochs/{number}")
                roots[number] = to_hash32(row["root"]) if row["state"] in ("anchored", "final") else None
        except (KeyError, TypeError, ValueError, BadInput) as e:
            raise ServiceUnreachable(f"proof of segment {_key(signed)} does not parse") from e
        root = roots[number]
        if root is None:
            return False
        if not verify(root, Leaf(LeafKind.SEGMENT, segment.lease, digest, segment.gpu_ms), proof):
            raise ServiceUnreachable(f"proof of segment {_key(signed)} leads to no root of epoch {number}")
        self._spool.add_included(_key(signed), number, proof)
        return True

    async def _post(self, batch: Sequence[SignedSegment]) -> list[Any]:
        body = orjson.dumps([signed.to_json() for signed in batch])
        answers = await self._json("POST", "/v1/segments", body)
        if not isinstance(answers, list) or len(answers) != len(batch):
            raise ServiceUnreachable(f"service {self._http.base_url}: expected a list of {len(batch)} answers")
        return answers

    async def _get(self, path: str) -> dict[str, Any]:
        answer = await self._json("GET", path)
        if not isinstance(answer, dict):
            raise ServiceUnreachable(f"service {self._http.base_url}: expected an object at {path}")
        return answer

    async def _json(self, method: str, path: str, body: bytes = b"") -> Any:
        """The answer's JSON; also of a 404, which says where else to look."""
        kind = {"Content-Type": "application/json"} if body else {}
        try:
            response = await self._http.request(method, path, content=body, headers=kind)
            if response.status_code != 404 or method != "GET":
                response.raise_for_status()
            return orjson.loads(response.content)
        except (httpx.HTTPError, orjson.JSONDecodeError) as e:
            raise ServiceUnreachable(f"service {self._http.base_url}: {type(e).__name__}") from e


def _key(signed: SignedSegment) -> SegmentKey:
    return signed.segment.boot, signed.segment.sequence


def _batches(segments: Sequence[SignedSegment]) -> Iterator[Sequence[SignedSegment]]:
    for start in range(0, len(segments), MAX_SEGMENTS):
        yield segments[start : start + MAX_SEGMENTS]
