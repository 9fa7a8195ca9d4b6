"""The groups' way from a proposal to another limit, by commands alone; and what is refused on it."""

import json
from typing import Any

import pytest

from commonhold.chain.genesis import Genesis
from commonhold.units import address_text
from tests.actors import COMPUTE, DAY_S, address_of
from tests.cli.people import Terminal

pytestmark = pytest.mark.chain

GROUPS = ("provider", "owner", "buyer")
LOOSEN_DELAY_S = 14 * DAY_S
WHY = ("--why", "Smaller shares")


async def found_groups(terminal: Terminal) -> None:
    """The groups stand, long enough to propose."""
    await terminal.deployed.admit(*GROUPS)
    await terminal.deployed.anvil.advance(10)


async def decide(terminal: Terminal, *change: object) -> tuple[str, int | None]:
    """What is proposed passes and is executed; the proposal's number and what the execution said to wait for."""
    genesis: Genesis = terminal.deployed.deployment.genesis
    proposed = await terminal.ask("council", "propose", *change, *WHY, by="provider")
    number = proposed["proposal"]
    await terminal.deployed.anvil.advance(genesis.voting_delay + 1)
    for group in GROUPS:
        await terminal.ask("council", "vote", number, "for", by=group)
    await terminal.deployed.anvil.advance(genesis.voting_period + 1)
    queued = await terminal.ask("council", "queue", number, by="relayer")
    await terminal.deployed.anvil.advance(queued["ready_at"] - await terminal.deployed.now() + 1)
    return number, (await terminal.ask("council", "execute", number, by="relayer"))["to_enact_at"]


async def setting(terminal: Terminal, name: str, of: str) -> Any:
    rows = await terminal.ask("settings", "show", name)
    return next(row for row in rows if row["of"] == of)


async def test_a_limit_gets_tighter_at_once_and_looser_after_two_weeks(terminal: Terminal) -> None:
    await found_groups(terminal)
    before = await setting(terminal, "useBps", COMPUTE)
    assert (before["value"], before["step"], before["pending"], before["abdicated"]) == (2_000, 500, None, False)

    number, to_enact_at = await decide(terminal, "change", "useBps", 1_900, "--class", COMPUTE)

    assert to_enact_at is None
    after = await setting(terminal, "useBps", COMPUTE)
    assert after["value"] == 1_900
    assert "TooSoon" in await terminal.refused(
        "council", "propose", "change", "useBps", 2_000, "--class", COMPUTE, *WHY, by="provider"
    )
    shown = await terminal.ask("council", "show", number)
    assert (shown["phase"], shown["for"], shown["against"], shown["needed"]) == ("executed", 3, 0, 3)
    assert shown["calls"] == [f"Ledger.change: name useBps, subject {COMPUTE}, value 1900"]
    assert [vote["vote"] for vote in shown["cast"]] == ["for"] * 3
    assert shown["description"].endswith("#proposer=" + shown["proposer"].lower())  # nobody else could propose it
    assert [row["proposal"] for row in await terminal.ask("council", "list")] == [number]

    _, to_enact_at = await decide(terminal, "change", "admissionsPerDay", 120)
    waiting = await setting(terminal, "admissionsPerDay", "Members")
    assert (waiting["value"], waiting["pending"], waiting["pending_at"]) == (100, 120, to_enact_at)
    assert "NotYet" in await terminal.refused("settings", "enact", "admissionsPerDay", by="stranger")
    await terminal.deployed.anvil.advance(LOOSEN_DELAY_S + 1)
    assert (await terminal.ask("settings", "enact", "admissionsPerDay", by="stranger"))["value"] == 120


async def test_a_signer_is_added_after_two_weeks_and_a_power_given_up(terminal: Terminal) -> None:
    await found_groups(terminal)
    newcomer, leaver = (address_text(address_of(role)) for role in ("newcomer", "attester2"))
    file = terminal.folder / "motion.toml"
    file.write_text(f"""
        description = "Another attester"
        [[calls]]
        do = "remove-signer"
        of = "attesters"
        signer = "{leaver}"
        [[calls]]
        do = "add-signer"
        of = "attesters"
        signer = "{newcomer}"
        [[calls]]
        do = "abdicate"
        name = "floorUnits"
        class = "{COMPUTE}"
    """)
    shown = await terminal.ask("council", "propose", "file", file, by="provider")
    assert shown["calls"] == [
        f"Members.removeSigner: signer {leaver}",
        f"Members.addSigner: signer {newcomer}",
        f"Ledger.abdicate: name floorUnits, subject {COMPUTE}",
    ]
    genesis = terminal.deployed.deployment.genesis
    await terminal.deployed.anvil.advance(genesis.voting_delay + 1)
    for group in GROUPS:
        await terminal.ask("council", "vote", shown["proposal"], "for", by=group)
    await terminal.deployed.anvil.advance(genesis.voting_period + 1)
    await terminal.ask("council", "queue", shown["proposal"], by="relayer")
    await terminal.deployed.anvil.advance(genesis.timelock_delay + 1)
    done = await terminal.ask("council", "execute", shown["proposal"], by="relayer")

    attesters = (await terminal.ask("signers", "show"))[0]
    assert (attesters["quorum"], attesters["threshold"], len(attesters["signers"])) == ("attesters", 2, 2)
    assert attesters["pending"] == {newcomer: done["to_enact_at"]}
    assert (await setting(terminal, "floorUnits", COMPUTE))["abdicated"]
    await terminal.deployed.anvil.advance(LOOSEN_DELAY_S + 1)
    await terminal.ask("signers", "enact", newcomer, "--of", "attesters", by="stranger")
    attesters = (await terminal.ask("signers", "show"))[0]
    assert newcomer in attesters["signers"]
    assert leaver not in attesters["signers"]
    assert attesters["pending"] == {}


