"""The challenges that an appraiser gave out: each is good once, for two minutes, for one registrant.

Kept in memory, on purpose: an appraiser that restarts forgets them, which costs whoever asked a retry and nothing else.
One event loop uses a table; no method awaits, so a challenge is taken by one request only.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from commonhold.errors import CommonholdError
from commonhold.signing import Domain
from commonhold.units import Address, Hash32

VALID_S: Final = 120
MAX_OPEN: Final = 4_096  # 100 bytes each
# By who asks and not by registrant: anybody can name any registrant, and would use up another's share.
MAX_OPEN_PER_PEER: Final = 64


class TooManyChallenges(CommonholdError):
    """As many challenges are open as this appraiser keeps; they run out by themselves."""

    status = 429
    code = "too_many_challenges"


@dataclass(frozen=True, slots=True)
class Challenge:
    """32 random bytes, and what they were given out for."""

    value: Hash32
    registrant: Address
    ledger: Domain
    expires_at: int
    peer: str


@dataclass(slots=True)
class ChallengeTable:
    """All open challenges of one appraiser, oldest first."""

    most: int = MAX_OPEN
    most_per_peer: int = MAX_OPEN_PER_PEER
    random: Callable[[int], bytes] = os.urandom
    _open: dict[Hash32, Challenge] = field(default_factory=dict, init=False)
    _of_peer: Counter[str] = field(default_factory=Counter, init=False)

    def issue(self, registrant: Address, ledger: Domain, *, peer: str, now_s: int) -> Challenge:
        """A new challenge, open until it is taken or expires. peer: who asks, by address. Raises TooManyChallenges."""
        self._forget_expired(now_s)
        if len(self._open) >= self.most or self._of_peer[peer] >= self.most_per_peer:
            oldest = next((c for c in self._open.values() if c.peer == peer), next(iter(self._open.values())))
            wait_s = max(1, oldest.expires_at - now_s)
            raise TooManyChallenges(
                f"{len(self._open)} challenges are open, {self._of_peer[peer]} of them yours; expected at most "
                f"{self.most} and {self.most_per_peer}; again in {wait_s} s",
                details={"retry_after_s": wait_s},
            )
        challenge = Challenge(Hash32(self.random(32)), registrant, ledger, now_s + VALID_S, peer)
        self._put(challenge)
        return challenge

    def take(self, values: Iterable[Hash32]) -> Challenge | None:
        """The first of `values` that is open here, which it then is no more; None when none is."""
        for value in values:
            challenge = self._open.pop(value, None)
            if challenge is not None:
                self._of_peer[challenge.peer] -= 1
                return challenge
        return None

    def give_back(self, challenge: Challenge) -> None:
        """Opens a challenge that was taken for a request that broke off before there was anything to appraise."""
        self._put(challenge)

    def __len__(self) -> int:
        return len(self._open)

    def _put(self, challenge: Challenge) -> None:
        self._open[challenge.value] = challenge
        self._of_peer[challenge.peer] += 1

    def _forget_expired(self, now_s: int) -> None:
        for value in [c.value for c in self._open.values() if c.expires_at <= now_s]:
            self.take((value,))
        self._of_peer = +self._of_peer  # without those who have none open, or the counter would grow with every peer
