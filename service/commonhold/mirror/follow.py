"""Follows the chain into the database, one transaction a step: events, rows, blocks and the cursor move together.

A step appends the next block, or final ones in ranges, to what the cursor names. Where that is no longer the node's
branch, the same transaction first undoes what came after the common ancestor. While one transaction is written the next
is counted. Between steps only what was fetched and counted ahead is in memory, and used only where it continues the
cursor: a follower that died and one that lived go on alike. Called by worker.py and the CLI.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.deployment import Deployment, WrongChain
from commonhold.chain.rpc import Rpc, RpcInconsistent
from commonhold.chain.span import LONGEST
from commonhold.chain.stamp import BlockStamp, Tier
from commonhold.db import Db, losing_at_most_the_last, read, write
from commonhold.errors import CommonholdError, Unavailable
from commonhold.many import change, insert_many
from commonhold.mirror import digest, history
from commonhold.mirror.balances import Known
from commonhold.mirror.fetch import Ahead, Batch
from commonhold.mirror.read import Position
from commonhold.mirror.tables import block, cursor, event
from commonhold.mirror.work import Work, block_row
from commonhold.units import BlockNumber, Hash32, hex_text

CursorRow = sa.Row[tuple[int, int, bytes, BlockNumber, BlockNumber, Hash32, int, BlockNumber]]

# A transaction over final blocks goes on with the next range until it is so large: a balance that many ranges change is
# written once. Others wait for it no longer than they do for one that writes as much in one go.
MANY: Final = 150_000  # events
OTHERS: Final = 5_000  # of them no transfers: what they change stays in memory until the end
LONG_S: Final = 4.0
SOON_S: Final = 0.5  # how long it waits for a range that is on its way

LOOK_S: Final = 1.0  # how long what was fetched ahead of blocks that may be undone is used without another look


class FinalityViolated(CommonholdError):
    """The node's chain differs from a block that was final. Nobody can say which branch is right: a person must."""

    status = 500
    code = "finality_violated"


@dataclass(frozen=True, slots=True)
class Progress:
    """What one step did: blocks `from_number` to `to_number` are new, after `rewound` blocks were undone."""

    from_number: BlockNumber
    to_number: BlockNumber
    events: int
    rewound: int

    @property
    def idle(self) -> bool:
        """Nothing was new."""
        return self.to_number < self.from_number


@dataclass(slots=True)
class Tally:
    """What was done since the start: events applied, and how often how many blocks were undone."""

    events: int = 0
    reorgs: Counter[int] = field(default_factory=Counter)
    compared: int = 0  # rows, with proofs of storage
    first_row_ms: int | None = None  # from the start to the first event applied; None: there was none yet

    def add(self, progress: Progress) -> None:
        self.events += progress.events
        if progress.rewound:
            self.reorgs[progress.rewound] += 1


