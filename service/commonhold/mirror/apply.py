"""One event of the chain into rows. The only file that changes what the mirror says.

In: events in the order of the chain, each with its block. Nothing is decided here: the contracts have decided, and what
cannot follow from the rows before means that the mirror has missed something. Called by follow.py; commits nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Self, assert_never

import numpy as np
import sqlalchemy as sa

from commonhold.chain import events
from commonhold.chain.events import ChainEvent
from commonhold.chain.governing import GovernanceEvent
from commonhold.chain.stamp import BlockStamp
from commonhold.db import Db
from commonhold.mirror import digest, governed, groups, owned, used
from commonhold.mirror.balances import Balances, Known, Moves, Unpaid
from commonhold.mirror.rows import Change, RowExists, Rows
from commonhold.mirror.step import MirrorBroken
from commonhold.mirror.tables import asset
from commonhold.units import hex_text

# What the database says of a row that breaks its rules.
_BREAKS = (sa.exc.IntegrityError, sa.exc.DataError, OverflowError)


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in whole blocks, in the order of the chain: events, each with its block and its place in it, and
    apart from them, since nearly all are such, transfers."""

    blocks: Sequence[BlockStamp]  # at least those in which something happened
    events: Sequence[tuple[BlockStamp, int, ChainEvent]]
    moves: Moves

    @classmethod
    def of(cls, told: Sequence[tuple[BlockStamp, ChainEvent]]) -> Self:
        """These events."""
        moves: list[tuple[BlockStamp, int, events.Transfer]] = []
        others: list[tuple[BlockStamp, int, ChainEvent]] = []
        for place, (stamp, event) in enumerate(told):
            if isinstance(event, events.Transfer):
                moves.append((stamp, place, event))
            else:
                others.append((stamp, place, event))
        return cls([stamp for stamp, _ in told], others, Moves.of_events(moves))

    def __len__(self) -> int:
        return len(self.events) + len(self.moves)


async def apply(db: Db, stamp: BlockStamp, event: ChainEvent) -> None:
    """The rows say what `event`, all that happened in block `stamp`, tells.

    Raises MirrorBroken; the transaction can then only be rolled back.
    """
    await apply_all(db, Happened.of([(stamp, event)]))


async def apply_all(db: Db, happened: Happened, *, more: bool = False, known: Known | None = None) -> None:
    """The rows say what happened; so do the history and the digest. Each row is read once and written once. `more`: as
    digest.advance. known: balances that need not be read.

    Raises MirrorBroken, naming the event, or the blocks where only the sum of the events breaks a rule of the database;
    the transaction can then only be rolled back.
    """
    if not len(happened):
        return
    rows = Rows(db)
    told, balances = await _sorted_out(rows, happened, known or Known())
    for stamp, _, event in told:
        rows.enter(stamp.number)
        with _naming(stamp, event):
            await _apply(rows, stamp, event)
            if len(happened) == 1:
                await rows.flush()
    changed = await _finish(db, rows, balances, happened)
    count = len(changed) + sum(map(len, balances))
    if count:
        hashed = chain(map(digest.elements, changed), *(each.changes() for each in balances))
        await digest.advance(db, happened.blocks[-1].number, hashed, count, more=more)


async def _sorted_out(
    rows: Rows, happened: Happened, known: Known
) -> tuple[Sequence[tuple[BlockStamp, int, ChainEvent]], dict[Balances, Moves]]:
    """What is applied one after the other, and the transfers that can be counted: but for the units of assets that are
    retired, before or on the way (owned.py)."""
    moves, told = happened.moves, happened.events
    retired = {event.asset.to_bytes(32) for _, _, event in told if isinstance(event, events.Retired)}
    ids = set(moves.ids()[moves.of_ledger].tolist())
    asked = ids - known.active
    await rows.load(asset, [(int.from_bytes(id_),) for id_ in asked])
    for id_ in asked:
        row = await rows.get(asset, asset=int.from_bytes(id_))
        if row is not None:
            (retired if row["retired"] else known.active).add(id_)
    known.active -= retired
    if retired:
        alone = moves.of_ledger & np.isin(moves.ids(), np.array(sorted(retired), "V32"))
        stamps: dict[int, BlockStamp] = {stamp.number: stamp for stamp in happened.blocks}
        some = moves.some(alone)
        found = [(stamps[number], some.event(at)) for at, number in enumerate(some.block_number.tolist())]
        placed = [(stamp, place, event) for (stamp, event), place in zip(found, some.log_index.tolist(), strict=True)]
        told = sorted([*told, *placed], key=lambda each: (each[0].number, each[1]))
        moves = moves.some(~alone)
    return told, {Balances(contract, known): some for contract, some in moves.by_contract()}


async def _finish(db: Db, rows: Rows, balances: Mapping[Balances, Moves], happened: Happened) -> list[Change]:
    """The database has all of it. The rows that changed, but for balances."""
    first, last = happened.blocks[0], happened.blocks[-1]
    try:
        for each, moves in balances.items():
            await each.apply(db, moves)
        changed = await rows.finish()
        for each in balances:
            await each.write(db)
    except Unpaid as error:
        stamp = next(stamp for stamp in happened.blocks if stamp.number == error.block_number)
        with _naming(stamp, error.event):
            raise
    except _BREAKS as error:
        if len(happened) == 1:
            with _naming(first, happened.events[0][2] if happened.events else happened.moves.event(0)):
                raise
        where = f"blocks {first.number} to {last.number} ({hex_text(last.hash)})"
        raise MirrorBroken(f"{where}: {_cause(error)}") from error
    return changed


@contextmanager
def _naming(stamp: BlockStamp, event: ChainEvent) -> Iterator[None]:
    """What breaks a rule is MirrorBroken, which names the event."""
    try:
        yield
    except (MirrorBroken, RowExists, *_BREAKS) as error:
        raise MirrorBroken(f"block {stamp.number} ({hex_text(stamp.hash)}): {_cause(error)}; event: {event}") from error


def _cause(error: Exception) -> object:
    return error.orig if isinstance(error, sa.exc.DBAPIError) else error


async def _apply(rows: Rows, stamp: BlockStamp, event: ChainEvent) -> None:
    match event:
        case events.Transfer():  # of a retired asset
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
