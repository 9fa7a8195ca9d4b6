"""Allocation time: how long at least one request was in flight, times the GPUs allotted. Pure integers.

The node counts with it what it gave; the client counts with it what it saw. Busy time is not utilisation: a GPU that
waits for its lease's next byte is allotted all the same.
"""

from commonhold.units import MAX_TOTAL, GpuMs


class BusyTime:
    """Cumulative GPU-ms of one lease: the union of its requests' intervals x `gpus`, and never above `limit_gpu_ms`.

    Times are ms of one clock that never runs backwards; requests may overlap in any way. Time beyond the limit is
    dropped for good when it passes: a limit raised later does not bring it back.
    """

    __slots__ = ("_gpu_ms", "as_of_ms", "gpus", "in_flight", "limit_gpu_ms")

    def __init__(self, gpus: int, *, gpu_ms: int = 0, limit_gpu_ms: int = MAX_TOTAL) -> None:
        if gpus < 1:
            raise ValueError(f"gpus: expected at least 1, got {gpus}")
        self.gpus = gpus
        self.limit_gpu_ms = limit_gpu_ms
        self.in_flight = 0
        self.as_of_ms = 0  # when `_gpu_ms` was last brought up to date; means something only after the first `begin`
        self._gpu_ms = gpu_ms

    def begin(self, now_ms: int) -> None:
        """One more request is in flight."""
        self._advance(now_ms)
        self.in_flight += 1

    def end(self, now_ms: int) -> None:
        """One request less is in flight."""
        if self.in_flight < 1:
            raise ValueError("end of a request that never began")
        self._advance(now_ms)
        self.in_flight -= 1

    def gpu_ms(self, now_ms: int) -> GpuMs:
        """The total at `now_ms`."""
        if self.in_flight:
            self._advance(now_ms)
        return GpuMs(self._gpu_ms)

    def raise_limit(self, limit_gpu_ms: int, now_ms: int) -> None:
        """The limit is at least `limit_gpu_ms` from `now_ms` on."""
        if self.in_flight:
            self._advance(now_ms)
        self.limit_gpu_ms = max(self.limit_gpu_ms, limit_gpu_ms)

    def left_ms(self, now_ms: int) -> int:
        """Wall-clock ms until the limit is reached, if a request stays in flight; rounded up. 0 when it is reached."""
        return max(0, -(-(self.limit_gpu_ms - self.gpu_ms(now_ms)) // self.gpus))

    def _advance(self, now_ms: int) -> None:
        if self.in_flight:
            added = max(0, now_ms - self.as_of_ms) * self.gpus
            self._gpu_ms = max(self._gpu_ms, min(self.limit_gpu_ms, self._gpu_ms + added))
        self.as_of_ms = now_ms
