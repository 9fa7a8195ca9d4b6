"""The service's limits and the chain's, on random histories: the same decision, and the same numbers.

Every question is asked of both at the same block: `limits.check` reads the mirror, the chain is asked by a call that
changes nothing. Between questions the history goes on, so that groups merge, windows fill and holdings move.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import db
from commonhold.chain.send import ContractRefused
from commonhold.limits import check
from commonhold.limits.rules import Allowed, Decision, Denied
from commonhold.mirror.follow import Follower
from commonhold.units import UNIT, AssetId, CreditId, Units
from tests.actors import WEEK_S, Deployed, address_of

pytestmark = [pytest.mark.chain, pytest.mark.slow]

MEMBERS = ("provider", "affiliate", "owner", "buyer", "lessee")
STEPS = 60
# What the contracts call the numbers, and what the rules call them.
NUMBERS = {
    "OverHoldingLimit": {"most": "most_units"},
    "OverUseLimit": {"most": "most_s"},
}


@dataclass
class Scene:
    """A deployment with its mirror, and what there is to ask about."""

    deployed: Deployed
    engine: AsyncEngine
    random: random.Random
    assets: list[AssetId] = field(default_factory=list)
    credits: list[CreditId] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)

    async def follow(self) -> None:
        follower = Follower(self.deployed.rpc, self.deployed.deployment, self.engine)
        while not (await follower.step()).idle:
            pass

    def role(self) -> str:
        return self.random.choice(MEMBERS)

    async def agree(
        self,
        question: Callable[[db.ReadDb, int], Awaitable[Decision]],
        asked: Callable[[], Awaitable[object]],
    ) -> bool:
        """Both give the same answer; True when it was yes."""
        now_s = await self.deployed.now()
        async with db.read(self.engine) as reader:
            ours = await question(reader, now_s)
        try:
            await asked()
            chains = None
        except ContractRefused as refused:
            chains = refused
        code = ours.code if isinstance(ours, Denied) else "allowed"
        self.asked[code] = self.asked.get(code, 0) + 1
        if chains is None:
            assert isinstance(ours, Allowed), ours
            return True
        assert isinstance(ours, Denied), chains
        assert ours.code == chains.details["error"], (ours, chains)
        for theirs, name in NUMBERS.get(ours.code, {}).items():
            assert ours.numbers[name] == int(str(chains.details[theirs]))
        return False

    async def simulate(self, role: str, contract: str, function: str, *args: object) -> None:
        """The chain's answer to a transaction that is not sent."""
        at = await self.deployed.rpc.head()
        address = self.deployed.deployment.address_of(contract)  # type: ignore[arg-type]
        await self.deployed.rpc.call(contract, address, function, *args, at=at, sender=address_of(role))  # type: ignore[arg-type]


async def transfer(scene: Scene) -> None:
    sender, receiver, asset = (
        scene.role(),
        scene.random.choice([*MEMBERS, "stranger"]),
        scene.random.choice(scene.assets),
    )
    units = Units(scene.random.choice([0, 1, UNIT, 5 * UNIT, scene.random.randrange(40 * UNIT)]))

    async def question(reader: db.ReadDb, now_s: int) -> Decision:
        return await check.transfer(
            reader, sender=address_of(sender), receiver=address_of(receiver), asset=asset, units=units, now_s=now_s
        )

    call = ("Ledger", "transfer", address_of(receiver), asset, units)
    if await scene.agree(question, lambda: scene.simulate(sender, *call)):
        await scene.deployed.send(sender, *call)  # type: ignore[arg-type]


async def grant(scene: Scene) -> None:
    receiver, credit = scene.random.choice([*MEMBERS, "stranger"]), scene.random.choice(scene.credits)
    seconds = scene.random.choice([1, 3_600, 500_000, 5_000_000, 20_000_000])

    async def question(reader: db.ReadDb, now_s: int) -> Decision:
        return await check.acquisition(
            reader,
            credit_id=credit,
            receiver=address_of(receiver),
            seconds=seconds,
            now_s=now_s,
            window_seconds=WEEK_S,
        )

    call = ("Access", "grant", credit, address_of(receiver), seconds)
    if await scene.agree(question, lambda: scene.simulate("provider", *call)):
        await scene.deployed.send("provider", *call)  # type: ignore[arg-type]


async def redeem(scene: Scene) -> None:
    holder, credit = scene.role(), scene.random.choice(scene.credits)
    seconds = scene.random.choice([1, 600, 400_000, 4_000_000, 15_000_000])
    statement, signature = await scene.deployed.redemption(holder, credit, seconds, nonce=scene.random.getrandbits(64))

    async def question(reader: db.ReadDb, now_s: int) -> Decision:
        return await check.redemption(reader, statement, now_s=now_s, window_seconds=WEEK_S)

    call = ("Access", "redeemFor", statement, signature)
    if await scene.agree(question, lambda: scene.simulate("relayer", *call)):
        await scene.deployed.send("relayer", *call)  # type: ignore[arg-type]


async def merge(scene: Scene) -> None:
    """Two groups become one, whatever that does to their limits."""
    roots = {role: await _root(scene, role) for role in MEMBERS}
    free = [role for role in MEMBERS if roots[role] == address_of(role)]
    if len(free) > 2:
        member, controller = scene.random.sample(free, 2)
        await scene.deployed.attach(member, controller)


async def _root(scene: Scene, role: str) -> bytes:
    at = await scene.deployed.rpc.head()
    found = await scene.deployed.rpc.call(
        "Members", scene.deployed.deployment.members, "rootOf", address_of(role), at=at
    )
    return bytes(found)


@pytest.mark.parametrize("seed", [1, 2])
async def test_service_and_chain_decide_alike_with_the_same_numbers(
    deployed: Deployed, engine: AsyncEngine, seed: int
) -> None:
    scene = Scene(deployed, engine, random.Random(seed))
    await deployed.admit(*MEMBERS)
    for number in range(2):
        split = {"provider": 20 * UNIT, "affiliate": 10 * UNIT, "owner": 10 * UNIT}
        scene.assets.append(await deployed.register_compute(gpus=40, name=f"node{number}", split=split))
    for asset in scene.assets:
        for ahead in (0, 1):
            scene.credits.append(await deployed.open(asset, window=await deployed.window(ahead)))

    for _ in range(STEPS):
        await scene.follow()
        step = scene.random.choices([transfer, grant, redeem, merge], weights=[5, 5, 4, 1])[0]
        await step(scene)

    assert scene.asked["allowed"] >= 5
    assert len(scene.asked) >= 4, scene.asked
