"""The audit passes on a true state, and names the check that fails for every fault that is planted."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.anchor import tables as anchored
from commonhold.anchor.audit.report import AuditReport
from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.run import Audit, ask, audit
from commonhold.chain.rpc import Rpc
from commonhold.db import write
from commonhold.meter import tables as metered
from commonhold.mirror import tables as t
from commonhold.units import hex_text, keccak256
from tests.actors import Deployed
from tests.anchor.proxy import Lie, Proxy, between
from tests.anchor.scene import Scene, play
from tests.api.service import running

pytestmark = pytest.mark.chain
Result = Callable[[], Awaitable[Any]]
sqlite_only = pytest.mark.parametrize("database_urls", ["sqlite"], indirect=True)


@pytest_asyncio.fixture
async def scene(engine: AsyncEngine, deployed: Deployed, tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(engine, deployed, tmp_path) as service:
        yield await play(service)


@pytest_asyncio.fixture
async def proxy(deployed: Deployed) -> AsyncIterator[Proxy]:
    async with between(deployed.anvil.url) as proxy:
        yield proxy


async def run(scene: Scene) -> AuditReport:
    return await audit(scene.deployed.rpc, scene.deployed.deployment, [scene.service.http])


def failed(report: AuditReport) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks if not check.ok}


async def test_true_state_passes_every_check(scene: Scene) -> None:
    seen: list[tuple[int, int]] = []
    rpc, deployment = scene.deployed.rpc, scene.deployed.deployment

    report = await audit(rpc, deployment, [scene.service.http], progress=lambda done, total: seen.append((done, total)))

    assert failed(report) == {}
    assert report.ok
    assert [check.number for check in report.checks] == list(range(1, len(report.checks) + 1))
    assert {rule.value for rule in Rule} < {check.name for check in report.checks}
    assert seen[-1][0] == seen[-1][1] == report.block - deployment.block + 1
    by_class = {row["class"]: row for row in report.concentration}
    # 28 GPUs of 40: the provider, 2 sold; 12: owner and affiliate; none beyond a cap.
    compute = by_class["compute/h100-sxm"]
    assert (compute["largest_bps"], compute["groups"], compute["nakamoto"]) == (6_500, 3, 1)
    assert compute["hhi"] == (26 * 26 + 12 * 12 + 2 * 2) * 10_000 // 1_600
    assert by_class["model/llm"]["nakamoto"] is None
    (hours,) = report.gpu_hours
    assert (hours["level"], hours["policy"]) == (3, "development")
    assert hours["gpu_ms"] == (6 + 5) * 800 * 40
    assert orjson.loads(orjson.dumps(asdict(report)))["checks"][0]["ok"] is True


@sqlite_only
async def test_chain_alone_is_enough(scene: Scene) -> None:
    report = await audit(scene.deployed.rpc, scene.deployed.deployment)

    assert report.ok
    assert not any("service" in check.name for check in report.checks)


@sqlite_only
async def test_service_that_is_behind_is_audited_where_it_stands(scene: Scene) -> None:
    await scene.deployed.admit("stranger")

    report = await run(scene)

    assert report.ok
    assert report.block < (await scene.deployed.rpc.head()).number


def changed(table: sa.Table, **values: Any) -> Callable[[AsyncEngine], Awaitable[None]]:
    """One row of the service's real database says something else."""

    async def tamper(engine: AsyncEngine) -> None:
        async with write(engine) as db:
            key = list(table.primary_key)
            first = (await db.execute(sa.select(*key).order_by(*key).limit(1))).one()
            where = (column == value for column, value in zip(key, first, strict=True))
            assert (await db.execute(sa.update(table).where(*where).values(values))).rowcount == 1

    return tamper


