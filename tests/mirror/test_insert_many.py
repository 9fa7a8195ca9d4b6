import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import COPY_FROM, insert_many, read, write
from commonhold.mirror.tables import event


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
