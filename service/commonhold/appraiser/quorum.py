"""The provider's side: asks several appraisers and comes back with one appraisal that enough of them signed.

In: URLs, what is to be appraised, the ledger's appraisers and threshold. Out: appraisal, result and signatures as
`Ledger.register` takes them. No appraiser is believed: each signature is checked here, and what was signed is compared
with what was asked. Imports nothing of a server.
"""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from commonhold.appraiser import upload
from commonhold.appraiser.answer import JSON_HEADERS, NoAnswer, Signed, checked, post, text_of
from commonhold.appraiser.appraise import request_nonce
from commonhold.appraiser.canonical import Json
from commonhold.appraiser.manifest import Manifest
from commonhold.appraiser.nvidia import GpuEvidence
from commonhold.appraiser.request import ChallengeBody, ComputeBody, ComputeRequest, ContentBody, ContentRequest, Terms
from commonhold.appraiser.result import Kind
from commonhold.errors import BadInput, CommonholdError
from commonhold.signing import Appraisal, Domain
from commonhold.units import Address, Hash32, address_text, hex_text, to_hash32

TIMEOUT_S: Final = 30.0
UPLOAD_BYTES_PER_S: Final = 1_000_000  # slower than this is too slow

# Makes evidence: in, the 32 bytes that every GPU must have in its report; out, the evidence of every GPU of the node.
MakeEvidence = Callable[[bytes], Awaitable[Sequence[GpuEvidence]]]


@dataclass(frozen=True, slots=True)
class ComputeAsk:
    """A node. `terms` without challenges; `meter_key`: x || y."""

    terms: Terms
    meter_key: bytes
    evidence: MakeEvidence


@dataclass(frozen=True, slots=True)
class ContentAsk:
    """A dataset's folder or a model's file at `location`, with its manifest. `meter_key` None: no node serves it."""

    terms: Terms
    kind: Kind
    manifest: Manifest
    location: Path
    meter_key: bytes | None = None


