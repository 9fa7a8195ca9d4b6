"""How one endpoint of a chain does: what is counted, when it is asked again, and what is shown of it. No clock."""

from dataclasses import dataclass
from typing import Final

FIRST_BACK_OFF_S: Final = 1.0
LONGEST_BACK_OFF_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Health:
    """How one endpoint has done in this run, as it is shown."""

    host: str  # with a number behind it where two endpoints have the same
    errors: int
    resting: bool  # not asked now
    dropped: str | None  # it lied, or is of another chain: why it is not asked again; None: it may be
    outvoted: int = 0  # how often the others agreed on something else
    differs: str | None = None  # the last such case; None: there was none
    head: int | None = None  # the newest block that it told of; None: it told of none
    requests: int = 0
    spent_ms: int = 0  # waiting for its answers, in all
    latency_ms: int | None = None  # of one request, smoothed; None: it answered none


@dataclass(slots=True)
class Record:
    """What is kept of one endpoint."""

    checked: bool = False  # it is on the deployment's chain
    dropped: str | None = None
    errors: int = 0
    failures: int = 0  # in a row
    rests_until: float = 0.0
    outvoted: int = 0
    differs: str | None = None
    head: int | None = None

    def rest(self, now: float, jitter: float) -> float:
        """It is not asked for a while, twice as long each time; how long, in seconds. `jitter`, 0 to 1, takes up to
        half of it away, so that not everybody who lost a node comes back to it at once."""
        self.failures += 1
        longest: float = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2 ** min(self.failures - 1, 10))
        pause_s = longest * (1 - jitter / 2)
        self.rests_until = now + pause_s
        return pause_s

    def answered(self) -> None:
        """It did; what went wrong before is forgiven."""
        self.failures, self.rests_until = 0, 0.0
