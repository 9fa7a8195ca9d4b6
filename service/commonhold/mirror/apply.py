"""One event of the chain into rows. The only file that changes what the mirror says.

In: events in the order of the chain, each with its block. Nothing is decided here: the contracts have decided, and what
cannot follow from the rows before means that the mirror has missed something. Called by follow.py; commits nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Self, assert_never

import numpy as np
import sqlalchemy as sa

from commonhold.chain import events
from commonhold.chain.events import ChainEvent, Erc6909
from commonhold.chain.governing import GovernanceEvent
from commonhold.chain.stamp import BlockStamp
from commonhold.db import Db
from commonhold.many import RowsMissing
from commonhold.mirror import digest, governed, groups, owned, used
from commonhold.mirror.balances import KINDS, Balances, Known, Unpaid
from commonhold.mirror.behind import Behind
from commonhold.mirror.moves import Moves
from commonhold.mirror.rows import RowExists, Rows
from commonhold.mirror.step import MirrorBroken
from commonhold.mirror.tables import asset
from commonhold.units import hex_text

# What is said of rows that break the database's rules.
_BREAKS = (sa.exc.IntegrityError, sa.exc.DataError, OverflowError, RowsMissing)


Placed = tuple[BlockStamp, int, ChainEvent]  # an event, its block, its place in it


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in whole blocks, in the order of the chain: events, each with its block and its place in it, and
    apart from them, since nearly all are such, transfers."""

    blocks: Sequence[BlockStamp]  # at least those in which something happened
    events: Sequence[Placed]
    moves: Moves

    @classmethod
    def of(cls, told: Sequence[tuple[BlockStamp, ChainEvent]]) -> Self:
        """These events."""
        moves: list[tuple[BlockStamp, int, events.Transfer]] = []
        others: list[Placed] = []
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


async def apply_all(db: Db, happened: Happened, *, known: Known | None = None) -> None:
    """The rows say what happened; so do the history and the digest. known: balances that need not be read.

    Raises as `Applying`; the transaction can then only be rolled back.
    """
    async with Behind[Db]() as behind:
        applying = Applying(known or Known(), behind.open(db), db.dialect)
        await applying.take(happened)
        await applying.finish()
        await applying.written()


