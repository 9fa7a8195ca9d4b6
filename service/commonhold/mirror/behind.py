"""Writes of one transaction, done while whoever asked for them goes on with something else. No database of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")  # the connection

_PENDING: Final = 3  # writes, each with what it writes in memory


class Behind(Generic[T]):
    """Does one write after the other, in the order in which they were asked for: a connection does one thing at a time,
    so it is had from `settle` alone, which waits for them. Writes are taken, and wait, before it is there.

    A context manager, left when all is done; on an error, at once.
    """

    def __init__(self) -> None:
        self._connection: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._last: asyncio.Task[None] | None = None
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

    async def add(self, write: Callable[[T], Awaitable[None]]) -> None:
        """It is done after all that were added before. Waits while too many are not done yet; what fails is told by the
        next `settle`, and nothing after it is done."""
        await self._room.acquire()
        self._last = asyncio.create_task(self._after(self._last, write))
        await asyncio.sleep(0)  # it begins

    async def settle(self) -> T:
        """All of them are done: the connection, free until the next is added. Raises what one of them raised."""
        if self._last is not None:
            await self._last
        return await self._there()

    async def close(self) -> None:
        """What is not done is not done any more."""
        if self._last is not None:
            self._last.cancel()
            await asyncio.gather(self._last, return_exceptions=True)

    async def _after(self, before: asyncio.Task[None] | None, write: Callable[[T], Awaitable[None]]) -> None:
        try:
            if before is not None:
                await before
            await write(await self._there())
        finally:
            self._room.release()

    async def _there(self) -> T:
        return await asyncio.shield(self._connection)  # which others wait for, too
