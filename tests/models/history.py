"""Random histories, played at once on a chain and in the reference model: both must answer every call alike.

The chain's clock moves by one second a block and is always in the first half of a window; what ends, ends in the second
half of one. So no answer hangs on the second in which a node tries a call.
"""

from collections.abc import Callable, Sequence
from random import Random

from commonhold import signing
from commonhold.chain.deploy import deploy
from commonhold.chain.deployment import ContractName
from commonhold.chain.node import Anvil
from commonhold.chain.rpc import Rpc
from commonhold.chain.send import ContractRefused
from commonhold.signing import Statement
from commonhold.units import UNIT, Address, Hash32, address_text, class_id, credit_id, credit_parts, keccak256
from tests.actors import APPRAISERS, ATTESTERS, Deployed, address_of, key_of, point_of
from tests.models.ledger import Ledgers
from tests.models.small import GPUS, HORIZON, TEXT, WINDOW_S, genesis, model_genesis

MEMBERS = ("provider", "affiliate", "owner", "buyer", "lessee")
EVERYONE = (*MEMBERS, "stranger")
PURSE = 10**6
ACCESS_TO_COINS = 10**9  # more than a purse: payments fail for lack of coins first


class History:
    """One deployment of its own, and its model. `done` tells what was called and what came of it."""

    def __init__(self, deployed: Deployed, model: Ledgers, random: Random) -> None:
        self.deployed = deployed
        self.model = model
        self.random = random
        self.done: list[str] = []
        self._faults = 0.0  # how likely each thing that can be wrong with a call is
        self._receipts: dict[Hash32, str] = {}  # lease -> role of its session key
        self._names: dict[int, str] = {}  # asset -> role of its meter key

    @classmethod
    async def begin(cls, anvil: Anvil, seed: str) -> "History":
        """A new deployment on `anvil`: everybody has a purse, most are members, and there are credits to be had."""
        rpc, random = Rpc(anvil.url), Random(seed)
        start = ((await rpc.head()).timestamp // WINDOW_S + 2) * WINDOW_S + WINDOW_S // 8
        await anvil.request("anvil_setBlockTimestampInterval", 1)
        await anvil.request("evm_setNextBlockTimestamp", start)
        for role in (*EVERYONE, "deployer", "relayer"):
            await anvil.fund(address_text(address_of(role)), 10**20)
        deployment = await deploy(rpc, key_of("deployer"), genesis())
        deployed = Deployed(anvil, rpc, deployment, WINDOW_S)
        history = cls(deployed, Ledgers(model_genesis(deployment), now_s=start), random)
        for role in EVERYONE:
            await deployed.send("deployer", "Coin", "transfer", address_of(role), PURSE)
            await deployed.send(role, "Coin", "approve", deployment.access, ACCESS_TO_COINS)
            history.model.coins[address_of(role)] = PURSE
            history.model.coins_allowed[address_of(role)] = ACCESS_TO_COINS
        for role in MEMBERS[:-1]:
            await history._admit(role)
        for _ in range(3):
            await history._register()
        for _ in range(6):
            await history._open()
        history._faults = 0.06
        return history

    async def end(self) -> None:
        """The chain's clock runs as before; nothing is open."""
        await self.deployed.anvil.request("anvil_removeBlockTimestampInterval")
        await self.deployed.rpc.close()

    async def step(self) -> None:
        """One random call. Most would be accepted by a contract that has what they need."""
        calls: list[tuple[int, Callable[[], object]]] = [
            (2, lambda: self._admit(self._pick(EVERYONE))),
            (1, self._renew_membership),
            (1, self._attach),
            (1, self._find),
            (5, self._register),
            (1, self._renew_appraisal),
            (6, self._transfer_units),
            (2, self._transfer_from),
            (2, self._permit),
            (4, self._open),
            (5, self._grant),
            (4, self._buy),
            (3, self._transfer_credits),
            (5, self._redeem),
            (5, self._settle),
            (1, self._anchor),
            (1, self._wait),
        ]
        weights = [weight for weight, _ in calls]
        await self.random.choices([call for _, call in calls], weights)[0]()  # type: ignore[misc]

    async def _admit(self, role: str) -> None:
        identity = self._hash(self._pick(EVERYONE) if self._rarely() else role)
        a = signing.Admission(address_of(role), identity, self._ends(20), self._deadline())
        quorum, model_quorum = self._quorum(self._signers(ATTESTERS), a)
        await self._both(lambda: self.model.admit(a, model_quorum), "relayer", "Members", "admit", a, quorum)

    async def _renew_membership(self) -> None:
        r = signing.Renewal(address_of(self._pick(EVERYONE)), self._ends(30), self._deadline())
        quorum, model_quorum = self._quorum(self._signers(ATTESTERS), r)
        await self._both(lambda: self.model.renew_membership(r, model_quorum), "relayer", "Members", "renew", r, quorum)

    async def _attach(self) -> None:
        member, controller = address_of(self._pick(EVERYONE)), address_of(self._pick(EVERYONE))
        nonce = self.model.nonces.get(member, 0) + self._rarely()
        a = signing.Attachment(member, controller, nonce, self._deadline())
        roots = [self._role(self.model.root_of(account)) for account in (member, controller)]
        forged = self._rarely()
        first = self.deployed.sign("stranger" if forged else roots[0], a)
        await self._both(
            lambda: self.model.attach(a, not forged or roots[0] == "stranger", True),
            "relayer", "Members", "attach", a, first, self.deployed.sign(roots[1], a),
        )  # fmt: skip

    async def _find(self) -> None:
        evidence = Hash32(bytes(32)) if self._rarely() else self._hash("evidence")
        f = signing.Finding(
            address_of(self._pick(EVERYONE)), address_of(self._pick(EVERYONE)), evidence, self._deadline()
        )
        quorum, model_quorum = self._quorum(self._signers(ATTESTERS), f)
        await self._both(lambda: self.model.find(f, model_quorum), "relayer", "Members", "find", f, quorum)

    async def _register(self) -> None:
        operator, name = self._pick(MEMBERS[:-1]), f"asset {self.random.randrange(16)}"
        a = self._appraisal(operator, name)
        quorum, model_quorum = self._quorum(self._signers(APPRAISERS), a)
        owners = self.random.sample(EVERYONE if self._rarely() else MEMBERS[:-1], self.random.randint(1, 3))
        share = a.units // len(owners) + self._rarely() * a.units
        split = [(address_of(owner), share) for owner in owners]
        sender = "stranger" if self._rarely() else operator
        self._names[self.model.asset_id(a)] = name
        await self._both(
            lambda: self.model.register(address_of(sender), a, model_quorum, split, name),
            sender, "Ledger", "register", a, quorum, split, name,
        )  # fmt: skip

    async def _renew_appraisal(self) -> None:
        asset = self.random.choice(sorted(self.model.assets))
        old = self.model.assets[asset].appraisal
        a = self._appraisal(self._role(old.registrant), self._names[asset], old, ends_after=9)
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

    async def _open(self) -> None:
        asset = self._asset()
        window = self.model.current_window() + self.random.randint(0, HORIZON) - 3 * self._rarely()
        tranche, price = self.random.choice([(0, 0), (1, 7), (2, 3_000)])
        sender = self._operator(asset)
        await self._both(
            lambda: self.model.open(address_of(sender), asset, window, tranche, price),
            sender, "Access", "open", asset, window, tranche, price,
        )  # fmt: skip

    async def _grant(self) -> None:
        id_ = self._tranche(granted=True)
        to, amount = self._receiver(), 0 if self._rarely() else self.random.choice([1, 600, 3_600, 20_000])
        sender = self._operator(credit_parts(id_)[0])
        await self._both(
            lambda: self.model.grant(address_of(sender), id_, to, amount), sender, "Access", "grant", id_, to, amount
        )

    async def _buy(self) -> None:
        id_, buyer = self._tranche(granted=False), self._pick(EVERYONE)
        amount, most = self.random.choice([1, 600, 20_000]), 7 if self._rarely() else 10_000
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
        self._receipts[self.model.lease_id(r)] = holder
        if self.random.random() < 0.5:
            sender = "stranger" if self._rarely() else holder
            await self._both(lambda: self.model.redeem(address_of(sender), r), sender, "Access", "redeem", r)
        else:
            signer = "stranger" if self._rarely() else holder
            await self._both(
                lambda: self.model.redeem_for(r, signer == holder),
                "relayer", "Access", "redeemFor", r, self.deployed.sign(signer, r),
            )  # fmt: skip

    async def _settle(self) -> None:
        receipts, model_receipts = [], []
        for lease in self.random.sample(sorted(self.model.leases), min(2, len(self.model.leases))):
            found = self.model.leases[lease]
            name = self._names[credit_parts(found.redemption.id)[0]]
            gpu_ms = found.settled_ms + self.random.choice([0, 1, 999, 5_000, 5_000, 5_000_000])
            node = "stranger" if self._rarely() else name
            session = "stranger" if self._rarely() else self._receipts[lease]
            signed = self.deployed.signed_receipt(lease, gpu_ms, node=node, session=session)
            receipts.append(signed)
            model_receipts.append((signed[0], node == name, session == self._receipts[lease]))
        if self._rarely():
            signed = self.deployed.signed_receipt(self._hash("no lease"), 1)
            receipts.append(signed)
            model_receipts.append((signed[0], True, True))
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

    async def _wait(self) -> None:
        """The next block is in another window, and as early in it."""
        windows = self.random.choice([1, 1, 2, 6])
        now = (await self.deployed.rpc.head()).timestamp
        await self.deployed.anvil.request("evm_setNextBlockTimestamp", now + windows * WINDOW_S)
        await self.deployed.anvil.mine()
        self.done.append(f"{windows} windows pass")

    async def _both(
        self, in_model: Callable[[], str | None], role: str, name: ContractName, function: str, *args: object
    ) -> None:
        """Chain and model give the same answer."""
        try:
            block = (await self.deployed.send(role, name, function, *args)).block
            self.model.number, self.model.now_s = block.number, block.timestamp
            on_chain = None
        except ContractRefused as refused:
            head = await self.deployed.rpc.head()
            self.model.number, self.model.now_s = head.number + 1, head.timestamp + 1
            on_chain = refused.error
        expected = in_model()
        self.done.append(f"{role}: {name}.{function}: {on_chain or 'done'}")
        assert on_chain == expected, (self.done, args)
        if function == "register":
            # A node may try a call as if in the newest block, where new units do not count yet.
            await self.deployed.anvil.mine()

    def _pick(self, of: Sequence[str]) -> str:
        return self.random.choice(of)

    def _rarely(self) -> bool:
        return self.random.random() < self._faults

    def _hash(self, name: str) -> Hash32:
        return keccak256(name.encode())

    def _ends(self, windows: int) -> int:
        """In the second half of one of the next windows."""
        ahead = 0 if self._rarely() else self.random.randint(windows // 2, windows)
        return (self.model.now_s // WINDOW_S + ahead) * WINDOW_S + WINDOW_S * 3 // 4

    def _deadline(self) -> int:
        return self.model.now_s - 1_000 if self._rarely() else self.model.now_s + 30 * WINDOW_S

    def _signers(self, of: Sequence[str]) -> Sequence[str]:
        if self._rarely():
            return self.random.choice([of[:1], (*of[:1], "stranger"), of[:0]])
        return self.random.sample(of, self.random.choice([2, 3]))

    def _quorum(
        self, signers: Sequence[str], statement: Statement
    ) -> tuple[list[tuple[Address, bytes]], list[tuple[Address, bool]]]:
        """Signatures for the chain, and what the model needs to know of them."""
        forged = self._rarely()
        quorum = sorted((address_of(role), role) for role in signers)
        if self._rarely():
            quorum.reverse()
        signatures = [(who, self.deployed.sign("stranger" if forged else role, statement)) for who, role in quorum]
        return signatures, [(who, not forged or role == "stranger") for who, role in quorum]

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
            expires_at=self._ends(ends_after),
            deadline=self._deadline(),
        )

    def _held(self, contract: str) -> tuple[str, int, int]:
        """(role, id, amount) of something that somebody holds, or of nothing."""
        held = sorted(key[1:] for key in self.model.balances if key[0] == contract and key[1] in _ROLES)
        if not held or self._rarely():
            return self._pick(EVERYONE), self.random.choice([0, 10**30]), self.random.choice([0, 1])
        owner, id_ = self.random.choice(held)
        balance = self.model.balance(contract, owner, id_)
        amount = self.random.choice([1, balance // 3, balance // 2, balance, balance]) if not self._rarely() else 0
        return self._role(owner), id_, amount + self._rarely()

    def _receiver(self) -> Address:
        if self._rarely():
            return self.random.choice([self.model.genesis.ledger, Address(bytes(20)), address_of("stranger")])
        return address_of(self._pick(MEMBERS))

    def _asset(self) -> int:
        return self.random.choice(sorted(self.model.assets) or [1])

    def _operator(self, asset: int) -> str:
        if asset not in self.model.assets or self._rarely():
            return "stranger"
        return self._role(self.model.assets[asset].appraisal.registrant)

    def _tranche(self, *, granted: bool) -> int:
        """Of a present or future window, most of the time."""
        live = [id_ for id_ in sorted(self.model.tranches) if credit_parts(id_)[1] >= self.model.current_window()]
        fitting = [id_ for id_ in live if (self.model.tranches[id_] == 0) == granted]
        if not fitting or self._rarely():
            return self.random.choice(sorted(self.model.tranches) or [credit_id(self._asset(), 1, 0)])
        return self.random.choice(fitting)

    def _role(self, account: Address) -> str:
        return _ROLES[account]


_ROLES = {address_of(role): role for role in EVERYONE}
