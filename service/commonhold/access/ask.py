"""What a client asks at the token endpoint: the form and its subject tokens, parsed; and the errors it is told.

Pure. Token exchange is RFC 8693; a subject token is base64url of a small JSON document that somebody signed. Nothing
in it is believed here: signatures are checked by wallet.py and the meter.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl

from commonhold.access.siwe import MAX_SIGNATURE_BYTES
from commonhold.access.token import GRANT_TYPE
from commonhold.errors import BadInput, CommonholdError
from commonhold.signing import Redemption, from_message
from commonhold.units import Hash32, to_hash32

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
SUBJECT_PREFIX = "urn:commonhold:params:oauth:token-type:"
SCOPES = ("inference", "train")
MAX_BODY_BYTES = 65_536
MAX_SUBJECT_BYTES = 32_768

Subject = Literal["redemption", "siwe", "receipt"]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)


class OAuthError(CommonholdError):
    """A refusal in the words of OAuth: `code` goes out as `error`, `details` beside it. Source: RFC 6749, 5.2."""

    status = 400
    code = "invalid_request"


class UnsupportedGrant(OAuthError):
    """Only token exchange is served here."""

    code = "unsupported_grant_type"


class InvalidGrant(OAuthError):
    """What was signed is not valid, or not for this key, this service or this moment."""

    code = "invalid_grant"


class InvalidTarget(OAuthError):
    """The resource is not the gateway of the lease's asset. Source: RFC 8707."""

    code = "invalid_target"


class InvalidScope(OAuthError):
    """A scope that this service does not know."""

    code = "invalid_scope"


class InvalidDetails(OAuthError):
    """The authorization details name something that is not there, not theirs or used up. Source: RFC 9396."""

    code = "invalid_authorization_details"


class AccessDenied(OAuthError):
    """A limit, or a rule of the contracts, refuses it; `details` has the numbers."""

    code = "access_denied"


class Pending(OAuthError):
    """Not yet: the same request again after `interval` seconds is right. Source: RFC 8628, 3.5."""

    code = "authorization_pending"


class SlowDown(OAuthError):
    """Too many tokens; `interval` seconds until the next."""

    code = "slow_down"


class AnswerInFlight(OAuthError):
    """A request with this Idempotency-Key is being answered."""

    status = 409
    code = "request_in_progress"


class KeyReused(OAuthError):
    """This Idempotency-Key was used with another request."""

    status = 422
    code = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Ask:
    """One token request. `resource` and `lease` are None when the client leaves them to the subject token."""

    subject: Subject
    subject_token: Mapping[str, Any] = field(repr=False)
    client_id: str | None  # None: the client is known by its session key alone
    scope: str
    resource: str | None
    lease: Hash32 | None  # from authorization_details


def parse_form(content_type: str, body: bytes) -> dict[str, list[str]]:
    """The parameters of a form body, each with its values. Raises OAuthError."""
    if content_type.split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise OAuthError(f"body has type {content_type[:80]!r}, expected application/x-www-form-urlencoded")
    if len(body) > MAX_BODY_BYTES:
        raise OAuthError(f"body of {len(body)} bytes, expected at most {MAX_BODY_BYTES}")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=40)
    except ValueError as e:
        raise OAuthError("body is not a form of at most 40 fields in UTF-8") from e
    form: dict[str, list[str]] = {}
    for name, value in pairs:
        if value:  # a parameter without a value counts as left out, RFC 6749, 3.2
            form.setdefault(name, []).append(value)
    return form


def one(form: Mapping[str, list[str]], name: str) -> str | None:
    """The value of a parameter that may stand once; None when it is not there. Raises OAuthError."""
    values = form.get(name, [])
    if len(values) > 1:
        raise OAuthError(f"parameter {name!r} stands {len(values)} times, expected once")
    return values[0] if values else None


