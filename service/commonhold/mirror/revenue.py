"""What the mirror says of revenue: what assets earned, and who was paid of it. Only reads. What is still owed to an
account, to the last fraction, the contract says: `Ledger.revenueOf`."""

from dataclasses import dataclass

import sqlalchemy as sa

from commonhold.db import ReadDb
from commonhold.mirror import tables as t
from commonhold.units import Address, AssetId, Wei


@dataclass(frozen=True, slots=True)
class Claim:
    """What the account was paid of the asset's revenue, ever."""

    asset: AssetId
    account: Address
    amount_wei: Wei


@dataclass(frozen=True, slots=True)
class CommonsClaim:
    """What the group was paid of the commons' revenue, ever."""

    root: Address
    amount_wei: Wei


async def claims(db: ReadDb, asset: AssetId | None = None, account: Address | None = None) -> list[Claim]:
    """What was claimed of one asset, by one account, both or all, by asset and account."""
    c = t.claim.c
    wanted = [column == value for column, value in ((c.asset, asset), (c.account, account)) if value is not None]
    found = sa.select(t.claim).where(*wanted).order_by(c.asset, c.account)
    return [Claim(*row) for row in await db.execute(found)]


async def commons_claims(db: ReadDb) -> list[CommonsClaim]:
    """What every group has claimed of the commons' revenue, by root."""
    c = t.commons_claim.c
    return [CommonsClaim(*row) for row in await db.execute(sa.select(t.commons_claim).order_by(c.root))]
