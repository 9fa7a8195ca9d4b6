"""A lease's budget, in GPU-ms: reserved by a token, settled by a receipt. Each is one statement, so that two requests
at once can neither grant nor count anything twice.

All numbers are cumulative over the lease. A token's limit is never more than one quantum beyond what both sides have
signed for: that is the most a developer can use without acknowledging, and a provider can serve without being paid.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from commonhold.db import Db, ReadDb
from commonhold.limits.tables import budget
from commonhold.units import GpuMs, Hash32


async def open_budget(db: Db, lease: Hash32, limit_ms: int) -> None:
    """The lease has a budget of `limit_ms`. One that was opened before follows: a top-up has added to it; a split has
    taken what nobody could have used, and a token that allows more is capped by its own lifetime."""
    insert = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    row = {"lease": lease, "limit_ms": limit_ms, "granted_ms": 0, "receipted_ms": 0}
    capped = {
        column.name: sa.case((column < limit_ms, column), else_=limit_ms)
        for column in (budget.c.granted_ms, budget.c.receipted_ms)
    }
    statement = insert(budget).values(row)
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=[budget.c.lease],
            set_={"limit_ms": limit_ms, **capped},
            where=budget.c.limit_ms != limit_ms,
        )
    )


async def reserve(db: Db, lease: Hash32, quantum_ms: int) -> GpuMs | None:
    """The cumulative limit of the lease's next token, min(limit, receipted + quantum); None when nothing is left.

    Reserving again without a receipt in between gives the same limit: it adds no time.
    """
    most = budget.c.receipted_ms + quantum_ms
    statement = (
        sa.update(budget)
        .where(budget.c.lease == lease, budget.c.receipted_ms < budget.c.limit_ms)
        .values(granted_ms=sa.case((most < budget.c.limit_ms, most), else_=budget.c.limit_ms))
        .returning(budget.c.granted_ms)
    )
    granted_ms = (await db.execute(statement)).scalar_one_or_none()
    return None if granted_ms is None else GpuMs(granted_ms)


async def settle(db: Db, lease: Hash32, receipted_ms: int) -> bool:
    """True when the receipt's total counts now: it is more than before and within the lease."""
    statement = (
        sa.update(budget)
        .where(
            budget.c.lease == lease,
            budget.c.receipted_ms < receipted_ms,
            budget.c.limit_ms >= receipted_ms,
        )
        .values(receipted_ms=receipted_ms)
    )
    return (await db.execute(statement)).rowcount == 1


async def left_ms(db: ReadDb, lease: Hash32) -> GpuMs | None:
    """What no receipt has acknowledged yet of the lease; None when it has no budget."""
    row = (
        await db.execute(sa.select(budget.c.limit_ms - budget.c.receipted_ms).where(budget.c.lease == lease))
    ).scalar()
    return None if row is None else GpuMs(row)
