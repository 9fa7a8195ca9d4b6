"""The second process of apart.py, and what the two have agreed on. It imports as little as it can: not asyncio, which
apart.py needs.
"""

import contextlib
import gc
import marshal
import mmap
import sys
from struct import Struct
from typing import Any, Final

from commonhold.chain import bulk
from commonhold.errors import CommonholdError

LENGTH: Final = Struct(">Q")  # of what follows it in a pipe
PARTS: Final = 3  # of the memory: one is worked on, and others are filled and emptied meanwhile
PART: Final = 4 << 20  # bytes; only what is used takes memory

# What to do, the part of the memory with what is given, how long it is there, and more. Part -1: what is given itself.
Asked = tuple[str, int, bytes | int, tuple[Any, ...]]
# There is a result; it is in the same part; how long it is there, or it itself. Without a result: its error, and why.
Answer = tuple[bool, bool, Any]


def serve(file: int) -> None:
    """Does the work that comes in, one after the other, until the input ends. `file`: what the memory is of."""
    gc.disable()  # JSON has no cycles
    memory = memoryview(mmap.mmap(file, PARTS * PART))
    into, out = sys.stdin.buffer, sys.stdout.buffer
    while len(head := into.read(LENGTH.size)) == LENGTH.size:
        asked: Asked = marshal.loads(into.read(LENGTH.unpack(head)[0]))  # noqa: S302 - by who started this process
        said = marshal.dumps(_answer(memory, *asked))
        with contextlib.suppress(BrokenPipeError):
            out.write(LENGTH.pack(len(said)))
            out.write(said)
            out.flush()


def _answer(memory: memoryview, work: str, part: int, body: bytes | int, args: tuple[Any, ...]) -> Answer:
    at = part * PART
    given = body if isinstance(body, bytes) else memory[at : at + body]
    try:
        result = bulk.WORK[work](given, *args)
    except CommonholdError as error:
        return False, False, (type(error).__name__, str(error))
    packed = marshal.dumps(result)
    if part < 0 or len(packed) > PART:
        return True, False, result
    memory[at : at + len(packed)] = packed
    return True, True, len(packed)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
