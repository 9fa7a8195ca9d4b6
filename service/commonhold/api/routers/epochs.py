"""Epochs: what was put under one root, its published bytes, and the proof that something is in it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from commonhold.anchor import batch
from commonhold.api.deps import AppState, AtBlock, Paged, Read, State
from commonhold.api.schemas import AnchorOut, EpochOut, LeafOut, ProofOut, shaped
from commonhold.errors import NotFound
from commonhold.mirror import read
from commonhold.units import Address, address_text, hex_text, to_address, to_hash32

router = APIRouter(prefix="/v1", tags=["metering"])

Number = Annotated[int, Path(ge=0, lt=1 << 63)]  # what a column of the databases holds
Submitter = Annotated[str | None, Query(description="whose epochs; default: this service's")]


@router.get("/epochs", response_model=list[EpochOut])
async def epochs(db: Read, _at: AtBlock, state: State, page: Paged, submitter: Submitter = None) -> list[EpochOut]:
    """The epochs of a submitter, in order."""
    return shaped(EpochOut, (await batch.epochs(db, _whose(state, submitter)))[page.slice])


@router.get("/epochs/{number}", response_model=EpochOut)
async def epoch(number: Number, db: Read, _at: AtBlock, state: State, submitter: Submitter = None) -> batch.Epoch:
    """One epoch."""
    found = await batch.epoch_of(db, _whose(state, submitter), number)
    if found is None:
        raise _no_epoch(state, submitter, number)
    return found


@router.get(
    "/epochs/{number}/data",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}, "description": "canonical JSON of segments and receipts"}},
)
async def epoch_data(number: Number, db: Read, state: State, submitter: Submitter = None) -> Response:
    """The bytes that the epoch's root is computed from; they never change."""
    data = await batch.data(db, _whose(state, submitter), number)
    if data is None:
        raise _no_epoch(state, submitter, number)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(data, media_type="application/json", headers=headers)


@router.get("/epochs/{number}/proof", response_model=ProofOut)
async def epoch_proof(
    number: Number,
    digest: Annotated[str, Query(description="of a segment or receipt, as its answer named it")],
    db: Read,
    _at: AtBlock,
    state: State,
    submitter: Submitter = None,
) -> ProofOut:
    """That a segment or receipt is under the epoch's root. 404 when it is not in this epoch."""
    wanted = to_hash32(digest)
    proof = await batch.proof_of(db, wanted)
    if (proof.epoch, proof.submitter) != (number, _whose(state, submitter)):
        raise NotFound(f"digest {hex_text(wanted)} is not in epoch {number}", details={"epoch": proof.epoch})
    leaf = proof.leaf
    return ProofOut(
        submitter=proof.submitter,
        epoch=proof.epoch,
        root=proof.root,
        leaf=LeafOut(kind=leaf.kind.name.lower(), lease=leaf.lease, digest=leaf.digest, gpu_ms=leaf.gpu_ms),
        leaf_hash=leaf.hash(),
        proof=list(proof.siblings),
    )


@router.get("/anchors", response_model=list[AnchorOut])
async def anchors(
    db: Read, _at: AtBlock, page: Paged, submitter: Annotated[str | None, Query(description="only of this one")] = None
) -> list[AnchorOut]:
    """Anchors on the chain, by submitter and epoch."""
    rows = await read.anchors(db, None if submitter is None else to_address(submitter), page.slice)
    return shaped(AnchorOut, rows)


def _whose(state: AppState, submitter: str | None) -> Address:
    return state.submitter if submitter is None else to_address(submitter)


def _no_epoch(state: AppState, submitter: str | None, number: int) -> NotFound:
    return NotFound(f"no epoch {number} of {address_text(_whose(state, submitter))}")
