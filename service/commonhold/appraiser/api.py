"""An appraiser over HTTP: who it is, challenges, appraisals. Run by an independent party, one process for each.

It keeps its key, its policies and the open challenges, and nothing else: no database, and no byte of what it is sent.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from commonhold.appraiser import upload
from commonhold.appraiser.appraise import (
    BYTES_HASHED,
    BYTES_HASHED_DOCUMENT,
    appraise,
    bytes_hashed_id,
    is_development,
    refusal_before_files,
)
from commonhold.appraiser.challenges import VALID_S, Challenge, ChallengeTable, TooManyChallenges
from commonhold.appraiser.policy import Policy
from commonhold.appraiser.request import ChallengeBody, ComputeBody, ContentBody, ContentRequest, inlined
from commonhold.appraiser.request import Request as AppraisalRequest
from commonhold.appraiser.result import Kind, Refusal, checks_json
from commonhold.appraiser.signature import sign
from commonhold.errors import BadInput, CommonholdError, Refused
from commonhold.keyfile import wallet_address
from commonhold.signing import Domain, digest, typed_data
from commonhold.units import Address, address_text, hex_text, to_address

MOST_BYTES: Final = 256 * 1024 * 1024
MAX_JSON_BYTES: Final = 2 * 1024 * 1024  # 32 GPUs with the largest reports and chains are 0.9 MB
PROBLEM: Final = "application/problem+json"

router = APIRouter()


@dataclass(frozen=True, slots=True)
class AppraiserState:
    """All that an appraiser has. `clock`: Unix seconds. `most_bytes`: of all files of one dataset or model."""

    key: bytes = field(repr=False)
    policies: Mapping[str, Policy]
    chain_id: int
    ledger: Address
    clock: Callable[[], int]
    most_bytes: int = MOST_BYTES
    challenges: ChallengeTable = field(default_factory=ChallengeTable)

    @property
    def domain(self) -> Domain:
        """Where what it signs counts."""
        return Domain("Ledger", self.chain_id, self.ledger)


class AppraisalRefused(CommonholdError):
    """A check failed. What was asked can be answered, and the answer is no."""

    status = 422
    code = "appraisal_refused"

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("; ".join(f"{check.name}: {check.detail}" for check in refusal.failed))
        self.refusal = refusal


class WrongLedger(Refused):
    """The appraiser serves another ledger, or one on another chain."""

    code = "wrong_ledger"


def create_app(state: AppraiserState) -> FastAPI:
    """The application of one appraiser. Raises BadInput if a policy hides that it trusts a development root."""
    for name, policy in state.policies.items():
        if name != policy.name:
            raise BadInput(f"policy {policy.name!r}: expected under its own name, got {name!r}")
        if is_development(policy) and "development" not in name:
            raise BadInput(f"policy {name!r}: trusts a development root, expected 'development' in its name")
    app = FastAPI(
        title="Commonhold appraiser",
        description="Appraises GPU nodes, datasets and models, and signs what it finds for a Commonhold ledger.",
        openapi_url="/openapi.json",
        docs_url=None,  # FastAPI's pages run scripts of a third party
        redoc_url=None,
    )
    app.state.appraiser = state
    app.include_router(router)
    app.add_exception_handler(CommonholdError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    return app


def _state(request: Request) -> AppraiserState:
    state: AppraiserState = request.app.state.appraiser
    return state


State = Annotated[AppraiserState, Depends(_state)]


@router.get("/")
async def whoami(state: State) -> dict[str, Any]:
    """Who this appraiser is and what it holds appraisals to."""
    policies = [_policy_json(policy) for _, policy in sorted(state.policies.items())]
    development = [policy["name"] for policy in policies if policy["development"]]
    notice = f"policy {', '.join(map(str, development))}: DEVELOPMENT ONLY, what it accepts proves nothing"
    return {
        "name": "Commonhold appraiser",
        "signer": address_text(wallet_address(state.key)),
        "chain_id": state.chain_id,
        "ledger": address_text(state.ledger),
        "policies": [*policies, _bytes_hashed_json()],
        "development": bool(development),
        "notice": notice if development else None,
        "challenge_valid_s": VALID_S,
        "most_bytes": state.most_bytes,
        "now": state.clock(),
    }


@router.post("/v1/challenges", status_code=HTTPStatus.CREATED)
async def challenge(body: ChallengeBody, request: Request, state: State) -> dict[str, Any]:
    """32 random bytes for evidence to answer: good once, for two minutes, for this registrant and ledger."""
    if (body.chain_id, to_address(body.ledger)) != (state.chain_id, state.ledger):
        raise WrongLedger(
            f"expected ledger {address_text(state.ledger)} on chain {state.chain_id}, "
            f"got {body.ledger} on chain {body.chain_id}",
            details={"chain_id": state.chain_id, "ledger": address_text(state.ledger)},
        )
    issued = state.challenges.issue(
        to_address(body.registrant),
        state.domain,
        peer=request.client.host if request.client else "",
        now_s=state.clock(),
    )
    return {
        "challenge": hex_text(issued.value),
        "expires_at": issued.expires_at,
        "signer": address_text(wallet_address(state.key)),
        "most_bytes": state.most_bytes,
    }


@router.post(
    "/v1/appraisals",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": inlined(ComputeBody)},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["request", "file"],
                        "properties": {
                            "request": inlined(ContentBody),
                            "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        },
                    }
                },
            },
        }
    },
)
async def appraisal(request: Request, state: State) -> dict[str, Any]:
    """The signed appraisal of a node (application/json), or of a dataset or model (multipart/form-data).

    The challenge is used up by the answer, whether that is yes or no.
    """
    content_type, now_s = request.headers.get("content-type", ""), state.clock()
    if content_type.partition(";")[0].strip().lower() == "application/json":
        asked = ComputeBody.parse(await _whole(request, MAX_JSON_BYTES)).request()
        taken = state.challenges.take(asked.terms.challenges)
        return await _answer(asked, taken, state, now_s)
    return await _upload(content_type, request.stream(), state, now_s)


async def _upload(content_type: str, chunks: AsyncIterator[bytes], state: AppraiserState, now_s: int) -> dict[str, Any]:
    taken: Challenge | None = None
    try:
        parts = upload.events(content_type, chunks)
        body = ContentBody.parse(await upload.read_request(parts))
        terms, key = body.terms(), body.point()
        # Taken before the files come: two uploads at once cannot share it, and its time counts to here.
        taken = state.challenges.take(terms.challenges)
        refusal = refusal_before_files(Kind(body.kind), terms, key, taken, state.domain, now_s)
        if refusal is not None:
            raise AppraisalRefused(refusal)
        manifest = await upload.read_manifest(parts, most_bytes=state.most_bytes)
    except CommonholdError as e:
        if taken is not None and not isinstance(e, AppraisalRefused):
            state.challenges.give_back(taken)
        # A client that is still sending hears the answer only when somebody has read what it sends.
        await _discard(chunks, state.most_bytes)
        raise
    except BaseException:  # the connection broke, or this process stops
        if taken is not None:
            state.challenges.give_back(taken)
        raise
    return await _answer(ContentRequest(Kind(body.kind), terms, key, manifest), taken, state, now_s)


async def _answer(
    asked: AppraisalRequest, taken: Challenge | None, state: AppraiserState, now_s: int
) -> dict[str, Any]:
    # In a thread: eight GPUs take 0.2 s, and others wait for their challenges meanwhile.
    found = await run_in_threadpool(
        appraise, asked, challenge=taken, policies=state.policies, ledger=state.domain, now_s=now_s
    )
    if isinstance(found, Refusal):
        raise AppraisalRefused(found)
    statement = found.appraisal(asked.terms.deadline)
    return {
        "appraisal": typed_data(state.domain, statement)["message"],
        "result": found.document(),
        "signer": address_text(wallet_address(state.key)),
        "signature": hex_text(sign(state.key, digest(state.domain, statement))),
    }


async def _whole(request: Request, most_bytes: int) -> bytes:
    content, chunks = bytearray(), request.stream()
    async for chunk in chunks:
        content += chunk
        if len(content) > most_bytes:
            await _discard(chunks, most_bytes)
            raise upload.TooLarge(f"body: expected at most {most_bytes} bytes", details={"most_bytes": most_bytes})
    return bytes(content)


async def _discard(chunks: AsyncIterator[bytes], most_bytes: int) -> None:
    """Reads and drops what is still sent, up to as much as would have been taken."""
    async for chunk in chunks:
        most_bytes -= len(chunk)
        if most_bytes < 0:
            return


def _policy_json(policy: Policy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "id": hex_text(policy.policy_id()),
        "development": is_development(policy),
        "kinds": [Kind.COMPUTE.value],
        "document": json.loads(policy.canonical_json()),
    }


def _bytes_hashed_json() -> dict[str, Any]:
    return {
        "name": BYTES_HASHED,
        "id": hex_text(bytes_hashed_id()),
        "development": False,
        "kinds": [Kind.DATA.value, Kind.MODEL.value],
        "document": BYTES_HASHED_DOCUMENT,
    }


def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CommonholdError)  # noqa: S101  # the type it is registered for
    more: dict[str, Any] = dict(error.details)
    headers = {}
    if isinstance(error, AppraisalRefused):
        more["checks"] = checks_json(error.refusal.failed)
    if isinstance(error, TooManyChallenges):
        headers["Retry-After"] = str(error.details["retry_after_s"])
    return _problem(error.status, error.code, str(error), more, headers)


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # the type it is registered for
    first = error.errors()[0]
    return _problem(400, BadInput.code, f"{'.'.join(map(str, first['loc']))}: {first['msg']}", {}, {})


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # the type it is registered for
    return _problem(error.status_code, "http_error", f"{request.method} {request.url.path}: {error.detail}", {}, {})


def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody hears it


def _problem(status: int, code: str, detail: str, more: Mapping[str, Any], headers: Mapping[str, str]) -> JSONResponse:
    """RFC 9457."""
    title = code.replace("_", " ").capitalize()
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **more}
    return JSONResponse(body, status, dict(headers), PROBLEM)
