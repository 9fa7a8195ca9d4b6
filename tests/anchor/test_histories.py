"""The audit passes on whatever the contracts allow: random histories of all that may happen, refusals included, read by
calls and by proofs, from the beginning and from the middle."""

import os

import pytest

from commonhold.anchor.audit.run import Options, audit
from commonhold.chain.node import Anvil
from tests.models.history import History

pytestmark = [pytest.mark.chain, pytest.mark.slow]

HISTORIES = int(os.environ.get("HISTORIES", "1"))
CALLS = 200


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_random_history_passes_the_audit(anvil: Anvil, seed: int) -> None:
    history = await History.begin(anvil, f"audit {seed}")
    middle = []
    for call in range(1, CALLS):
        await history.step()
        if call % (CALLS // 4) == 0:
            middle.append((await history.deployed.rpc.head()).number)
    rpc, deployment = history.deployed.rpc, history.deployed.deployment
    at = await rpc.head()

    for options in (
        Options(at.hash),
        Options(at.hash, proofs=True),
        *(Options(at.hash, from_block=block) for block in middle),
        Options(at.hash, from_block=middle[0], proofs=True),
    ):
        report = await audit(rpc, deployment, options=options)

        assert {check.name: check.faults for check in report.checks if not check.ok} == {}, options
    await history.end()
