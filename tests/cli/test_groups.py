"""Leaving a group, a lost key, gifts and lapses, by commands alone."""

from pathlib import Path
from typing import Any

import pytest

from commonhold.units import address_text
from tests.actors import ATTESTERS, DAY_S, address_of
from tests.cli.people import Terminal

pytestmark = pytest.mark.chain


async def signed(terminal: Terminal, kind: str, *accounts: str) -> list[Path]:
    """Two attesters have signed the statement about the accounts, with the nonce that `standing` shows."""
    evidence = terminal.folder / "evidence.pdf"
    evidence.write_bytes(b"what was seen")
    addresses = [address_text(address_of(role)) for role in accounts]
    nonce = (await terminal.ask("member", "standing", addresses[0]))["nonce"]
    files = []
    for attester in ATTESTERS[:2]:
        files.append(terminal.folder / f"{kind}-{accounts[0]}-{nonce}-{attester}.json")
        about = ("--nonce", nonce, "--evidence", evidence, "--now", await terminal.deployed.now(), "--out", files[-1])
        where = ("--deployment", terminal.folder / "deployment.json")
        code, _, err = await terminal.type("member", f"sign-{kind}", *addresses, *about, by=attester, on=where)
        assert code == 0, err
    return files


async def standing(terminal: Terminal, role: str) -> Any:
    return await terminal.ask("member", "standing", address_text(address_of(role)))


async def test_a_member_leaves_its_group_after_the_delay_and_an_objection(terminal: Terminal) -> None:
    deployed, affiliate = terminal.deployed, address_text(address_of("affiliate"))
    await deployed.admit("provider", "affiliate", "owner")
    await deployed.attach("affiliate", "provider")
    assert (await standing(terminal, "affiliate"))["root"] == address_text(address_of("provider"))
    assert "NotControlled" in await terminal.refused(
        "member", "detach", *await signed(terminal, "detachment", "owner"), by="relayer"
    )

    files = await signed(terminal, "detachment", "affiliate")
    started = await terminal.ask("member", "detach", *files, by="relayer")
    assert (await standing(terminal, "affiliate"))["detach_ready_at"] == started["ready_at"]
    await deployed.anvil.advance(3_600)
    objection = ("member", "challenge", affiliate, "--evidence", terminal.folder / "evidence.pdf")
    await terminal.ask(*objection, by="owner")
    assert "AlreadyChallenged" in await terminal.refused(*objection, by="owner")
    assert "OwnGroup" in await terminal.refused(*objection, by="provider")
    assert (await standing(terminal, "affiliate"))["detach_ready_at"] > started["ready_at"]
    assert "NotReady" in await terminal.refused("member", "complete-detach", affiliate, by="stranger")
    await deployed.anvil.advance(DAY_S + 10)
    await terminal.ask("member", "complete-detach", affiliate, by="stranger")

    left = await standing(terminal, "affiliate")
    assert (left["root"], left["path"], left["detach_ready_at"]) == (affiliate, [affiliate], None)


async def test_a_recovery_is_vetoed_and_another_completed(terminal: Terminal) -> None:
    deployed, owner, heir = terminal.deployed, *(address_text(address_of(role)) for role in ("owner", "heir"))
    await deployed.admit("owner")

    await terminal.ask("member", "recover", *await signed(terminal, "recovery", "owner", "heir"), by="relayer")
    assert (await standing(terminal, "owner"))["recovery_to"] == heir
    await terminal.ask("member", "veto", by="owner")
    assert (await standing(terminal, "owner"))["recovery_to"] is None
    assert "NothingStarted" in await terminal.refused("member", "veto", by="owner")

    started = await terminal.ask(
        "member", "recover", *await signed(terminal, "recovery", "owner", "heir"), by="relayer"
    )
    assert "NotReady" in await terminal.refused("member", "complete-recovery", owner, by="stranger")
    await deployed.anvil.advance(started["ready_at"] - await deployed.now() + 1)
    await terminal.ask("member", "complete-recovery", owner, by="stranger")

    replaced, present = await standing(terminal, "owner"), await standing(terminal, "heir")
    assert (replaced["standing"], replaced["successor"]) == ("replaced", heir)
    assert (present["standing"], present["root"]) == ("active", heir)


async def test_gifts_are_refused_and_a_lapsed_root_counts_no_more(terminal: Terminal) -> None:
    deployed = terminal.deployed
    await deployed.admit("owner", until=await deployed.now() + 3_600)

    await terminal.ask("member", "refuse-gifts", by="owner")
    assert (await standing(terminal, "owner"))["refuses_gifts"] is True
    await terminal.ask("member", "refuse-gifts", "--accept", by="owner")
    assert (await standing(terminal, "owner"))["refuses_gifts"] is False

    owner = address_text(address_of("owner"))
    assert "NotLapsed" in await terminal.refused("member", "lapse", owner, by="stranger")
    await deployed.anvil.advance(3_700)
    await terminal.ask("member", "lapse", owner, by="stranger")
    assert (await standing(terminal, "owner"))["standing"] == "lapsed"
    assert "NotCounted" in await terminal.refused("member", "lapse", owner, by="stranger")
    assert (await standing(terminal, "nobody"))["standing"] == "never a member"


async def test_statements_of_another_kind_are_named(terminal: Terminal) -> None:
    await terminal.deployed.admit("owner")
    files = await signed(terminal, "recovery", "owner", "heir")

    assert "expected Detachment, got Recovery" in await terminal.refused("member", "detach", *files, by="relayer")
    assert "expected 0x and 40" in await terminal.refused("member", "standing", "0x12")
    assert "NotMember" in await terminal.refused("member", "refuse-gifts", by="stranger")
