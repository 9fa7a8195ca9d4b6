"""Ledger of the reference model, and ERC-6909 as Ledger and Access use it: see ledger.py.

Sources: contracts/src/Ledger.sol, Assets.sol, Holdings.sol, and `_update` of Credits.sol.
"""

from collections.abc import Sequence
from dataclasses import replace

from commonhold import p256, signing
from commonhold.signing import ZERO32, Domain
from commonhold.units import Address, Hash32, credit_parts
from tests.models.members import Members
from tests.models.state import ALL, COMPUTE, TOTAL_END, UNIT, ZERO, Asset, Count, Quorum, operation, refuse_if

MAX_LEVEL = 5  # the highest level of assurance that there is


class Assets(Members):
    @operation
    def register(
        self,
        sender: Address,
        a: signing.Appraisal,
        quorum: Quorum,
        split: Sequence[tuple[Address, int]],
        commons_price: int,
        uri: str,
    ) -> None:
        refuse_if(sender != a.registrant, "NotRegistrant")
        asset = self._check_appraisal(a, quorum)
        refuse_if(asset in self.assets, "AssetExists")
        refuse_if(a.units == 0, "NoUnits")
        self._grow(a.class_id, a.units)
        if self.classes[a.class_id].kind != COMPUTE:
            refuse_if(a.content_hash in self.contents, "ContentInUse")
            self.contents[a.content_hash] = asset
        for previous, device in zip((ZERO32, *a.devices), a.devices, strict=False):
            refuse_if(device <= previous, "DevicesNotAscending")
            refuse_if(device in self.devices, "DeviceInUse")
            self.devices[device] = asset
        self.assets[asset] = Asset(a, self.now_s, uri, a.registrant, commons_price)
        self._mint_shares(asset, a, split)

    @operation
    def renew_appraisal(self, asset: int, a: signing.Appraisal, quorum: Quorum) -> None:
        found = self._existing(asset)
        stored = found.appraisal
        refuse_if(a.class_id != stored.class_id, "ClassDiffers")
        refuse_if(a.registrant != found.operator, "NotRegistrant")
        refuse_if(a.units != stored.units, "UnitsDiffer")
        refuse_if(a.devices != stored.devices, "DevicesDiffer")
        is_compute = self.classes[a.class_id].kind == COMPUTE
        refuse_if(not is_compute and a.content_hash != stored.content_hash, "ContentDiffers")
        refuse_if(a.expires_at <= stored.expires_at, "ExpiryNotLater")
        self._check_appraisal(a, quorum)
        self.assets[asset] = replace(found, appraisal=a, appraised_at=self.now_s)

    @operation
    def lower_commons_price(self, sender: Address, asset: int, price: int) -> None:
        refuse_if(sender != self._operator(asset), "NotRegistrant")
        refuse_if(self.in_place_of(sender) != sender, "Replaced")
        refuse_if(price >= self.assets[asset].commons_price, "PriceNotLower")
        self.assets[asset] = replace(self.assets[asset], commons_price=price)

    @operation
    def take(self, sender: Address, asset: int, units: int, max_price: int) -> None:
        found = self._existing(asset)
        refuse_if(units == 0, "NoUnits")
        refuse_if(found.commons_price > max_price, "PriceAbove")
        self._check_receiver(sender, ZERO, sender)
        self._carry(self.genesis.ledger, sender, asset, units)
        self._move(found.appraisal.class_id, ZERO, sender, units)
        paid = -(-units * found.commons_price // UNIT)
        self._pay(sender, self.in_place_of(found.operator), paid, spender=self.genesis.ledger)

    @operation
    def decline(self, sender: Address, asset: int, units: int) -> None:
        refuse_if(self.in_place_of(sender) != sender, "Replaced")
        self._carry(sender, self.genesis.ledger, asset, units)
        if units and not self.assets[asset].retired:
            self._drop_units(self.assets[asset].appraisal.class_id, sender, units)

    @operation
    def retire(self, asset: int, devices: Sequence[Hash32]) -> None:
        found = self._existing(asset)
        a = found.appraisal
        refuse_if(self.now_s < a.expires_at + self.genesis.grace_period, "NotLapsed")
        refuse_if(tuple(devices) != a.devices, "DevicesDiffer")
        self.assets[asset] = replace(found, retired=True)
        self._grow(a.class_id, -a.units)
        for device in devices:
            del self.devices[device]
        if self.classes[a.class_id].kind != COMPUTE:
            del self.contents[a.content_hash]

    @operation
    def sync(self, asset: int, holders: Sequence[Address]) -> None:
        refuse_if(asset not in self.assets or not self.assets[asset].retired, "NotRetired")
        for holder in holders:
            self._sync(asset, holder)

    @operation
    def recover_units(self, member: Address, assets: Sequence[int]) -> None:
        successor = self.in_place_of(member)
        refuse_if(successor == member, "NotReplaced")
        for asset in assets:
            refuse_if(asset not in self.assets, "UnknownAsset")
            found = self.assets[asset]
            units = self.balance("Ledger", member, asset)
            if found.operator == member:
                self.assets[asset] = replace(found, operator=successor)
            self._carry(member, successor, asset, units)
            self._bequeath(asset, member, successor)
            if not found.retired:
                self._move(found.appraisal.class_id, member, successor, units)

    def asset_id(self, a: signing.Appraisal) -> int:
        """192 bits of what the appraisers signed."""
        digest = signing.digest(Domain("Ledger", self.genesis.chain_id, self.genesis.ledger), a)
        return int.from_bytes(digest) % 2**192

    @operation
    def transfer(self, contract: str, sender: Address, receiver: Address, id_: int, amount: int) -> None:
        refuse_if(receiver == ZERO, "ERC6909InvalidReceiver")
        self._update(sender, contract, sender, receiver, id_, amount)

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
        self._update(caller, contract, sender, receiver, id_, amount)

    @operation
    def approve(self, contract: str, owner: Address, spender: Address, id_: int, amount: int) -> None:
        refuse_if(spender == ZERO, "ERC6909InvalidSpender")
        self.allowances[contract, owner, spender, id_] = amount

    @operation
    def set_operator(self, contract: str, owner: Address, spender: Address, approved: bool) -> None:
        refuse_if(spender == ZERO, "ERC6909InvalidSpender")
        self.operators[contract, owner, spender] = approved

    def _check_appraisal(self, a: signing.Appraisal, quorum: Quorum) -> int:
        refuse_if(a.class_id not in self.classes, "UnknownClass")
        params = self.classes[a.class_id]
        refuse_if(a.level < params.min_level, "LevelTooLow")
        refuse_if(a.level > MAX_LEVEL, "LevelTooHigh")
        refuse_if(a.expires_at <= self.now_s, "AppraisalExpired")
        refuse_if((params.kind == COMPUTE) != bool(a.devices), "DevicesDiffer")
        point = a.meter_key_x + a.meter_key_y
        bad_key = params.kind == COMPUTE if point == bytes(64) else p256.p256_key(point) is None
        refuse_if(bad_key, "BadMeterKey")
        self._check_quorum("Ledger", a.deadline, quorum)
        return self.asset_id(a)

    def _existing(self, asset: int) -> Asset:
        refuse_if(asset not in self.assets, "UnknownAsset")
        refuse_if(self.assets[asset].retired, "IsRetired")
        return self.assets[asset]

    def _grow(self, class_: Hash32, units: int) -> None:
        count = self.counts.get(class_, Count())
        refuse_if(count.total + units >= TOTAL_END, "TotalTooLarge")
        if count.start_block != self.number:
            count = Count(count.total, count.total, self.number)
        self.counts[class_] = replace(count, total=count.total + units)

    def _mint_shares(self, asset: int, a: signing.Appraisal, split: Sequence[tuple[Address, int]]) -> None:
        asked = minted = 0
        for owner, share in split:
            asked += share
            refuse_if(asked > a.units, "UnitsDiffer")
            headroom = max(0, self.most_units(a.class_id) - self.held_by(a.class_id, self.root_of(owner)))
            refuse_if(owner == ZERO, "ERC6909InvalidReceiver")
            self._update(a.registrant, "Ledger", ZERO, owner, asset, min(share, headroom))
            minted += min(share, headroom)
        if minted < a.units:
            self._carry(ZERO, self.genesis.ledger, asset, a.units - minted)

    def _update(
        self, caller: Address, contract: str, sender: Address, receiver: Address, id_: int, amount: int
    ) -> None:
        """What is sent, minted or burnt."""
        if contract == "Ledger":
            self._check_receiver(caller, sender, receiver)
            self._carry(sender, receiver, id_, amount)
            if amount and not self.assets[id_].retired:
                self._move(self.assets[id_].appraisal.class_id, sender, receiver, amount)
            return
        self._balance(contract, sender, receiver, id_, amount)
        if receiver != ZERO:
            self._check_receiver(caller, sender, receiver)
            self._count_seconds(sender, receiver, id_, amount)

    def _check_receiver(self, caller: Address, sender: Address, receiver: Address) -> None:
        refuse_if(sender in self.members and self.members[sender].until == 0, "Replaced")
        refuse_if(not self.is_active(receiver) or receiver == self.genesis.ledger, "NotActiveMember")
        is_gift = self.root_of(sender) != self.root_of(receiver) and caller != receiver
        refuse_if(is_gift and self.members[receiver].refuses_gifts, "RefusesGifts")

    def _carry(self, sender: Address, receiver: Address, asset: int, units: int) -> None:
        """Moves units and what they have earned, and no total."""
        for account in (sender, receiver):
            if account != ZERO:
                self._see(asset, account)
                if asset in self.assets and self.assets[asset].retired:
                    self._sync(asset, account)
        self._balance("Ledger", sender, receiver, asset, units)

    def _balance(self, contract: str, sender: Address, receiver: Address, id_: int, amount: int) -> None:
        if sender != ZERO:
            refuse_if(self.balance(contract, sender, id_) < amount, "ERC6909InsufficientBalance")
            self._count(self.balances, (contract, sender, id_), -amount)
        if receiver != ZERO:
            self._count(self.balances, (contract, receiver, id_), amount)

    def _move(self, class_: Hash32, sender: Address, receiver: Address, units: int) -> None:
        down, up = self._branches(sender, receiver)
        for node in down:
            self._count(self.held, (class_, node), -units)
        for node in up:
            self._count(self.held, (class_, node), units)
        root = self.root_of(receiver)
        if sender == ZERO or self.root_of(sender) != root:
            refuse_if(self.held_by(class_, root) > self.most_units(class_), "OverHoldingLimit")

    def _drop_units(self, class_: Hash32, account: Address, units: int) -> None:
        for node in self.path_of(account):
            self._count(self.held, (class_, node), -units)

    def _sync(self, asset: int, holder: Address) -> None:
        if holder == self.genesis.ledger or (asset, holder) in self.synced:
            return
        self.synced[asset, holder] = True
        self._drop_units(self.assets[asset].appraisal.class_id, holder, self.balance("Ledger", holder, asset))

    def _count_seconds(self, sender: Address, receiver: Address, id_: int, seconds: int) -> None:
        asset, window, _ = credit_parts(id_)
        if sender == ZERO:
            capacity = self.assets[asset].appraisal.units * self.genesis.window_seconds // UNIT
            refuse_if(self.issued.get((asset, window), 0) + seconds > capacity, "Oversold")
            self._count(self.issued, (int(asset), int(window)), seconds)
        if seconds == 0 or window < self.current_window():
            return
        class_ = self.assets[asset].appraisal.class_id
        self._move_acquired(class_, int(window), sender, receiver, seconds)
        root = self.root_of(receiver)
        if sender == ZERO or self.root_of(sender) != root:
            refuse_if(self.held_by(class_, root) > self.most_units(class_), "HoldsOverLimit")
            acquired = self.acquired.get((class_, int(window), root), 0)
            refuse_if(acquired > self.most_seconds(class_), "OverUseLimit")

    def _move_acquired(self, class_: Hash32, window: int, sender: Address, receiver: Address, seconds: int) -> None:
        down, up = self._branches(sender, receiver)
        for node in down:
            self._count(self.acquired, (class_, window, node), -seconds)
        for node in up:
            self._count(self.acquired, (class_, window, node), seconds)
