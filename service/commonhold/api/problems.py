"""How a refusal looks: problem details (RFC 9457) on the service's own API, OAuth's JSON (RFC 6749, 5.2) on the OAuth
endpoints, where problem details would break stock clients."""

import logging
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from commonhold.api.deps import BLOCK_HEADER, FINALIZED_HEADER, get_state
from commonhold.errors import BadInput, CommonholdError, NotFound, Unavailable

log = logging.getLogger(__name__)

OAUTH_PATHS = frozenset({"/token", "/introspect", "/revoke", "/nonce"})
TYPE_PREFIX = "urn:commonhold:problem:"
RETRY_AFTER_S = 2


class MethodNotAllowed(CommonholdError):
    """The path is there, the method is not."""

    status = 405
    code = "method_not_allowed"


class BadField(BadInput):
    """A field of the request is missing or not as its schema says."""

    status = 422
    code = "bad_field"


def install(app: FastAPI) -> None:
    """Every error of the application is answered in one of the two forms."""
    app.add_exception_handler(CommonholdError, _commonhold)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _commonhold(request: Request, error: Exception) -> Response:
    assert isinstance(error, CommonholdError)  # noqa: S101 - for the type checker: registered for this class
    return _answer(request, error)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return _answer(request, BadField(f"{where}: {first['msg']}", details={"field": where}))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    if error.status_code == 404:
        return _answer(request, NotFound(f"no such path: {request.url.path}"))
    if error.status_code == 405:
        return _answer(request, MethodNotAllowed(f"{request.method} is not allowed here"), dict(error.headers or {}))
    refused = BadInput(str(error.detail))
    refused.status = error.status_code
    return _answer(request, refused, dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> Response:
    # The text stays in the log: it may tell of SQL, files or keys.
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(request, CommonholdError("the service failed; nothing was recorded"))


def _answer(request: Request, error: CommonholdError, headers: dict[str, str] | None = None) -> Response:
    headers = {"Cache-Control": "no-store"} | (headers or {})
    if isinstance(error, Unavailable) and error.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if block := getattr(request.state, "block", None):
        headers |= {BLOCK_HEADER: block, FINALIZED_HEADER: request.state.finalized}
    if request.url.path in OAUTH_PATHS:
        return _oauth(request, error, headers)
    members = {
        "type": TYPE_PREFIX + error.code,
        "title": _title(error),
        "status": error.status,
        "detail": str(error),
        "code": error.code,
    }
    body = {**error.details, **members}
    return JSONResponse(body, error.status, headers, media_type="application/problem+json")


def _oauth(request: Request, error: CommonholdError, headers: dict[str, str]) -> Response:
    state = get_state(request)
    headers |= {"Pragma": "no-cache", "DPoP-Nonce": state.nonce_keys.issue(state.clock())}
    interval = error.details.get("interval")
    if interval is not None:
        headers["Retry-After"] = str(interval)
    if error.code == "slow_down":  # draft-ietf-httpapi-ratelimit-headers
        headers["RateLimit-Policy"] = f'"tokens";q={error.details["limit"]};w={interval}'
        headers["RateLimit"] = f'"tokens";r=0;t={interval}'
    if error.status == 401:
        headers["WWW-Authenticate"] = 'DPoP algs="ES256"'
    code = error.code
    if error.status == 503:
        code = "temporarily_unavailable"
    elif error.status >= 500:
        code = "server_error"
    elif isinstance(error, BadInput | MethodNotAllowed):
        code = "invalid_request"
    # Printable ASCII without quotes and backslashes. Source: RFC 6749, 5.2.
    description = re.sub(r"[^\x20-\x7e]", "?", str(error)).translate({34: "'", 92: "/"})
    body: dict[str, Any] = {**error.details, "error": code, "error_description": description}
    return JSONResponse(body, error.status, headers)


def _title(error: CommonholdError) -> str:
    return error.code.replace("_", " ").capitalize()
