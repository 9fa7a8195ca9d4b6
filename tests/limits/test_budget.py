"""A lease's budget on both databases, against a plain model, and with many hands at once."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import make_engine, metadata, read, write
from commonhold.limits import budget
from commonhold.limits.tables import budget as table
from commonhold.units import Hash32

LEASE, OTHER = Hash32(b"\x01" * 32), Hash32(b"\x02" * 32)


@dataclass
class Model:
    """What a budget is, in the fewest words."""

    limit_ms: int | None = None
    receipted_ms: int = 0

    def open(self, limit_ms: int) -> None:
        self.limit_ms = limit_ms  # again: the lease has changed
        self.receipted_ms = min(self.receipted_ms, limit_ms)

    def reserve(self, quantum_ms: int) -> int | None:
        if self.limit_ms is None or self.receipted_ms >= self.limit_ms:
            return None
        return min(self.limit_ms, self.receipted_ms + quantum_ms)

    def settle(self, receipted_ms: int) -> bool:
        if self.limit_ms is None or not self.receipted_ms < receipted_ms <= self.limit_ms:
            return False
        self.receipted_ms = receipted_ms
        return True


amounts = st.integers(0, 1_000) | st.integers(0, 2**53)
steps = st.lists(
    st.tuples(st.sampled_from(["open", "reserve", "settle"]), amounts, st.sampled_from([LEASE, OTHER])), max_size=30
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_any_history_is_as_the_model_says(history: list[tuple[str, int, Hash32]]) -> None:
    asyncio.run(_replay(history))


async def _replay(history: list[tuple[str, int, Hash32]]) -> None:
    engine = make_engine("sqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(lambda c: metadata.create_all(c, tables=[table]))
    await _compare(engine, history)
    await engine.dispose()


async def test_a_long_history_is_as_the_model_says_on_both(engine: AsyncEngine) -> None:
    steps = [(verb, amount, LEASE) for amount in range(0, 1_200, 97) for verb in ("open", "reserve", "settle")]

    await _compare(engine, [("reserve", 5, LEASE), *steps, ("open", 9, OTHER), ("settle", 10, OTHER)])


async def _compare(engine: AsyncEngine, history: list[tuple[str, int, Hash32]]) -> None:
    models = {LEASE: Model(), OTHER: Model()}
    for verb, amount, lease in history:
        async with write(engine) as db:
            match verb:
                case "open":
                    await budget.open_budget(db, lease, amount)
                    models[lease].open(amount)
                case "reserve":
                    assert await budget.reserve(db, lease, amount) == models[lease].reserve(amount)
                case _:
                    assert await budget.settle(db, lease, amount) == models[lease].settle(amount)
    async with read(engine) as db:
        for lease, model in models.items():
            left = None if model.limit_ms is None else model.limit_ms - model.receipted_ms
            assert await budget.left_ms(db, lease) == left


async def test_receipts_at_once_count_once(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await budget.open_budget(db, LEASE, 1_000)

    async def settle() -> bool:
        async with write(engine) as db:
            return await budget.settle(db, LEASE, 600)

    done = await asyncio.gather(*(settle() for _ in range(8)))

    assert sorted(done) == [False] * 7 + [True]
    async with write(engine) as db:
        assert await budget.reserve(db, LEASE, 300) == 900


async def test_the_database_itself_refuses_more_than_the_lease(engine: AsyncEngine) -> None:
    row = {"lease": LEASE, "limit_ms": 10, "granted_ms": 0, "receipted_ms": 0}
    for wrong in ({"granted_ms": 11}, {"receipted_ms": 11}, {"receipted_ms": -1}, {"limit_ms": -1}):
        with pytest.raises(IntegrityError):
            async with write(engine) as db:
                await db.execute(table.insert().values(row | wrong))
