"""Changes of a lease for who has no gas: the holder signs, this service pays."""

from fastapi import APIRouter

from commonhold.access import change, relay, wallet
from commonhold.access.change import Pending
from commonhold.api.deps import State, fresh
from commonhold.api.routers.leases import shown
from commonhold.api.schemas import LeaseChangeIn, LeaseOut
from commonhold.chain.send import TransactionTimeout
from commonhold.db import read as begin_read
from commonhold.db import write
from commonhold.errors import CommonholdError, NotFound, Refused, Unavailable
from commonhold.limits import check
from commonhold.limits.rules import Denied
from commonhold.mirror import read
from commonhold.signing import digest
from commonhold.units import Hash32, hex_text

router = APIRouter(prefix="/v1", tags=["use"])


class NotSigned(Refused):
    """The statement is not signed by the lease's holder."""

    code = "bad_holder_signature"


@router.post("/lease-changes", response_model=LeaseOut)
async def change_lease(ask: LeaseChangeIn, state: State) -> LeaseOut:
    """The lease as the holder's statement leaves it; of a split the new lease. The same statement, sent again, finds
    what it has done.

    (1) form, (2) the holder's signature, (3) limits and the lease's state, at one block, (4) one relay at a time,
    (5) sent, mined and mirrored.
    """
    now_s = state.clock()
    # (1) form
    signed = change.parse(ask.primaryType, ask.message, ask.signature)
    statement = signed.statement
    made = Hash32(digest(state.deployment.domain("Access"), statement))
    head = await fresh(state)
    async with begin_read(state.engine) as db:
        lease, part = await read.lease(db, statement.lease), await read.lease(db, made)
        relayed = await relay.claimed(db, made, now_s)
        chain_s = max(now_s, (await read.position(db)).timestamp)
        # (3) decided here, told after (2)
        decision = await check.lease_change(db, statement, now_s=chain_s, window_seconds=state.window_seconds)
    if lease is None:
        raise NotFound(f"no lease {hex_text(statement.lease)}")
    # (2) signature
    if not await wallet.signed(state.rpc, lease.holder, made, signed.signature, at=head):
        raise NotSigned(f"{ask.primaryType} is not signed by the holder of lease {hex_text(statement.lease)}")
    # (3) limits
    if (before := change.done(statement, lease, part, relayed=relayed)) is not None:
        return shown(state, before)
    if isinstance(decision, Denied):
        raise decision.error()
    if state.sender is None:
        raise Unavailable("this service relays nothing: send the change on the chain")
    # (4) one relay at a time
    async with write(state.engine) as db:
        mine = await relay.claim(db, made, now_s)
        if mine:
            change.check_rate(lease)
            await relay.check_rate(db, lease.holder, now_s)
    # (5) send
    under_way = False
    try:
        if mine:
            await change.send(state.sender, signed)
        return shown(state, await change.arrived(state.engine, statement, made, state.relay_wait_s))
    except CommonholdError as error:
        under_way = isinstance(error, Pending | TransactionTimeout)
        raise
    finally:
        if mine and not under_way:
            async with write(state.engine) as db:
                await relay.release(db, made)
