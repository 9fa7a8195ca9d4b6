"""Work on large answers in a second process, so that the next ones are fetched and the last ones written meanwhile.

The work is the functions of bulk.py, the process is beside.py: bytes and numbers in, the same out, nothing kept. What
is large goes through memory that both have, a part of it for each work under way, and only what is said about it
through pipes: a pipe takes a megabyte in sixteen pieces. The process ends when its input does, so also when whoever
started it is killed; a Ctrl-C is not its affair. Where it cannot be started, or ends, the work is done here: slower,
with the same result.
"""

import asyncio
import contextlib
import logging
import marshal
import mmap
import os
import sys
import tempfile
from collections import deque
from typing import Any, Final

from commonhold.chain import beside, bulk
from commonhold.chain.beside import LENGTH, PART, PARTS

log = logging.getLogger(__name__)

WORTH_IT: Final = 50_000  # bytes; what is smaller is done here before it would be there
_BUFFER: Final = 1 << 23


class Apart:
    """The second process. Started by the first large work, ended by `close`. `process` False: there is none."""

    def __init__(self, *, process: bool = True) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._memory: mmap.mmap | None = None
        self._free: asyncio.Queue[int] = asyncio.Queue()  # parts of the memory
        self._waiting: deque[tuple[asyncio.Future[tuple[bool, Any]], int]] = deque()  # each with its part
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._answers = False  # what is asked of it is answered, or fails
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
        # `_read` goes on until the end: a process whose output nobody takes is never seen to end.
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reading:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _runs(self) -> bool:
        """It runs; False: it cannot."""
        async with self._starting:
            if self._process is None and not self._gone:
                try:
                    self._process = await self._start()
                except OSError as error:
                    self._gone = True
                    log.warning("no second process, verifying in this one: %s", error)
                else:
                    self._answers = True
                    self._reading = asyncio.create_task(self._read(self._process))
        return self._process is not None and not self._gone

    async def _start(self) -> asyncio.subprocess.Process:
        file = _new_file(PARTS * PART)
        try:
            memory = mmap.mmap(file, PARTS * PART)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "commonhold.chain.beside", str(file)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_BUFFER,
                pass_fds=(file,),
                start_new_session=True,  # a Ctrl-C in the terminal is for the process that started it
            )
        finally:
            os.close(file)
        # Not before it is there: whoever waits for it may give up, and the next one starts it again.
        self._memory = memory
        for part in range(PARTS):
            self._free.put_nowait(part)
        return process

    async def _ask(self, work: str, body: bytes, args: tuple[Any, ...]) -> Any:
        part = await self._free.get()
        if self._process is None or self._process.stdin is None or self._memory is None or not self._answers:
            self._free.put_nowait(part)  # for the next that waits, to find the same
            raise EOFError
        answer: asyncio.Future[tuple[bool, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, part))
        asked: beside.Asked = work, -1, body, args
        if len(body) <= PART:
            self._memory[part * PART : part * PART + len(body)] = body
            asked = work, part, len(body), args
        said = marshal.dumps(asked)
        with contextlib.suppress(ConnectionError):  # `_read` finds out as well, and fails the answer
            self._process.stdin.write(LENGTH.pack(len(said)) + said)
            await self._process.stdin.drain()
        ok, result = await answer
        if ok:
            return result
        raise bulk.ERRORS[result[0]](result[1])

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Its answers, in the order of the questions."""
        try:
            while process.stdout and self._memory:
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                ok, in_memory, result = marshal.loads(await process.stdout.readexactly(length))  # noqa: S302 - our own
                waiting, part = self._waiting.popleft()
                if in_memory:
                    with memoryview(self._memory)[part * PART : part * PART + result] as there:
                        result = marshal.loads(there)  # noqa: S302
                self._free.put_nowait(part)
                if not waiting.done():
                    waiting.set_result((ok, result))
        except (EOFError, ConnectionError):
            pass
        finally:
            self._answers = False
            for waiting, part in self._waiting:
                self._free.put_nowait(part)
                if not waiting.done():
                    waiting.set_exception(EOFError())
            self._waiting.clear()

    async def _leave(self, why: str) -> None:
        if not self._gone:
            log.warning("no second process, verifying in this one: %s", why)
        await self.close()


def _new_file(size: int) -> int:
    """A file of so many bytes that no folder names: in memory, where the system has such."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("commonhold")
    else:
        with tempfile.TemporaryFile() as there:
            file = os.dup(there.fileno())
    os.ftruncate(file, size)
    return file
