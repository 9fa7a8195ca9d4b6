"""Faults planted in the chain itself, in its node, and in services: each is found, and named.

What the contracts make impossible is planted behind their back, in their storage (use.py): the events are real, every
header and receipt recomputes, and only who holds the rules against the events can see it.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa

from commonhold import signing
from commonhold.anchor import tables as anchored
from commonhold.anchor.audit.report import AuditReport
from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.run import audit
from commonhold.chain.rpc import Rpc
from commonhold.db import write
from commonhold.mirror import tables as t
from commonhold.units import UNIT, address_text, hex_text, keccak256
from tests.actors import APPRAISERS, ATTESTERS, YEAR_S, Deployed, address_of
from tests.anchor.proxy import Lie, between
from tests.anchor.scene import play
from tests.anchor.test_audit import one_reading_of_the_published_segment
from tests.anchor.use import put, use
from tests.api.service import running
from tests.conftest import Databases

pytestmark = pytest.mark.chain
sqlite_only = pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)


def failed(report: AuditReport) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks if not check.ok}


async def of_chain(deployed: Deployed) -> dict[str, str]:
    return failed(await audit(deployed.rpc, deployed.deployment))


async def test_use_without_a_fault_passes(deployed: Deployed) -> None:
    await use(deployed)

    report = await audit(deployed.rpc, deployed.deployment)

    assert failed(report) == {}
    looked = {check.name: check.detail for check in report.checks}
    assert looked[Rule.SIGNED.value] == "looked at 12 times"  # 5 members, a join, 2 assets, 2 leases, 2 settlements


async def test_settlement_counted_twice_is_found(deployed: Deployed) -> None:
    _, lease = await use(deployed)
    await put(deployed, 0, "Access", "_leases", lease, "gpuMs")

    await deployed.send("stranger", "Meter", "settle", [deployed.signed_receipt(lease, 100_000)])

    found = await of_chain(deployed)
    assert (
        f"lease {hex_text(lease)} was settled from 100000 to 100000 ms, 100000 were added" in found[Rule.SETTLED.value]
    )


async def test_class_over_its_cap_is_found(deployed: Deployed) -> None:
    asset, _ = await use(deployed)
    bps = await put(deployed, 10_000, "Ledger", "_classes", 1, "count", "holdBps")
    await deployed.send("owner", "Ledger", "transfer", address_of("provider"), asset, 9 * UNIT)
    await put(deployed, bps, "Ledger", "_classes", 1, "count", "holdBps")

    found = await of_chain(deployed)

    provider = address_text(address_of("provider"))
    assert (
        f"group {provider} grew to 37000000 units of a class, at most 30000000 are allowed" in found[Rule.HOLDING.value]
    )
    assert list(found) == [Rule.HOLDING.value]


async def test_credits_beyond_the_machine_are_found(deployed: Deployed) -> None:
    asset, _ = await use(deployed)
    credit = await deployed.open(asset, tranche=2)
    window = await deployed.window()
    issued = await put(deployed, 0, "Access", "_issued", asset, window)
    use_bps = await put(deployed, 10_000, "Ledger", "_classes", 1, "useBps")
    await deployed.grant(credit, "buyer", 40 * deployed.window_seconds)
    await put(deployed, use_bps, "Ledger", "_classes", 1, "useBps")
    await put(deployed, issued + 40 * deployed.window_seconds, "Access", "_issued", asset, window)

    found = await of_chain(deployed)

    assert set(found) == {Rule.CAPACITY.value, Rule.USE.value}
    assert "were issued in window" in found[Rule.CAPACITY.value]


async def test_appraisal_without_a_quorum_is_found(deployed: Deployed) -> None:
    await use(deployed)
    threshold = await put(deployed, 1, "Registry", "threshold", at="Ledger")
    appraisal = await deployed.appraisal("provider", UNIT, name="smuggled")
    shares = [(address_of("provider"), UNIT)]
    quorum = deployed.quorum(APPRAISERS[:1], appraisal)
    await deployed.send("provider", "Ledger", "register", appraisal, quorum, shares, 0, "")
    await put(deployed, threshold, "Registry", "threshold", at="Ledger")

    found = await of_chain(deployed)

    assert "1 of a quorum of 2 signed" in found[Rule.SIGNED.value]
    assert list(found) == [Rule.SIGNED.value]


async def test_admission_by_a_stranger_is_found(deployed: Deployed) -> None:
    await use(deployed)
    until = await deployed.now() + YEAR_S
    await put(deployed, 1, "Members", "_signers", "_inner", "_positions", address_of("stranger").rjust(32, b"\0"))
    admission = signing.Admission(address_of("stranger"), keccak256(b"nobody"), until, until)
    quorum = deployed.quorum((ATTESTERS[0], "stranger"), admission)
    await deployed.send("relayer", "Members", "admit", admission, quorum)

    found = await of_chain(deployed)

    assert f"{address_text(address_of('stranger'))} signed, and is none of the quorum" in found[Rule.SIGNED.value]


async def test_setting_changed_before_its_time_is_found(deployed: Deployed) -> None:
    await use(deployed)
    name = b"admissionsPerDay".ljust(32, b"\0")
    now = await deployed.now()
    at = await deployed.rpc.head()
    value = await deployed.rpc.call("Members", deployed.deployment.members, "admissionsPerDay", at=at)
    await put(deployed, value + 1, "Members", "_courses", name, bytes(32), "pending")
    await put(deployed, now, "Members", "_courses", name, bytes(32), "pendingAt")
    await deployed.send("stranger", "Members", "enact", name, bytes(32))
    await put(deployed, 0, "Members", "_courses", name, bytes(32), "nextChangeAt")
    await put(deployed, value + 2, "Members", "_courses", name, bytes(32), "pending")
    await put(deployed, now, "Members", "_courses", name, bytes(32), "pendingAt")
    await deployed.send("stranger", "Members", "enact", name, bytes(32))

    found = await of_chain(deployed)

    assert "setting admissionsPerDay changed twice within 90 days" in found[Rule.SETTINGS.value]


async def test_signer_that_no_council_added_is_found(deployed: Deployed) -> None:
    await use(deployed)
    await put(deployed, 1, "Members", "threshold")

    found = await of_chain(deployed)

    assert found["quorums as the contract says"].startswith("Members: Signers(")


async def test_missing_epoch_is_found(deployed: Deployed) -> None:
    await use(deployed)
    await put(deployed, 2, "Meter", "nextEpoch", address_of("stranger"))
    await deployed.send("stranger", "Meter", "anchor", 2, b"\1" * 32, 2, 1, "http://127.0.0.1:9/")

    found = await of_chain(deployed)

    assert f"anchor 2 of {address_text(address_of('stranger'))} came when 1 was due" in found[Rule.ANCHORS.value]


async def test_payment_that_left_the_escrow_is_found(deployed: Deployed) -> None:
    await use(deployed)
    await put(deployed, 1, "Coin", "_balances", deployed.deployment.access)

    found = await of_chain(deployed)

    assert "Access has 1 wei, " in found["payments not released are there (6)"]


def without(name: str) -> Lie:
    """The last event of this name is in no answer."""
    topic = hex_text(keccak256(name.encode()))

    async def lie(method: str, _params: list[Any], result: Any) -> Any:
        found = await result()
        if method == "eth_getLogs":
            last = [log for log in found if log["topics"][0] == topic][-1]
            return [log for log in found if log is not last]
        for receipt in found or () if method == "eth_getBlockReceipts" else ():
            receipt["logs"] = [log for log in receipt["logs"] if log["topics"][0] != topic]
        return found

    return lie


async def test_dropped_event_is_found_whether_the_node_is_believed_or_not(deployed: Deployed) -> None:
    await use(deployed)

    async with between(deployed.anvil.url) as proxy:
        proxy.lie = without("Settled(bytes32,bytes32,address,uint32,uint8,uint64,uint64,uint256,bytes32)")
        async with Rpc(proxy.url) as rpc:
            verified = failed(await audit(rpc, deployed.deployment))
        async with Rpc(proxy.url, verify_logs=False) as rpc:
            told = failed(await audit(rpc, deployed.deployment))

    assert list(verified) == ["events are read"]
    assert f"node {rpc.host}: receipts of block" in verified["events are read"]
    assert "Meter.settledMs" in told["leases as the contract says"]


async def test_signature_that_the_node_hides_is_missed(deployed: Deployed) -> None:
    await use(deployed)

    async def lie(method: str, _params: list[Any], result: Any) -> Any:
        found = await result()
        return found | {"input": found["input"][:10]} if method == "eth_getTransactionByHash" else found

    async with between(deployed.anvil.url) as proxy, Rpc(proxy.url) as rpc:
        proxy.lie = lie
        found = failed(await audit(rpc, deployed.deployment))

    assert list(found) == [Rule.SIGNED.value]
    assert "its transaction does not show who signed for it" in found[Rule.SIGNED.value]
    assert found[Rule.SIGNED.value].endswith("and 9 more")


@pytest_asyncio.fixture
async def two(databases: Databases, deployed: Deployed, tmp_path: Path) -> AsyncIterator[list[Any]]:
    """Two operators' services of the same chain."""
    await use(deployed)
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    async with (
        running(await databases(), deployed, folders[0]) as one,
        running(await databases(), deployed, folders[1]) as other,
    ):
        await one.mirrored()
        await other.mirrored()
        yield [one, other]


