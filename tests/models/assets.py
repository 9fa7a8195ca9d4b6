"""Ledger of the reference model, and ERC-6909 as Ledger and Access use it: see ledger.py.

Sources: contracts/src/Ledger.sol, Classes.sol, and `_update` of Access.sol.
"""

from collections.abc import Sequence
from dataclasses import replace

from commonhold import p256, signing
from commonhold.signing import ZERO32, Domain
from commonhold.units import Address, class_id, credit_parts
from tests.models.members import Members
from tests.models.state import (
    ALL,
    COMPUTE,
    TOTAL_END,
    UNIT,
    ZERO,
    Asset,
    Count,
    Quorum,
    operation,
    refuse_if,
)


class Assets(Members):
    @operation
    def register(
        self,
        sender: Address,
        a: signing.Appraisal,
        quorum: Quorum,
        split: Sequence[tuple[Address, int]],
        uri: str,
    ) -> None:
        refuse_if(sender != a.registrant, "NotRegistrant")
        asset = self._check_appraisal(a, quorum)
        refuse_if(asset in self.assets, "AssetExists")
        refuse_if(a.units == 0, "NoUnits")

        count = self.counts.get(a.class_id, Count())
        refuse_if(count.total + a.units >= TOTAL_END, "TotalTooLarge")
        if count.start_block != self.number:
            count = Count(count.total, count.total, self.number)
        self.counts[a.class_id] = replace(count, total=count.total + a.units)

        if self.params(a.class_id).kind != COMPUTE:
            refuse_if(a.content_hash in self.contents, "ContentInUse")
            self.contents[a.content_hash] = asset
        for previous, device in zip((ZERO32, *a.devices), a.devices, strict=False):
            refuse_if(device <= previous, "DevicesNotAscending")
            refuse_if(device in self.devices, "DeviceInUse")
            self.devices[device] = asset
        self.assets[asset] = Asset(a, self.now_s, uri)
        self._mint_shares(asset, a, split)

    @operation
    def renew_appraisal(self, asset: int, a: signing.Appraisal, quorum: Quorum) -> None:
        refuse_if(asset not in self.assets, "UnknownAsset")
        stored = self.assets[asset].appraisal
        refuse_if(a.class_id != stored.class_id, "ClassDiffers")
        refuse_if(a.registrant != stored.registrant, "NotRegistrant")
        refuse_if(a.units != stored.units, "UnitsDiffer")
        refuse_if(a.devices != stored.devices, "DevicesDiffer")
        is_compute = self.params(a.class_id).kind == COMPUTE
        refuse_if(not is_compute and a.content_hash != stored.content_hash, "ContentDiffers")
        refuse_if(a.expires_at <= stored.expires_at, "ExpiryNotLater")
        self._check_appraisal(a, quorum)
        self.assets[asset] = replace(self.assets[asset], appraisal=a, appraised_at=self.now_s)

    def asset_id(self, a: signing.Appraisal) -> int:
        """192 bits of what the appraisers signed."""
        digest = signing.digest(Domain("Ledger", self.genesis.chain_id, self.genesis.ledger), a)
        return int.from_bytes(digest) % 2**192

    @operation
    def transfer(self, contract: str, sender: Address, receiver: Address, id_: int, amount: int) -> None:
        refuse_if(receiver == ZERO, "ERC6909InvalidReceiver")
        self._update(contract, sender, receiver, id_, amount)

    @operation
    def transfer_from(
        self, contract: str, caller: Address, sender: Address, receiver: Address, id_: int, amount: int
    ) -> None:
        if sender != caller and not self.operators.get((contract, sender, caller)):
            key = (contract, sender, caller, id_)
            allowed = self.allowances.get(key, 0)
            refuse_if(allowed < amount, "ERC6909InsufficientAllowance")
            if allowed != ALL:
                self.allowances[key] = allowed - amount
        refuse_if(sender == ZERO, "ERC6909InvalidSender")
        refuse_if(receiver == ZERO, "ERC6909InvalidReceiver")
        self._update(contract, sender, receiver, id_, amount)

    @operation
    def approve(self, contract: str, owner: Address, spender: Address, id_: int, amount: int) -> None:
        refuse_if(spender == ZERO, "ERC6909InvalidSpender")
        self.allowances[contract, owner, spender, id_] = amount

    @operation
    def set_operator(self, contract: str, owner: Address, spender: Address, approved: bool) -> None:
        refuse_if(spender == ZERO, "ERC6909InvalidSpender")
        self.operators[contract, owner, spender] = approved

    def _check_appraisal(self, a: signing.Appraisal, quorum: Quorum) -> int:
        refuse_if(a.class_id not in {class_id(params.name) for params in self.genesis.classes}, "UnknownClass")
        params = self.params(a.class_id)
        refuse_if(a.level < params.min_level, "LevelTooLow")
        refuse_if(a.expires_at <= self.now_s, "AppraisalExpired")
        refuse_if((params.kind == COMPUTE) != bool(a.devices), "DevicesDiffer")
        point = a.meter_key_x + a.meter_key_y
        bad_key = params.kind == COMPUTE if point == bytes(64) else p256.p256_key(point) is None
        refuse_if(bad_key, "BadMeterKey")
        self._check_quorum(self.genesis.appraisers, self.genesis.appraiser_threshold, a.deadline, quorum)
        return self.asset_id(a)

    def _mint_shares(self, asset: int, a: signing.Appraisal, split: Sequence[tuple[Address, int]]) -> None:
        asked = minted = 0
        for owner, share in split:
            refuse_if(owner == self.genesis.ledger, "NotActiveMember")
            asked += share
            refuse_if(asked > a.units, "UnitsDiffer")
            headroom = max(0, self.most_units(a.class_id) - self.held_by(a.class_id, self.root_of(owner)))
            refuse_if(owner == ZERO, "ERC6909InvalidReceiver")
            self._update("Ledger", ZERO, owner, asset, min(share, headroom))
            minted += min(share, headroom)
        if minted < a.units:
            self._update("Ledger", ZERO, self.genesis.ledger, asset, a.units - minted)

    def _update(self, contract: str, sender: Address, receiver: Address, id_: int, amount: int) -> None:
        """Every movement of units and credits."""
        if sender != ZERO:
            refuse_if(self.balance(contract, sender, id_) < amount, "ERC6909InsufficientBalance")
            self._count(self.balances, (contract, sender, id_), -amount)
        if receiver != ZERO:
            self._count(self.balances, (contract, receiver, id_), amount)
        if contract == "Ledger":
            self._count_units(sender, receiver, id_, amount)
        else:
            self._count_seconds(sender, receiver, id_, amount)

    def _count_units(self, sender: Address, receiver: Address, asset: int, units: int) -> None:
        if receiver == self.genesis.ledger:
            refuse_if(sender != ZERO, "NotActiveMember")
            return
        refuse_if(not self.is_active(receiver), "NotActiveMember")
        old, new = self.root_of(sender), self.root_of(receiver)
        if units == 0 or old == new:
            return
        class_ = self.assets[asset].appraisal.class_id
        refuse_if(self.held_by(class_, new) + units > self.most_units(class_), "OverHoldingLimit")
        if old != ZERO:
            self._count(self.held, (class_, old), -units)
        self._count(self.held, (class_, new), units)

    def _count_seconds(self, sender: Address, receiver: Address, id_: int, seconds: int) -> None:
        if receiver == ZERO:
            return
        refuse_if(not self.is_active(receiver), "NotActiveMember")
        asset, window, _ = credit_parts(id_)
        if sender == ZERO:
            capacity = self.assets[asset].appraisal.units * self.genesis.window_seconds // UNIT
            refuse_if(self.issued.get((asset, window), 0) + seconds > capacity, "Oversold")
            self._count(self.issued, (int(asset), int(window)), seconds)
        old, new = self.root_of(sender), self.root_of(receiver)
        if seconds == 0 or old == new or window < self.current_window():
            return
        class_ = self.assets[asset].appraisal.class_id
        refuse_if(self.held_by(class_, new) > self.most_units(class_), "HoldsOverLimit")
        acquired = self.acquired.get((class_, window, new), 0) + seconds
        refuse_if(acquired > self.most_seconds(class_), "OverUseLimit")
        if old != ZERO:
            self._count(self.acquired, (class_, int(window), old), -seconds)
        self._count(self.acquired, (class_, int(window), new), seconds)
