"""Where the service stands, and which contracts it serves."""

from importlib.metadata import version

from fastapi import APIRouter, Response

from commonhold.api.deps import AtBlock, Read, State, fresh, young
from commonhold.api.schemas import DeploymentOut, EndpointOut, PositionOut, StatusOut, shaped
from commonhold.errors import Unavailable
from commonhold.mirror import read
from commonhold.mirror.digest import digest
from commonhold.units import hex_text

router = APIRouter(tags=["service"])


@router.get("/status", response_model=StatusOut)
async def status(db: Read, at: AtBlock, state: State) -> StatusOut:
    """The block that all answers are true at, and the digest of the mirrored state at that block."""
    return StatusOut(
        service="commonhold",
        version=version("commonhold"),
        chain_id=state.deployment.chain_id,
        deployment=state.deployment.fingerprint(),
        tier=state.tier,
        tiers={"admit": state.tiers.admit, "redeem": state.tiers.redeem, "settle": state.tiers.settle},
        endpoints=shaped(EndpointOut, state.rpc.health()),
        quorum=state.rpc.quorum,
        logs_verified=state.rpc.verify_logs,
        block=PositionOut.model_validate(at),
        digest=await digest(db),
        counts=await read.counts(db),
        faults=state.faults() | state.node_faults(),
        integrity=state.integrity(),
    )


@router.get("/healthz", status_code=204)
async def healthz() -> Response:
    """The process answers."""
    return Response(status_code=204)


@router.get("/readyz", status_code=204)
async def readyz(state: State) -> Response:
    """The node (a quorum of them) answers, its newest block is young, the mirror has followed and is not in doubt, and
    every loop runs: tokens can be issued. Else 503."""
    await young(state, await fresh(state))
    if faults := state.faults():
        raise Unavailable("; ".join(f"{name}: {text}" for name, text in faults.items()))
    return Response(status_code=204)


@router.get("/v1/deployment", response_model=DeploymentOut)
async def deployment(state: State) -> DeploymentOut:
    """The contracts, as in the deployment file, and how this service counts."""
    d = state.deployment
    return DeploymentOut(
        chain_id=d.chain_id,
        members=d.members,
        ledger=d.ledger,
        access=d.access,
        meter=d.meter,
        council=d.council,
        timelock=d.timelock,
        factory=d.factory,
        token=d.token,
        block=d.block,
        block_hash=d.block_hash,
        deployer=d.deployer,
        salt=d.salt,
        code={name: hex_text(digest) for name, digest in d.code.items()},
        genesis=d.genesis.to_json(),
        fingerprint=d.fingerprint(),
        window_seconds=state.window_seconds,
        submitter=state.submitter,
    )
