"""Access of the reference model: see ledger.py. Sources: contracts/src/Access.sol, Credits.sol, Uses.sol."""

from collections.abc import Sequence
from dataclasses import replace

from commonhold import p256, signing
from commonhold.signing import Domain
from commonhold.units import Address, Hash32, credit_id, credit_parts
from tests.models.assets import Assets
from tests.models.state import UNIT, ZERO, Lease, Revert, operation, refuse_if

NOTICE = 3_600  # seconds that a session key proves use after it was replaced, and that a split leaves alone


class Access(Assets):
    @operation
    def open(self, sender: Address, asset: int, window: int, tranche: int, price: int) -> None:
        self._check_operator(sender, asset)
        refuse_if(not self.is_live(asset), "AssetNotLive")
        self._check_window(window)
        refuse_if(credit_id(asset, window, tranche) in self.tranches, "AlreadyOpen")
        self.tranches[credit_id(asset, window, tranche)] = price

    @operation
    def grant(self, sender: Address, id_: int, to: Address, amount: int) -> None:
        self._check_operator(sender, credit_parts(id_)[0])
        refuse_if(self._price_now(id_, amount) != 0, "NotForGrant")
        refuse_if(to == ZERO, "ERC6909InvalidReceiver")
        self._update(sender, "Access", ZERO, to, id_, amount)

    @operation
    def buy(self, sender: Address, id_: int, amount: int, max_price: int) -> None:
        price = self._price_now(id_, amount)
        refuse_if(price == 0, "NotForSale")
        refuse_if(price > max_price, "PriceAbove")
        self._update(sender, "Access", ZERO, sender, id_, amount)
        self._pay(sender, self.genesis.access, price * amount, spender=self.genesis.access)

    @operation
    def redeem(self, sender: Address, r: signing.Redemption) -> None:
        refuse_if(sender != r.holder, "NotHolder")
        self._redeem(r)

    @operation
    def redeem_for(self, r: signing.Redemption, holder_signed: bool) -> None:
        refuse_if(not holder_signed, "BadHolderSignature")
        self._redeem(r)

    @operation
    def split(self, s: signing.Split, is_holders: bool) -> None:
        """`is_holders`: the holder sends it, or has signed it."""
        found = self._changed(s, is_holders)
        refuse_if(s.amount == 0, "NoAmount")
        asset, window, _ = credit_parts(found.id)
        self._check_window(window)
        self._check_key(s.key_x + s.key_y)
        until = min(self.now_s + NOTICE, self.end_of(window))
        units = self.assets[asset].appraisal.units
        deliverable = -(-units * max(0, until - found.starts_at) // UNIT)
        refuse_if(s.amount > found.amount - deliverable, "SplitTooLarge")
        self.leases[s.lease] = replace(found, amount=found.amount - s.amount)
        self.leases[self.part_id(s)] = replace(
            found,
            amount=s.amount,
            starts_at=max(self.now_s, found.starts_at),
            number=self.number,
            keys=((s.key_x + s.key_y, 0),),
            settled_ms=0,
            changes=0,
        )

    @operation
    def top_up(self, t: signing.TopUp, is_holders: bool) -> None:
        found = self._changed(t, is_holders)
        self._check_redeemable(found.holder, found.id, t.amount)
        self.leases[t.lease] = replace(found, amount=found.amount + t.amount)
        self._spend(found.holder, found.id, t.amount)

    @operation
    def rotate(self, r: signing.Rotation, is_holders: bool) -> None:
        found = self._changed(r, is_holders)
        refuse_if(len(found.keys) > 1 and self.now_s <= found.keys[-2][1], "RotatedLately")
        self._check_key(r.key_x + r.key_y)
        former = (found.keys[-1][0], self.now_s + NOTICE)
        self.leases[r.lease] = replace(found, keys=(*found.keys[:-1], former, (r.key_x + r.key_y, 0)))

    @operation
    def refund(self, lease: Hash32) -> None:
        found = self._lease(lease)
        refuse_if(self.now_s <= self.settleable_until(found), "NotYetRefundable")
        amount = found.price * found.amount - found.paid
        refuse_if(found.refunded or amount == 0, "NothingToRefund")
        self.leases[lease] = replace(found, refunded=True)
        self._pay(self.genesis.access, self.in_place_of(found.holder), amount)

    @operation
    def refund_credits(self, id_: int, holder: Address) -> None:
        refuse_if(self.now_s < self.end_of(credit_parts(id_)[1]), "WindowNotOver")
        amount = self.balance("Access", holder, id_) * self.tranches.get(id_, 0)
        refuse_if(amount == 0, "NothingToRefund")
        self._balance("Access", holder, ZERO, id_, self.balance("Access", holder, id_))
        self._pay(self.genesis.access, self.in_place_of(holder), amount)

    @operation
    def recover_access(self, member: Address, ids: Sequence[int], leases: Sequence[Hash32]) -> None:
        successor = self.members[member].successor if member in self.members else ZERO
        refuse_if(successor == ZERO, "NotReplaced")
        for id_ in ids:
            seconds = self.balance("Access", member, id_)
            self._balance("Access", member, successor, id_, seconds)
            asset, window, _ = credit_parts(id_)
            if seconds and window >= self.current_window():
                self._move_acquired(self.assets[asset].appraisal.class_id, int(window), member, successor, seconds)
        for lease in leases:
            found = self.leases.get(lease)
            if found is not None and found.holder == member:
                self.leases[lease] = replace(found, holder=successor)
                asset, window, _ = credit_parts(found.id)
                if window >= self.current_window():
                    for totals in (self.acquired, self.redeemed):
                        key = (self.assets[asset].appraisal.class_id, int(window), member)
                        self._count(totals, key, -found.amount)

    def lease_id(self, r: signing.Redemption) -> Hash32:
        return signing.digest(Domain("Access", self.genesis.chain_id, self.genesis.access), r)

    def part_id(self, s: signing.Split) -> Hash32:
        return signing.digest(Domain("Access", self.genesis.chain_id, self.genesis.access), s)

    def settleable_until(self, lease: Lease) -> int:
        return self.end_of(credit_parts(lease.id)[1]) + self.genesis.settle_delay

    def _check_operator(self, sender: Address, asset: int) -> None:
        refuse_if(sender != self._operator(asset), "NotOperator")
        refuse_if(self.in_place_of(sender) != sender, "Replaced")

    def _redeem(self, r: signing.Redemption) -> None:
        refuse_if(self.now_s > r.deadline, "DeadlinePassed")
        self._check_redeemable(r.holder, r.id, r.amount)
        self._check_key(r.key_x + r.key_y)
        lease = self.lease_id(r)
        refuse_if(lease in self.leases, "LeaseExists")
        asset, window, _ = credit_parts(r.id)
        self.leases[lease] = Lease(
            holder=r.holder,
            id=r.id,
            amount=r.amount,
            starts_at=max(self.now_s, window * self.genesis.window_seconds),
            number=self.number,
            level=self.assets[asset].appraisal.level,
            price=self.tranches[r.id],
            keys=((r.key_x + r.key_y, 0),),
        )
        self._spend(r.holder, r.id, r.amount)

    def _spend(self, holder: Address, id_: int, amount: int) -> None:
        self._balance("Access", holder, ZERO, id_, amount)
        asset, window, _ = credit_parts(id_)
        class_ = self.assets[asset].appraisal.class_id
        path = self.path_of(holder)
        for node in path:
            self._count(self.redeemed, (class_, int(window), node), amount)
        refuse_if(self.redeemed[class_, int(window), path[-1]] > self.most_seconds(class_), "OverUseLimit")

    def _changed(self, statement: signing.Split | signing.TopUp | signing.Rotation, is_holders: bool) -> Lease:
        """What every change of a lease asks; it counts one more."""
        refuse_if(self.now_s > statement.deadline, "DeadlinePassed")
        found = self._lease(statement.lease)
        refuse_if(self.in_place_of(found.holder) != found.holder, "Replaced")
        refuse_if(not is_holders, "BadHolderSignature")
        refuse_if(statement.change != found.changes, "WrongChange")
        return replace(found, changes=found.changes + 1)

    def _lease(self, lease: Hash32) -> Lease:
        if lease not in self.leases:
            raise Revert("UnknownLease")
        return self.leases[lease]

    def _check_redeemable(self, holder: Address, id_: int, amount: int) -> None:
        refuse_if(amount == 0, "NoAmount")
        refuse_if(id_ not in self.tranches, "NotOpen")
        asset, window, _ = credit_parts(id_)
        self._check_window(window)
        refuse_if(not self.is_active(holder), "NotActiveMember")
        refuse_if(not self.is_live(asset), "AssetNotLive")

    def _check_key(self, point: bytes) -> None:
        refuse_if(p256.p256_key(point) is None, "BadSessionKey")

    def _price_now(self, id_: int, amount: int) -> int:
        refuse_if(id_ not in self.tranches, "NotOpen")
        refuse_if(amount == 0, "NoAmount")
        asset, window, _ = credit_parts(id_)
        self._check_window(window)
        refuse_if(not self.is_live(asset), "AssetNotLive")
        return self.tranches[id_]

    def _check_window(self, window: int) -> None:
        refuse_if(not 0 <= window - self.current_window() <= self.genesis.horizon, "WindowNotOpen")