class Applying:
    """The rows as one transaction changes them: what happened in one block after the other by `take`, the end by
    `finish`; after `written` the database has it. Each row is read once and written once, however many blocks change
    it.

    All three raise MirrorBroken, naming the event, or the blocks where only the sum of the events breaks a rule of the
    database; the transaction can then only be rolled back.
    """

    def __init__(self, known: Known, behind: Behind[Db], dialect: sa.Dialect) -> None:
        """known: balances that need not be read; nobody else uses it until `finish`. behind: what is written; nobody
        else uses it until then but to `open` it, and nothing that is read or written comes before that. dialect: of
        the database that it opens."""
        self._known = known
        self._behind = behind
        self._dialect = dialect
        self._kept: Rows | None = None  # had from `_rows`
        self._balances: dict[Erc6909, Balances] = {}
        self._stamps: tuple[BlockStamp, BlockStamp] | None = None  # of the first block and the last
        self.events = 0
        self.others = 0  # of them no transfers: these stay in memory until the end

    async def take(self, happened: Happened) -> None:
        """This happened, after all that was taken before."""
        if not happened.blocks:
            return
        first, last = happened.blocks[0], happened.blocks[-1]
        self._stamps = (self._stamps or (first, last))[0], last
        if not len(happened):
            return
        alone = len(happened) == 1 and not self.events  # then what breaks a rule is this event's doing
        self.events += len(happened)
        self.others += len(happened.events)
        with self._naming_blocks():
            told, moves = await self._sorted_out(happened)
            if told:
                rows = await self._rows()
                for stamp, _, event in told:
                    rows.enter(stamp.number)
                    with _naming(stamp, event):
                        await _apply(rows, stamp, event)
                        if alone:
                            await rows.flush()
            for contract, some in moves.by_contract():
                await self._count(contract, some, happened.blocks)
                if alone:
                    with _naming(first, some.event(0)):
                        await self._behind.add(*self._balances[contract].write())
                        await self._behind.settle()

    async def finish(self, *, more: bool = False) -> None:
        """All that the database is to have is there, or is written behind. `more`: as digest.advance."""
        if self._stamps is None:
            return
        with self._naming_blocks():
            changed = await (await self._rows()).finish() if self._kept is not None and self._kept.changed else []
            if self._known.sum is None:
                self._known.sum = await digest.newest(await self._behind.settle())
            before = self._known.sum
            # The sum over all rows is taken from memory, as far as it goes, while the balances are written.
            known = await self._all_known() if before == digest.PENDING and not more else {}
            for each in self._balances.values():
                await self._behind.add(*each.write())
            count = len(changed) + sum(map(len, self._balances.values()))
            if count or (before == digest.PENDING and not more):
                hashed = chain(map(digest.elements, changed), *(each.changes() for each in self._balances.values()))
                self._known.sum = await digest.advance(
                    *(self._stamps[1].number, before, hashed, count, self._behind, self._dialect),
                    more=more,
                    known=known,
                )

    async def written(self) -> None:
        """The database has all of it, and is free for others."""
        with self._naming_blocks():
            await self._behind.settle()

    async def _rows(self) -> Rows:
        """The rows, with the database at their disposal until something is written behind."""
        db = await self._behind.settle()
        self._kept = self._kept or Rows(db)
        return self._kept

    async def _sorted_out(self, happened: Happened) -> tuple[Sequence[Placed], Moves]:
        """What is applied one after the other, and the transfers that can be counted: but for the units of assets that
        are retired, before or on the way (owned.py)."""
        moves, told, known = happened.moves, happened.events, self._known
        retired = {event.asset.to_bytes(32) for _, _, event in told if isinstance(event, events.Retired)}
        if retired:  # their balances are rows like others from now on, and read as such
            await (await self._rows()).flush()
            for each in self._balances.values():
                await self._behind.add(*each.write())
        ids = set(moves.ids()[moves.of_ledger].tolist())
        asked = ids - known.active
        if asked:
            rows = await self._rows()
            await rows.load(asset, [(int.from_bytes(id_),) for id_ in asked])
            for id_ in asked:
                row = await rows.get(asset, asset=int.from_bytes(id_))
                if row is not None:
                    (retired if row["retired"] else known.active).add(id_)
        known.active -= retired
        if not retired:
            return told, moves
        alone = moves.of_ledger & np.isin(moves.ids(), np.array(sorted(retired), "V32"))
        stamps: dict[int, BlockStamp] = {stamp.number: stamp for stamp in happened.blocks}
        some = moves.some(alone)
        found = [(stamps[number], some.event(at)) for at, number in enumerate(some.block_number.tolist())]
        placed = [(stamp, place, event) for (stamp, event), place in zip(found, some.log_index.tolist(), strict=True)]
        return sorted([*told, *placed], key=lambda each: (each[0].number, each[1])), moves.some(~alone)

    async def _all_known(self) -> digest.Known:
        """Tables of balances of which all rows are in memory. Those of retired assets are not."""
        db = await self._behind.settle()
        retired = (await db.execute(sa.select(sa.exists().where(asset.c.retired)))).scalar_one()
        found = {
            KINDS[contract].table.name: balances.elements()
            for contract, balances in self._balances.items()
            if contract != "Ledger" or not retired
        }
        return {name: elements for name, elements in found.items() if elements is not None}

    async def _count(self, contract: Erc6909, moves: Moves, blocks: Sequence[BlockStamp]) -> None:
        if contract not in self._balances:
            self._balances[contract] = Balances(contract, self._known, self._dialect)
        try:
            await self._balances[contract].apply(moves, self._behind)
        except Unpaid as error:
            stamp = next(stamp for stamp in blocks if stamp.number == error.block_number)
            with _naming(stamp, error.event):
                raise

    @contextmanager
    def _naming_blocks(self) -> Iterator[None]:
        """What breaks a rule of the database is MirrorBroken, which names the blocks."""
        try:
            yield
        except _BREAKS as error:
            numbers = " to ".join(str(stamp.number) for stamp in self._stamps or ())
            raise MirrorBroken(f"blocks {numbers}: {_cause(error)}") from error


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
