"""What an audit found: plain values, printed as JSON, as lines, or as a page (page.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 3  # differences that a check's detail names

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what was found. `faults`: the first differences, in words."""

    number: int
    name: str
    ok: bool
    detail: str
    faults: list[str]


@dataclass(slots=True)
class AuditReport:
    """`ok` when every check holds. `trust`: whose word was taken for what, in sentences."""

    block: int
    block_hash: str
    time_s: int
    chain_id: int
    contracts: dict[str, str]
    from_block: int
    code: dict[str, str] = field(default_factory=dict)  # proven hash of each contract's code, by proofs only
    trust: list[str] = field(default_factory=list)
    events: int = 0
    checks: list[Check] = field(default_factory=list)
    services: list[Row] = field(default_factory=list)
    concentration: list[Row] = field(default_factory=list)  # of ownership, at the block
    series: list[Row] = field(default_factory=list)  # per class: owned, acquired, delivered
    gpu_hours: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """There are checks, and all of them hold."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def check(self, name: str, faults: Sequence[str], fine: str, *, failed: int = 0) -> None:
        """One more check, which holds when there are no faults.

        fine: what to say then. failed: how many faults there were, where not all are in words.
        """
        detail = fine
        if faults:
            more = max(failed, len(faults)) - SHOWN
            detail = "; ".join(faults[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        self.checks.append(Check(len(self.checks) + 1, name, not faults, detail, list(faults)))
