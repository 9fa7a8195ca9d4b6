"""An audit from a block on: the rules hold at every event, and what was touched ends where its events lead."""

import pytest

from commonhold import signing
from commonhold.anchor.audit.base import KINDS
from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.run import Options, audit
from commonhold.anchor.audit.slots import KEPT_IN
from commonhold.errors import BadInput
from commonhold.units import UNIT, AssetId, Hash32, class_id
from tests.actors import ATTESTERS, COMPUTE, DAY_S, Deployed, address_of, point_of
from tests.anchor.test_planted import failed
from tests.anchor.use import put, use


def test_every_fact_can_be_read_by_a_call_and_by_a_proof() -> None:
    arguments = {"use": 3, "delivered": 4, "holding": 2, "held": 2, "credit": 2, "issued": 2}
    for name, kind in KINDS.items():
        for question in kind.asks(*(0,) * arguments.get(name, 1)):
            assert (question.contract, question.function) in KEPT_IN


@pytest.mark.chain
async def test_every_block_can_be_the_first(deployed: Deployed) -> None:
    await use(deployed)
    at = await deployed.rpc.head()
    first = deployed.deployment.block
    proofs = False

    for block in range(at.number, first + 5, -4):
        proofs = not proofs
        options = Options(block_hash=at.hash, from_block=block, proofs=proofs)
        report = await audit(deployed.rpc, deployed.deployment, options=options)

        assert failed(report) == {}
        assert report.from_block == block
        assert report.concentration == report.series == []
    whole = await audit(deployed.rpc, deployed.deployment, options=Options(at.hash, from_block=first))
    assert whole.ok
    assert whole.concentration


@pytest.mark.chain
async def test_faults_are_found_from_the_middle(deployed: Deployed) -> None:
    asset, lease = await use(deployed)
    await deployed.anvil.mine()
    start = (await deployed.rpc.head()).number
    bps = await put(deployed, 10_000, "Ledger", "_classes", 1, "count", "holdBps")
    await deployed.send("owner", "Ledger", "transfer", address_of("provider"), asset, 9 * UNIT)
    await put(deployed, bps, "Ledger", "_classes", 1, "count", "holdBps")
    await put(deployed, 0, "Access", "_leases", lease, "gpuMs")
    await deployed.send("stranger", "Meter", "settle", [deployed.signed_receipt(lease, 100_000)])

    report = await audit(deployed.rpc, deployed.deployment, options=Options(from_block=start))

    assert set(failed(report)) == {Rule.HOLDING.value, Rule.SETTLED.value}


async def leave(deployed: Deployed, member: str) -> tuple[int, int]:
    """The member has left its group after the delay. The blocks in which that was started and done."""
    d, at = deployed, await deployed.rpc.head()
    nonce = await d.rpc.call("Members", d.deployment.members, "nonces", address_of(member), at=at)
    statement = signing.Detachment(address_of(member), b"\7" * 32, nonce, at.timestamp + 3_600)
    started = await d.send("relayer", "Members", "detach", statement, d.quorum(ATTESTERS[:2], statement))
    await d.anvil.advance(DAY_S)
    done = await d.send("relayer", "Members", "completeDetach", address_of(member))
    return started.block.number, done.block.number


async def grouped(deployed: Deployed) -> tuple[AssetId, list[Hash32]]:
    """The provider controls the owner, who controls the affiliate; all three own units, and the owner has acquired and
    redeemed credits of this window and of the next. The asset, and the owner's leases."""
    asset, _ = await use(deployed)
    window, leases = await deployed.window(), []
    for nonce, ahead in enumerate((0, 1)):
        credit = await deployed.open(asset, window=window + ahead, tranche=2)
        await deployed.grant(credit, "owner", 500 + ahead)
        leases.append(await deployed.redeem("owner", credit, 300, nonce=nonce))
    await deployed.attach("owner", "provider")
    return asset, leases


@pytest.mark.chain
async def test_who_leaves_a_group_takes_its_totals_wherever_the_audit_begins(deployed: Deployed) -> None:
    asset, _ = await grouped(deployed)
    begun = (await deployed.rpc.head()).number
    await deployed.send("affiliate", "Ledger", "transfer", address_of("provider"), asset, UNIT)
    await deployed.send("owner", "Ledger", "transfer", address_of("affiliate"), asset, 2 * UNIT)
    started, done = await leave(deployed, "owner")
    await deployed.send("provider", "Ledger", "transfer", address_of("affiliate"), asset, UNIT)
    at = await deployed.rpc.head()

    for block in (begun - 7, begun, begun + 2, started + 1, done, done + 1):
        for proofs in (False, True):
            options = Options(at.hash, from_block=block, proofs=proofs)
            assert failed(await audit(deployed.rpc, deployed.deployment, options=options)) == {}, block


