"""Random histories, played at once on a chain and in the reference model: both must answer every call alike.

The chain's clock moves by one second a block and is always in the first half of a window; what ends, ends in the second
half of one. So no answer hangs on the second in which a node tries a call.
"""

from collections.abc import Callable
from random import Random

from commonhold.chain.deploy import deploy
from commonhold.chain.node import Anvil
from commonhold.chain.rpc import Rpc
from commonhold.units import Address, address_text, credit_parts, keccak256
from tests.actors import Deployed, address_of, key_of
from tests.models.ledger import Ledgers
from tests.models.play_access import AccessPlayer
from tests.models.play_council import CouncilPlayer
from tests.models.play_members import MemberPlayer
from tests.models.playing import EVERYONE, MEMBERS
from tests.models.small import WINDOW_S, genesis, model_genesis
from tests.models.state import ZERO

PURSE = 10**6
COINS_ALLOWED = 10**9  # more than a purse: payments fail for lack of coins first


class History(MemberPlayer, AccessPlayer, CouncilPlayer):
    """All that may happen."""

    @classmethod
    async def begin(cls, anvil: Anvil, seed: str) -> "History":
        """A new deployment on `anvil`: everybody has a purse, most are members, and there are credits to be had."""
        rpc, random = Rpc(anvil.url), Random(seed)
        start = ((await rpc.head()).timestamp // WINDOW_S + 2) * WINDOW_S + WINDOW_S // 8
        await anvil.request("anvil_setBlockTimestampInterval", 1)
        await anvil.request("evm_setNextBlockTimestamp", start)
        for role in (*EVERYONE, "deployer", "relayer", "submitter"):
            await anvil.fund(address_text(address_of(role)), 10**20)
        deployment = await deploy(rpc, key_of("deployer"), genesis(), salt=keccak256(seed.encode()))
        deployed = Deployed(anvil, rpc, deployment, WINDOW_S)
        history = cls(deployed, Ledgers(model_genesis(deployment), now_s=start), random)
        for role in EVERYONE:
            await deployed.send("deployer", "Coin", "transfer", address_of(role), PURSE)
            history.model.coins[address_of(role)] = PURSE
            for spender in (deployment.access, deployment.ledger):
                await deployed.send(role, "Coin", "approve", spender, COINS_ALLOWED)
                history.model.coins_allowed[address_of(role), spender] = COINS_ALLOWED
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
        """One random call. Most would be accepted by a contract that has what they need: what can come to something now
        is called more often."""
        model = self.model
        now = model.now_s
        open_now = any(credit_parts(id_)[1] >= model.current_window() for id_ in model.tranches)
        controlled = any(member.controller != ZERO and member.until for member in model.members.values())
        lapsed = any(member.counted and member.until <= now for member in model.members.values())
        replaced = {who for who, member in model.members.items() if member.successor != ZERO}
        commons_earned = any(model.revenue_of(asset, model.genesis.ledger) for asset in model.assets)
        states = {model.state_of(text) for text in model.proposals}
        pending = [course.pending_at for course in model.courses.values() if course.pending_at]
        calls: list[tuple[int, Callable[[], object]]] = [
            (2, lambda: self._admit(self._pick((*MEMBERS, "stranger")))),
            (1, self._renew_membership),
            (_likely(lapsed, 4), self._lapse),
            (1, self._refuse_gifts),
            (1, self._attach),
            (1, self._find),
            (_likely(controlled, 4), self._detach),
            (_likely(bool(model.detachings)), self._challenge_detach),
            (_likely(any(at <= now for at, _ in model.detachings.values()), 12), self._complete_detach),
            (2, self._recover_member),
            (_likely(bool(model.recoveries)), self._veto_recovery),
            (_likely(any(at <= now for _, at in model.recoveries.values()), 12), self._complete_recovery),
            (4, self._register),
            (1, self._renew_appraisal),
            (6, self._transfer_units),
            (2, self._transfer_from),
            (2, self._permit),
            (1, self._lower_commons_price),
            (3, self._take),
            (1, self._decline),
            (2, self._retire),
            (_likely(any(found.retired for found in model.assets.values()), 2), self._sync),
            (_likely(bool(model.indices), 4), self._claim),
            (_likely(commons_earned), self._share_commons),
            (_likely(bool(model.shared)), self._claim_commons),
            (_likely(self._holds("Ledger", replaced), 8), self._recover_units),
            (4 if open_now else 16, self._open),
            (_likely(open_now, 6), self._grant),
            (_likely(open_now, 8), self._buy),
            (_likely(open_now, 3), self._transfer_credits),
            (_likely(open_now, 10), self._redeem),
            (_likely(open_now, 3), self._split),
            (_likely(open_now, 2), self._top_up),
            (_likely(open_now, 2), self._rotate),
            (_likely(self._refundable(), 6), self._refund),
            (_likely(not open_now), self._refund_credits),
            (_likely(self._holds("Access", replaced), 8), self._recover_access),
            (_likely(bool(model.leases), 8), self._settle),
            (1, self._anchor),
            (_likely("Active" not in states, 2), self._propose),
            (_likely("Active" in states, 20), self._vote),
            (_likely("Succeeded" in states, 12), self._queue),
            (_likely("Queued" in states, 6), self._execute),
            (_likely(any(at <= now for at in pending), 12), self._enact),
            (_likely(any(at <= now for at in model.signers_ready.values()), 12), self._enact_signer),
            (1, self._as_stranger),
            (6, self._trade),
            (9, self._wait),
        ]
        weights = [weight for weight, _ in calls]
        await self.random.choices([call for _, call in calls], weights)[0]()  # type: ignore[misc]

    async def _trade(self) -> None:
        """Credits of a present window on their way into a lease and a receipt, as most of them go."""
        for call in (self._register, self._open, self._open, self._buy, self._grant, self._redeem, self._settle):
            await call()

    async def _wait(self) -> None:
        """The next block is in another window, and a little later in it: no delay ends at the very second."""
        model = self.model
        chances = {1: 8, 2: 2, 6: 1, 24 * 91: 1}
        if (
            model.detachings
            or model.recoveries
            or {"Pending", "Active", "Queued"} & set(map(model.state_of, model.proposals))
        ):
            chances[25] = 5
        if model.signers_ready or any(course.pending_at for course in model.courses.values()):
            chances[24 * 15] = 3
        windows = self.random.choices(list(chances), list(chances.values()))[0]
        now = (await self.deployed.rpc.head()).timestamp
        await self.deployed.anvil.request("evm_setNextBlockTimestamp", now + windows * WINDOW_S + 7)
        await self.deployed.anvil.mine()
        head = await self.deployed.rpc.head()
        model.number, model.now_s = head.number + 1, head.timestamp + 1
        self.done.append(f"{windows} windows pass")

    def _holds(self, contract: str, accounts: set[Address]) -> bool:
        return any(key[0] == contract and key[1] in accounts for key in self.model.balances)

    def _refundable(self) -> bool:
        return any(
            found.price and not found.refunded and self.model.settleable_until(found) < self.model.now_s
            for found in self.model.leases.values()
        )


def _likely(is_open: bool, weight: int = 3) -> int:
    """How often something is called that can come to something now, or not."""
    return 2 * weight if is_open else 1
