"""What the mirror says, beside what the reference model says: every row that follows from the contracts' state."""

from commonhold.db import ReadDb
from commonhold.mirror import council, revenue
from commonhold.mirror import read as mirror
from commonhold.signing import ZERO32
from commonhold.units import Address, Window, credit_parts
from tests.models.ledger import Ledgers
from tests.models.settings import OF_CLASS, Course
from tests.models.small import HORIZON
from tests.models.state import ZERO, Count


async def check(db: ReadDb, model: Ledgers) -> None:
    """The mirror is at the model's block and says the same."""
    await check_members(db, model)
    await check_assets(db, model)
    await check_units(db, model)
    await check_revenue(db, model)
    await check_credits(db, model)
    await check_leases(db, model)
    await check_meter(db, model)
    await check_settings(db, model)
    await check_proposals(db, model)


async def check_members(db: ReadDb, model: Ledgers) -> None:
    successors = {member.successor for member in model.members.values()}
    rows = {member.address: member for member in await mirror.members(db)}
    assert rows.keys() == model.members.keys()
    for address, row in rows.items():
        kept = model.members[address]
        assert row.nullifier == (None if address in successors else kept.nullifier)
        assert (row.controller or ZERO, row.root) == (kept.controller, model.root_of(address))
        assert (row.since, row.until, row.counted) == (kept.since, kept.until, kept.counted)
        assert (row.refuses_gifts, row.successor or ZERO) == (kept.refuses_gifts, kept.successor)
        assert row.detach_ready_at == model.detachings.get(address, (None, 0))[0]
        assert (row.recovery_to, row.recovery_ready_at) == model.recoveries.get(address, (None, None))


async def check_assets(db: ReadDb, model: Ledgers) -> None:
    rows = {row.asset: row for row in await mirror.assets(db)}
    assert rows.keys() == model.assets.keys()
    for asset, row in rows.items():
        kept = model.assets[asset]
        a = kept.appraisal
        key = None if a.meter_key_x == bytes(32) else a.meter_key_x + a.meter_key_y
        assert (row.class_id, row.operator, row.units, row.level) == (a.class_id, kept.operator, a.units, a.level)
        assert (row.content_hash, row.result_hash, row.meter_key) == (a.content_hash, a.result_hash, key)
        assert (row.policy, row.appraised_at, row.expires_at) == (a.policy, kept.appraised_at, a.expires_at)
        assert (row.uri, row.commons_price_wei, row.retired) == (kept.uri, kept.commons_price, kept.retired)
        assert await mirror.devices(db, asset) == sorted(device for device, of in model.devices.items() if of == asset)


async def check_units(db: ReadDb, model: Ledgers) -> None:
    rows = {row.class_id: row for row in await mirror.classes(db)}
    assert rows.keys() == model.classes.keys()
    for class_, params in model.classes.items():
        row = rows[class_]
        assert row.total_units == model.counts.get(class_, Count()).total
        assert (row.name, row.kind, row.unit) == (params.name, params.kind, params.unit)
        assert (row.hold_bps, row.use_bps) == (params.hold_bps, params.use_bps)
        assert (row.min_level, row.floor_units) == (params.min_level, params.floor_units)
        held = {root: units for (of, root), units in model.held.items() if of == class_ and model.root_of(root) == root}
        assert dict(await mirror.group_holdings(db, class_)) == held
        for root in roots(model):
            assert await mirror.held_by(db, class_, root) == model.held_by(class_, root)
    holdings = await mirror.holdings(db)
    assert {(row.asset, row.owner): row.units for row in holdings} == {
        (id_, owner): units for (contract, owner, id_), units in model.balances.items() if contract == "Ledger"
    }
    for holding in holdings:
        if holding.owner != model.genesis.ledger:  # the commons is in no group
            assert holding.counted == ((holding.asset, holding.owner) not in model.synced)


async def check_revenue(db: ReadDb, model: Ledgers) -> None:
    assets, commons = await mirror.assets(db), await revenue.commons_claims(db)
    claims = await revenue.claims(db)
    paid_commons = sum(row.amount_wei for row in commons)
    assert sum(row.accrued_wei for row in assets) == model.revenue.get("accrued", 0)
    assert sum(row.claimed_wei for row in assets) == sum(row.amount_wei for row in claims)
    assert sum(row.amount_wei for row in claims) + paid_commons == model.revenue.get("claimed", 0)
    owed = sum(model.commons_revenue_of(account) for account in model.places)
    remainder = model.shared["pool"].remainder if model.shared else 0
    assert sum(row.shared_wei for row in assets) == paid_commons + owed + remainder