@pytest.mark.chain
@pytest.mark.parametrize("who", ["affiliate", "owner", "provider"])
async def test_a_total_that_was_changed_in_a_group_shows_when_a_member_leaves(deployed: Deployed, who: str) -> None:
    asset, _ = await grouped(deployed)
    begun = (await deployed.rpc.head()).number
    await deployed.send("affiliate", "Ledger", "transfer", address_of("owner"), asset, UNIT)
    before = await deployed.rpc.call(
        "Ledger", deployed.deployment.ledger, "heldBy", class_id(COMPUTE), address_of(who), at=await deployed.rpc.head()
    )
    await put(deployed, before + UNIT, "Ledger", "_held", 1, address_of(who))
    await leave(deployed, "owner")

    report = await audit(deployed.rpc, deployed.deployment, options=Options(from_block=begun))

    assert "holdings as the contract says" in failed(report)


@pytest.mark.chain
async def test_who_leaves_too_early_is_found_wherever_the_audit_begins(deployed: Deployed) -> None:
    await grouped(deployed)
    at = await deployed.rpc.head()
    started, _ = await leave(deployed, "affiliate")
    await put(deployed, at.timestamp + 10, "Members", "_detachings", address_of("owner"), "readyAt")
    planted = (await deployed.rpc.head()).number
    await deployed.send("relayer", "Members", "completeDetach", address_of("owner"))

    for block, found in ((started, {Rule.GROUPS.value}), (planted + 1, set())):
        report = await audit(deployed.rpc, deployed.deployment, options=Options(from_block=block))
        assert set(failed(report)) == found


@pytest.mark.chain
async def test_a_recovery_that_began_before_the_audit_is_followed_to_its_end(deployed: Deployed) -> None:
    asset, leases = await grouped(deployed)
    d, at = deployed, await deployed.rpc.head()
    nonce = await d.rpc.call("Members", d.deployment.members, "nonces", address_of("owner"), at=at)
    statement = signing.Recovery(address_of("owner"), address_of("lessee"), b"\7" * 32, nonce, at.timestamp + 3_600)
    started = await d.send("relayer", "Members", "recover", statement, d.quorum(ATTESTERS[:2], statement))
    await d.anvil.advance(DAY_S)
    done = await d.send("relayer", "Members", "completeRecovery", address_of("owner"))
    await d.send("relayer", "Ledger", "recover", address_of("owner"), [asset])
    await d.send("relayer", "Access", "recover", address_of("owner"), [], leases)
    await leave(d, "affiliate")
    at = await d.rpc.head()

    for block in range(started.block.number, done.block.number + 5):
        for proofs in (False, True):
            options = Options(at.hash, from_block=block, proofs=proofs)
            assert failed(await audit(d.rpc, d.deployment, options=options)) == {}, block


@pytest.mark.chain
async def test_a_receipt_by_a_former_session_key_counts_wherever_the_audit_begins(deployed: Deployed) -> None:
    _, lease = await use(deployed)
    for number, session in enumerate(("second", "third")):
        await deployed.anvil.advance(3_700)  # the key before proves use for an hour
        point, deadline = point_of(session), await deployed.now() + 3_600
        rotation = signing.Rotation(lease, Hash32(point[:32]), Hash32(point[32:]), number, deadline)
        await deployed.send("relayer", "Access", "rotate", rotation, deployed.sign("developer", rotation))
    receipts = [(110_000, "developer", 0), (120_000, "second", 1), (130_000, "third", 2)]
    begun = (await deployed.rpc.head()).number - 2
    for gpu_ms, session, number in receipts:
        signed = deployed.signed_receipt(lease, gpu_ms, session=session, key_number=number)
        await deployed.send("stranger", "Meter", "settle", [signed])
    at = await deployed.rpc.head()

    for block in range(begun, at.number + 1):
        for proofs in (False, True):
            options = Options(at.hash, from_block=block, proofs=proofs)
            assert failed(await audit(deployed.rpc, deployed.deployment, options=options)) == {}, block


@pytest.mark.chain
async def test_what_is_needed_twice_is_counted_once(deployed: Deployed) -> None:
    asset, _ = await use(deployed)
    credit = await deployed.open(asset, tranche=5)
    await deployed.grant(credit, "owner", 7)
    await deployed.send("owner", "Access", "transfer", address_of("owner"), credit, 3)
    at = await deployed.rpc.head()

    report = await audit(deployed.rpc, deployed.deployment, options=Options(at.hash, from_block=at.number))

    assert failed(report) == {}


@pytest.mark.chain
async def test_a_device_of_a_retired_asset_is_free_wherever_the_audit_begins(deployed: Deployed) -> None:
    await deployed.admit("provider")
    short = await deployed.appraisal("provider", 8 * UNIT, name="node", expires_in_s=600)
    asset = await deployed.register(short, "provider")
    begun = (await deployed.rpc.head()).number
    await deployed.anvil.advance(600 + 2 * DAY_S)
    retired = await deployed.send("stranger", "Ledger", "retire", asset, short.devices)
    await deployed.register(await deployed.appraisal("provider", 8 * UNIT, name="node"), "provider")

    for block in range(begun, retired.block.number + 2):
        report = await audit(deployed.rpc, deployed.deployment, options=Options(from_block=block))
        assert failed(report) == {}, block


@pytest.mark.chain
async def test_block_after_the_audited_one_is_refused(deployed: Deployed) -> None:
    head = await deployed.rpc.head()

    with pytest.raises(BadInput, match="expected one up to the audited block"):
        await audit(deployed.rpc, deployed.deployment, options=Options(from_block=head.number + 1))
