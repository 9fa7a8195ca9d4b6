"""What the replay checks at every event: the invariants of contracts/README.md, one rule each, in the report's order.

A rule counts how often it was looked at and keeps the first faults against it: memory stays flat whatever is wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

KEPT = 20  # faults of one rule that are kept in words; the others are counted


class Rule(Enum):
    """The value is what holds when the rule does; where the README numbers it, with that number."""

    KNOWN = "every event is about something that is there"
    MEMBERS = "members are admitted once, and memberships only get longer"
    GROUPS = "groups join whole, and to the group that was named"
    ACTIVE = "only active members receive units and credits"
    BALANCES = "nobody sends what it does not have (1)"
    HOLDING = "no increase takes a group over its holding limit (2)"
    CAPACITY = "credits issued fit the asset's units in the window (3)"
    USE = "no increase takes a group over its use limit (4)"
    LEASES = "a lease is of credits that were burnt for it, once"
    SETTLED = "settled time grows, within the lease and the wall-clock (5)"
    PAID = "paid is the price of the settled time, and bought at the price (5)"
    ESCROW = "no more is paid out or back than was paid in (6)"
    ASSETS = "appraisals are in force, of the class's level, and renewed for longer"
    DEVICES = "a device, and the content of a dataset or model, stand under one asset (7)"
    SIGNED = "who must have signed did: quorums, both sides of a join, holders, node and developer (9)"
    SETTINGS = "the council changes what passed a vote, after its time, and nothing that was abdicated (10, 13 to 15)"
    ANCHORS = "epochs are anchored in a row, each linked to the one before"


@dataclass(slots=True)
class Looked:
    """What looking at one rule has found so far."""

    times: int = 0
    failed: int = 0
    faults: list[str] = field(default_factory=list)  # the first KEPT


@dataclass(slots=True)
class Findings:
    """All rules, and what was found of each."""

    by_rule: dict[Rule, Looked] = field(default_factory=lambda: {rule: Looked() for rule in Rule})

    def check(self, rule: Rule, holds: bool) -> bool:
        """The rule was looked at once more. Gives `holds` back."""
        self.by_rule[rule].times += 1
        return holds

    def fault(self, rule: Rule, what: str) -> None:
        """Something breaks the rule."""
        looked = self.by_rule[rule]
        looked.failed += 1
        if len(looked.faults) < KEPT:
            looked.faults.append(what)

    def faults(self) -> Iterator[str]:
        """All that were kept, by rule."""
        for looked in self.by_rule.values():
            yield from looked.faults
