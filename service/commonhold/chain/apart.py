"""Work on large answers in a second process, so that the next ones are fetched and the last ones written meanwhile.

The work is the functions of bulk.py: bytes and numbers in, the same out, nothing kept. The process ends when its input
does, so also when whoever started it is killed; a Ctrl-C is not its affair. Where it cannot be started, or ends, the
work is done here: slower, with the same result.
"""

import asyncio
import contextlib
import logging
import marshal
import sys
from collections import deque
from struct import Struct
from typing import Any, Final

from commonhold.chain import bulk
from commonhold.errors import CommonholdError

log = logging.getLogger(__name__)

WORTH_IT: Final = 50_000  # bytes; what is smaller is done here before it would be there
_LENGTH: Final = Struct(">Q")
_BUFFER: Final = 1 << 23


class Apart:
    """The second process. Started by the first large work, ended by `close`. `process` False: there is none."""

    def __init__(self, *, process: bool = True) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._gone = not process

    @property
    def pid(self) -> int | None:
        """The process's number; None: it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self, work: str, body: bytes, *args: Any) -> Any:
        """What the function of bulk.py called `work` returns for these. Raises what it raises."""
        if len(body) >= WORTH_IT and await self._runs():
            with contextlib.suppress(ConnectionError, EOFError):
                return await self._ask(work, body, args)
            await self._leave("it ended")
        return bulk.WORK[work](body, *args)

    async def close(self) -> None:
        """The process has ended."""
        self._gone = True
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin:
            process.stdin.close()  # the end of its input ends it
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _runs(self) -> bool:
        """It runs; False: it cannot."""
        async with self._starting:
            if self._process is None and not self._gone:
                try:
                    self._process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "commonhold.chain.apart"),
                        stdin=asyncio.subprocess.PIPE,
                        stdout=asyncio.subprocess.PIPE,
                        limit=_BUFFER,
                        start_new_session=True,  # a Ctrl-C in the terminal is for the process that started it
                    )
                except OSError as error:
                    self._gone = True
                    log.warning("no second process, verifying in this one: %s", error)
                else:
                    self._reading = asyncio.create_task(self._read(self._process))
        return self._process is not None and not self._gone

    async def _ask(self, work: str, body: bytes, args: tuple[Any, ...]) -> Any:
        if self._process is None or self._process.stdin is None:
            raise EOFError
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        asked = marshal.dumps((work, body, args))
        self._process.stdin.write(_LENGTH.pack(len(asked)))
        self._process.stdin.write(asked)
        await self._process.stdin.drain()
        ok, result = await answer
        if ok:
            return result
        raise bulk.ERRORS[result[0]](result[1])

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Its answers, in the order of the questions."""
        try:
            while process.stdout:
                (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
                answer = marshal.loads(await process.stdout.readexactly(length))  # noqa: S302 - by our own process
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
        except (EOFError, ConnectionError):
            pass
        finally:
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_exception(EOFError())
            self._waiting.clear()

    async def _leave(self, why: str) -> None:
        if not self._gone:
            log.warning("no second process, verifying in this one: %s", why)
        await self.close()


def serve() -> None:
    """Does the work that comes in, one after the other, until the input ends."""
    import gc

    gc.disable()  # JSON has no cycles
    into, out = sys.stdin.buffer, sys.stdout.buffer
    while len(head := into.read(_LENGTH.size)) == _LENGTH.size:
        asked = into.read(_LENGTH.unpack(head)[0])
        work, body, args = marshal.loads(asked)  # noqa: S302 - by the process that started this one
        try:
            answer = True, bulk.WORK[work](body, *args)
        except CommonholdError as error:
            answer = False, (type(error).__name__, str(error))
        said = marshal.dumps(answer)
        with contextlib.suppress(BrokenPipeError):
            out.write(_LENGTH.pack(len(said)))
            out.write(said)
            out.flush()


if __name__ == "__main__":
    serve()
