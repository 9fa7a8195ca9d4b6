import re
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from commonhold.chain.events import ChainEvent, Transfer
from commonhold.chain.stamp import BlockStamp
from commonhold.db import ReadDb, read, write
from commonhold.mirror import history
from commonhold.mirror.apply import Happened, apply, apply_all
from commonhold.mirror.digest import dump
from commonhold.mirror.tables import BALANCES, HISTORY, STATE, holding, shown
from commonhold.units import Address
from tests.mirror.history import CORPUS, NODE, PROVIDER, STRANGER, play, stamp
from tests.mirror.history import HISTORY as TOLD

LAST = len(TOLD)
BLOCKS = 120
State = dict[str, set[tuple[Any, ...]]]


async def state(db: ReadDb) -> State:
    return {table.name: {tuple(row) for row in await db.execute(sa.select(table))} for table in STATE}


async def state_then(db: ReadDb, block_number: int) -> State:
    """The same from the history alone."""
    return {
        table.name: {tuple(row) for row in await db.execute(sa.select(history.as_of(table, block_number)))}
        for table in STATE
    }


async def test_every_block_can_be_read_again(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        after = [await state(db)]
        for number, event in enumerate(TOLD, start=1):
            await apply(db, stamp(number), event)
            after.append(await state(db))

    async with read(engine) as db:
        for number, expected in enumerate(after):
            assert await state_then(db, number) == expected
        assert await state_then(db, LAST + 100) == after[-1]


async def test_history_is_the_same_in_blocks_and_in_ranges(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await dump(db)
        await history.undo(db, 0)
        assert await dump(db) == []

        await apply_all(db, Happened.of([(stamp(number), event) for number, event in enumerate(TOLD, start=1)]))

        assert await dump(db) == before


async def test_a_block_leaves_one_version_of_what_it_changed_often(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await apply_all(db, Happened.of([(stamp(7), event) for event in TOLD]))

        for table in STATE:
            kept = (await db.execute(sa.select(HISTORY[table.name]))).all()
            columns = len(table.columns)
            assert {row[:columns] for row in kept} == (await state(db))[table.name]
            assert all(row.from_block == 7 and not row.gone for row in kept)


async def test_what_is_as_before_the_block_has_no_version(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

        versions = HISTORY["holding"]
        of_provider = sa.select(versions.c.from_block).where(versions.c.asset == NODE, versions.c.owner == PROVIDER)
        changed = (await db.execute(of_provider.order_by(versions.c.from_block))).scalars().all()

    # It got two GPUs, gave half a one and took a little; between, it sent everything to itself.
    assert [TOLD[number - 1].amount for number in changed] == [2_000_000, 500_000, 1_000]  # type: ignore[union-attr]


async def test_fixed_columns_narrow_what_was_then(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        for number in range(0, LAST + 2, 3):
            then = await state_then(db, number)
            for table in BALANCES:
                first, second, *_ = table.columns
                for row in {row[:2] for row in then[table.name]} | {(CORPUS, STRANGER)}:
                    for fixed in (
                        {first.name: row[0]},
                        {second.name: row[1]},
                        {first.name: row[0], second.name: row[1]},
                    ):
                        found = await db.execute(sa.select(history.as_of(table, number, **fixed)))

                        places = [(first, second).index(table.c[name]) for name in fixed]
                        assert {tuple(each) for each in found} == {
                            each for each in then[table.name] if all(each[place] == row[place] for place in places)
                        }


async def test_a_balance_that_often_changes_is_found_at_every_block(engine: AsyncEngine) -> None:
    """Also one that is gone, and there again; also of somebody who moves it in every 16th block."""
    random = Random(7)
    held = {Address(bytes([place]) * 20): 0 for place in range(1, 4)}
    regular = next(iter(held))
    async with write(engine) as db:
        await play(db)
        after = [dict(held)]
        for number in range(1, BLOCKS):
            told: list[tuple[BlockStamp, ChainEvent]] = []
            for person, has in held.items():
                if person == regular and number % 16:
                    continue
                gets = random.choice([1, 2, -has if has else 1, -1 if has else 2])
                of, to = (PROVIDER, person) if gets > 0 else (person, PROVIDER)
                told.append((stamp(LAST + number), Transfer("Ledger", PROVIDER, of, to, NODE, abs(gets))))
                held[person] += gets
            await apply_all(db, Happened.of(told))
            after.append(dict(held))

    async with read(engine) as db:
        fixed: dict[str, object] = {"asset": NODE}
        marked = (await db.execute(sa.select(HISTORY["holding"].c.marked))).scalars().all()
        assert 0.05 < sum(marked) / len(marked) < 0.5
        for number, expected in enumerate(after):
            then = history.as_of(holding, LAST + number, **fixed)
            found = {row.owner: row.units for row in await db.execute(sa.select(then)) if row.owner in held}
            assert found == {person: units for person, units in expected.items() if units}
            for person, units in expected.items():
                alone = sa.select(history.as_of(holding, LAST + number, **fixed, owner=person).c.units)
                assert (await db.execute(alone)).scalar_one_or_none() == (units or None)


@pytest.mark.parametrize("fixed", [{"asset": NODE}, {"owner": PROVIDER}, {"asset": NODE, "owner": PROVIDER}])
async def test_what_was_is_found_by_indexes(engine: AsyncEngine, fixed: dict[str, object]) -> None:
    """A condition in other words than those of its index is answered by reading everything."""
    async with write(engine) as db:
        await play(db)
        wanted = sa.select(history.as_of(holding, LAST - 1, **fixed))

        plan = await explained(db, wanted)

    by = {"from_block", "key" if len(fixed) == 2 else next(iter(fixed))}
    assert {name for name in ("from_block", "key", "asset", "owner") if f"ix_holding_history_{name}" in plan} >= by
    assert not re.search(r"scan (on )?holding", plan)


class Explained(sa.Executable, sa.ClauseElement):
    """How the database answers a statement."""

    inherit_cache = False

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement


@compiles(Explained)
def _explain(element: Explained, compiler: SQLCompiler, **options: Any) -> str:
    how = "EXPLAIN QUERY PLAN" if compiler.dialect.name == "sqlite" else "EXPLAIN"
    return f"{how} {compiler.process(element.statement, **options)}"


async def explained(db: ReadDb, statement: sa.Select[Any]) -> str:
    if db.dialect.name == "postgresql":  # which reads small tables whole, if it may
        for way in ("seqscan", "bitmapscan"):
            await db.execute(sa.text(f"SET LOCAL enable_{way} = off"))
    return "\n".join(str(row[-1]) for row in await db.execute(Explained(statement))).lower()


async def test_changes_are_what_differs_between_two_blocks(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        for after in range(0, LAST, 9):
            for until in range(after, LAST + 1, 11):
                before, now = await state_then(db, after), await state_then(db, until)

                found = [change async for change in history.changes(db, after, until)]

                for table in STATE:
                    columns = len(shown(table))
                    was, are = ({row[:columns] for row in then[table.name]} for then in (before, now))
                    olds = {tuple(old.values()) for name, old, _ in found if name == table.name and old is not None}
                    news = {tuple(new.values()) for name, _, new in found if name == table.name and new is not None}
                    assert olds == was - are
                    assert news == are - was


async def test_every_event_can_be_undone_from_every_later_block(engine: AsyncEngine) -> None:
    after = []  # the rows after block 0, 1, 2, ...
    async with write(engine) as db:
        after.append(await dump(db))
        for number, event in enumerate(TOLD, start=1):
            await apply(db, stamp(number), event)
            after.append(await dump(db))

    async with write(engine) as db:
        for ancestor in range(LAST - 1, -1, -3):
            await history.undo(db, ancestor)
            assert await dump(db) == after[ancestor]
        await history.undo(db, 0)
        await play(db)
        await history.undo(db, 0)
        assert await dump(db) == after[0]


async def test_undoing_nothing_changes_nothing(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await dump(db)

        await history.undo(db, LAST)

        assert await dump(db) == before
