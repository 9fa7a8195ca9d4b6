"""How settled a block must be before something is decided on it: latest, safe or finalized, for each kind of decision.

admit   whose membership and which appraisal count for a token
redeem  leases that tokens are issued for
settle  leases whose receipts and segments are settled and anchored

What is not that settled yet is waited for, never refused: it only takes blocks. The rest is as the mirror's own tier
says.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import Tier
from commonhold.db import ReadDb, read
from commonhold.errors import Unavailable
from commonhold.mirror.history import as_of
from commonhold.mirror.read import position
from commonhold.mirror.tables import asset, block, member
from commonhold.units import Address, AssetId, BlockNumber, Hash32, hex_text


class OnAnotherBranch(Unavailable):
    """The node's settled block is none of ours: a reorganisation that the mirror has yet to follow."""

    code = "on_another_branch"


@dataclass(frozen=True, slots=True)
class Tiers:
    """Which tier decides what."""

    admit: Tier = "latest"
    redeem: Tier = "latest"
    settle: Tier = "latest"


@dataclass(frozen=True, slots=True)
class Settled:
    """Up to which block admissions and redemptions count. None: as far as the mirror is."""

    admit: BlockNumber | None = None
    redeem: BlockNumber | None = None


async def settled(engine: AsyncEngine, rpc: Rpc, tier: Tier) -> BlockNumber | None:
    """The newest block of the mirror that is as settled as `tier` says; None: all of them are, as for "latest".

    Raises Unavailable, when the node's own says is on another branch.
    """
    if tier == "latest":
        return None
    if tier == "finalized":
        async with read(engine) as db:
            return (await position(db)).finalized
    theirs = await rpc.head(tier)
    async with read(engine) as db:
        at = await position(db)
        if theirs.number <= at.finalized:
            return at.finalized
        if theirs.number <= at.number:
            ours = await _hash_of(db, theirs.number)
    if theirs.number > at.number:
        theirs, ours = await rpc.header(at.number), at.hash
    if ours != theirs.hash:
        raise OnAnotherBranch(
            f"{tier} block {theirs.number} is {hex_text(theirs.hash)}, the mirror has {hex_text(ours)}: it follows"
        )
    return theirs.number


async def unsettled(
    db: ReadDb, until: Settled, *, redeemed_block: int, holder: Address, asset_id: AssetId, now_s: int
) -> str | None:
    """What of a lease of the mirror does not count yet: its redemption, its holder's membership, its asset's appraisal.
    None: all of it does. That a membership or an appraisal is over is for others to refuse."""
    if until.redeem is not None and redeemed_block > until.redeem:
        return f"it was redeemed in block {redeemed_block}, redemptions count up to block {until.redeem}"
    if until.admit is None:
        return None
    if not await _lives(db, member, until.admit, "until", now_s, address=holder):
        return f"its holder's membership is younger than block {until.admit}, up to which admissions count"
    if not await _lives(db, asset, until.admit, "expires_at", now_s, asset=asset_id):
        return f"the appraisal of asset {asset_id} is younger than block {until.admit}, up to which appraisals count"
    return None


async def _lives(db: ReadDb, table: sa.Table, at: BlockNumber, ends: str, now_s: int, **key: object) -> bool:
    """The row of this key was there after block `at`, and its time is not over. True, too, when the time of the row as
    it is now is over: then it is not settling that it waits for."""
    then = as_of(table, at, **key)
    if (await db.execute(sa.select(sa.func.count()).where(then.c[ends] > now_s))).scalar_one():
        return True
    here = [table.c[name] == value for name, value in key.items()]
    return not (await db.execute(sa.select(sa.func.count()).where(*here, table.c[ends] > now_s))).scalar_one()


async def _hash_of(db: ReadDb, number: int) -> Hash32:
    """Of a block that is not final: none of these is ever missing."""
    return Hash32((await db.execute(sa.select(block.c.hash).where(block.c.number == number))).scalar_one())
