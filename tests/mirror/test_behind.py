"""What is written behind is written in order, once, and told of when it fails."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from commonhold.mirror.behind import Behind, made

Done = list[int]  # what stands for a connection: what was written on it
Write = Callable[[Done], Awaitable[None]]


def writes(number: int, *, failing: int = -1) -> Write:
    """A write that notes its number; one of them fails instead."""

    async def write(done: Done) -> None:
        await asyncio.sleep(0)
        if number == failing:
            raise ValueError(number)
        done.append(number)

    return write


async def test_all_are_done_in_their_order_before_it_settles() -> None:
    done: Done = []

    async with Behind[Done]() as behind:
        behind.open(done)
        for number in range(10):
            await behind.add(writes(number))
        assert done != list(range(10))  # whoever asks does not wait for the last ones
        assert await behind.settle() is done
        assert done == list(range(10))
        await behind.add(writes(10))

    assert done == list(range(11))


async def test_nothing_is_done_before_it_is_opened_and_all_of_it_then() -> None:
    done: Done = []

    async def asked(behind: Behind[Done]) -> Done:
        for number in range(10):
            await behind.add(writes(number))
        return await behind.settle()

    async with Behind[Done]() as behind:
        asking = asyncio.create_task(asked(behind))
        await asyncio.sleep(0.01)
        assert (done, asking.done()) == ([], False)

        behind.open(done)

        assert await asking == list(range(10))


async def test_closing_one_that_was_never_opened_does_nothing() -> None:
    behind, done = Behind[Done](), Done()
    await behind.add(writes(1))
    await behind.add(writes(2))
    waiting = asyncio.create_task(behind.settle())
    await asyncio.sleep(0)

    await behind.close()

    behind.open(done)
    with pytest.raises(asyncio.CancelledError):  # nobody waits for what will not be done
        await waiting
    assert done == []


@pytest.mark.parametrize("turns", range(3))
async def test_whoever_waits_for_room_goes_on_when_it_is_closed_and_nothing_is_done(turns: int) -> None:
    behind, done = Behind[Done](), Done()

    async def asked() -> None:
        for number in range(10):
            await behind.add(writes(number))

    asking = asyncio.create_task(asked())
    for _ in range(turns):  # before it begins, and later
        await asyncio.sleep(0)
    for _ in range(20):
        await behind.close()
        await asyncio.sleep(0)

    assert asking.done()
    behind.open(done)
    await asyncio.sleep(0.01)
    assert done == []


async def test_nothing_is_done_after_one_that_fails() -> None:
    done: Done = []

    async def all_of_them() -> None:
        async with Behind[Done]() as behind:
            behind.open(done)
            for number in range(8):
                await behind.add(writes(number, failing=3))

    with pytest.raises(ValueError, match="3"):
        await asyncio.wait_for(all_of_them(), 10)

    assert done == [0, 1, 2]


async def test_what_is_left_when_it_is_left_with_an_error_is_not_done() -> None:
    done: Done = []
    begun, never = asyncio.Event(), asyncio.Event()

    async def waiting(_: Done) -> None:
        begun.set()
        await never.wait()

    async def left() -> None:
        async with Behind[Done]() as behind:
            behind.open(done)
            await behind.add(waiting)
            await behind.add(writes(1))
            await begun.wait()
            raise KeyError

    with pytest.raises(KeyError):
        await left()

    never.set()
    await asyncio.sleep(0.01)
    assert done == []


@pytest.mark.parametrize("at_once", [True, False])
async def test_some_are_made_before_any_is_done_or_each_at_its_turn(at_once: bool) -> None:
    done: Done = []
    when: list[Done] = []

    def some() -> Iterator[Write]:
        for number in range(3):
            when.append(done.copy())
            yield writes(number)

    async with Behind[Done]() as behind:
        behind.open(done)
        await behind.add(*made(some(), at_once=at_once))

    assert done == [0, 1, 2]
    assert when == ([[], [], []] if at_once else [[], [0], [0, 1]])


async def test_what_is_asked_for_when_it_begins_can_be_done_together() -> None:
    done: Done = []
    begun = asyncio.Event()

    def together(some: Iterator[Write]) -> Iterator[Write]:
        first = list(some)
        begun.set()

        async def all_of_them(connection: Done) -> None:
            for write in first:
                await write(connection)
            connection.append(-1)

        yield all_of_them

    async with Behind[Done](together) as behind:
        for number in range(3):
            await behind.add(writes(number), writes(number + 10))
        behind.open(done)
        await begun.wait()
        await behind.add(writes(3))  # while the others are done

    assert done == [0, 10, 1, 11, 2, 12, -1, 3, -1]
