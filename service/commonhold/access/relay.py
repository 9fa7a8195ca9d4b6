"""Carries a holder's signed redemption to the chain, so that the holder needs no gas. Exactly one lease comes of it:
its id is the hash of what the holder signed, and the contract makes it once.

The order, and what happens if we die there:
1. claim, committed: one relay of a lease at a time, or gas is paid twice. Dying after it: it lapses in CLAIM_S.
2. send, wait until mined. Dying or losing the answer: the next try finds the lease in the mirror, or the contract says
   LeaseExists.
3. wait until the mirror shows it. Dying: the same.
"""

import asyncio

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.access.ask import AccessDenied, InvalidDetails, InvalidGrant, OAuthError, SlowDown
from commonhold.access.tables import relay
from commonhold.chain.revert import ContractRefused
from commonhold.chain.send import Sender
from commonhold.db import Db, ReadDb, read
from commonhold.errors import LimitExceeded
from commonhold.limits.rules import Denied
from commonhold.mirror.read import lease as mirrored_lease
from commonhold.mirror.read import redemptions_since, root_of
from commonhold.signing import Redemption
from commonhold.units import Address, Hash32, address_text

CLAIM_S = 90  # longer than a sender waits for its transaction
POLL_S = 0.05

# What gas others can make us pay: leases can be as small as a second. Whoever needs more redeems on the chain.
MOST_RELAYS = 60  # leases of one group in RELAY_PERIOD_S
RELAY_PERIOD_S = 3_600
MOST_UNDER_WAY = 20  # of all groups; the mirror does not count these yet
UNDER_WAY_INTERVAL_S = 5

# What the caller signed wrongly, and what the contracts' rules refuse; every other error is about the credits.
_BAD_STATEMENT = {"DeadlinePassed", "BadSessionKey", "BadHolderSignature"}
_RULE = {"NotActiveMember", "HoldsOverLimit", "OverUseLimit", "Replaced"}


async def claim(db: Db, lease: Hash32, now_s: int) -> bool:
    """True when the caller is the one to send this redemption. A claim stands until it is released or lapses."""
    insert = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    statement = insert(relay).values(lease=lease, claimed_until=now_s + CLAIM_S, tries=1)
    statement = statement.on_conflict_do_update(
        index_elements=[relay.c.lease],
        set_={"claimed_until": now_s + CLAIM_S, "tries": relay.c.tries + 1},
        where=relay.c.claimed_until <= now_s,
    )
    return (await db.execute(statement)).rowcount == 1


async def claimed(db: ReadDb, lease: Hash32, now_s: int) -> bool:
    """True while a claim stands."""
    found = sa.select(relay.c.lease).where(relay.c.lease == lease, relay.c.claimed_until > now_s)
    return (await db.execute(found)).first() is not None


async def check_rate(db: Db, holder: Address, now_s: int) -> None:
    """Returns when one more relay, which is claimed already, is not too many. Raises SlowDown."""
    claims = sa.select(sa.func.count()).select_from(relay).where(relay.c.claimed_until > now_s)
    if (await db.execute(claims)).scalar_one() > MOST_UNDER_WAY:
        raise SlowDown(
            f"more than {MOST_UNDER_WAY} redemptions are on their way",
            details={"interval": UNDER_WAY_INTERVAL_S, "limit": MOST_UNDER_WAY},
        )
    root = await root_of(db, holder)
    if await redemptions_since(db, root, now_s - RELAY_PERIOD_S) >= MOST_RELAYS:
        raise SlowDown(
            f"group of {address_text(root)} redeemed {MOST_RELAYS} leases in {RELAY_PERIOD_S} s, the most that are "
            "relayed: later, or on the chain",
            details={"interval": RELAY_PERIOD_S, "limit": MOST_RELAYS},
        )


async def release(db: Db, lease: Hash32) -> None:
    """Nobody is sending this redemption any more."""
    await db.execute(sa.delete(relay).where(relay.c.lease == lease))


async def send(sender: Sender, redemption: Redemption, signature: bytes) -> None:
    """The lease is on the chain, by this transaction or one before it. Raises OAuthErrors for what the contract
    refuses; TransactionTimeout when it may still come: the claim must then stand until it lapses."""
    try:
        await sender.transact("Access", "redeemFor", redemption, signature)
    except ContractRefused as e:
        if e.error == "LeaseExists":
            return
        raise _refusal(e.error)(str(e), details=e.details) from e


async def arrived(engine: AsyncEngine, lease: Hash32, wait_s: float) -> bool:
    """True as soon as the mirror shows the lease; False when it does not in `wait_s`."""
    # No asyncio.timeout: it would cancel a query half-way.
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_s
    while not await _mirrored(engine, lease):
        if clock() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def refused(denied: Denied) -> OAuthError:
    """A refusal by our own check, in the words of OAuth and with the same numbers."""
    error = denied.error()
    kind = AccessDenied if isinstance(error, LimitExceeded) else _refusal(denied.code)
    details = dict(error.details)
    if "held_s" in details:
        details["available_seconds"] = details["held_s"]
    return kind(denied.reason, details=details)


async def _mirrored(engine: AsyncEngine, lease: Hash32) -> bool:
    async with read(engine) as db:
        return await mirrored_lease(db, lease) is not None


def _refusal(code: str) -> type[OAuthError]:
    if code in _BAD_STATEMENT:
        return InvalidGrant
    return AccessDenied if code in _RULE else InvalidDetails
