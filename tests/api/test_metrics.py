"""What a monitor reads, and when the service says that it is not ready."""

import re

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.endpoints import Endpoints
from commonhold.mirror.follow import Follower, Tally
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
    await service.deployed.anvil.mine(3)
    service.clock.now_s = await service.deployed.now() + 42

    after = await numbers(service)

    assert before["commonhold_mirror_lag_blocks"] == 0
    assert after["commonhold_mirror_lag_blocks"] == 3
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


async def test_the_age_is_of_the_newest_block_whatever_is_believed(service: Service) -> None:
    await service.deployed.anvil.advance(10_000)
    service.clock.now_s = await service.deployed.now() + 10
    service.state.max_head_age_s, service.state.tier = 300, "finalized"

    assert (await service.http.get("/readyz")).status_code == 204
