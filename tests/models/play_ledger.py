"""What may happen to assets and their units in a random history: see history.py."""

from commonhold import signing
from commonhold.chain.deployment import ContractName
from commonhold.units import UNIT, Address, Hash32, class_id
from tests.actors import APPRAISERS, address_of, point_of
from tests.models.playing import EVERYONE, MEMBERS, Player
from tests.models.small import GPUS, TEXT


class LedgerPlayer(Player):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._names: dict[int, str] = {}  # asset -> role of its meter key

    async def _register(self) -> None:
        operator, name = self._pick(MEMBERS[:-1]), f"asset {self.random.randrange(16)}"
        a = self._appraisal(operator, name)
        quorum, model_quorum = self._quorum(self._signers(APPRAISERS), a)
        owners = self.random.sample(EVERYONE if self._rarely() else MEMBERS[:-1], self.random.randint(1, 3))
        share = a.units // len(owners) + self._rarely() * a.units
        split = [(address_of(owner), share) for owner in owners]
        sender, price = "stranger" if self._rarely() else operator, self.random.choice([0, 3, 900])
        self._names[self.model.asset_id(a)] = name
        await self._both(
            lambda: self.model.register(address_of(sender), a, model_quorum, split, price, name),
            sender, "Ledger", "register", a, quorum, split, price, name,
        )  # fmt: skip

    async def _renew_appraisal(self) -> None:
        asset = self._asset()
        old = self.model.assets[asset].appraisal
        a = self._appraisal(self._role(self.model.assets[asset].operator), self._names[asset], old, ends_after=9)
        quorum, model_quorum = self._quorum(self._signers(APPRAISERS), a)
        await self._both(
            lambda: self.model.renew_appraisal(asset, a, model_quorum), "relayer", "Ledger", "renew", asset, a, quorum
        )

    async def _transfer_units(self) -> None:
        await self._transfer("Ledger")

    async def _transfer_credits(self) -> None:
        await self._transfer("Access")

    async def _transfer(self, contract: ContractName) -> None:
        sender, id_, amount = self._held(contract)
        to = self._receiver()
        await self._both(
            lambda: self.model.transfer(contract, address_of(sender), to, id_, amount),
            sender, contract, "transfer", to, id_, amount,
        )  # fmt: skip

    async def _transfer_from(self) -> None:
        contract: ContractName = self._pick(("Ledger", "Access"))  # type: ignore[assignment]
        owner, id_, amount = self._held(contract)
        caller, to = self._pick(EVERYONE), self._receiver()
        await self._both(
            lambda: self.model.transfer_from(contract, address_of(caller), address_of(owner), to, id_, amount),
            caller, contract, "transferFrom", address_of(owner), to, id_, amount,
        )  # fmt: skip

    async def _permit(self) -> None:
        contract: ContractName = self._pick(("Ledger", "Access"))  # type: ignore[assignment]
        owner, id_, amount = self._held(contract)
        spender, approved = address_of(self._pick(EVERYONE)), self.random.random() < 0.7
        if self.random.random() < 0.5:
            await self._both(
                lambda: self.model.set_operator(contract, address_of(owner), spender, approved),
                owner, contract, "setOperator", spender, approved,
            )  # fmt: skip
        else:
            await self._both(
                lambda: self.model.approve(contract, address_of(owner), spender, id_, amount),
                owner, contract, "approve", spender, id_, amount,
            )  # fmt: skip

    async def _lower_commons_price(self) -> None:
        asset, price = self._asset(), self.random.choice([0, 1, 2, 500, 900])
        sender = self._operator(asset)
        await self._both(
            lambda: self.model.lower_commons_price(address_of(sender), asset, price),
            sender, "Ledger", "lowerCommonsPrice", asset, price,
        )  # fmt: skip

    async def _take(self) -> None:
        held = [key[2] for key in self.model.balances if key[:2] == ("Ledger", self.model.genesis.ledger)]
        asset = self.random.choice(sorted(held)) if held and not self._rarely() else self._asset()
        role, most = self._someone(), 2 if self._rarely() else 1_000
        units = 0 if self._rarely() else self.random.choice([1, 50, UNIT // 2, UNIT])
        await self._both(
            lambda: self.model.take(address_of(role), asset, units, most), role, "Ledger", "take", asset, units, most
        )

    async def _decline(self) -> None:
        role, asset, units = self._held("Ledger")
        units = units // 3 or units
        await self._both(
            lambda: self.model.decline(address_of(role), asset, units), role, "Ledger", "decline", asset, units
        )

    async def _retire(self) -> None:
        lapsed = [
            asset for asset, found in self.model.assets.items() if not found.retired and not self.model.is_live(asset)
        ]
        asset = self.random.choice(sorted(lapsed)) if lapsed and not self._rarely() else self._asset()
        devices = self.model.assets[asset].appraisal.devices if asset in self.model.assets else ()
        if self._rarely():
            devices = devices[1:]
        await self._both(lambda: self.model.retire(asset, devices), "relayer", "Ledger", "retire", asset, devices)

    async def _sync(self) -> None:
        retired = [asset for asset, found in self.model.assets.items() if found.retired]
        asset = self.random.choice(retired) if retired and not self._rarely() else self._asset()
        holders = [address_of(role) for role in self.random.sample(EVERYONE, 2)]
        await self._both(lambda: self.model.sync(asset, holders), "relayer", "Ledger", "sync", asset, holders)

    async def _claim(self) -> None:
        earning = [
            (asset, owner)
            for (contract, owner, asset) in self.model.balances
            if contract == "Ledger" and self.model.revenue_of(asset, owner) and owner != self.model.genesis.ledger
        ]
        asset, account = (
            self.random.choice(sorted(earning))
            if earning and not self._rarely()
            else (self._asset(), address_of(self._pick(EVERYONE)))
        )
        await self._both(lambda: self.model.claim(asset, account), "relayer", "Ledger", "claim", asset, account)

    async def _share_commons(self) -> None:
        earning = [asset for asset in self.model.indices if self.model.revenue_of(asset, self.model.genesis.ledger)]
        asset = self.random.choice(sorted(earning)) if earning and not self._rarely() else self._asset()
        await self._both(lambda: self.model.share_commons(asset), "relayer", "Ledger", "shareCommons", asset)

    async def _claim_commons(self) -> None:
        earning = [root for root in self.model.places if self.model.commons_revenue_of(root)]
        root = self.random.choice(sorted(earning)) if earning and not self._rarely() else address_of("stranger")
        await self._both(lambda: self.model.claim_commons(root), "relayer", "Ledger", "claimCommons", root)

    async def _recover_units(self) -> None:
        member = self._replaced()
        held = [key[2] for key in self.model.balances if key[:2] == ("Ledger", member)]
        assets = sorted(held)[:3] or [self._asset()]
        await self._both(
            lambda: self.model.recover_units(member, assets), "relayer", "Ledger", "recover", member, assets
        )

    def _replaced(self) -> Address:
        replaced = [who for who, member in self.model.members.items() if member.successor != bytes(20)]
        return self.random.choice(sorted(replaced)) if replaced else address_of(self._pick(EVERYONE))

    def _appraisal(
        self, operator: str, name: str, old: signing.Appraisal | None = None, ends_after: int = 6
    ) -> signing.Appraisal:
        gpus = int(name.split()[1]) % 4  # 0: a dataset
        units = gpus * UNIT if gpus else self.random.choice([200, 300, 700]) if old is None else old.units
        point = point_of(name) if gpus else bytes(64)
        if gpus and self._rarely():
            point = bytes(64)
        if old is None and self._rarely():
            units = 0
        return signing.Appraisal(
            class_id=class_id(GPUS if gpus else "data/no such" if self._rarely() else TEXT),
            registrant=address_of(operator),
            content_hash=self._hash(f"content of {name}"),
            result_hash=self._hash(f"result {self.random.random()}"),
            policy="development",
            units=units,
            level=2 if self._rarely() else 3,
            devices=tuple(sorted(self._hash(f"device {at} of {name}") for at in range(gpus))),
            meter_key_x=Hash32(point[:32]),
            meter_key_y=Hash32(point[32:]),
            expires_at=self._ends(24 * ends_after if self.random.random() < 0.5 else ends_after),
            deadline=self._deadline(),
        )
