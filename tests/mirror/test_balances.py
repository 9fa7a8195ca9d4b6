"""Transfers counted as columns come to what a plain dictionary comes to, and no memory of them outlives its block."""

import asyncio
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain import events
from commonhold.chain.bulk import NO_TRANSFERS, TRANSFER, Transfers, sorted_out
from commonhold.chain.events import ChainEvent, Transfer
from commonhold.chain.stamp import BlockStamp
from commonhold.chain.verify import PackedLog
from commonhold.db import Db, make_engine, metadata, read, write
from commonhold.mirror import balances, digest, tables
from commonhold.mirror.apply import Applying, Happened, apply, apply_all
from commonhold.mirror.balances import Known
from commonhold.mirror.behind import Behind
from commonhold.mirror.digest import dump, recomputed
from commonhold.mirror.history import as_of
from commonhold.mirror.moves import Moves
from commonhold.mirror.step import MirrorBroken
from commonhold.mirror.tables import HISTORY, credit, holding
from commonhold.units import Address, AssetId
from tests.conftest import Databases
from tests.mirror.history import HISTORY as TOLD
from tests.mirror.history import NODE, PROVIDER, stamp

NOBODY = Address(bytes(20))
PEOPLE = [Address(bytes([place + 1]) * 20) for place in range(4)]
FIRST = 100  # block
# The events that make the asset, before anybody has units of it.
MADE = TOLD[: 1 + next(place for place, event in enumerate(TOLD) if isinstance(event, events.Registered))]

Told = list[tuple[BlockStamp, ChainEvent]]
Version = tuple[int, Address, int, int]  # block, owner, units, block of the version before; -1: there was no row

moves = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from([*PEOPLE, NOBODY]), st.sampled_from([*PEOPLE, NOBODY]), st.integers(0, 9)
    ),
    max_size=30,
)


def transfer(sender: Address, receiver: Address, amount: int) -> Transfer:
    return Transfer("Ledger", PROVIDER, sender, receiver, NODE, amount)


def played(drawn: list[tuple[int, Address, Address, int]]) -> tuple[Told, dict[Address, int], list[Version]]:
    """What of it can be paid, from block FIRST on; who holds how much then; and the versions that it leaves."""
    held: dict[Address, int] = defaultdict(int)
    told, number, before, versions = Told(), FIRST, dict[Address, int](), list[Version]()
    newest: dict[Address, int] = {}

    def leave() -> None:
        for owner, was in before.items():
            if held[owner] != was:
                versions.append((number, owner, held[owner], newest[owner] if was else -1))
                newest[owner] = number
        before.clear()

    for later, sender, receiver, amount in [(0, NOBODY, PEOPLE[0], 20), *drawn]:
        if later:
            leave()
            number += later
        if amount and sender != NOBODY and held[sender] < amount:
            continue
        told.append((stamp(number), transfer(sender, receiver, amount)))
        for owner, change in ((sender, -amount), (receiver, amount)):
            if owner != NOBODY and amount:
                before.setdefault(owner, held[owner])
                held[owner] += change
    leave()
    return told, {owner: units for owner, units in held.items() if units}, sorted(versions)


@settings(max_examples=30, deadline=None)
@given(drawn=moves, size=st.integers(1, 8), taken=st.integers(1, 4))
def test_balances_and_versions_are_those_of_a_dictionary(drawn: Any, size: int, taken: int) -> None:
    told, held, versions = played(drawn)

    assert asyncio.run(applied(told, size, taken)) == (held, versions)


async def applied(told: Told, size: int, taken: int) -> tuple[dict[Address, int], list[Version]]:
    """What an empty database says after these events, `size` blocks a transaction, `taken` of them together: who holds
    how much, and when."""
    with TemporaryDirectory() as folder:
        engine = make_engine(f"sqlite:///{Path(folder) / 'mirror.db'}")
        found = await applied_in(engine, told, size, taken)
        await engine.dispose()
    return found


async def applied_in(
    engine: AsyncEngine, told: Told, size: int, taken: int
) -> tuple[dict[Address, int], list[Version]]:
    known, at = Known(), b""
    async with write(engine) as db:
        await db.run_sync(metadata.create_all)
        await apply_all(db, Happened.of([(stamp(number), event) for number, event in enumerate(MADE, start=1)]))
        numbers = sorted({block.number for block, _ in told})
        for start in range(0, len(numbers), size):
            some = [one for one in told if one[0].number in numbers[start : start + size]]
            known.begin(at)
            await apply_parts(db, some, taken, known)
            at = some[-1][0].hash
            known.keep(at)
        assert await digest.digest(db) == await recomputed(db)
        assert {tuple(row) for row in await db.execute(sa.select(holding))} == {
            tuple(row) for row in await db.execute(sa.select(as_of(holding, 10**6)))
        }
        h = HISTORY["holding"].c
        found = {row.owner: row.units for row in await db.execute(sa.select(holding))}
        kept = await db.execute(sa.select(h.from_block, h.owner, h.units, h.previous).where(h.from_block >= FIRST))
        versions = sorted((row.from_block, row.owner, row.units or 0, row.previous) for row in kept)
    return found, versions