async def check_credits(db: ReadDb, model: Ledgers) -> None:
    assert {row.credit_id: row.price_wei for row in await mirror.offers(db)} == model.tranches
    held = {key[1:]: seconds for key, seconds in model.balances.items() if key[0] == "Access"}
    for holder in model.members:
        assert {row.credit_id: row.seconds for row in await mirror.credits(db, holder)} == {
            id_: seconds for (owner, id_), seconds in held.items() if owner == holder
        }
    # What was issued and acquired stays in the contracts when a window has ended, whatever is refunded then.
    for asset, window in {(credit_parts(id_)[0], credit_parts(id_)[1]) for id_ in model.tranches}:
        if window >= model.current_window():
            assert await mirror.issued(db, asset, window) == model.issued.get((asset, window), 0)
    for ahead in range(HORIZON + 1):
        window = Window(model.current_window() + ahead)
        for class_ in model.classes:
            for root in roots(model):
                key = (class_, window, root)
                assert await mirror.acquired_by(db, class_, window, root) == model.acquired.get(key, 0)
                assert await mirror.redeemed_by(db, class_, window, root) == model.redeemed.get(key, 0)


async def check_leases(db: ReadDb, model: Ledgers) -> None:
    leases = {row.lease: row for row in await mirror.leases(db)}
    assert leases.keys() == model.leases.keys()
    for lease, row in leases.items():
        kept = model.leases[lease]
        assert (row.holder, row.credit_id, row.seconds) == (kept.holder, kept.id, kept.amount)
        assert (row.starts_at, row.redeemed_block) == (kept.starts_at, kept.number)
        assert (row.level, row.price_wei, row.changes) == (kept.level, kept.price, kept.changes)
        assert (row.session_key, row.key_number) == (kept.keys[-1][0], len(kept.keys) - 1)
        former = await mirror.former_keys(db, lease)
        assert [(key.number, key.session_key, key.until) for key in former] == [
            (number, *key) for number, key in enumerate(kept.keys[:-1])
        ]
        assert (row.settled_ms, row.paid_wei) == (kept.settled_ms, kept.paid)
        assert row.refunded_wei == (kept.price * kept.amount - kept.paid if kept.refunded else None)
        if row.part_of is not None:
            assert leases[row.part_of].credit_id == row.credit_id
            assert leases[row.part_of].changes > 0


async def check_meter(db: ReadDb, model: Ledgers) -> None:
    assert {
        (row.class_id, row.window, row.root, row.level): row.gpu_ms for row in await mirror.delivered(db)
    } == model.delivered
    assert {
        (a.submitter, a.epoch): (a.root, a.previous, a.count, a.gpu_ms, a.uri, a.block_number)
        for a in await mirror.anchors(db)
    } == {key: (a.root, a.previous, a.count, a.gpu_ms, a.uri, a.number) for key, a in model.anchors.items()}


async def check_settings(db: ReadDb, model: Ledgers) -> None:
    rows = {(row.contract, row.name, row.subject): row for row in await council.settings(db)}
    keys = {(contract, name, ZERO32) for contract, name in model.values}
    keys |= {("Ledger", name, class_) for class_ in model.classes for name in OF_CLASS}
    assert {key for key in rows if key[1] != "signers"} == keys
    for key, row in rows.items():
        course = model.courses.get(key, Course())
        assert row.value == (None if row.name == "signers" else model.value(*key))
        assert (row.pending or 0, row.ready_at or 0) == (course.pending, course.pending_at)
        assert row.abdicated == course.abdicated
    assert {key for key, course in model.courses.items() if course.abdicated} <= rows.keys()
    signing = {(contract, signer): (True, None) for contract, signers in model.signers.items() for signer in signers}
    waiting = {key: (False, ready_at) for key, ready_at in model.signers_ready.items()}
    found = {(row.contract, row.signer): (row.signs, row.ready_at) for row in await council.signers(db)}
    assert found == signing | waiting


async def check_proposals(db: ReadDb, model: Ledgers) -> None:
    rows = {row.description: row for row in await council.proposals(db)}
    assert rows.keys() == model.proposals.keys()
    voted = set()
    for text, row in rows.items():
        kept = model.proposals[text]
        assert (row.vote_start, row.vote_end) == (kept.snapshot, kept.deadline)
        assert (row.against, row.in_favour, row.abstaining) == kept.votes
        assert (row.ready_at or 0, row.outcome) == (kept.eta, "executed" if kept.executed else None)
        voted |= {(text, vote.voter) for vote in await council.votes(db, row.proposal_id)}
    assert voted == model.voted.keys()


def roots(model: Ledgers) -> list[Address]:
    """The mirror counts by groups, the contracts for every account with all it controls: at a root both are one."""
    return [account for account in model.members if model.root_of(account) == account]
