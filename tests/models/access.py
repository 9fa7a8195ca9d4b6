"""Access of the reference model: see ledger.py. Source: contracts/src/Access.sol."""

from commonhold import p256, signing
from commonhold.signing import Domain
from commonhold.units import Address, Hash32, credit_id, credit_parts
from tests.models.assets import Assets
from tests.models.state import ALL, ZERO, Lease, operation, refuse_if


class Access(Assets):
    @operation
    def open(self, sender: Address, asset: int, window: int, tranche: int, price: int) -> None:
        refuse_if(sender != self._operator(asset), "NotOperator")
        self._check_window(window)
        refuse_if(credit_id(asset, window, tranche) in self.tranches, "AlreadyOpen")
        self.tranches[credit_id(asset, window, tranche)] = price

    @operation
    def grant(self, sender: Address, id_: int, to: Address, amount: int) -> None:
        refuse_if(sender != self._operator(credit_parts(id_)[0]), "NotOperator")
        refuse_if(self._price_now(id_, amount) != 0, "NotForGrant")
        refuse_if(to == ZERO, "ERC6909InvalidReceiver")
        self._update("Access", ZERO, to, id_, amount)

    @operation
    def buy(self, sender: Address, id_: int, amount: int, max_price: int) -> None:
        price = self._price_now(id_, amount)
        refuse_if(price == 0, "NotForSale")
        refuse_if(price > max_price, "PriceAbove")
        self._update("Access", ZERO, sender, id_, amount)
        cost = price * amount
        refuse_if(self.coins_allowed.get(sender, 0) < cost, "ERC20InsufficientAllowance")
        if self.coins_allowed[sender] != ALL:
            self.coins_allowed[sender] -= cost
        self._pay(sender, self.genesis.access, cost)

    @operation
    def redeem(self, sender: Address, r: signing.Redemption) -> None:
        refuse_if(sender != r.holder, "NotHolder")
        self._redeem(r)

    @operation
    def redeem_for(self, r: signing.Redemption, holder_signed: bool) -> None:
        refuse_if(not holder_signed, "BadHolderSignature")
        self._redeem(r)

    def lease_id(self, r: signing.Redemption) -> Hash32:
        return signing.digest(Domain("Access", self.genesis.chain_id, self.genesis.access), r)

    def _redeem(self, r: signing.Redemption) -> None:
        refuse_if(self.now_s > r.deadline, "DeadlinePassed")
        refuse_if(r.amount == 0, "NoAmount")
        refuse_if(r.id not in self.tranches, "NotOpen")
        asset, window, _ = credit_parts(r.id)
        self._check_window(window)
        refuse_if(p256.p256_key(r.key_x + r.key_y) is None, "BadSessionKey")
        refuse_if(not self.is_active(r.holder), "NotActiveMember")
        refuse_if(self.assets[asset].appraisal.expires_at <= self.now_s, "AssetNotLive")
        lease = self.lease_id(r)
        refuse_if(lease in self.leases, "LeaseExists")

        class_ = self.assets[asset].appraisal.class_id
        key = (class_, int(window), self.root_of(r.holder))
        refuse_if(self.redeemed.get(key, 0) + r.amount > self.most_seconds(class_), "OverUseLimit")
        self._count(self.redeemed, key, r.amount)
        starts_at = max(self.now_s, window * self.genesis.window_seconds)
        self.leases[lease] = Lease(r, starts_at, self.number)
        self._update("Access", r.holder, ZERO, r.id, r.amount)

    def _price_now(self, id_: int, amount: int) -> int:
        refuse_if(id_ not in self.tranches, "NotOpen")
        refuse_if(amount == 0, "NoAmount")
        self._check_window(credit_parts(id_)[1])
        return self.tranches[id_]

    def _check_window(self, window: int) -> None:
        refuse_if(not 0 <= window - self.current_window() <= self.genesis.horizon, "WindowNotOpen")

    def _pay(self, sender: Address, receiver: Address, amount: int) -> None:
        refuse_if(self.coins.get(sender, 0) < amount, "ERC20InsufficientBalance")
        self._count(self.coins, sender, -amount)
        self._count(self.coins, receiver, amount)
