"""What random histories left in the mirror is what the reference model says."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.node import Anvil
from commonhold.db import ReadDb, read
from commonhold.mirror import read as mirror
from commonhold.mirror.follow import Follower
from commonhold.units import Window, class_id, credit_parts
from tests.mirror.following import catch_up
from tests.models.history import History
from tests.models.ledger import Ledgers
from tests.models.small import HORIZON
from tests.models.state import ZERO

pytestmark = pytest.mark.chain

CALLS = 45


@pytest.mark.parametrize("seed", range(4))
async def test_random_history_is_mirrored_as_the_model_says(anvil: Anvil, engine: AsyncEngine, seed: int) -> None:
    history = await History.begin(anvil, f"{engine.dialect.name} {seed}")
    for _ in range(CALLS):
        await history.step()

    await catch_up(Follower(history.deployed.rpc, history.deployed.deployment, engine, max_range=10))

    async with read(engine) as db:
        await check_members(db, history.model)
        await check_units(db, history.model)
        await check_credits(db, history.model)
        await check_meter(db, history.model)
    await history.end()


async def check_members(db: ReadDb, model: Ledgers) -> None:
    assert {
        member.address: (member.nullifier, member.controller or ZERO, member.since, member.until, member.root)
        for member in await mirror.members(db)
    } == {
        address: (member.nullifier, member.controller, member.since, member.until, model.root_of(address))
        for address, member in model.members.items()
    }


async def check_units(db: ReadDb, model: Ledgers) -> None:
    assert {found.class_id: found.total_units for found in await mirror.classes(db)} == {
        class_id(params.name): model.counts[class_id(params.name)].total if class_id(params.name) in model.counts else 0
        for params in model.genesis.classes
    }
    rows = {row.asset: row for row in await mirror.assets(db)}
    assert rows.keys() == model.assets.keys()
    for asset, row in rows.items():
        kept = model.assets[asset]
        a = kept.appraisal
        key = None if a.meter_key_x == bytes(32) else a.meter_key_x + a.meter_key_y
        assert (row.class_id, row.operator, row.units, row.level) == (a.class_id, a.registrant, a.units, a.level)
        assert (row.content_hash, row.result_hash, row.meter_key) == (a.content_hash, a.result_hash, key)
        assert (row.policy, row.appraised_at, row.expires_at) == (a.policy, kept.appraised_at, a.expires_at)
        assert row.uri == kept.uri
        assert tuple(await mirror.devices(db, asset)) == a.devices
    assert {(row.asset, row.owner): row.units for row in await mirror.holdings(db)} == {
        (id_, owner): units for (contract, owner, id_), units in model.balances.items() if contract == "Ledger"
    }
    for params in model.genesis.classes:
        class_ = class_id(params.name)
        groups = dict(await mirror.group_holdings(db, class_))
        assert groups == {root: units for (of, root), units in model.held.items() if of == class_}
        for member in model.members:
            assert await mirror.held_by(db, class_, member) == model.held_by(class_, member)


async def check_credits(db: ReadDb, model: Ledgers) -> None:
    assert {row.credit_id: row.price_wei for row in await mirror.offers(db)} == model.tranches
    held = {key[1:]: seconds for key, seconds in model.balances.items() if key[0] == "Access"}
    for holder in model.members:
        assert {row.credit_id: row.seconds for row in await mirror.credits(db, holder)} == {
            id_: seconds for (owner, id_), seconds in held.items() if owner == holder
        }
    for asset, window in {(credit_parts(id_)[0], credit_parts(id_)[1]) for id_ in model.tranches}:
        assert await mirror.issued(db, asset, window) == model.issued.get((asset, window), 0)
    for ahead in range(HORIZON + 1):  # the contracts do not move what was acquired in windows that have ended
        window = Window(model.current_window() + ahead)
        for params in model.genesis.classes:
            class_ = class_id(params.name)
            for root in model.members:
                key = (class_, window, root)
                assert await mirror.acquired_by(db, class_, window, root) == model.acquired.get(key, 0)
                assert await mirror.redeemed_by(db, class_, window, root) == model.redeemed.get(key, 0)


async def check_meter(db: ReadDb, model: Ledgers) -> None:
    leases = {row.lease: row for row in await mirror.leases(db)}
    assert leases.keys() == model.leases.keys()
    for lease, row in leases.items():
        kept = model.leases[lease]
        r = kept.redemption
        assert (row.holder, row.credit_id, row.seconds) == (r.holder, r.id, r.amount)
        assert (row.session_key, row.starts_at, row.redeemed_block) == (r.key_x + r.key_y, kept.starts_at, kept.number)
        assert (row.settled_ms, row.paid_wei) == (kept.settled_ms, kept.paid)
    assert {
        (row.class_id, row.window, row.root, row.level): row.gpu_ms for row in await mirror.delivered(db)
    } == model.delivered
    assert {
        (a.submitter, a.epoch): (a.root, a.previous, a.count, a.gpu_ms, a.uri, a.block_number)
        for a in await mirror.anchors(db)
    } == {key: (a.root, a.previous, a.count, a.gpu_ms, a.uri, a.number) for key, a in model.anchors.items()}