def parse_ask(form: Mapping[str, list[str]]) -> Ask:
    """The token request in a form. Raises an OAuthError that says which parameter is wrong."""
    grant_type = one(form, "grant_type")
    if grant_type is None:
        raise OAuthError("parameter 'grant_type' is missing")
    if grant_type != TOKEN_EXCHANGE:
        raise UnsupportedGrant(f"grant type {grant_type[:80]!r}, expected {TOKEN_EXCHANGE}")
    wanted = one(form, "requested_token_type")
    if wanted not in (None, ACCESS_TOKEN_TYPE):
        raise OAuthError(f"requested token type {wanted!r}, expected {ACCESS_TOKEN_TYPE}")
    subject_type = one(form, "subject_token_type") or ""
    subject = next((s for s in SUBJECTS if subject_type == SUBJECT_PREFIX + s), None)
    if subject is None:
        expected = ", ".join(SUBJECT_PREFIX + s for s in SUBJECTS)
        raise OAuthError(f"subject token type {subject_type[:120]!r}, expected one of {expected}")
    client_id = one(form, "client_id")
    if client_id is not None and not re.fullmatch(r"[\x21-\x7e]{1,128}", client_id):
        raise OAuthError("parameter 'client_id': expected 1 to 128 visible ASCII characters")
    if len(form.get("resource", [])) > 1 or "audience" in form:
        raise InvalidTarget("expected exactly one resource and no audience: one gateway counts the time of a lease")
    return Ask(
        subject=subject,
        subject_token=subject_json(one(form, "subject_token") or ""),
        client_id=client_id,
        scope=_scope(one(form, "scope")),
        resource=one(form, "resource"),
        lease=_details(one(form, "authorization_details")),
    )


def subject_json(text: str) -> dict[str, Any]:
    """The JSON object in a subject token. Raises InvalidGrant."""
    if len(text) > MAX_SUBJECT_BYTES:
        raise InvalidGrant(f"subject token of {len(text)} characters, expected at most {MAX_SUBJECT_BYTES}")
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        document = json.loads(base64.b64decode(padded, b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as e:
        raise InvalidGrant("subject token is not base64url of a JSON document") from e
    if not isinstance(document, dict):
        raise InvalidGrant("subject token is not a JSON object")
    return document


def parse_redemption(document: Mapping[str, Any]) -> tuple[Redemption, bytes]:
    """The redemption and the holder's signature in a subject token. Raises InvalidGrant."""
    try:
        redemption = from_message(Redemption, document.get("redemption"))
    except BadInput as e:
        raise InvalidGrant(f"subject token: {e}") from e
    return redemption, signature_bytes(document)


def parse_sign_in(document: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The sign-in message's bytes and its signature in a subject token. Raises InvalidGrant."""
    message = document.get("message")
    if not isinstance(message, str):
        raise InvalidGrant("subject token: expected 'message' with the EIP-4361 text")
    try:
        return message.encode(), signature_bytes(document)
    except UnicodeEncodeError as e:  # a lone surrogate
        raise InvalidGrant("subject token: 'message' is not text") from e


def signature_bytes(document: Mapping[str, Any]) -> bytes:
    """The bytes of 'signature', 0x and hexadecimal digits. Raises InvalidGrant."""
    text = document.get("signature")
    if not isinstance(text, str) or not re.fullmatch(r"0x([0-9a-fA-F]{2})*", text):
        raise InvalidGrant("subject token: expected 'signature' as 0x and hexadecimal digits")
    if len(text) > 2 + 2 * MAX_SIGNATURE_BYTES:
        raise InvalidGrant(f"subject token: signature of more than {MAX_SIGNATURE_BYTES} bytes")
    return bytes.fromhex(text[2:])


def _scope(text: str | None) -> str:
    wanted = (text or SCOPES[0]).split(" ")
    unknown = sorted(set(wanted) - set(SCOPES))
    if unknown:
        raise InvalidScope(f"scope {unknown[0][:40]!r}, expected {' or '.join(SCOPES)}")
    return " ".join(scope for scope in SCOPES if scope in wanted)


def _details(text: str | None) -> Hash32 | None:
    """The lease that the authorization details name. Raises InvalidDetails."""
    if text is None:
        return None
    try:
        details = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise InvalidDetails("authorization_details is not JSON") from e
    if not isinstance(details, list) or len(details) != 1 or not isinstance(details[0], dict):
        raise InvalidDetails("authorization_details: expected a list of one object")
    if details[0].get("type") != GRANT_TYPE:
        raise InvalidDetails(f"authorization_details: expected type {GRANT_TYPE!r}")
    lease = details[0].get("lease")
    if lease is None:
        return None
    try:
        return to_hash32(str(lease))
    except BadInput as e:
        raise InvalidDetails(f"authorization_details: lease: {e}") from e