async def apply_parts(db: Db, told: Told, size: int, known: Known, *, more: bool = False) -> None:
    """These events in one transaction, `size` blocks at a time."""
    numbers = sorted({block.number for block, _ in told})
    async with Behind[Db]() as behind:
        applying = Applying(known, behind.open(db), db.dialect)
        for start in range(0, len(numbers), size):
            await applying.take(Happened.of([o for o in told if o[0].number in numbers[start : start + size]]))
        await applying.finish(more=more)


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_one_transaction_of_many_parts_is_as_one_of_each_event(
    databases: Databases, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an asset is retired on the way, and its units move before and after."""
    monkeypatch.setattr(balances, "_AT_ONCE", 2)  # rows of a statement
    engine, other = await databases(), await databases()
    # Units of the asset that is retired move in the blocks before and after.
    at = next(place for place, event in enumerate(TOLD) if isinstance(event, events.Retired))
    of = TOLD[at]
    assert isinstance(of, events.Retired)
    some = [Transfer("Ledger", PROVIDER, NOBODY, person, of.asset, 5) for person in PEOPLE]
    there = [Transfer("Ledger", PROVIDER, PEOPLE[0], PEOPLE[3], of.asset, amount) for amount in (5, 0)]
    back = [Transfer("Ledger", PROVIDER, PEOPLE[3], PEOPLE[0], of.asset, 3)]
    told: Told = [
        (stamp(number), event)
        for number, event in enumerate([*TOLD[:at], *some, *there, of, *back, *TOLD[at + 1 :], *back], start=1)
    ]
    async with write(engine) as db:
        await apply_parts(db, told, size, Known())
    for block, event in told:
        async with write(other) as db:
            await apply(db, block, event)

    async with read(engine) as db, read(other) as alone:
        assert await dump(db) == await dump(alone)
        assert await digest.digest(db) == await recomputed(db) == await digest.digest(alone)
        assert await recomputed(db, at=len(told) // 2) == await recomputed(alone, at=len(told) // 2)


@pytest.mark.parametrize("kind", [events.Registered, events.Opened])
async def test_one_transfer_alone_after_what_it_refers_to_in_one_transaction(
    databases: Databases, kind: type[ChainEvent]
) -> None:
    """What was made before is not in the database yet, when one transfer comes by itself."""
    engine, other = await databases(), await databases()
    made = next(place for place, event in enumerate(TOLD) if isinstance(event, kind))
    first = next(place for place, event in enumerate(TOLD) if place > made and isinstance(event, Transfer))
    told: Told = [(stamp(number), event) for number, event in enumerate(TOLD[: first + 2], start=1)]
    async with write(engine) as db, Behind[Db]() as behind:
        applying = Applying(Known(), behind.open(db), db.dialect)
        for part in (told[: first + 1], *([one] for one in told[first + 1 :])):
            await applying.take(Happened.of(part))
        alone = Transfer("Ledger", PROVIDER, PROVIDER, PEOPLE[0], NODE, 0)
        await applying.take(Happened.of([(stamp(len(told) + 1), alone)]))
        await applying.finish()
    async with write(other) as db:
        await apply_all(db, Happened.of(told))

    async with read(engine) as db, read(other) as alike:
        assert [line for line in await dump(db) if not line.startswith("event ")] == await dump(alike)
        assert await digest.digest(db) == await recomputed(db)


async def test_the_sum_that_was_left_is_taken_from_memory_or_from_the_rows(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "_MUCH", 0)
    known = Known()
    parts = [[(stamp(number), event)] for number, event in enumerate(TOLD, start=1)]
    for forgets in (True, False):  # a retired asset, too: its rows are in no memory
        async with write(engine) as db:
            await rebuilt(db, parts, known, forgets=forgets)
            assert await digest.digest(db) == await recomputed(db)


async def rebuilt(db: Db, parts: list[Told], known: Known, *, forgets: bool) -> None:
    """All of it from nothing, each part as a range of a backfill. `forgets`: nothing is kept from one to the next."""
    for table in (tables.digest, *HISTORY.values(), *reversed(tables.STATE)):
        await db.execute(table.delete())
    known.begin(b"")
    for place, part in enumerate(parts, start=1):
        await apply_parts(db, part, 1, known, more=place < len(parts))
        known.keep(part[-1][0].hash)
        known.begin(b"" if forgets else part[-1][0].hash)


@pytest.mark.parametrize("value", [1, 400, 2**63 - 1])
@pytest.mark.parametrize("counted", [True, False])
def test_what_is_hashed_of_a_balance_is_its_row_as_json(value: int, counted: bool) -> None:
    asset, owner = AssetId(2**191 + value), PEOPLE[0]

    of_holding, of_credit = balances.of_row(holding), balances.of_row(credit)

    assert of_holding is not None
    assert of_holding(asset, owner, value, counted) == digest.element(
        "holding", {"asset": asset, "owner": owner, "units": value, "counted": counted}
    )
    assert of_credit is not None
    assert of_credit(asset, owner, value) == digest.element(
        "credit", {"credit_id": asset, "holder": owner, "seconds": value}
    )
    assert balances.of_row(HISTORY["holding"]) is None


def test_events_are_the_same_after_they_were_columns() -> None:
    told = [
        (stamp(7), 3, transfer(NOBODY, PROVIDER, 2**62)),
        (stamp(9), 0, Transfer("Access", PEOPLE[0], PEOPLE[1], NOBODY, 2**255 - 1, 0)),
    ]

    columns = Moves.of_events(told)

    assert [columns.event(place) for place in range(len(columns))] == [event for _, _, event in told]
    assert [(contract, len(some)) for contract, some in columns.by_contract()] == [("Ledger", 1), ("Access", 1)]
    assert len(Moves.of_events([])) == 0


def test_logs_are_sorted_out_and_come_back() -> None:
    zeros, word = bytes(12), bytes(range(32))
    topics = TRANSFER + zeros + PEOPLE[0] + zeros + PEOPLE[1] + word
    plain: PackedLog = (70_000, 300, b"\1" * 32, b"\2" * 32, b"\3" * 20, topics, zeros + PEOPLE[2] + word)
    strange: list[PackedLog] = [
        (*plain[:5], TRANSFER + b"\1" + topics[33:], plain[6]),  # an address of more than 20 bytes
        (*plain[:6], plain[6] + b"\0"),
        (*plain[:5], word + topics[32:], plain[6]),
    ]

    others, transfers = sorted_out([plain, *strange, plain])

    assert others == strange
    assert transfers.logs == [plain, plain]
    assert transfers.part(1, 2).logs == [plain]
    assert sorted_out(strange)[1] == NO_TRANSFERS == Transfers(*[b""] * 7)


async def test_a_move_of_more_than_there_is_names_the_event(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await apply_all(db, Happened.of([(stamp(number), event) for number, event in enumerate(TOLD, start=1)]))
    before = await dumped(engine)
    for bad in (transfer(PEOPLE[3], PROVIDER, 5), transfer(NOBODY, PROVIDER, 2**63)):
        with pytest.raises(MirrorBroken, match=rf"block 91 .*amount={bad.amount}"):
            async with write(engine) as db:
                await apply_all(db, Happened.of([(stamp(90), transfer(PROVIDER, PROVIDER, 0)), (stamp(91), bad)]))

    assert await dumped(engine) == before


async def dumped(engine: AsyncEngine) -> list[str]:
    async with read(engine) as db:
        return await dump(db)


async def test_what_another_wrote_in_between_is_read_again(engine: AsyncEngine) -> None:
    known = Known()
    async with write(engine) as db:
        told = [(stamp(number), event) for number, event in enumerate(MADE, start=1)]
        await apply_all(db, Happened.of([*told, (stamp(50), transfer(NOBODY, PEOPLE[0], 20))]), known=known)
        known.keep(stamp(50).hash)
    async with write(engine) as db:  # another follower
        await apply_all(db, Happened.of([(stamp(51), transfer(PEOPLE[0], PEOPLE[1], 15))]))

    known.begin(stamp(51).hash)
    async with write(engine) as db:
        await apply_all(db, Happened.of([(stamp(52), transfer(PEOPLE[1], PEOPLE[2], 5))]), known=known)
    known.keep(stamp(52).hash)
    known.begin(stamp(52).hash)
    with pytest.raises(MirrorBroken, match=r"expected at least 16, got 10"):
        async with write(engine) as db:
            await apply_all(db, Happened.of([(stamp(53), transfer(PEOPLE[1], PEOPLE[0], 16))]), known=known)
    # It failed after the memory was changed: begin() forgets it, since nobody kept it.
    known.begin(stamp(52).hash)
    async with write(engine) as db:
        await apply_all(db, Happened.of([(stamp(53), transfer(PEOPLE[1], PEOPLE[0], 10))]), known=known)

    async with read(engine) as db:
        found = {
            row.owner: row.units for row in await db.execute(sa.select(holding).where(holding.c.owner.in_(PEOPLE)))
        }
        assert found == {PEOPLE[0]: 15, PEOPLE[2]: 5}
        assert await digest.digest(db) == await recomputed(db)


def test_nothing_is_known_when_blocks_are_undone_after_a_transaction_that_failed() -> None:
    known = Known()
    known.begin(b"block")
    known.of("Ledger").add([bytes(52)])
    known.active.add(bytes(32))

    known.begin(b"")  # the transaction before was never kept

    assert (known.of("Ledger").keys, known.active) == ([], set())
