"""What both sides signed for."""

from typing import Annotated, Any

from fastapi import APIRouter, Body

from commonhold.access.issue import acknowledge
from commonhold.anchor.read import epoch_numbers
from commonhold.api.deps import AtBlock, AtWrite, Paged, Read, State, Write
from commonhold.api.routers.segments import outcome_out
from commonhold.api.schemas import OutcomeOut, ReceiptOut
from commonhold.errors import NotFound, Refused
from commonhold.meter import read
from commonhold.meter.record import Rejected, record_receipt
from commonhold.meter.segment import SignedReceipt
from commonhold.units import to_hash32

router = APIRouter(prefix="/v1/receipts", tags=["metering"])


@router.post("", response_model=OutcomeOut)
async def post_receipt(
    body: Annotated[dict[str, Any], Body(description="a signed receipt, as commonhold.meter.segment writes it")],
    db: Write,
    _at: AtWrite,
    state: State,
) -> OutcomeOut:
    """Records a receipt, such as a lease's last one. Sending it again is safe; a stale or unsigned one is a 409."""
    signed = SignedReceipt.from_json(body)
    outcome = await record_receipt(db, signed, now_s=state.clock(), domain=state.deployment.domain("Meter"))
    if isinstance(outcome, Rejected):
        if outcome.code == "unknown":
            raise NotFound(outcome.reason)
        raise Refused(outcome.reason, details={"outcome": outcome.code})
    await acknowledge(db, signed.receipt.lease, signed.receipt.gpu_ms)
    return outcome_out(outcome)


@router.get("", response_model=list[ReceiptOut])
async def receipts(db: Read, _at: AtBlock, page: Paged, state: State, lease: str) -> list[ReceiptOut]:
    """The receipts of a lease, the oldest first."""
    domain = state.deployment.domain("Meter")
    found = {signed.digest(domain): signed for signed in (await read.receipts(db, to_hash32(lease)))[page.slice]}
    epochs = await epoch_numbers(db, found)
    return [ReceiptOut(digest=digest, epoch=epochs.get(digest), **signed.to_json()) for digest, signed in found.items()]
