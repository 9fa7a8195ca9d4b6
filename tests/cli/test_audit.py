"""The audit at a terminal: one numbered line a check, the same as JSON, and 0 only when every check holds."""

import json
from typing import Any

import pytest

from tests.actors import address_of
from tests.anchor.use import put, use
from tests.cli.people import Terminal

pytestmark = pytest.mark.chain


def shown(check: dict[str, Any], verdict: str) -> str:
    return f"{check['number']:>3} {verdict}  {check['name']}: {check['detail']}"


async def test_every_check_is_a_numbered_line_and_all_that_hold_are_a_success(terminal: Terminal) -> None:
    await use(terminal.deployed)
    first = (await terminal.deployed.rpc.head()).number - 5
    await terminal.deployed.anvil.mine(64)  # the last of it is final

    for options in ((), ("--trust-rpc",), ("--from-block", first), ("--from-block", first, "--proofs")):
        code, out, err = await terminal.type("audit", *options)
        report = await terminal.ask("audit", *options)

        assert (code, err) == (0, "")
        checks = report["checks"]
        assert [check["number"] for check in checks] == list(range(1, len(checks) + 1))
        assert out.splitlines()[: len(checks)] == [shown(check, "holds") for check in checks]
        assert report["ok"]


async def test_one_check_that_fails_is_marked_and_ends_with_1(terminal: Terminal) -> None:
    asset, _ = await use(terminal.deployed)
    await put(terminal.deployed, 10**9, "Ledger", "_balances", address_of("owner"), asset)

    code, out, _ = await terminal.type("audit")
    code_json, as_json, _ = await terminal.type("audit", "--json")

    report = json.loads(as_json)
    assert (code, code_json, report["ok"]) == (1, 1, False)
    (failed,) = [check for check in report["checks"] if not check["ok"]]
    assert failed["name"] == "holdings as the contract says"
    assert "is 1000000000, the events say" in failed["detail"]
    assert [line for line in out.splitlines() if "FAILS" in line] == [shown(failed, "FAILS")]


async def test_proofs_and_trust_are_not_asked_for_together(terminal: Terminal) -> None:
    code, _, err = await terminal.type("audit", "--proofs", "--trust-rpc")

    assert code != 0
    assert "choose one" in err
