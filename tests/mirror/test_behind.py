"""What is written behind is written in order, once, and told of when it fails."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from commonhold.mirror.behind import Behind

Write = Callable[[], Awaitable[None]]


def writes(done: list[int], *, failing: int = -1) -> Callable[[int], Write]:
    """Makes writes that note their number; one of them fails instead."""

    def made(number: int) -> Write:
        async def write() -> None:
            await asyncio.sleep(0)
            if number == failing:
                raise ValueError(number)
            done.append(number)

        return write

    return made


async def test_all_are_done_in_their_order_before_it_settles() -> None:
    done: list[int] = []
    write = writes(done)

    async with Behind() as behind:
        for number in range(10):
            await behind.add(write(number))
        assert done != list(range(10))  # whoever asks does not wait for the last ones
        await behind.settle()
        assert done == list(range(10))
        await behind.add(write(10))

    assert done == list(range(11))


async def test_nothing_is_done_after_one_that_fails() -> None:
    done: list[int] = []
    write = writes(done, failing=3)

    async def all_of_them() -> None:
        async with Behind() as behind:
            for number in range(8):
                await behind.add(write(number))

    with pytest.raises(ValueError, match="3"):
        await all_of_them()

    assert done == [0, 1, 2]


async def test_what_is_left_when_it_is_left_with_an_error_is_not_done() -> None:
    done: list[int] = []
    begun, never = asyncio.Event(), asyncio.Event()

    async def waiting() -> None:
        begun.set()
        await never.wait()

    async def left() -> None:
        async with Behind() as behind:
            await behind.add(waiting)
            await behind.add(writes(done)(1))
            await begun.wait()
            raise KeyError

    with pytest.raises(KeyError):
        await left()

    never.set()
    await asyncio.sleep(0.01)
    assert done == []
