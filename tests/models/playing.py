"""What every part of a random history needs: who acts, one call to chain and model alike, signatures and choices."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

from commonhold.chain.deployment import ContractName
from commonhold.chain.send import ContractRefused
from commonhold.signing import Statement
from commonhold.units import Address, Hash32, credit_id, credit_parts, keccak256
from tests.actors import Deployed, address_of
from tests.models.ledger import Ledgers
from tests.models.small import WINDOW_S

MEMBERS = ("provider", "affiliate", "owner", "buyer", "lessee", "juror", "elder")
HEIRS = ("heir0", "heir1", "heir2", "heir3")  # whom lost keys are replaced by
EVERYONE = (*MEMBERS, *HEIRS, "stranger")
ROLES: Mapping[Address, str] = {address_of(role): role for role in EVERYONE}


class Player:
    """One deployment of its own, and its model. `done` tells what was called and what came of it."""

    def __init__(self, deployed: Deployed, model: Ledgers, random: Random) -> None:
        self.deployed = deployed
        self.model = model
        self.random = random
        self.done: list[str] = []
        self._faults = 0.0  # how likely each thing that can be wrong with a call is

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
        assert on_chain == expected, f"chain: {on_chain}, model: {expected}, after {self.done[-20:]}; {args}"
        if function == "register":
            # A node may try a call as if in the newest block, where new units do not count yet.
            await self.deployed.anvil.mine()

    def _pick(self, of: Sequence[str]) -> str:
        return self.random.choice(of)

    def _someone(self) -> str:
        """An active member, most of the time."""
        active = [role for role in EVERYONE if self.model.is_active(address_of(role))]
        return self._pick(EVERYONE if self._rarely() or not active else active)

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

    def _held(self, contract: str) -> tuple[str, int, int]:
        """(role, id, amount) of something that somebody holds, or of nothing."""
        held = sorted(key[1:] for key in self.model.balances if key[0] == contract and key[1] in ROLES)
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
        live = [asset for asset in self.model.assets if self.model.is_live(asset)]
        return self.random.choice(sorted(self.model.assets if self._rarely() or not live else live) or [1])

    def _operator(self, asset: int) -> str:
        if asset not in self.model.assets or self._rarely():
            return "stranger"
        return self._role(self.model.assets[asset].operator)

    def _tranche(self, *, granted: bool) -> int:
        """Of a present or future window, most of the time."""
        live = [id_ for id_ in sorted(self.model.tranches) if credit_parts(id_)[1] >= self.model.current_window()]
        fitting = [id_ for id_ in live if (self.model.tranches[id_] == 0) == granted]
        if not fitting or self._rarely():
            return self.random.choice(sorted(self.model.tranches) or [credit_id(self._asset(), 1, 0)])
        return self.random.choice(fitting)

    def _role(self, account: Address) -> str:
        """Whoever has the account; a stranger for one of the contracts."""
        return ROLES.get(account, "stranger")
