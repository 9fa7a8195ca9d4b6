"""One event of the chain into rows. The only file that changes what the mirror says.

In: events in the order of the chain, each with its block. Nothing is decided here: the contracts have decided, and what
cannot follow from the rows before means that the mirror has missed something. Called by follow.py; commits nothing.
"""

from collections.abc import Sequence
from typing import assert_never

import sqlalchemy as sa

from commonhold.chain import events
from commonhold.chain.events import ChainEvent
from commonhold.chain.governing import GovernanceEvent
from commonhold.chain.stamp import BlockStamp
from commonhold.db import Db
from commonhold.mirror import digest, governed, groups, owned, used
from commonhold.mirror.rows import RowExists, Rows
from commonhold.mirror.step import ZERO_ADDRESS, MirrorBroken
from commonhold.mirror.tables import credit, holding
from commonhold.units import hex_text

# What the database says of a row that breaks its rules.
_BREAKS = (sa.exc.IntegrityError, sa.exc.DataError, OverflowError)


async def apply(db: Db, stamp: BlockStamp, event: ChainEvent) -> None:
    """The rows say what `event`, all that happened in block `stamp`, tells.

    Raises MirrorBroken; the transaction can then only be rolled back.
    """
    await apply_all(db, [(stamp, event)])


async def apply_all(db: Db, told: Sequence[tuple[BlockStamp, ChainEvent]], *, more: bool = False) -> None:
    """The rows say what all these events of whole blocks tell, in their order; so do the history and the digest. Each
    row is read once and written once. `more`: as digest.advance.

    Raises MirrorBroken, naming the event, or the blocks where only the sum of the events breaks a rule of the database;
    the transaction can then only be rolled back.
    """
    if not told:
        return
    rows = Rows(db)
    await _load_balances(rows, [event for _, event in told if isinstance(event, events.Transfer)])
    for stamp, event in told:
        rows.enter(stamp.number)
        try:
            await _apply(rows, stamp, event)
            if len(told) == 1:
                await rows.flush()
        except (MirrorBroken, RowExists) as error:
            raise MirrorBroken(f"block {stamp.number} ({hex_text(stamp.hash)}): {error}; event: {event}") from error
        except _BREAKS as error:
            raise MirrorBroken(
                f"block {stamp.number} ({hex_text(stamp.hash)}): {_cause(error)}; event: {event}"
            ) from error
    first, last = told[0][0], told[-1][0]
    try:
        changed = await rows.finish()
    except _BREAKS as error:
        raise MirrorBroken(
            f"blocks {first.number} to {last.number} ({hex_text(last.hash)}): {_cause(error)}"
        ) from error
    if changed:
        await digest.advance(db, last.number, changed, more=more)


async def _load_balances(rows: Rows, transfers: Sequence[events.Transfer]) -> None:
    """What nearly all events are about is read together."""
    for contract, table in (("Ledger", holding), ("Access", credit)):
        moved = [event for event in transfers if event.contract == contract and event.amount]
        owners = {(event.id, owner) for event in moved for owner in (event.sender, event.receiver)}
        await rows.load(table, [key for key in owners if key[1] != ZERO_ADDRESS])


def _cause(error: Exception) -> object:
    return error.orig if isinstance(error, sa.exc.DBAPIError) else error


async def _apply(rows: Rows, stamp: BlockStamp, event: ChainEvent) -> None:
    match event:
        case events.Transfer():
            await owned.transfer(rows, event)
        case events.OperatorSet() | events.Approval() | events.EIP712DomainChanged():
            pass  # kept in the log: permissions are the wallets' affair
        case _ if isinstance(event, groups.GroupEvent):
            await groups.apply(rows, event)
        case _ if isinstance(event, owned.OwnedEvent):
            await owned.apply(rows, stamp, event)
        case _ if isinstance(event, used.UsedEvent):
            await used.apply(rows, stamp, event)
        case _ if isinstance(event, GovernanceEvent):
            await governed.apply(rows, stamp, event)
        case _:
            assert_never(event)
