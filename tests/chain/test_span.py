"""Ranges of blocks fit what a node takes: halved when it refuses, grown while it does not."""

from typing import Any

import pytest

from commonhold.chain.rpc import Rpc
from commonhold.chain.span import ENOUGH, LONGEST, Pace, Size
from tests.actors import Deployed
from tests.chain.lying import Forward, lying


def test_a_batch_halves_when_it_is_refused_and_doubles_while_it_is_taken() -> None:
    size = Size(64)

    size.refused(64)
    halved = size.at_once
    for _ in range(8):
        size.taken(32)

    assert (halved, size.at_once) == (32, 64)


def test_a_span_halves_when_the_node_fails_or_it_is_full_and_doubles_while_it_is_sparse() -> None:
    pace = Pace()
    start = pace.blocks

    pace.failed()
    failed = pace.blocks
    pace.spanned(failed, 0)
    sparse = pace.blocks
    pace.spanned(sparse, ENOUGH + 1)
    full = pace.blocks
    for _ in range(20):
        pace.spanned(pace.blocks, 0)

    assert (failed, sparse, full, pace.blocks) == (start // 2, start, start // 2, LONGEST)


@pytest.mark.chain
async def test_logs_of_a_range_that_the_node_refuses_come_in_halves(deployed: Deployed) -> None:
    await deployed.admit("owner", "provider")
    await deployed.register_data()
    asked: list[int] = []

    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        if request["method"] == "eth_getLogs":
            (about,) = request["params"]
            asked.append(int(about["toBlock"], 16) - int(about["fromBlock"], 16) + 1)
            if asked[-1] > 3:
                error = {"code": -32005, "message": "more than 3 blocks"}
                return {"jsonrpc": "2.0", "id": request["id"], "error": error}
        return await forward()

    ours, d = deployed.deployment.followed, deployed.deployment
    head, before = await deployed.rpc.head(), await deployed.rpc.header(d.block - 1)
    async with lying(deployed.anvil.url, twist) as url, Rpc(url, verify_logs=False) as rpc:
        told = await rpc.span(ours, before, head.number)

    assert told.logs == (await deployed.rpc.span(ours, before, head.number)).logs
    assert max(asked) == head.number - before.number
    assert min(asked) <= 3


@pytest.mark.chain
async def test_logs_that_are_too_long_for_one_answer_come_in_halves(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deployed.admit("owner", "provider")
    await deployed.register_data()
    ours, d = deployed.deployment.followed, deployed.deployment
    head, before = await deployed.rpc.head(), await deployed.rpc.header(d.block - 1)
    async with Rpc(deployed.anvil.url, verify_logs=False) as rpc:
        whole = await rpc.span(ours, before, head.number)
        requests = rpc.traffic.requests
        # Half of what all logs are; a block of a chain without traffic is less.
        monkeypatch.setattr(rpc._node, "_max_answer", 300 * len(whole.logs))

        found = await rpc.span(ours, before, head.number)

        assert found == whole
        assert rpc.traffic.requests > 2 * requests