async def one_reading_of_the_published_segment(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        e = anchored.epoch.c
        data = (await db.execute(sa.select(e.data).where(e.number == 0))).scalar_one()
        body = orjson.loads(data)
        body["segments"][0]["readings"][0][1] -= 1
        altered = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        await db.execute(sa.update(anchored.epoch).where(e.number == 0).values(data=altered))


async def one_total_of_the_published_segment(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        e = anchored.epoch.c
        data = (await db.execute(sa.select(e.data).where(e.number == 0))).scalar_one()
        body = orjson.loads(data)
        body["segments"][0]["gpu_ms"] -= 1
        altered = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        await db.execute(sa.update(anchored.epoch).where(e.number == 0).values(data=altered))


async def every_total(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(sa.update(metered.segment).values(gpu_ms=metered.segment.c.gpu_ms - 1))


async def every_leaf(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(sa.update(anchored.leaf).values(gpu_ms=anchored.leaf.c.gpu_ms + 1))


async def last_epochs_data_twice(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        e = anchored.epoch.c
        data = (await db.execute(sa.select(e.data).where(e.number == 0))).scalar_one()
        await db.execute(sa.update(anchored.epoch).where(e.number == 1).values(data=data))


async def no_receipts(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(sa.delete(metered.receipt))


async def one_holding_less(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        h = t.holding.c
        first = (await db.execute(sa.select(h.asset, h.owner).limit(1))).one()
        await db.execute(sa.delete(t.holding).where(h.asset == first.asset, h.owner == first.owner))


async def every_sum(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(sa.update(t.digest).values(sum=bytes(2048)))


Tamper = Callable[[AsyncEngine], Awaitable[None]]

DIGEST, ROOTS, SIGNED, SUMS = (
    "digest of the mirror",
    "epochs' data leads to the anchored roots",
    "every signature",
    "sums of use",
)

# What is done to the service's database, and all checks that fail of it.
FAULTS: list[tuple[tuple[Tamper, ...], set[str]]] = [
    ((changed(t.member, until=1),), {"members"}),
    ((changed(t.holding, units=1),), {"holdings", "classes and concentration"}),
    ((one_holding_less,), {"holdings", "classes and concentration"}),
    (
        (changed(t.asset_class, hold_bps=9_999), changed(t.offer, price_wei=1), changed(t.credit, seconds=1)),
        {"classes and concentration", "offers", "credits"},
    ),
    (
        (changed(t.asset, level=5), changed(t.delivered, gpu_ms=1), changed(t.anchor, gpu_ms=1)),
        {"assets and devices", "GPU time delivered", "anchors"},
    ),
    ((changed(t.device, device=keccak256(b"another")),), {"assets and devices"}),
    ((changed(t.lease, settled_ms=1),), {"leases", SUMS}),
    ((every_sum,), {DIGEST}),
    ((one_reading_of_the_published_segment,), {SIGNED}),
    ((one_total_of_the_published_segment,), {ROOTS, SIGNED}),
    ((last_epochs_data_twice,), {ROOTS, SIGNED, SUMS}),
    ((every_leaf,), {"one inclusion proof"}),
    ((every_total,), {SUMS}),
    ((changed(metered.segment, level=5),), {SUMS}),
    ((changed(metered.receipt, gpu_ms=1),), {SUMS}),
    ((no_receipts,), {SUMS}),
]


@sqlite_only
async def test_every_tampered_row_fails_its_check_and_no_other(scene: Scene) -> None:
    engine = scene.service.state.engine
    database = Path(str(engine.url.database))
    good = database.with_suffix(".good")
    await engine.dispose()
    shutil.copyfile(database, good)

    rpc = scene.deployed.rpc
    at = await rpc.head()
    one = Audit(rpc, scene.deployed.deployment, at)
    await one.begin(at, lambda done, total: None)
    assert await one.read(at)
    for tampers, expected in FAULTS:
        for tamper in tampers:
            await tamper(engine)
        one.of_services.clear()
        await one.service(await ask(rpc, scene.service.http))
        found = {check.name.split(": ")[1]: check.faults for check in one.of_services if check.faults}
        assert set(found) == expected, found
        await engine.dispose()  # its last connection folds the write-ahead log into the file
        shutil.copyfile(good, database)

    assert (await run(scene)).ok


def topic(name: str) -> str:
    return hex_text(keccak256(name.encode()))


TRANSFER = topic("Transfer(address,address,address,uint256,uint256)")
SETTLED = topic("Settled(bytes32,bytes32,address,uint32,uint8,uint64,uint64,uint256,bytes32)")
ANCHORED = topic("Anchored(address,uint64,bytes32,bytes32,uint32,uint64,string)")
ADMITTED = topic("Admitted(address,bytes32,uint48,uint48)")


def hidden(name: str) -> Lie:
    """The last event of this name is left out."""

    async def lie(method: str, _params: list[Any], result: Result) -> Any:
        found = await result()
        if method == "eth_getLogs":
            last = [log for log in found if log["topics"][0] == name][-1]
            return [log for log in found if log is not last]
        return found

    return lie


async def settled_twice(method: str, _params: list[Any], result: Result) -> Any:
    found = await result()
    if method == "eth_getLogs":
        settled = next(log for log in found if log["topics"][0] == SETTLED)
        return [*found, settled | {"logIndex": "0xff"}]
    return found


async def unknown_event(method: str, _params: list[Any], result: Result) -> Any:
    found = await result()
    if method == "eth_getLogs":
        found[0]["topics"][0] = topic("Surprise()")
    return found


async def other_answer(method: str, params: list[Any], result: Result) -> Any:
    found = await result()
    asked = hex_text(keccak256(b"settledMs(bytes32)")[:4])
    if method == "eth_call" and params[0].get("data", params[0].get("input", "")).startswith(asked):
        return hex_text((1).to_bytes(32))
    return found


LIES: list[tuple[Lie, str, str]] = [
    (hidden(SETTLED), "leases as the contract says", "Meter.settledMs"),
    (hidden(ANCHORED), "anchors as the contract says", "Meter.nextEpoch"),
    (hidden(TRANSFER), "credits as the contract says", "Access.balanceOf"),
    (hidden(ADMITTED), Rule.ACTIVE.value, "is no member"),
    (settled_twice, Rule.SETTLED.value, "was settled from"),
    (unknown_event, "events are read", "no event that this version knows"),
    (other_answer, "leases as the contract says", "Meter.settledMs"),
]


@sqlite_only
async def test_node_that_lies_is_found_out(scene: Scene, proxy: Proxy) -> None:
    for lie, check, says in LIES:
        proxy.lie = lie
        async with Rpc(proxy.url, verify_logs=False) as rpc:
            found = failed(await audit(rpc, scene.deployed.deployment))

        assert says in found[check], found


@sqlite_only
async def test_node_that_leaves_out_one_log_is_named(scene: Scene, proxy: Proxy) -> None:
    async def lie(method: str, _params: list[Any], result: Result) -> Any:
        found = await result()
        for receipt in found if method == "eth_getBlockReceipts" else ():
            receipt["logs"] = [log for log in receipt["logs"] if log["topics"][0] != SETTLED]
        return found

    async with Rpc(proxy.url) as rpc:
        honest = await audit(rpc, scene.deployed.deployment)
        proxy.lie = lie
        lied = await audit(rpc, scene.deployed.deployment)

    assert honest.ok
    assert "every header and receipt recomputed" in next(c.detail for c in honest.checks if c.name == "events are read")
    assert f"node {rpc.host}: receipts of block" in failed(lied)["events are read"]


@sqlite_only
async def test_service_of_another_branch_is_refused(scene: Scene) -> None:
    async with write(scene.service.state.engine) as db:
        await db.execute(sa.update(t.cursor).values(hash=keccak256(b"another block")))

    report = await run(scene)

    assert "is not on this chain" in next(iter(failed(report).values()))
