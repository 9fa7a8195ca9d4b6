import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import DatabaseUnavailable, read, write
from commonhold.driver import do_all
from commonhold.many import (
    COPY_FROM,
    SQLITE_ROWS,
    UPDATE_FROM,
    Column,
    RowsMissing,
    delete_many,
    insert_many,
    inserting,
    select_many,
    updating,
)
from commonhold.mirror.tables import HISTORY, asset, asset_class, event, holding


@pytest.mark.parametrize("count", [0, 1, COPY_FROM, COPY_FROM + 1])
async def test_rows_stand_as_given_and_none_twice(engine: AsyncEngine, count: int) -> None:
    rows = [(7, index, bytes(32), b"\x01" * 32, "Ledger", "Transfer", b"\x00\xff", b"") for index in range(count)]

    async with write(engine) as db:
        await insert_many(db, event, rows)

    async with read(engine) as reader:
        assert [tuple(row) for row in await reader.execute(sa.select(event).order_by(event.c.log_index))] == rows
    if rows:
        with pytest.raises(sa.exc.IntegrityError):
            async with write(engine) as db:
                await insert_many(db, event, [(8, *rows[0][1:]), *rows])
        async with read(engine) as reader:
            assert (await reader.execute(sa.select(sa.func.count()).select_from(event))).scalar_one() == count


# Around the numbers of rows from which another way is taken.
@pytest.mark.parametrize("count", [1, COPY_FROM - 1, COPY_FROM, UPDATE_FROM - 1, UPDATE_FROM, SQLITE_ROWS + 1])
async def test_columns_stand_as_rows_do_and_are_replaced_by_their_keys(engine: AsyncEngine, count: int) -> None:
    ids = np.frombuffer(b"".join(place.to_bytes(32) for place in range(count)), "V32")
    whose = np.frombuffer(bytes(range(20)) * count, "V20")
    versions = HISTORY["holding"]
    async with write(engine) as db:
        await insert_many(db, asset_class, [(bytes(32), "data/text", 0, "token", 1, 1, 0, 1, 0)])
        rest = (bytes(20), 1, 0, "policy", bytes(32), bytes(32), None, 0, 0, False, *[bytes(32)] * 4, "")
        await insert_many(db, asset, [(place.to_bytes(32), bytes(32), *rest) for place in range(count)])
        await do_all(db, inserting(db.dialect, holding, [ids, whose, np.arange(count) + 5, True, 9]))
        for added in (7, 2**62):  # twice in one transaction
            await do_all(db, updating(db.dialect, holding, [ids, whose, np.arange(count) + added, True, 9]))
        columns: list[Column] = [ids, whose, None, None, np.arange(count), True, 0, False, -1 - np.arange(count)]
        await do_all(db, inserting(db.dialect, versions, columns))

        found = (await db.execute(sa.select(holding).order_by(holding.c.asset))).all()
        assert [tuple(row) for row in found] == [
            (place, bytes(range(20)), place + 2**62, True, 9) for place in range(count)
        ]
        kept = (await db.execute(sa.select(versions).order_by(versions.c.from_block))).all()
        assert [tuple(row)[2:] for row in kept] == [
            (None, None, place, True, 0, False, -1 - place) for place in range(count)
        ]
        keys = [(place.to_bytes(32), bytes(range(20))) for place in range(0, count, 2)]
        assert {row[0] for row in await select_many(db, holding, [*keys, (b"\xff" * 32, bytes(20))])} == {
            key[0] for key in keys
        }

        await delete_many(db, holding, keys)

        left = (await db.execute(sa.select(holding.c.asset).order_by(holding.c.asset))).scalars().all()
        assert left == list(range(1, count, 2))


async def test_columns_that_break_a_rule_are_refused(engine: AsyncEngine) -> None:
    many = UPDATE_FROM
    ids, whose = np.zeros(many, "V32"), np.frombuffer(b"".join(place.to_bytes(20) for place in range(many)), "V20")
    for units in (np.zeros(many, np.int64), np.ones(many, np.int64)):  # below the least; of an asset that is not there
        with pytest.raises(sa.exc.IntegrityError):
            async with write(engine) as db:
                await do_all(db, inserting(db.dialect, holding, [ids, whose, units, True, 0]))


@pytest.mark.parametrize("database_urls", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_rows_that_are_missing_are_told(engine: AsyncEngine) -> None:
    ids, whose = np.zeros(UPDATE_FROM, "V32"), np.zeros(UPDATE_FROM, "V20")
    change = updating(engine.dialect, holding, [ids, whose, np.ones(UPDATE_FROM, np.int64), True, 0])

    with pytest.raises(RowsMissing, match="holding: expected 2000 rows to change, got 0"):
        async with write(engine) as db:
            await do_all(db, change)


@pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)
async def test_a_connection_that_is_closed_is_waited_for(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await (await db.get_raw_connection()).driver_connection.close()  # type: ignore[union-attr]
        with pytest.raises(DatabaseUnavailable, match=r"(?i)no active connection|connection closed"):
            await insert_many(db, asset_class, [(bytes(32), "data/text", 0, "token", 1, 1, 0, 1, 0)])
