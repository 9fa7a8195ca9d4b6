import hashlib
import json

import pytest
import sqlalchemy as sa
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import read, write
from commonhold.mirror import digest as digests
from commonhold.mirror import history
from commonhold.mirror.apply import Happened, apply_all
from commonhold.mirror.digest import digest, dump, of_rows, recomputed
from commonhold.mirror.lthash import SIZE, LtHash
from commonhold.mirror.tables import HISTORY, STATE, holding, member, shown
from commonhold.mirror.tables import digest as sums
from commonhold.units import hex_text
from tests.mirror.history import AFFILIATE, PROVIDER, play, stamp
from tests.mirror.history import HISTORY as TOLD

# Both databases, and every later version that means the same by its rows, come to this.
HISTORY_DIGEST = "0x059a7ff302810e7caf8e3b8bfaf38da76119902db0aacba5c09ebb749c033954"
LAST = len(TOLD)

elements = st.lists(st.binary(max_size=40), unique=True, max_size=8)


def plain(found: list[bytes]) -> bytes:
    """The sum of LtHash, one number after the other."""
    total = [0] * 1024
    for each in found:
        hashed = blake3(each).digest(length=2048)
        for place in range(1024):
            total[place] += int.from_bytes(hashed[2 * place : 2 * place + 2], "little")
    return b"".join((number % 65536).to_bytes(2, "little") for number in total)


@settings(max_examples=25, deadline=None)
@given(elements)
def test_sum_is_that_of_a_plain_implementation(found: list[bytes]) -> None:
    assert LtHash().add(found).state() == plain(found)
    assert LtHash().add(found).digest() == hashlib.sha256(plain(found)).digest()


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(30)), st.integers(0, 30))
def test_sum_depends_on_the_set_alone(order: list[int], left: int) -> None:
    shuffled = [str(number).encode() for number in order]

    there = LtHash().add(shuffled).take(shuffled[left:])

    assert there.state() == LtHash().add(sorted(shuffled[:left])).state()
    assert LtHash(there.state()).add(shuffled[left:]).state() == LtHash().add(shuffled).state()


def test_sum_of_more_than_goes_at_once() -> None:
    many = [str(number).encode() for number in range(600)]

    assert LtHash().add(many).state() == plain(many)
    assert LtHash().state() == bytes(SIZE)


async def test_digest_is_the_same_on_every_database(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        assert hex_text(await digest(db)) == HISTORY_DIGEST
        assert hex_text(await recomputed(db)) == HISTORY_DIGEST


async def test_digest_follows_from_the_rows_as_json_by_the_documented_way(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

        found = [
            f"{table.name} {json.dumps(plain_row, sort_keys=True, separators=(',', ':'), ensure_ascii=False)}".encode()
            for table in STATE
            for row in (await db.execute(sa.select(*shown(table)))).mappings()
            for plain_row in [{n: v.hex() if isinstance(v, bytes) else v for n, v in row.items()}]
        ]

        assert hashlib.sha256(plain(found)).digest() == await digest(db)
        rows = {t.name: [dict(row) for row in (await db.execute(sa.select(*shown(t)))).mappings()] for t in STATE}
        assert of_rows(rows) == await digest(db)


async def test_digest_of_every_block_is_that_of_its_rows(engine: AsyncEngine) -> None:
    after = []
    async with write(engine) as db:
        for number, event in enumerate(TOLD, start=1):
            await apply_all(db, Happened.of([(stamp(number), event)]))
            after.append(await recomputed(db))
            assert await digest(db) == after[-1]

        assert [await digest(db, number) for number in range(1, LAST + 1)] == after
        assert [await recomputed(db, number) for number in range(1, LAST + 1, 5)] == after[::5]
        assert await digest(db, 0) == LtHash().digest()


@pytest.mark.parametrize("size", [5, LAST])
async def test_digest_of_every_block_is_the_same_however_they_came(engine: AsyncEngine, size: int) -> None:
    async with write(engine) as db:
        told = [(stamp(number), event) for number, event in enumerate(TOLD, start=1)]
        for start in range(0, LAST, size):
            await apply_all(db, Happened.of(told[start : start + size]))

        assert hex_text(await digest(db)) == HISTORY_DIGEST
        for number in range(1, LAST + 1, 4):
            assert await digest(db, number) == await recomputed(db, number)


@pytest.mark.parametrize("size", [1, 4])
async def test_rewound_digest_is_that_of_the_ancestor(engine: AsyncEngine, size: int) -> None:
    async with write(engine) as db:
        told = [(stamp(number), event) for number, event in enumerate(TOLD, start=1)]
        for start in range(0, LAST, size):
            await apply_all(db, Happened.of(told[start : start + size]))
        for ancestor in range(LAST - 1, -1, -5):
            expected = await digest(db, ancestor)

            await digests.rewind(db, ancestor)
            await history.undo(db, ancestor)

            assert await digest(db) == await recomputed(db) == expected


async def test_pruned_sums_leave_every_digest(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db, first=190)
        before = [await digest(db, number) for number in range(189, 190 + LAST, 3)]

        for final in (194, 198, 202, 206, 210, 214):
            await digests.prune(db, final - 4, final)

        kept = (await db.execute(sa.select(sums.c.block_number).order_by(sums.c.block_number))).scalars().all()
        assert kept[:3] == [199, 214, 215]
        assert [await digest(db, number) for number in range(189, 190 + LAST, 3)] == before


async def test_digest_does_not_depend_on_the_order_of_writing(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await recomputed(db)
        rows = [dict(row) for row in (await db.execute(sa.select(holding))).mappings()]
        await db.execute(holding.delete())
        assert await recomputed(db) != before

        await db.execute(holding.insert(), rows[::-1])

        assert await recomputed(db) == before


async def test_one_changed_number_shows_in_digest_and_dump(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        digest_before, dump_before = await recomputed(db), await dump(db)

        await db.execute(holding.update().where(holding.c.owner == PROVIDER).values(units=1_500_001))

        assert await recomputed(db) != digest_before
        changed = set(await dump(db)) ^ set(dump_before)
        assert sorted("1500001" in line for line in changed) == [False, True]


async def test_one_changed_group_shows_in_digest(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await recomputed(db)

        await db.execute(member.update().where(member.c.address == AFFILIATE).values(root=AFFILIATE))

        assert await recomputed(db) != before


async def test_dump_has_a_line_for_every_row(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        tables = (*STATE, *HISTORY.values())
        counts = [(await db.execute(sa.select(sa.func.count()).select_from(table))).scalar_one() for table in tables]

        assert all(counts)
        assert len(await dump(db)) == sum(counts)
