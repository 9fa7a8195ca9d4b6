"""The digest of the mirror, signed: what two operators compare."""

from fastapi import APIRouter

from commonhold.access.saying import Saying, sign
from commonhold.api.deps import At, AtBlock, Read, State
from commonhold.api.schemas import DigestOut
from commonhold.mirror import read
from commonhold.mirror.digest import digest as digest_of

router = APIRouter(tags=["service"])


@router.get("/digest", response_model=DigestOut)
async def digest(db: Read, now: AtBlock, at: At, state: State) -> DigestOut:
    """The digest of the mirrored state after a block, of the last one or any since the deployment, signed by one of the
    keys at /jwks.json. Equal digests: equal members, classes, assets, holdings, offers, credits, leases and anchors."""
    number = now.number if at is None else at.number
    now_s = state.clock()
    said = Saying(
        issuer=state.issuer,
        issued_at=now_s,
        chain_id=state.deployment.chain_id,
        deployment=state.deployment.fingerprint(),
        block=number,
        block_hash=await read.block_hash(db, number),
        digest=await digest_of(db, number),
    )
    return DigestOut(
        chain_id=said.chain_id,
        deployment=said.deployment,
        block=said.block,
        block_hash=said.block_hash,
        digest=said.digest,
        jws=sign(said, state.signing_keys.signing(now_s)),
    )
