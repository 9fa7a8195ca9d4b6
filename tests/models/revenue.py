"""Revenue of the reference model: see ledger.py. Source: contracts/src/Revenue.sol.

What units have earned is counted in the contract's own parts of the payment token's smallest unit, in numbers of any
size.
"""

from dataclasses import dataclass, field

from commonhold.units import Address
from tests.models.settings import Settings
from tests.models.state import Revert, operation, refuse_if

FRACTION = 2**32  # parts that the contract keeps of the smallest unit of the payment token


@dataclass(frozen=True)
class Place:
    """A group's part in what the commons earns, or what a former group has left of it."""

    index: int = 0
    owed: int = 0
    is_group: bool = False


@dataclass(frozen=True)
class Shared:
    """What every group has earned, and what did not divide."""

    index: int = 0
    remainder: int = 0


@dataclass
class Pool(Settings):
    earned: dict[tuple[int, Address], tuple[int, int]] = field(default_factory=dict)  # index seen, owed; in parts
    indices: dict[int, tuple[int, int]] = field(default_factory=dict)  # asset -> of a micro-unit, remainder; in parts
    places: dict[Address, Place] = field(default_factory=dict)
    shared: dict[str, Shared] = field(default_factory=dict)
    revenue: dict[str, int] = field(default_factory=dict)  # "accrued", "claimed"

    def revenue_of(self, asset: int, account: Address) -> int:
        index, owed = self.earned.get((asset, account), (0, 0))
        growth = self.indices.get(asset, (0, 0))[0] - index
        return (owed + self.balance("Ledger", account, asset) * growth) // FRACTION

    def commons_revenue_of(self, root: Address) -> int:
        place = self.places.get(root, Place())
        return place.owed + (self._shared().index - place.index if place.is_group else 0)

    @operation
    def claim(self, asset: int, account: Address) -> None:
        refuse_if(account == self.genesis.ledger, "NothingToClaim")
        amount = self._take_earned(asset, account)
        self._count(self.revenue, "claimed", amount)
        self._pay(self.genesis.access, self.in_place_of(account), amount)

    @operation
    def share_commons(self, asset: int) -> None:
        groups = sum(place.is_group for place in self.places.values())
        refuse_if(groups == 0, "NoGroups")
        shared = self._shared()
        amount = self._take_earned(asset, self.genesis.ledger) + shared.remainder
        self.shared["pool"] = Shared(shared.index + amount // groups, amount % groups)

    @operation
    def claim_commons(self, root: Address) -> None:
        amount = self.commons_revenue_of(root)
        refuse_if(amount == 0, "NothingToClaim")
        self.places[root] = Place(self._shared().index, 0, self.places[root].is_group)
        self._count(self.revenue, "claimed", amount)
        self._pay(self.genesis.access, root, amount)

    def _accrue(self, asset: int, amount: int) -> None:
        units = self.assets[asset].appraisal.units
        index, remainder = self.indices.get(asset, (0, 0))
        parts = amount * FRACTION + remainder
        self.indices[asset] = index + parts // units, parts % units
        self._count(self.revenue, "accrued", amount)

    def _see(self, asset: int, account: Address) -> None:
        """Before its balance changes."""
        index = self.indices.get(asset, (0, 0))[0]
        if index:
            seen, owed = self.earned.get((asset, account), (0, 0))
            owed += self.balance("Ledger", account, asset) * (index - seen)
            self.earned[asset, account] = index, owed

    def _bequeath(self, asset: int, sender: Address, receiver: Address) -> None:
        index, owed = self.earned.get((asset, sender), (0, 0))
        if owed:
            self.earned[asset, sender] = index, 0
            seen, had = self.earned.get((asset, receiver), (0, 0))
            self.earned[asset, receiver] = seen, had + owed

    def _take_earned(self, asset: int, account: Address) -> int:
        self._see(asset, account)
        index, owed = self.earned.get((asset, account), (0, 0))
        if owed < FRACTION:
            raise Revert("NothingToClaim")
        self.earned[asset, account] = index, owed % FRACTION
        return owed // FRACTION

    def _enter(self, root: Address) -> None:
        place = self.places.get(root, Place())
        if not place.is_group:
            self.places[root] = Place(self._shared().index, place.owed, True)

    def _exit(self, root: Address) -> None:
        place = self.places.get(root, Place())
        if place.is_group:
            self.places[root] = Place(place.index, self.commons_revenue_of(root), False)

    def _replace_place(self, member: Address, successor: Address) -> None:
        self.places[successor] = self.places.pop(member, Place())

    def _shared(self) -> Shared:
        return self.shared.get("pool", Shared())
