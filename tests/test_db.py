import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import U256, DatabaseUnavailable, make_engine, read, upsert, write
from commonhold.errors import BadInput
from commonhold.mirror.tables import block, offer

BLOCK = {"number": 1, "hash": b"h" * 32, "parent": b"p" * 32, "timestamp": 5}


async def blocks(engine: AsyncEngine) -> list[dict[str, object]]:
    async with read(engine) as db:
        return [dict(row) for row in (await db.execute(sa.select(block).order_by(block.c.number))).mappings()]


async def test_write_commits_at_its_end(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(block.insert(), BLOCK)

    assert await blocks(engine) == [BLOCK]


async def test_error_inside_write_leaves_nothing(engine: AsyncEngine) -> None:
    async def write_and_fail() -> None:
        async with write(engine) as db:
            await db.execute(block.insert(), BLOCK)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()

    assert await blocks(engine) == []


async def test_refused_row_is_the_callers_affair(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(block.insert(), BLOCK)

    with pytest.raises(sa.exc.IntegrityError):
        async with write(engine) as db:
            await db.execute(block.insert(), BLOCK)


async def test_reads_in_one_transaction_see_one_state(engine: AsyncEngine) -> None:
    async with read(engine) as db:
        before = (await db.execute(sa.select(sa.func.count()).select_from(block))).scalar_one()
        async with write(engine) as other:
            await other.execute(block.insert(), BLOCK)

        after = (await db.execute(sa.select(sa.func.count()).select_from(block))).scalar_one()

    assert (before, after) == (0, 0)
    assert len(await blocks(engine)) == 1


async def test_writers_wait_for_each_other(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(block.insert(), BLOCK)

    async def add() -> None:
        async with write(engine) as db:
            await db.execute(block.update().values(timestamp=block.c.timestamp + 1))
            await asyncio.sleep(0)

    await asyncio.gather(*(add() for _ in range(5)))

    assert (await blocks(engine))[0]["timestamp"] == 10


@pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)
async def test_writer_that_waits_too_long_is_told_that_the_database_is_locked(engine: AsyncEngine) -> None:
    sa.event.listen(engine.sync_engine, "connect", lambda driver, _: driver.execute("PRAGMA busy_timeout=10"))
    async with write(engine):
        with pytest.raises(DatabaseUnavailable, match="database is locked"):
            async with write(engine):
                pass

    async with write(engine) as db:  # and may try again
        await db.execute(block.insert(), BLOCK)


async def test_writer_that_is_cancelled_while_it_waits_locks_nothing(engine: AsyncEngine) -> None:
    async def add() -> None:
        async with write(engine) as db:
            await db.execute(block.update().values(timestamp=block.c.timestamp + 1))

    async with write(engine) as db:
        await db.execute(block.insert(), BLOCK)
        waiting = [asyncio.create_task(add()) for _ in range(3)]
        await asyncio.sleep(0.1)
        for each in waiting:
            each.cancel()
        await asyncio.sleep(0.1)
    await asyncio.gather(*waiting, return_exceptions=True)

    await asyncio.wait_for(asyncio.gather(*(add() for _ in range(5))), 5)

    assert 10 <= (await blocks(engine))[0]["timestamp"] <= 13


async def test_what_was_left_open_is_undone_when_the_connection_goes_back(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(block.insert(), BLOCK)  # begins a transaction that nobody ends
    if engine.dialect.name == "sqlite":
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("BEGIN")
            await driver.execute("INSERT INTO block VALUES (1, x'00', x'00', 1)")

    assert await blocks(engine) == []


async def test_upsert_replaces_the_row_of_its_key(engine: AsyncEngine) -> None:
    other = {**BLOCK, "number": 2, "hash": b"i" * 32}
    async with write(engine) as db:
        await db.execute(block.insert(), BLOCK)

        await db.execute(upsert(db, block), [{**BLOCK, "timestamp": 6}, other])

    assert await blocks(engine) == [{**BLOCK, "timestamp": 6}, other]


async def test_numbers_of_256_bits_keep_value_and_order(engine: AsyncEngine) -> None:
    numbers = [0, 1, 255, 256, 2**64, 2**255, 2**256 - 1]
    packed = [U256().process_bind_param(number, engine.dialect) for number in numbers]

    assert packed == sorted(packed, key=lambda text: text or b"")
    async with read(engine) as db:
        for number in numbers:
            shown = sa.select(sa.literal(number, U256))
            assert (await db.execute(shown)).scalar_one() == number


@pytest.mark.parametrize("number", [-1, 2**256])
def test_number_that_does_not_fit_256_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        U256().process_bind_param(number, make_engine("sqlite://").dialect)


async def test_foreign_keys_hold(engine: AsyncEngine) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        async with write(engine) as db:
            await db.execute(offer.insert(), {"credit_id": 1, "asset": 1, "window": 1, "tranche": 0, "price_wei": 0})


def test_what_is_no_url_is_refused_without_showing_it() -> None:
    with pytest.raises(BadInput, match="expected sqlite:/// or postgresql://") as refused:
        make_engine("someone:secret at localhost")
    assert "secret" not in str(refused.value)


def test_other_database_is_refused() -> None:
    with pytest.raises(BadInput, match="expected sqlite:/// or postgresql://, got mysql") as refused:
        make_engine("mysql://someone:secret@localhost/ledger")
    assert "secret" not in str(refused.value)


async def test_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/no/such/folder.db", "postgresql://u:secret@127.0.0.1:9/ledger"):
        engine = make_engine(url)
        with pytest.raises(DatabaseUnavailable) as refused:
            async with write(engine):
                pass
        assert "secret" not in str(refused.value)
        await engine.dispose()


async def test_server_that_is_starting_is_unavailable() -> None:
    async def starting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8_192)
        fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
        writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(starting, "127.0.0.1", 0)
    engine = make_engine(f"postgresql://u:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/ledger?ssl=disable")
    with pytest.raises(DatabaseUnavailable, match="starting up") as refused:
        async with read(engine):
            pass
    assert "secret" not in str(refused.value)
    await engine.dispose()
    server.close()


@pytest.mark.parametrize("database_urls", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "53100", "55P03", "57P01"])  # rollbacks, a full disk, a restart
async def test_what_passes_is_unavailable(engine: AsyncEngine, sqlstate: str) -> None:
    raising = sa.text(f"DO $$ BEGIN RAISE EXCEPTION 'once' USING ERRCODE = '{sqlstate}'; END $$")
    with pytest.raises(DatabaseUnavailable):
        async with write(engine) as db:
            await db.execute(raising)


@pytest.mark.parametrize("database_urls", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_statement_that_is_wrong_is_no_matter_of_waiting(engine: AsyncEngine) -> None:
    with pytest.raises(sa.exc.ProgrammingError):
        async with write(engine) as db:
            await db.execute(sa.text("SELECT 1 FROM no_such_table"))


async def test_more_work_than_connections_is_unavailable(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.sync_engine.pool, "_timeout", 0.05)
    async with AsyncExitStack() as held:
        for _ in range(15):
            await held.enter_async_context(read(engine))

        with pytest.raises(DatabaseUnavailable):
            await held.enter_async_context(read(engine))


async def test_database_in_memory_keeps_what_was_written() -> None:
    engine = make_engine("sqlite://")
    async with write(engine) as db:
        await db.run_sync(block.create)
        await db.execute(block.insert(), BLOCK)

    assert await blocks(engine) == [BLOCK]
    await engine.dispose()
