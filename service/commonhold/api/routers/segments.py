"""What nodes report: signed segments, each answered for itself, so that one bad segment holds up no other."""

from typing import Any

import orjson
from fastapi import APIRouter

from commonhold.api.deps import AtWrite, State, WholeBody, Write
from commonhold.api.schemas import OutcomeOut
from commonhold.errors import BadInput
from commonhold.meter.record import MAX_BATCH, Outcome, Rejected, record_all
from commonhold.meter.segment import SignedSegment
from commonhold.units import hex_text

router = APIRouter(prefix="/v1/segments", tags=["metering"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "array",
                    "maxItems": MAX_BATCH,
                    "items": {
                        "type": "object",
                        "description": "a signed segment, as commonhold.meter.segment writes it",
                    },
                }
            }
        },
    }
}


@router.post("", response_model=list[OutcomeOut], openapi_extra=_BODY)
async def report(body: WholeBody, db: Write, _at: AtWrite, state: State) -> list[OutcomeOut]:
    """One answer for each segment, in order: recorded, duplicate, or rejected and why. Sending again is safe."""
    items = json_body(body)
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
        raise BadInput(f"body: expected a list of 1 to {MAX_BATCH} segments")
    parsed = [_parse(item) for item in items]
    good = [item for item in parsed if isinstance(item, SignedSegment)]
    domain = state.deployment.domain("Meter")
    outcomes = iter(await record_all(db, good, now_s=state.clock(), domain=domain))
    return [outcome_out(next(outcomes) if isinstance(item, SignedSegment) else item) for item in parsed]


def json_body(body: bytes) -> Any:
    """The JSON of a body. Raises BadInput."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise BadInput("body is not JSON") from e


def outcome_out(outcome: Outcome) -> OutcomeOut:
    """An answer of the meter, as JSON."""
    if isinstance(outcome, Rejected):
        return OutcomeOut(status="rejected", code=outcome.code, reason=outcome.reason, digest=None)
    status = type(outcome).__name__.lower()
    return OutcomeOut(status=status, code=None, reason=None, digest=hex_text(outcome.digest))


def _parse(item: object) -> SignedSegment | Rejected:
    try:
        return SignedSegment.from_json(item)
    except BadInput as e:
        return Rejected("invalid", str(e))