class Quorum(NamedTuple):
    """What the ledger takes. `signatures`: (signer, signature), ascending by signer, as many as were needed."""

    appraisal: Appraisal
    result: dict[str, Json]
    signatures: tuple[tuple[Address, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking one appraiser. `agreed` False: `detail` says why."""

    url: str
    agreed: bool
    detail: str


class NoQuorum(CommonholdError):
    """Too few appraisers gave the same signed answer; the message has every answer."""

    status = 502
    code = "no_quorum"

    def __init__(self, need: int, answers: Sequence[Answer]) -> None:
        agreed = sum(answer.agreed for answer in answers)
        lines = "; ".join(f"{answer.url}: {answer.detail}" for answer in answers)
        super().__init__(
            f"appraisal: expected {need} equal answers of {len(answers)} appraisers, got {agreed}: {lines}",
            details={answer.url: answer.detail for answer in answers},
        )
        self.answers = tuple(answers)


@dataclass(frozen=True, slots=True)
class _Body:
    content: bytes | AsyncIterator[bytes]
    headers: Mapping[str, str]
    sending_s: float


async def collect(
    urls: Sequence[str],
    ask: ComputeAsk | ContentAsk,
    *,
    need: int,
    ledger: Domain,
    appraisers: Collection[Address],
    http: httpx.AsyncClient | None = None,
    timeout_s: float = TIMEOUT_S,
    on_answer: Callable[[Answer], None] | None = None,
) -> Quorum:
    """The appraisal that at least `need` of the appraisers at `urls` made alike, with `need` signatures.

    ledger, appraisers: as the chain has them. http: None opens a client. timeout_s: of each of the two questions, and
    a second more for every MB that is sent. on_answer: told once for each URL, also when there is a quorum.
    Raises NoQuorum, BadInput, and what the callback of `ask` raises.
    """
    if not 1 <= need <= len(set(urls)) == len(urls):
        raise BadInput(f"appraisers: expected {need} or more different URLs, got {len(set(urls))} in {len(urls)}")
    client = http or httpx.AsyncClient(verify=_tls())
    try:
        heard = await _ask_all(client, urls, ask, need, ledger, appraisers, timeout_s)
    finally:
        if http is None:
            await client.aclose()
    alike = _largest(heard, need)
    answers = [Answer(url, what in alike, _said(what, alike)) for url, what in heard.items()]
    for answer in answers:
        if on_answer is not None:
            on_answer(answer)
    if len(alike) < need:
        raise NoQuorum(need, answers)
    signatures = sorted((signed.signer, signed.signature) for signed in alike)
    return Quorum(alike[0].appraisal, alike[0].result, tuple(signatures[:need]))


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reading the roots takes longer than asking: 30 ms


async def _ask_all(
    client: httpx.AsyncClient,
    urls: Sequence[str],
    ask: ComputeAsk | ContentAsk,
    need: int,
    ledger: Domain,
    appraisers: Collection[Address],
    timeout_s: float,
) -> dict[str, Signed | NoAnswer]:
    """What each URL came back with, in their order."""
    heard: dict[str, Signed | NoAnswer] = {}
    challenges: dict[str, Hash32] = {}
    given = await asyncio.gather(*(_challenge(client, url, ask.terms.registrant, ledger, timeout_s) for url in urls))
    for url, challenge in zip(urls, given, strict=True):
        if isinstance(challenge, NoAnswer):
            heard[url] = challenge
        elif challenge in challenges.values():
            heard[url] = NoAnswer("gave the challenge of another appraiser")
        else:
            challenges[url] = challenge
            heard[url] = NoAnswer("gave a challenge; not asked further, too few others did")
    if len(challenges) < need:
        return heard
    request, write = await _ready(ask, tuple(challenges.values()), ledger)
    signed = await asyncio.gather(
        *(_appraisal(client, url, request, write(), ledger, appraisers, timeout_s) for url in challenges)
    )
    heard |= dict(zip(challenges, signed, strict=True))
    signers: dict[Address, str] = {}
    for url, what in heard.items():
        if isinstance(what, Signed) and signers.setdefault(what.signer, url) != url:
            heard[url] = NoAnswer(f"signs with the key of {signers[what.signer]}")
    return heard


async def _challenge(
    client: httpx.AsyncClient, url: str, registrant: Address, ledger: Domain, timeout_s: float
) -> Hash32 | NoAnswer:
    body = ChallengeBody(
        registrant=address_text(registrant), chain_id=ledger.chain_id, ledger=address_text(ledger.address)
    )
    try:
        answer = await post(client, f"{url.rstrip('/')}/v1/challenges", body.content(), JSON_HEADERS, timeout_s)
        return to_hash32(text_of(answer, "challenge"))
    except (NoAnswer, BadInput) as e:
        return NoAnswer(str(e))


async def _ready(
    ask: ComputeAsk | ContentAsk, challenges: tuple[Hash32, ...], ledger: Domain
) -> tuple[ComputeRequest | ContentRequest, Callable[[], _Body]]:
    """What all appraisers are asked, and how to write it down once more for each."""
    terms = replace(ask.terms, challenges=challenges)
    if isinstance(ask, ContentAsk):
        content = ContentRequest(ask.kind, terms, ask.meter_key, ask.manifest)
        return content, partial(_files, content, ask.location)
    try:
        nonce = request_nonce(terms, ask.meter_key, ledger)
    except ValueError as e:
        raise BadInput(f"meter key: expected a point of P-256 as 64 bytes, got {e}") from e
    node = ComputeRequest(terms, ask.meter_key, tuple(await ask.evidence(nonce)))
    written = _Body(ComputeBody.of(node).content(), JSON_HEADERS, 0)
    return node, lambda: written


def _files(request: ContentRequest, location: Path) -> _Body:
    boundary, head = secrets.token_hex(16), ContentBody.of(request).content()
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(upload.body_bytes(head, request.manifest, boundary)),
    }
    seconds = request.manifest.n_bytes / UPLOAD_BYTES_PER_S
    return _Body(upload.body(head, request.manifest, location, boundary), headers, seconds)


async def _appraisal(
    client: httpx.AsyncClient,
    url: str,
    request: ComputeRequest | ContentRequest,
    body: _Body,
    ledger: Domain,
    appraisers: Collection[Address],
    timeout_s: float,
) -> Signed | NoAnswer:
    address, most_s = f"{url.rstrip('/')}/v1/appraisals", timeout_s + body.sending_s
    try:
        answer = await post(client, address, body.content, body.headers, most_s)
        return checked(answer, request, ledger, appraisers)
    except (NoAnswer, BadInput) as e:
        return NoAnswer(str(e))


def _largest(heard: Mapping[str, Signed | NoAnswer], need: int) -> list[Signed]:
    """Those who signed the same as most others did; none when two groups are large enough, which no honest ones are."""
    groups: dict[Hash32, list[Signed]] = {}
    for what in heard.values():
        if isinstance(what, Signed):
            groups.setdefault(what.digest, []).append(what)
    by_size = sorted(groups.values(), key=len, reverse=True)
    if not by_size or (len(by_size) > 1 and len(by_size[1]) >= need):
        return []
    return by_size[0]


def _said(what: Signed | NoAnswer, alike: Sequence[Signed]) -> str:
    if isinstance(what, NoAnswer):
        return str(what)
    found = f"{address_text(what.signer)} signed result {hex_text(what.appraisal.result_hash)}"
    if what in alike or not alike:
        return found
    names = sorted({*what.result, *alike[0].result})
    differ = [name for name in names if what.result.get(name) != alike[0].result.get(name)]
    return f"{found}, which differs from the others' in {', '.join(differ) or 'nothing but the appraisal'}"
