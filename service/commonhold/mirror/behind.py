"""Writes of one transaction, done while whoever asked for them goes on with something else. No database of its own."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")  # the connection
Write = Callable[[T], Awaitable[object]]

_PENDING: Final = 4  # what is asked for, with what it writes in memory: all that a block asks for


class Behind(Generic[T]):
    """Does one write after the other, in the order in which they were asked for: a connection does one thing at a time,
    so it is had from `settle` alone, which waits for them. Writes are taken, and wait, before it is there.

    A context manager, left when all is done; on an error, at once.
    """

    def __init__(self, together: Callable[[Iterator[Write[T]]], Iterable[Write[T]]] = iter) -> None:
        """together: may make fewer of the writes that are asked for, which do the same in the same order."""
        self._connection: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._together = together
        self._asked: deque[Sequence[Write[T]]] = deque()
        self._doing: asyncio.Task[None] | None = None
        self._room = asyncio.Semaphore(_PENDING)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is None:
            await self.settle()
        else:
            await self.close()

    def open(self, connection: T) -> Self:
        """The transaction has begun, on this connection."""
        self._connection.set_result(connection)
        return self

    async def add(self, *writes: Write[T]) -> None:
        """They are done after all that were added before. Waits while too much is not done yet; what fails is told by
        the next `settle`, and nothing after it is done."""
        await self._room.acquire()
        self._asked.append(writes)
        if self._doing is None or self._doing.done():
            self._doing = asyncio.create_task(self._do(self._doing))
        await asyncio.sleep(0)  # it begins

    async def settle(self) -> T:
        """All of them are done: the connection, free until the next is added. Raises what one of them raised."""
        if self._doing is not None:
            await self._doing
        return await self._there()

    async def close(self) -> None:
        """What is not done is not done any more."""
        if self._doing is not None:
            self._doing.cancel()
            await asyncio.gather(self._doing, return_exceptions=True)

    async def _do(self, before: asyncio.Task[None] | None) -> None:
        """All that is asked for, in one task, so that the connection has the next in the turn in which it was done with
        the last. before: what failed there fails here."""
        try:
            if before is not None:
                await before
            connection = await self._there()
            while self._asked:
                for write in self._together(self._next()):
                    await write(connection)
        finally:  # what is left is not done; whoever waits for room goes on
            while self._asked:
                self._asked.popleft()
                self._room.release()

    def _next(self) -> Iterator[Write[T]]:
        """What is asked for, as long as there is some."""
        while self._asked:
            writes = self._asked.popleft()
            try:
                yield from writes
            finally:
                self._room.release()

    async def _there(self) -> T:
        return await asyncio.shield(self._connection)  # which others wait for, too


def made(writes: Iterable[Write[T]], *, at_once: bool) -> Sequence[Write[T]]:
    """These writes. `at_once`: all are made now, so that the connection need not wait for any; else one write makes
    each when it is its turn, so that no two are in memory."""
    if at_once:
        return list(writes)

    async def each(connection: T) -> None:
        for write in writes:
            await write(connection)

    return [each]
