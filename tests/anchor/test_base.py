"""An audit from a block on: the rules hold at every event, and what was touched ends where its events lead."""

import pytest

from commonhold.anchor.audit.base import KINDS
from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.run import Options, audit
from commonhold.anchor.audit.slots import KEPT_IN
from commonhold.errors import BadInput
from commonhold.units import UNIT
from tests.actors import Deployed, address_of
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


@pytest.mark.chain
async def test_block_after_the_audited_one_is_refused(deployed: Deployed) -> None:
    head = await deployed.rpc.head()

    with pytest.raises(BadInput, match="expected one up to the audited block"):
        await audit(deployed.rpc, deployed.deployment, options=Options(from_block=head.number + 1))