async def test_every_kind_of_proposal_can_be_made(terminal: Terminal) -> None:
    await found_groups(terminal)
    old = address_text(address_of("appraiser2"))
    limits = ("--hold-bps", 3_000, "--use-bps", 2_000, "--min-level", 3, "--floor-units", 100)
    proposals = [
        (("remove-signer", old, "--of", "appraisers"), f"Ledger.removeSigner: signer {old}"),
        (("abdicate", "signers", "--of", "appraisers"), "Ledger.abdicate: name signers, subject itself"),
        (("change", "threshold", 3, "--of", "attesters"), "Members.change: name threshold, subject itself, value 3"),
        (
            ("create-class", "compute/b200", "--kind", "COMPUTE", "--unit", "GPU", *limits),
            "Ledger.createClass: name compute/b200, kind 2, unit GPU, hold_bps 3000, use_bps 2000, min_level 3, "
            "floor_units 100000000",
        ),
        (
            ("cancel", "holdBps", "--class", COMPUTE, "--anyway"),
            f"Ledger.cancel: name holdBps, subject {COMPUTE}",
        ),
    ]
    for arguments, said in proposals:
        shown = await terminal.ask("council", "propose", *arguments, *WHY, by="provider")
        assert shown["calls"] == [said]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("change", "holdBsp", 1), "no setting 'holdBsp'; expected one of holdBps"),
        (("change", "holdBps", 1), "change holdBps: expected a class"),
        (("change", "holdBps", "much", "--class", COMPUTE), "value 'much': expected a whole number"),
        (("change", "floorUnits", "1.1234567", "--class", COMPUTE), "at most 6 decimals"),
        (("change", "threshold", 3), "expected `of` to be attesters or appraisers, got None"),
        (("change", "admissionsPerDay", 3, "--class", COMPUTE), "expected no class, it is of a contract"),
        (("change", "signers", 3, "--of", "attesters"), "no setting 'signers'"),
        (("add-signer", "0x12", "--of", "attesters"), "expected 0x and 40 hexadecimal digits"),
        (
            ("add-signer", "0x" + "11" * 20, "--of", "voters"),
            "expected `of` to be attesters or appraisers, got 'voters'",
        ),
        (("change", "useBps", 3_000, "--class", COMPUTE), "StepTooLarge(name"),
        (("change", "holdBps", 1_000, "--class", "data/none"), "UnknownSetting(name"),
        (("change", "holdBps", 2_900, "--class", COMPUTE), "GovernorInsufficientProposerVotes"),
    ],
)
async def test_what_cannot_be_proposed_is_said(terminal: Terminal, arguments: tuple[object, ...], said: str) -> None:
    assert said in await terminal.refused("council", "propose", *arguments, *WHY, by="stranger")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ("[]", "expected description and calls"),
        ('{"description": "why", "calls": []}', "at least one call"),
        ('{"description": " ", "calls": [{}]}', "expected text that says why"),
        ('{"description": "why", "calls": [{"do": "pause"}]}', "call 0: do 'pause': expected one of change"),
        ('{"description": "why", "calls": [{"do": "add-signer", "to": 1}]}', "call 0: add-signer: unknown to"),
        (
            json.dumps({"description": "w", "calls": [{"do": "change", "name": "useBps", "class": "a", "value": "9"}]}),
            "call 0: change useBps: value: expected a whole number, got '9'",
        ),
        (
            json.dumps({"description": "w", "calls": [{"do": "create-class", "name": "a", "kind": "GPU"}]}),
            "kind 'GPU', expected one of DATA, MODEL, COMPUTE",
        ),
    ],
)
async def test_a_wrong_file_is_named(terminal: Terminal, text: str, said: str) -> None:
    file = terminal.folder / "motion.json"
    file.write_text(text)

    line = await terminal.refused("council", "propose", "file", file, by="provider")

    assert line.startswith(f"error: proposal file {file}: ")
    assert said in line


async def test_what_no_one_proposed_and_no_setting_are_named(terminal: Terminal) -> None:
    assert "no proposal 7" in await terminal.refused("council", "show", 7)
    assert "no proposal 7" in await terminal.refused("council", "queue", 7, by="relayer")
    assert "expected a decimal number" in await terminal.refused("council", "vote", "x", "for", by="provider")
    assert "expected one of against, for, abstain" in await terminal.refused("council", "vote", 7, "yes", by="provider")
    assert "no setting 'speed'" in await terminal.refused("settings", "show", "speed")
    assert "nobody.toml: not found" in await terminal.refused(
        "council", "propose", "file", terminal.folder / "nobody.toml", by="provider"
    )