@sqlite_only
async def test_changed_row_is_found_and_the_service_named(deployed: Deployed, two: list[Any]) -> None:
    services = [one.http for one in two]
    agreed = await audit(deployed.rpc, deployed.deployment, services)
    async with write(two[1].state.engine) as db:
        owned = t.holding.c.owner == address_of("owner")
        await db.execute(sa.update(t.holding).where(owned).values(units=t.holding.c.units - 1))

    report = await audit(deployed.rpc, deployed.deployment, services)

    assert failed(agreed) == {}
    together = next(check for check in agreed.checks if check.name == "services agree with each other")
    assert "2 signed digests at block" in together.detail
    assert len(agreed.services) == 2
    port = two[1].http.base_url.port
    found = failed(report)
    assert {name.split(":")[1] for name in found if name.startswith("service ")} == {str(port)}
    row = found[f"service 127.0.0.1:{port}: holdings"]
    assert address_text(address_of("owner")) in row
    assert "units is '8.999999', the chain says '9.000000'" in row


@sqlite_only
async def test_segment_altered_after_anchoring_and_missing_epoch_are_found(
    databases: Databases, deployed: Deployed, tmp_path: Path
) -> None:
    async with running(await databases(), deployed, tmp_path) as service:
        await play(service)
        await one_reading_of_the_published_segment(service.state.engine)
        altered = failed(await audit(deployed.rpc, deployed.deployment, [service.http]))
        async with write(service.state.engine) as db:
            await db.execute(sa.delete(anchored.leaf).where(anchored.leaf.c.number == 1))
            await db.execute(sa.delete(anchored.epoch).where(anchored.epoch.c.number == 1))
        missing = failed(await audit(deployed.rpc, deployed.deployment, [service.http]))

    assert [name.split(": ")[1] for name in altered] == ["every signature"]
    assert any("/v1/epochs/1/data" in detail for detail in missing.values())
