"""What may happen to credits, leases, receipts and anchors in a random history: see history.py."""

from commonhold import signing
from commonhold.units import Hash32, credit_parts
from tests.actors import address_of, point_of
from tests.models.play_ledger import LedgerPlayer
from tests.models.playing import EVERYONE
from tests.models.small import HORIZON


class AccessPlayer(LedgerPlayer):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._sessions: dict[Hash32, list[str]] = {}  # lease -> roles of its session keys, the oldest first

    async def _open(self) -> None:
        asset = self._asset()
        window = self.model.current_window() + self.random.choice([0, 0, 1, HORIZON]) - 3 * self._rarely()
        tranche, price = self.random.choice([(0, 0), (1, 7), (2, 300)])
        sender = self._operator(asset)
        await self._both(
            lambda: self.model.open(address_of(sender), asset, window, tranche, price),
            sender, "Access", "open", asset, window, tranche, price,
        )  # fmt: skip

    async def _grant(self) -> None:
        id_ = self._tranche(granted=True)
        to, amount = self._receiver(), 0 if self._rarely() else self.random.choice([1, 600, 1_800, 20_000])
        sender = self._operator(credit_parts(id_)[0])
        await self._both(
            lambda: self.model.grant(address_of(sender), id_, to, amount), sender, "Access", "grant", id_, to, amount
        )

    async def _buy(self) -> None:
        id_, buyer = self._tranche(granted=False), self._someone()
        amount, most = self.random.choice([1, 60, 600, 600, 20_000]), 7 if self._rarely() else 10_000
        await self._both(
            lambda: self.model.buy(address_of(buyer), id_, amount, most), buyer, "Access", "buy", id_, amount, most
        )

    async def _redeem(self) -> None:
        holder, id_, amount = self._held("Access")
        key = bytes(64) if self._rarely() else point_of(holder)
        nonce = self.random.randrange(3)
        r = signing.Redemption(
            address_of(holder), id_, amount, Hash32(key[:32]), Hash32(key[32:]), nonce, self._deadline()
        )
        self._sessions.setdefault(self.model.lease_id(r), [holder])
        if self.random.random() < 0.5:
            sender = "stranger" if self._rarely() else holder
            await self._both(lambda: self.model.redeem(address_of(sender), r), sender, "Access", "redeem", r)
        else:
            signer = "stranger" if self._rarely() else holder
            await self._both(
                lambda: self.model.redeem_for(r, signer == holder),
                "relayer", "Access", "redeemFor", r, self.deployed.sign(signer, r),
            )  # fmt: skip

    async def _split(self) -> None:
        lease = self._lease()
        found = self.model.leases.get(lease)
        amount = self.random.choice([0, 1, 60, (found.amount if found else 9) // 2, 10**6])
        key, session = self._key()
        s = signing.Split(lease, amount, *key, self._change(lease), self._deadline())
        self._sessions.setdefault(self.model.part_id(s), [session])
        sender, is_holders = self._who(lease)
        await self._both(
            lambda: self.model.split(s, is_holders), sender, "Access", "split", s, self._signed(lease, s, is_holders)
        )

    async def _top_up(self) -> None:
        lease = self._lease()
        t = signing.TopUp(lease, self.random.choice([0, 1, 300, 10**6]), self._change(lease), self._deadline())
        sender, is_holders = self._who(lease)
        await self._both(
            lambda: self.model.top_up(t, is_holders), sender, "Access", "topUp", t, self._signed(lease, t, is_holders)
        )

    async def _rotate(self) -> None:
        lease = self._lease()
        key, session = self._key()
        r = signing.Rotation(lease, *key, self._change(lease), self._deadline())
        sender, is_holders = self._who(lease)
        before = self.model.leases.get(lease)
        await self._both(
            lambda: self.model.rotate(r, is_holders), sender, "Access", "rotate", r, self._signed(lease, r, is_holders)
        )
        if self.model.leases.get(lease) != before:
            self._sessions[lease].append(session)

    async def _refund(self) -> None:
        ended = [
            lease
            for lease, found in self.model.leases.items()
            if found.price and not found.refunded and self.model.settleable_until(found) < self.model.now_s
        ]
        lease = self.random.choice(sorted(ended)) if ended and not self._rarely() else self._lease()
        await self._both(lambda: self.model.refund(lease), "relayer", "Access", "refund", lease)

    async def _refund_credits(self) -> None:
        holder, id_, _ = self._held("Access")
        account = address_of(holder)
        await self._both(
            lambda: self.model.refund_credits(id_, account), "relayer", "Access", "refundCredits", id_, account
        )

    async def _recover_access(self) -> None:
        member = self._replaced()
        ids = sorted(key[2] for key in self.model.balances if key[:2] == ("Access", member))[:3]
        leases = sorted(lease for lease, found in self.model.leases.items() if found.holder == member)[:3]
        if self._rarely():
            leases.append(self._lease())
        await self._both(
            lambda: self.model.recover_access(member, ids, leases),
            "relayer", "Access", "recover", member, ids, leases,
        )  # fmt: skip

    async def _settle(self) -> None:
        receipts, model_receipts = [], []
        for lease in self.random.sample(sorted(self.model.leases), min(3, len(self.model.leases))):
            found = self.model.leases[lease]
            name, sessions = self._names[credit_parts(found.id)[0]], self._sessions[lease]
            gpu_ms = found.settled_ms + self.random.choice(
                [0, 1, 999, 5_000, 5_000, found.amount * 400, found.amount * 1_001]
            )
            number = self.random.randrange(len(sessions)) + self._rarely()
            right = sessions[min(number, len(sessions) - 1)]
            node = "stranger" if self._rarely() else name
            session = "stranger" if self._rarely() else right
            signed = self.deployed.signed_receipt(lease, gpu_ms, node=node, session=session, key_number=number)
            receipts.append(signed)
            model_receipts.append((signed[0], number, node == name, session == right))
        if self._rarely():
            signed = self.deployed.signed_receipt(self._hash("no lease"), 1)
            receipts.append(signed)
            model_receipts.append((signed[0], 0, True, True))
        await self._both(lambda: self.model.settle(model_receipts), "relayer", "Meter", "settle", receipts)

    async def _anchor(self) -> None:
        submitter = self._pick(EVERYONE)
        epoch = self.model.next_epoch.get(address_of(submitter), 0) + self._rarely()
        root, count = self._hash("root"), self.random.choice([0, 1, 2**32 - 1])
        gpu_ms = self.random.choice([0, 2**64 - 1])
        await self._both(
            lambda: self.model.anchor(address_of(submitter), epoch, root, count, gpu_ms, "https://epoch"),
            submitter, "Meter", "anchor", epoch, root, count, gpu_ms, "https://epoch",
        )  # fmt: skip

    def _lease(self) -> Hash32:
        leases = sorted(self.model.leases)
        return self.random.choice(leases) if leases and not self._rarely() else self._hash("no lease")

    def _change(self, lease: Hash32) -> int:
        found = self.model.leases.get(lease)
        return (found.changes if found else 0) + self._rarely()

    def _who(self, lease: Hash32) -> tuple[str, bool]:
        """Who sends a change of a lease, and whether the holder stands behind it."""
        holder = self._holder(lease)
        if self.random.random() < 0.5:
            return holder, True
        return "relayer", not self._rarely()

    def _holder(self, lease: Hash32) -> str:
        found = self.model.leases.get(lease)
        return self._role(found.holder) if found else "stranger"

    def _signed(self, lease: Hash32, statement: signing.Statement, is_holders: bool) -> bytes:
        return self.deployed.sign(self._holder(lease) if is_holders else "submitter", statement)

    def _key(self) -> tuple[tuple[Hash32, Hash32], str]:
        """A session key, and the role that has it."""
        session = self._pick(EVERYONE)
        point = bytes(64) if self._rarely() else point_of(session)
        return (Hash32(point[:32]), Hash32(point[32:])), session
