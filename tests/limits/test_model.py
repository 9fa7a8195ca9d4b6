"""The service's limits and the reference model, on random histories: the same decision, with the same headroom.

The mirror has followed the history that the model has played. Of what is asked about now, much is exactly what a limit
leaves, or one more.
"""

from collections import Counter
from copy import deepcopy
from random import Random

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import signing
from commonhold.chain.node import Anvil
from commonhold.db import ReadDb, read
from commonhold.limits import check
from commonhold.limits.rules import Decision, Denied
from commonhold.mirror.follow import Follower
from commonhold.units import Address, AssetId, CreditId, Hash32, Units, credit_parts
from tests.actors import address_of, point_of
from tests.mirror.following import catch_up
from tests.models.history import History
from tests.models.ledger import Ledgers
from tests.models.playing import EVERYONE
from tests.models.small import WINDOW_S

pytestmark = [pytest.mark.chain, pytest.mark.slow]

ROUNDS = 10
CALLS = 10  # between two rounds
QUESTIONS = 12  # of each kind in a round


@pytest.mark.parametrize("seed", range(2))
async def test_service_decides_as_the_model_says(anvil: Anvil, engine: AsyncEngine, seed: int) -> None:
    history = await History.begin(anvil, f"limits {engine.dialect.name} {seed}")
    follower = Follower(history.deployed.rpc, history.deployed.deployment, engine, max_range=10)
    random, asked = Random(seed), Counter[str]()
    for _ in range(ROUNDS):
        for _ in range(CALLS):
            await history.step()
        await catch_up(follower)
        model = deepcopy(history.model)
        model.number += 1  # what the next block will say
        async with read(engine) as db:
            for _ in range(QUESTIONS):
                asked[await transfer(db, model, random)] += 1
                for id_ in random.sample(sorted(model.tranches), min(1, len(model.tranches))):
                    asked[await acquisition(db, model, random, id_)] += 1
                    asked[await redemption(db, model, random, id_)] += 1

    assert asked["allowed"] >= 20
    assert len(asked) >= 6, asked
    await history.end()


async def transfer(db: ReadDb, model: Ledgers, random: Random) -> str:
    held = sorted(key[1:] for key in model.balances if key[0] == "Ledger" and key[1] != model.genesis.ledger)
    sender, asset = random.choice(held)
    receiver, class_ = _someone(random), model.assets[asset].appraisal.class_id
    root, balance = model.root_of(receiver), model.balance("Ledger", sender, asset)
    left = model.most_units(class_) - model.held_by(class_, root)
    units = max(0, random.choice([0, 1, balance // 2, balance, balance + 1, left, left + 1]))

    ours = await check.transfer(
        db, sender=sender, receiver=receiver, asset=AssetId(asset), units=Units(units), now_s=model.now_s
    )

    then = deepcopy(model)
    refused = then.transfer("Ledger", sender, receiver, asset, units)
    counts = refused is None and not model.assets[asset].retired
    left = max(0, then.most_units(class_) - then.held_by(class_, root))
    return _agree(ours, refused, left if counts else None)


async def acquisition(db: ReadDb, model: Ledgers, random: Random, id_: int) -> str:
    """A purchase where there is a price, else a grant by who operates the asset."""
    asset, window, _ = credit_parts(CreditId(id_))
    receiver, found = _someone(random), model.assets[asset]
    class_, root, price = found.appraisal.class_id, model.root_of(receiver), model.tranches[id_]
    left = model.most_seconds(class_) - model.acquired.get((class_, int(window), root), 0)
    seconds = max(1, random.choice([1, 1_000, left, left + 1, 10**9]))
    operator = model.in_place_of(found.operator)

    ours = await check.acquisition(
        db,
        credit_id=CreditId(id_),
        receiver=receiver,
        seconds=seconds,
        now_s=model.now_s,
        window_seconds=WINDOW_S,
        asked=price != 0 or receiver == operator,
    )

    then = deepcopy(model)
    if price:
        then.coins[receiver] = then.coins_allowed[receiver, model.genesis.access] = 10**30
        refused = then.buy(receiver, id_, seconds, price)
    else:
        then.recover_units(found.operator, [asset])  # where its key was lost
        refused = then.grant(operator, id_, receiver, seconds)
    return _agree(ours, refused, then.most_seconds(class_) - then.acquired.get((class_, int(window), root), 0))


async def redemption(db: ReadDb, model: Ledgers, random: Random, id_: int) -> str:
    asset, window, _ = credit_parts(CreditId(id_))
    holders = [key[1] for key in model.balances if key[0] == "Access" and key[2] == id_]
    holder = random.choice([*sorted(holders), _someone(random)])
    class_, root = model.assets[asset].appraisal.class_id, model.root_of(holder)
    balance = model.balance("Access", holder, id_)
    left = model.most_seconds(class_) - model.redeemed.get((class_, int(window), root), 0)
    amount = max(0, random.choice([0, 1, balance, balance, balance + 1, left, left + 1]))
    key = point_of("lessee")
    deadline = model.now_s + random.choice([-1, 1_000, 1_000])
    statement = signing.Redemption(
        holder, id_, amount, Hash32(key[:32]), Hash32(key[32:]), random.getrandbits(64), deadline
    )

    ours = await check.redemption(db, statement, now_s=model.now_s, window_seconds=WINDOW_S)

    then = deepcopy(model)
    refused = then.redeem(holder, statement)
    return _agree(ours, refused, then.most_seconds(class_) - then.redeemed.get((class_, int(window), root), 0))


def _someone(random: Random) -> Address:
    return address_of(random.choice(EVERYONE))


def _agree(ours: Decision, refused: str | None, headroom: int | None) -> str:
    """The name of the answer that both gave."""
    if isinstance(ours, Denied):
        assert ours.code == refused, (ours, refused)
        return ours.code
    assert refused is None, (ours, refused)
    assert headroom in (None, ours.headroom)
    return "allowed"
