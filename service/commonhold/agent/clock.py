"""The node's clock: Unix milliseconds that never run backwards, whatever happens to the machine's time of day."""

import time
from collections.abc import Callable


class NodeClock:
    """Anchored once, at boot: from then on only the monotonic clock counts.

    boot_ms: Unix ms that the first reading of the clock stands for, and the boot epoch of the node's segments.
    """

    def __init__(self, boot_ms: int, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.boot_ms = boot_ms
        self._monotonic_ns = monotonic_ns
        self._anchor_ns = monotonic_ns()

    def now_ms(self) -> int:
        """Whole milliseconds, rounded down."""
        return self.boot_ms + (self._monotonic_ns() - self._anchor_ns) // 1_000_000


def next_boot_ms(now_ms: int, last_ms: int) -> int:
    """The boot epoch of a node that starts at `now_ms`: after all that earlier boots stamped, even if the clock was
    set back since. `last_ms`: the last stamp or boot in the spool, 0 when there is none."""
    return max(now_ms, last_ms + 1)
