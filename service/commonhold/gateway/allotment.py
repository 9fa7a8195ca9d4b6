"""The GPUs go to one lease at a time, in the order of asking: so that allotted time is exclusive time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from commonhold.gateway.refusals import GpusBusy
from commonhold.units import Hash32

MAX_WAITING = 1_000


class Allotment:
    """Requests of the lease that has the GPUs run together; those of others wait until none of its is left. While
    others wait, it gets no new ones: nobody keeps the GPUs by always having one more request."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._lease: Hash32 | None = None
        self._in_flight = 0
        self._waiting: deque[tuple[Hash32, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def held(self, lease: Hash32) -> AsyncIterator[None]:
        """Inside, `lease` has the GPUs. Raises GpusBusy after `wait_s`, or when too many wait."""
        await self._enter(lease)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, lease: Hash32) -> None:
        if not self._waiting and self._lease in (None, lease):
            self._lease = lease
            self._in_flight += 1
            return
        if len(self._waiting) >= MAX_WAITING:
            raise GpusBusy(f"{MAX_WAITING} requests are waiting for the GPUs")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (lease, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as e:
            if turn.done() and not turn.cancelled():  # the turn came together with the end of the wait
                self._leave()
            else:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                self._next()  # who waited behind this entry may fit now
            if isinstance(e, TimeoutError):
                raise GpusBusy(f"another lease kept the GPUs for more than {self._wait_s} s") from e
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        self._next()

    def _next(self) -> None:
        if self._in_flight == 0:
            self._lease = None
        while self._waiting and self._lease in (None, self._waiting[0][0]):
            lease, turn = self._waiting.popleft()
            if turn.cancelled():  # gave up, and has not run since
                continue
            self._lease = lease
            self._in_flight += 1
            turn.set_result(None)
