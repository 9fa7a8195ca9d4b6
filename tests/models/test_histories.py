"""Chain and reference model give the same answers on random histories, and end in the same state."""

import os

import pytest

from commonhold.chain.node import Anvil
from tests.models.compare import compare
from tests.models.history import History

pytestmark = [pytest.mark.chain, pytest.mark.slow]


HISTORIES = int(os.environ.get("HISTORIES", "2"))
CALLS = 200


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_chain_and_model_answer_alike(anvil: Anvil, seed: int) -> None:
    history = await History.begin(anvil, str(seed))
    for _ in range(CALLS):
        await history.step()
    await compare(history.deployed, history.model)
    await history.end()
