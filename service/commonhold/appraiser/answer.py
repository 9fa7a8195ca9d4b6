"""One appraiser's answer, checked by who asked: nothing of it is believed that can be computed or verified here."""

import asyncio
import dataclasses
import json
import re
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from commonhold.appraiser.appraise import evidence_hash
from commonhold.appraiser.canonical import Json
from commonhold.appraiser.request import ComputeRequest, ContentRequest
from commonhold.appraiser.result import document_hash
from commonhold.appraiser.signature import signer_of
from commonhold.errors import BadInput
from commonhold.signing import Appraisal, Domain, digest, typed_data
from commonhold.units import UNIT, Address, Hash32, address_text, class_id, hex_text, to_address, to_hash32

JSON_HEADERS: Final = {"Content-Type": "application/json"}
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAX_DETAIL: Final = 2_000  # characters of an appraiser's own words


@dataclass(frozen=True, slots=True)
class Signed:
    """A good answer: what an appraiser of the ledger signed, and the result it signed for."""

    appraisal: Appraisal
    result: dict[str, Json]
    signer: Address
    signature: bytes
    digest: Hash32


class NoAnswer(Exception):
    """Why an appraiser's answer does not count. quorum.py tells it beside the appraiser's URL."""


async def post(
    client: httpx.AsyncClient,
    url: str,
    content: bytes | AsyncIterator[bytes],
    headers: Mapping[str, str],
    timeout_s: float,
) -> dict[str, Json]:
    """The JSON object of a good answer. Raises NoAnswer."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.stream("POST", url, content=content, headers=headers, timeout=timeout_s) as response,
        ):
            read = bytearray()
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) > MAX_ANSWER_BYTES:
                    raise NoAnswer(f"answers with more than {MAX_ANSWER_BYTES} bytes")
            answer = json.loads(read)
    except TimeoutError as e:
        raise NoAnswer(f"no answer within {timeout_s:.0f} s") from e
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise NoAnswer(f"cannot be reached: {e or type(e).__name__}") from e
    except ValueError as e:
        raise NoAnswer(f"{response.status_code}: expected JSON, got something else") from e
    if not isinstance(answer, dict) or not response.is_success:
        detail = answer.get("detail") if isinstance(answer, dict) else None
        raise NoAnswer(f"{response.status_code}: {str(detail or 'expected an object')[:MAX_DETAIL]}")
    return answer


def checked(
    answer: Mapping[str, Json],
    request: ComputeRequest | ContentRequest,
    ledger: Domain,
    appraisers: Collection[Address],
) -> Signed:
    """The answer, when it is what was asked for and by an appraiser. Raises NoAnswer and BadInput.

    (1) form. (2) the signature is by an appraiser of the ledger. (3) the result is the one that is signed.
    (4) what the asker knows by itself is as asked: also a quorum of appraisers cannot slip in other units.
    """
    # (1) form
    statement = statement_of(answer.get("appraisal"))
    result, text = answer.get("result"), text_of(answer, "signature")
    if not isinstance(result, dict) or not re.fullmatch(r"0x[0-9a-f]{130}", text):
        raise NoAnswer("expected a result and a signature of 65 bytes, got something else")
    # (2) signature
    signature = bytes.fromhex(text[2:])
    signer = signer_of(digest(ledger, statement), signature)
    if signer is None or signer not in appraisers:
        who = "nobody" if signer is None else address_text(signer)
        raise NoAnswer(f"signed by {who}, which is no appraiser of the ledger")
    # (3) result
    if document_hash(result) != statement.result_hash:
        raise NoAnswer("its result is not the one whose hash it signed")
    # (4) what was asked
    expected = _expected(request)
    for name, value in expected.items():
        if getattr(statement, name) != value:
            raise NoAnswer(f"{name}: asked for {_shown(value)}, signed {_shown(getattr(statement, name))}")
    return Signed(statement, result, signer, signature, digest(ledger, statement))


def _expected(request: ComputeRequest | ContentRequest) -> dict[str, bytes | str | int]:
    terms, key = request.terms, request.meter_key or bytes(64)
    if isinstance(request, ContentRequest):
        content, units = request.manifest.content_hash, request.manifest.n_bytes
    else:
        content, units = evidence_hash(request.evidences), len(request.evidences) * UNIT
    return {
        "class_id": class_id(terms.class_name),
        "registrant": terms.registrant,
        "policy": terms.policy,
        "content_hash": content,
        "units": units,
        "meter_key_x": key[:32],
        "meter_key_y": key[32:],
        "expires_at": terms.expires_at,
        "deadline": terms.deadline,
    }


def text_of(answer: Mapping[str, Json], name: str) -> str:
    """The text in a field of an answer. Raises NoAnswer."""
    value = answer.get(name)
    if not isinstance(value, str):
        raise NoAnswer(f"{name}: expected text, got {type(value).__name__}")
    return value


def statement_of(message: Json) -> Appraisal:
    """The appraisal of its EIP-712 message, which must be exactly as `signing.typed_data` writes it."""
    try:
        if not isinstance(message, dict):
            raise TypeError("expected an object")
        fields: dict[str, Any] = {}
        for (name, kind), field in zip(Appraisal.FIELDS, dataclasses.fields(Appraisal), strict=True):
            fields[field.name] = _value(kind, message[name])
        statement = Appraisal(**fields)
        if typed_data(Domain("Ledger", 1, Address(bytes(20))), statement)["message"] != message:
            raise ValueError("expected exactly its fields, in their usual form")
    except (KeyError, TypeError, ValueError, BadInput) as e:
        raise NoAnswer(f"appraisal: {e}") from e
    return statement


def _value(kind: str, value: Json) -> object:
    if kind == "bytes32[]":
        if not isinstance(value, list):
            raise TypeError("devices: expected a list")
        return tuple(to_hash32(str(item)) for item in value)
    if not isinstance(value, str):
        raise TypeError(f"expected {kind} as text")
    if kind == "string":
        return value
    if kind == "address":
        return to_address(value)
    return to_hash32(value) if kind == "bytes32" else int(value)


def _shown(value: object) -> str:
    return hex_text(value) if isinstance(value, bytes) else str(value)
