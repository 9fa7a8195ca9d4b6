"""What may be held and used: the contracts' rules again, as pure functions over numbers.

In: what a group has, what it asks for, the class's limits. Out: `Allowed` with the headroom that is left, or `Denied`
with the numbers. The chain stays the authority; tests/limits/test_differential.py holds both against each other.
Sources: ILedger (holding limit), IAccess (use limit, capacity).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from commonhold.errors import CommonholdError, LimitExceeded, NotFound, Refused
from commonhold.units import UNIT, Address, address_text, units_text

BPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Allowed:
    """`headroom` is what the group could still add after this, in the unit of the question."""

    headroom: int


@dataclass(frozen=True, slots=True)
class Denied:
    """`code` is the name of the contract's custom error, so that both sides say the same."""

    code: str
    reason: str
    numbers: Mapping[str, int | str] = field(default_factory=dict)

    def error(self) -> CommonholdError:
        """This refusal as an error of the edge, with its numbers in `details`."""
        details = {"rule": self.code, **self.numbers}
        if self.code in ("OverHoldingLimit", "OverUseLimit", "HoldsOverLimit", "Oversold"):
            return LimitExceeded(self.reason, details=details)
        if self.code.startswith("Unknown"):
            return NotFound(self.reason, details=details)
        return Refused(self.reason, details=details)


Decision = Allowed | Denied


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """The numbers of one class that limits are counted against."""

    name: str
    total_units: int
    start_total_units: int  # when the block began; equal to total_units in any later block
    floor_units: int
    hold_bps: int
    use_bps: int

    @property
    def base_units(self) -> int:
        """max(min(total, total at the start of the block), floor), as ILedger.capBase."""
        return max(min(self.total_units, self.start_total_units), self.floor_units)

    @property
    def most_units(self) -> int:
        """The largest holding of one group, rounded down."""
        return self.base_units * self.hold_bps // BPS

    def most_seconds(self, window_seconds: int) -> int:
        """The largest use of one group in one window, rounded down."""
        return self.base_units * window_seconds * self.use_bps // (BPS * UNIT)


def capacity_seconds(units: int, window_seconds: int) -> int:
    """Credits that can be issued for an asset in one window: units x window, rounded down."""
    return units * window_seconds // UNIT


def hold(limits: ClassLimits, *, root: Address, held: int, added: int) -> Decision:
    """Whether the group of `root`, holding `held` units, may add `added` units (zero included)."""
    if held + added > limits.most_units:
        return Denied(
            "OverHoldingLimit",
            f"group of {address_text(root)} would hold {units_text(held + added)} of {limits.name}; "
            f"the holding limit is {units_text(limits.most_units)} ({limits.hold_bps / 100:g}% of "
            f"{units_text(limits.base_units)}), it holds {units_text(held)} and may add "
            f"{units_text(max(0, limits.most_units - held))}",
            {
                "class": limits.name,
                "root": address_text(root),
                "held_units": held,
                "asked_units": added,
                "most_units": limits.most_units,
                "headroom_units": max(0, limits.most_units - held),
            },
        )
    return Allowed(limits.most_units - held - added)


def acquire(
    limits: ClassLimits, *, root: Address, held: int, acquired: int, added: int, window: int, window_seconds: int
) -> Decision:
    """Whether the group of `root` may acquire `added` seconds of a window. `held`: its units of the class; a group over
    its holding limit acquires nothing."""
    if held > limits.most_units:
        return Denied(
            "HoldsOverLimit",
            f"group of {address_text(root)} holds {units_text(held)} of {limits.name}, more than its limit of "
            f"{units_text(limits.most_units)}: it gets no credits until it is back under",
            {"class": limits.name, "root": address_text(root), "held_units": held, "most_units": limits.most_units},
        )
    return _use(limits, root, acquired, added, window, window_seconds, "acquire", "acquired")


def redeem(
    limits: ClassLimits, *, root: Address, redeemed: int, added: int, window: int, window_seconds: int
) -> Decision:
    """Whether the group of `root` may redeem `added` seconds more. It can hold more than its use limit only after a
    merge; it may use no more than the limit all the same."""
    return _use(limits, root, redeemed, added, window, window_seconds, "redeem", "redeemed")


def issue(*, asset: int, window: int, issued: int, added: int, units: int, window_seconds: int) -> Decision:
    """Whether `added` credits more may be issued for an asset in a window."""
    capacity = capacity_seconds(units, window_seconds)
    if issued + added > capacity:
        return Denied(
            "Oversold",
            f"asset {asset} window {window}: {issued} of {capacity} seconds are issued, {added} more were asked for",
            {"asset": str(asset), "window": window, "issued_s": issued, "capacity_s": capacity, "asked_s": added},
        )
    return Allowed(capacity - issued - added)


def _use(
    limits: ClassLimits, root: Address, before: int, added: int, window: int, window_seconds: int, verb: str, past: str
) -> Decision:
    most = limits.most_seconds(window_seconds)
    if before + added > most:
        return Denied(
            "OverUseLimit",
            f"group of {address_text(root)} would {verb} {before + added} s of {limits.name} in window {window}; the "
            f"use limit is {most} s ({limits.use_bps / 100:g}%), it has {past} {before} s and may {verb} "
            f"{max(0, most - before)} s more",
            {
                "class": limits.name,
                "root": address_text(root),
                "window": window,
                f"{past}_s": before,
                "asked_s": added,
                "most_s": most,
                "headroom_s": max(0, most - before),
            },
        )
    return Allowed(most - before - added)
