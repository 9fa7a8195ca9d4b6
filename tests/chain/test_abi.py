"""The committed ABIs are those of the contracts beside them."""

import subprocess
import sys

import pytest

from commonhold.chain.contract import CONTRACTS, contract
from commonhold.chain.deployment import ContractName
from tests.actors import ROOT

# EIP-170 and EIP-3860: what a chain accepts.
MAX_CODE, MAX_INIT_CODE = 24_576, 49_152


@pytest.mark.skipif(not (ROOT / "contracts" / "out").is_dir(), reason="contracts are not built: run 'make contracts'")
def test_committed_abis_equal_the_build() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "abi.py", "--check"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_contract_has_code_that_a_chain_accepts(name: ContractName) -> None:
    built = contract(name)

    assert 0 < len(built.runtime) <= MAX_CODE
    assert 0 < len(built.bytecode) <= MAX_INIT_CODE