class Follower:
    """Follows one deployment into one database, up to `tier`. Several on one database do each step once."""

    def __init__(
        self,
        rpc: Rpc,
        deployment: Deployment,
        engine: AsyncEngine,
        *,
        tier: Tier = "latest",
        max_range: int = LONGEST,
        tally: Tally | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rpc = rpc
        self._deployment = deployment
        self._of = deployment.chain_id, deployment.fingerprint()
        self._engine = engine
        self._tier: Tier = tier
        self._max_range = max_range
        self._ahead = Ahead(rpc, deployment, max_range)
        self._clock = clock  # seconds; only differences count
        self._looked_at = -math.inf
        self._node_checked = False
        self._at: Position | None = None  # what this follower has committed last; others may have gone on
        self._known = Known()
        self._prepared: Work | None = None  # of the next transaction
        self.tally = tally or Tally()

    async def step(self) -> Progress:
        """One transaction, or none when there is nothing new. Safe to repeat, whatever became of the last one.

        Raises Unavailable (try again), and what stops the mirror for good: MirrorBroken, UnknownEvent, RpcLied,
        FinalityViolated, WrongChain.
        """
        if not self._node_checked:
            await self._rpc.check(self._deployment)
            self._node_checked = True
        at = (self._at if self._ahead.edge else None) or await self._position()
        work = await self._next(at.hash) if self._still_good() else None
        if work is not None and self._ahead.final is not None:
            return await self._append(at, at.number, self._ahead.final, work)

        head = await self._rpc.head(self._tier)
        ancestor = await self._ancestor(at, head)
        if ancestor is None or ancestor.number == head.number:
            return _idle(at)
        final = await self._final(head)
        self._looked_at = self._clock()
        if ancestor.number == at.number and await self._on_branch(self._ahead.edge, head):
            self._ahead.aim(head, final)
        else:
            self._ahead.start(ancestor, head, final)
        work = await self._next(ancestor.hash, undoes=ancestor.number < at.number)
        if work is None:
            return _idle(at)
        return await self._append(at, ancestor.number, final, work)

    async def close(self) -> None:
        """What was fetched and counted ahead is forgotten."""
        self._ahead.drop()
        await self._forget()

    async def _final(self, head: BlockStamp) -> BlockStamp:
        """The final block below this head, or the head where only final blocks are followed.

        Raises RpcInconsistent where two nodes are mixed up: a head below the final block may be of a branch that is no
        more, and nothing would show before that branch is called final.
        """
        if self._tier == "finalized":
            return head
        final = await self._rpc.head("finalized")
        if final.number > head.number:
            raise RpcInconsistent(f"node {self._rpc.host}: block {final.number} is final, above its head {head.number}")
        return final

    async def _on_branch(self, edge: BlockStamp | None, head: BlockStamp) -> bool:
        """What was fetched ahead, up to `edge`, is on the node's branch."""
        if edge is None or edge.number > head.number:
            return False
        return (await self._rpc.header(edge.number)).hash == edge.hash

    def _still_good(self) -> bool:
        """What was fetched ahead follows a head that was looked at a moment ago, or is final."""
        return self._ahead.is_final or self._clock() - self._looked_at < LOOK_S

    async def _position(self) -> Position:
        """The cursor; the first use of a database writes it. Raises WrongChain."""
        found = await self._cursor() or await self._begin()
        if (found.chain_id, found.deployment) != self._of:
            raise WrongChain(
                f"database follows deployment {hex_text(found.deployment)} on chain {found.chain_id}, "
                f"expected {hex_text(self._of[1])} on chain {self._of[0]}"
            )
        return Position(found.number, found.hash, found.timestamp, found.finalized)

    async def _cursor(self) -> CursorRow | None:
        async with read(self._engine) as db:
            return (await db.execute(sa.select(cursor))).one_or_none()

    async def _begin(self) -> CursorRow:
        """Writes the cursor, at the block before the deployment's first; the cursor as written."""
        first = await self._rpc.block(self._deployment.block)
        before = await self._rpc.block(first.parent) if first else None
        if before is None:
            raise RpcInconsistent(f"node {self._rpc.host} has no block before {self._deployment.block}")
        row = {"id": 1, "chain_id": self._of[0], "deployment": self._of[1]}
        row["first"] = self._deployment.block
        try:
            async with write(self._engine) as db:
                at = {"number": before.number, "hash": before.hash, "timestamp": before.timestamp}
                await db.execute(cursor.insert(), row | at | {"finalized": before.number})
                await insert_many(db, block, [block_row(before)])
        except sa.exc.IntegrityError:
            pass  # another follower was first; whether it follows the same deployment is checked next
        found = await self._cursor()
        if found is None:
            raise Unavailable("the mirror's first row was written and is gone again")
        return found

    async def _ancestor(self, at: Position, head: BlockStamp) -> BlockStamp | None:
        """The newest block of ours that is on the node's branch. None: the node is only behind us, or another follower
        has moved the cursor since.

        Raises FinalityViolated.
        """
        top = BlockNumber(min(at.number, head.number))
        # No rewind goes below what was final, nor below the deployment, which names the hash of its own block.
        floor = BlockNumber(min(at.number, max(at.finalized, self._deployment.block)))
        if top < floor:
            return None
        theirs = head if top == head.number else await self._rpc.header(top)
        if theirs.hash == at.hash:
            return theirs

        ours = await self._hashes(at, floor, top)
        if ours is None:
            self._at = None
            return None
        while theirs.hash != ours[theirs.number]:
            if theirs.number == floor:
                if await self._rpc.disown(floor, ours[floor]):
                    raise RpcInconsistent(f"block {floor} was final as {hex_text(ours[floor])}: another node is asked")
                # Its newest block may be one that something on the way has kept.
                if (await self._rpc.header(floor)).hash == ours[floor]:
                    raise RpcInconsistent(f"node {self._rpc.host}: its newest block {head.number} is not on its branch")
                raise FinalityViolated(
                    f"block {floor} was final as {hex_text(ours[floor])}, the node has {hex_text(theirs.hash)}: "
                    f"the mirror stays at block {at.number}"
                )
            theirs = await self._rpc.header(theirs.number - 1)
        # A lower head alone is not a reorg: the node may lag.
        return None if theirs.number == head.number else theirs

    async def _move_cursor(self, db: Db, at: Position, new: Position) -> bool:
        """The cursor is at `new`, if it stood where we read it, and is still ours."""
        values = {"number": new.number, "hash": new.hash, "timestamp": new.timestamp, "finalized": new.finalized}
        where = {"was": at.number, "was_hash": at.hash, "of_chain": self._of[0], "of_deployment": self._of[1]}
        return await change(db, _move(db.dialect.name), values | where) == 1

    async def _hashes(self, at: Position, low: BlockNumber, high: BlockNumber) -> dict[BlockNumber, Hash32] | None:
        """Our blocks of the unfinalized window: none is missing while the cursor is at `at`. None: it is not there."""
        async with read(self._engine) as db:
            now = (await db.execute(sa.select(cursor))).one()
            if (now.number, now.hash, now.finalized) != (at.number, at.hash, at.finalized):
                return None
            found = await db.execute(sa.select(block.c.number, block.c.hash).where(block.c.number.between(low, high)))
            return {number: Hash32(hash_) for number, hash_ in found}

    async def _append(self, at: Position, ancestor: BlockNumber, final: BlockStamp, work: Work) -> Progress:
        """Undo, events, rows, blocks and cursor, in one transaction; of final blocks as many ranges as are there."""
        new: Position | None = None
        self._at = None
        try:
            async with write(self._engine) as db, work:  # in this order: nothing is written after the transaction
                new = await self._write(db, at, ancestor, final, work)
            self._at = new
        finally:
            try:
                await work.close()  # also where the transaction never began
            finally:
                if self._at is None:  # whatever is stored now, it need not be what was counted
                    await self._forget()
        if new is None:
            return _idle(at)
        events = work.applying.events
        progress = Progress(BlockNumber(ancestor + 1), new.number, events, rewound=at.number - ancestor)
        self.tally.add(progress)
        return progress

    async def _write(
        self, db: Db, at: Position, ancestor: BlockNumber, final: BlockStamp, work: Work
    ) -> Position | None:
        """Where the mirror stands after this transaction; None: another follower has moved the cursor."""
        began = self._clock()
        first = now = _after(at, work.last, final)
        # First, since it makes any other follower wait: only one of them finds the cursor where it was.
        if not await self._move_cursor(db, at, first):
            return None
        if ancestor < at.number:
            await _rewind(db, ancestor)
        work.behind.open(db)
        await work.begun
        if work.final:
            while await self._take_more(work, final, ancestor, began):
                now = _after(at, work.last, final)
            await work.finish(more=now.number < final.number)
        self._prepare(now.hash)
        await work.applying.written()
        if now != first:
            await self._move_cursor(db, first, now)
        if now.finalized > at.finalized:
            await _finalize(db, at.finalized, now.finalized, final)
        return now

    async def _forget(self) -> None:
        """Nothing is known of balances, and nothing counted ahead."""
        prepared, self._prepared, self._known = self._prepared, None, Known()
        if prepared is not None:
            await prepared.close()

    async def _next(self, after: Hash32, *, undoes: bool = False) -> Work | None:
        """The work on the blocks after this one, begun already or begun now; None: none are under way. `undoes`: it
        comes after others that are undone. The batch is in nobody's hands but the work's, which lets go of it."""
        batch = await self._ahead.take(after)
        prepared = self._prepared
        if prepared is not None and batch is not None and prepared.ends == batch.ends and not undoes:
            self._prepared = None
            return prepared
        if prepared is not None:
            await self._forget()
        return None if batch is None else self._work(batch, b"" if undoes else after)

    def _prepare(self, after: bytes) -> None:
        """The work on the batch after this block, if it is there, begins while what came before is written."""
        following = self._ahead.next
        if following is not None and following.parent == after:
            self._prepared = self._work(following, after)

    def _work(self, batch: Batch, after: bytes) -> Work:
        return Work(batch, self._known, after, self._engine.dialect)

    async def _take_more(self, work: Work, final: BlockStamp, ancestor: BlockNumber, began: float) -> bool:
        """The next range of final blocks goes into the same transaction; False: this one is to end."""
        if (
            work.last.number < final.number
            and work.applying.events < MANY
            and work.applying.others < OTHERS
            and not self._known.full
            and work.last.number - ancestor < self._max_range
            and self._clock() - began < LONG_S
            and await self._ahead.soon(SOON_S)
        ):
            following = await self._ahead.take(work.last.hash)
            if following is not None:
                await work.take(following)
            return following is not None
        return False


@cache
def _move(dialect: str) -> sa.UpdateBase:
    """The cursor moves from where it was."""
    moves = (
        cursor.update()
        .where(cursor.c.number == sa.bindparam("was"), cursor.c.hash == sa.bindparam("was_hash"))
        .where(cursor.c.chain_id == sa.bindparam("of_chain"), cursor.c.deployment == sa.bindparam("of_deployment"))
        .values({name: sa.bindparam(name) for name in ("number", "hash", "timestamp", "finalized")})
    )
    return losing_at_most_the_last(moves, dialect)


def _after(at: Position, new: BlockStamp, final: BlockStamp) -> Position:
    """Where the mirror stands after `at` and the blocks up to this one."""
    return Position(new.number, new.hash, new.timestamp, BlockNumber(max(at.finalized, min(final.number, new.number))))


async def _rewind(db: Db, ancestor: BlockNumber) -> None:
    """Everything but the cursor is as it was after block `ancestor`."""
    await digest.rewind(db, ancestor)
    await history.undo(db, ancestor)
    await db.execute(event.delete().where(event.c.block_number > ancestor))
    await db.execute(block.delete().where(block.c.number > ancestor))


async def _finalize(db: Db, old: BlockNumber, new: BlockNumber, final: BlockStamp) -> None:
    """What only a rewind needs goes once it is final. Blocks with events stay, and the final one.

    Raises RpcInconsistent when the node calls another block final than the one we have.
    """
    if final.number == new:
        ours = (await db.execute(sa.select(block.c.hash).where(block.c.number == new))).scalar_one()
        if ours != final.hash:
            raise RpcInconsistent(f"block {new} is final as {hex_text(final.hash)}, expected {hex_text(ours)}")
    await digest.prune(db, old, new)
    has_events = sa.exists().where(event.c.block_number == block.c.number)
    await db.execute(block.delete().where(block.c.number >= old, block.c.number < new, ~has_events))


def _idle(at: Position) -> Progress:
    return Progress(BlockNumber(at.number + 1), at.number, events=0, rewound=0)
