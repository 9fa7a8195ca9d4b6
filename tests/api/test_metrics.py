"""What a monitor reads, and when the service says that it is not ready."""

import asyncio
import re

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import worker
from commonhold.chain.endpoints import Endpoints
from commonhold.chain.quorum import connect
from commonhold.db import write
from commonhold.mirror.follow import Follower, Tally
from commonhold.mirror.spot import spot_check
from commonhold.mirror.tables import holding
from tests.actors import Deployed
from tests.api.conftest import sqlite_only
from tests.api.service import Service
from tests.chain.lying import lying
from tests.mirror.following import catch_up

pytestmark = [pytest.mark.chain, sqlite_only]

LINE = re.compile(r'(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9]+)')


async def numbers(service: Service) -> dict[str, int]:
    answer = await service.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


async def test_metrics_tell_how_far_and_how_old_the_mirror_is(service: Service) -> None:
    before = await numbers(service)
    await service.deployed.anvil.advance(500)
    await service.deployed.anvil.mine(2)
    service.clock.now_s = await service.deployed.now() + 42

    after = await numbers(service)

    assert before["commonhold_mirror_lag_blocks"] == 0
    assert after["commonhold_mirror_lag_blocks"] == 3
    assert before["commonhold_mirror_lag_seconds"] == 0
    assert after["commonhold_mirror_lag_seconds"] >= 500
    assert after["commonhold_chain_head_age_seconds"] == 42
    assert after["commonhold_chain_head_block"] == after["commonhold_mirror_block"] + 3
    assert (after["commonhold_chain_up"], after["commonhold_logs_verified"]) == (1, 1)


async def test_metrics_count_errors_by_endpoint_and_do_without_a_node(service: Service) -> None:
    async def silent(_request: object, _forward: object) -> tuple[int, bytes]:
        return 503, b""

    async with lying(service.deployed.anvil.url, silent) as url, Endpoints([url]) as rpc:
        service.state.rpc = rpc
        service.state.faults = lambda: {"follow": "waits"}
        await numbers(service)

        found = await numbers(service)

    assert found[f'commonhold_rpc_errors_total{{endpoint="{rpc.host}"}}'] == 2
    assert found[f'commonhold_rpc_resting{{endpoint="{rpc.host}"}}'] == 1
    assert found['commonhold_loop_faulty{loop="follow"}'] == 1
    assert found["commonhold_chain_up"] == 0
    assert "commonhold_chain_head_block" not in found


async def test_a_follower_counts_events_and_reorgs_by_depth(deployed: Deployed, engine: AsyncEngine) -> None:
    tally = Tally()
    follower = Follower(deployed.rpc, deployed.deployment, engine, tally=tally)
    await catch_up(follower)
    before = tally.events
    await deployed.admit("owner")
    await deployed.anvil.mine(2)
    await catch_up(follower)
    admitted = tally.events
    await deployed.anvil.reorg(3)

    await catch_up(follower)

    assert (admitted, tally.events) == (before + 1, before + 1)
    assert tally.reorgs == {3: 1}


async def test_metrics_have_what_the_follower_has_counted(service: Service) -> None:
    service.state.tally = Tally(events=7, first_row_ms=12)
    service.state.tally.reorgs.update([1, 3, 3])

    found = await numbers(service)

    assert found["commonhold_mirror_events_total"] == 7
    assert found["commonhold_mirror_first_row_milliseconds"] == 12
    assert (found["commonhold_mirror_reorg_depth_blocks_count"], found["commonhold_mirror_reorg_depth_blocks_sum"]) == (
        3,
        7,
    )


async def test_ready_is_withdrawn_while_the_mirror_is_behind(service: Service) -> None:
    await service.deployed.anvil.mine(service.state.max_behind)
    near = await service.http.get("/readyz")
    await service.deployed.anvil.mine()

    behind = await service.http.get("/readyz")
    await service.mirrored()

    assert (near.status_code, behind.status_code) == (204, 503)
    assert "behind" in behind.json()["detail"]
    assert (await service.http.get("/readyz")).status_code == 204


async def test_ready_is_withdrawn_while_the_newest_block_is_old(service: Service) -> None:
    service.state.max_head_age_s = 300
    now = await service.deployed.now()

    service.clock.now_s = now + 300
    young = await service.http.get("/readyz")
    service.clock.now_s = now + 301
    old = await service.http.get("/readyz")
    service.state.max_head_age_s = 0
    any_age = await service.http.get("/readyz")

    assert (young.status_code, old.status_code, any_age.status_code) == (204, 503, 204)
    assert "is 301 s old, expected at most 300" in old.json()["detail"]


async def test_a_row_that_is_not_what_the_chain_holds_withdraws_everything(service: Service) -> None:
    deployed, state = service.deployed, service.state
    _, lease = await deployed.lease()
    await service.mirrored()
    assert (await service.http.get("/readyz")).status_code == 204

    async def compare() -> bool:
        await spot_check(state.engine, state.rpc, state.deployment, 10)
        return False

    async with write(state.engine) as db:
        await db.execute(holding.update().values(units=holding.c.units + 1))
    stage = worker.Stage("spot-check", compare, 0.01, integrity=True)
    state.faults, state.integrity = lambda: worker.faults([stage]), lambda: worker.integrity_faults([stage])
    await worker.run([stage], asyncio.Event())

    ready = await service.http.get("/readyz")
    refused = await service.ask(await service.sign_in_form(lease))
    status = (await service.http.get("/status")).json()
    assert (ready.status_code, ready.json()["code"]) == (503, "in_doubt")
    assert refused.status_code == 503
    assert "SpotCheckFailed: holding of asset" in status["integrity"]["spot-check"]
    assert (await numbers(service))['commonhold_integrity_fault{loop="spot-check"}'] == 1


async def test_status_tells_how_each_endpoint_does(service: Service) -> None:
    url = service.deployed.anvil.url
    async with connect([url, "http://127.0.0.1:9"], quorum=1) as rpc:
        service.state.rpc = rpc
        await rpc.head()

        status = (await service.http.get("/status")).json()
        found = await numbers(service)

    first, second = status["endpoints"]
    assert (first["host"], first["errors"], first["dropped"]) == (url.removeprefix("http://"), 0, None)
    assert (second["host"], second["head"], second["latency_ms"]) == ("127.0.0.1:9", None, None)
    assert first["head"] == found["commonhold_chain_head_block"]
    assert found[f'commonhold_rpc_requests_total{{endpoint="{first["host"]}"}}'] >= 2
    assert status["quorum"] == 1


async def test_too_few_for_a_quorum_is_not_ready_and_says_so(service: Service) -> None:
    url = service.deployed.anvil.url
    async with connect([url, "http://127.0.0.1:9"], quorum=2) as rpc:
        service.state.rpc = rpc
        ready = await service.http.get("/readyz")

    assert ready.status_code == 503
    assert ready.json()["code"] == "no_quorum"
    assert "1 of 2 endpoints tell the latest block, expected a quorum of 2" in ready.json()["detail"]


async def test_the_age_is_of_the_newest_block_whatever_is_believed(service: Service) -> None:
    await service.deployed.anvil.advance(10_000)
    service.clock.now_s = await service.deployed.now() + 10
    service.state.max_head_age_s, service.state.tier = 300, "finalized"

    assert (await service.http.get("/readyz")).status_code == 204
