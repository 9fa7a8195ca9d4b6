"""Writes of one transaction, done while whoever asked for them goes on with something else. No database of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

_PENDING: Final = 3  # writes, each with what it writes in memory


class Behind:
    """Does one write after the other, in the order in which they were asked for: a connection does one thing at a time,
    so before it is used for anything else, `settle`. A context manager, left when all is done; on an error, at once.
    """

    def __init__(self) -> None:
        self._last: asyncio.Task[None] | None = None
        self._room = asyncio.Semaphore(_PENDING)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is None:
            await self.settle()
        elif self._last is not None:
            self._last.cancel()
            await asyncio.gather(self._last, return_exceptions=True)

    async def add(self, write: Callable[[], Awaitable[None]]) -> None:
        """It is done after all that were added before. Waits while too many are not done yet; what fails is told by the
        next `settle`, and nothing after it is done."""
        await self._room.acquire()
        self._last = asyncio.create_task(self._after(self._last, write))
        await asyncio.sleep(0)  # it begins

    async def settle(self) -> None:
        """All of them are done. Raises what one of them raised."""
        last, self._last = self._last, None
        if last is not None:
            await last

    async def _after(self, before: asyncio.Task[None] | None, write: Callable[[], Awaitable[None]]) -> None:
        try:
            if before is not None:
                await before
            await write()
        finally:
            self._room.release()
