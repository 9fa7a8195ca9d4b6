"""Changing a lease by commands: without gas through a real service, or on the chain; and what is paid back."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.units import CreditId, Hash32, address_text, hex_text
from tests.actors import DAY_S, WEEK_S, Deployed, address_of
from tests.api.conftest import sqlite_only
from tests.api.service import Service, running
from tests.cli.people import Terminal

pytestmark = pytest.mark.chain

SECONDS = 40_000  # 8 GPUs may deliver 28,800 within the hour in which no second can be split off


@pytest_asyncio.fixture
async def service(
    engine: AsyncEngine, deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """A service, whose clock is the commands', too."""
    ahead_s, now = await deployed.now() - time.time(), time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead_s)
    async with running(engine, deployed, tmp_path / "service") as service:
        yield service


async def leased(deployed: Deployed, *, price: int = 0, spare: int = 100) -> tuple[CreditId, Hash32]:
    """The developer, who has no gas, has a lease of SECONDS and `spare` credits; bought ones are a lessee's."""
    await deployed.admit("provider", "developer", "lessee")
    credit = await deployed.open(await deployed.register_compute(), price=price)
    holder = "lessee" if price else "developer"
    if price:
        await deployed.pay(holder, (SECONDS + spare) * price)
        await deployed.send(holder, "Access", "buy", credit, SECONDS + spare, price)
    else:
        await deployed.grant(credit, holder, SECONDS + spare)
    return credit, await deployed.redeem(holder, credit, SECONDS)


@sqlite_only
async def test_a_holder_without_gas_splits_tops_up_and_rotates(terminal: Terminal, service: Service) -> None:
    _, lease = await leased(terminal.deployed)
    await service.mirrored()
    service.follow()
    text, files = hex_text(lease), terminal.folder
    on = ("--service", service.state.issuer)

    parted = await terminal.ask("lease", "split", text, 200, "--session-key", files / "part.pem", by="developer", on=on)
    await terminal.ask("lease", "top-up", text, 100, by="developer", on=on)
    opening = ("--session-key", files / "part.pem", "--lease", files / "part.json")
    opened = await terminal.ask("lease", "open", parted["part"], *opening, by="developer", on=on)
    await terminal.ask("lease", "rotate", text, "--session-key", files / "next.pem", by="developer", on=on)
    again = ("--session-key", files / "next.pem", "--lease", files / "next.json")
    await terminal.ask("lease", "open", text, *again, by="developer", on=on)

    part = await terminal.ask("lease", "show", parted["part"], on=on)
    whole = await terminal.ask("lease", "show", text, on=on)
    assert (part["seconds"], part["part_of"]) == (200, text)
    assert (whole["seconds"], whole["key_number"], whole["changes"]) == (SECONDS - 100, 1, 3)
    assert opened["gateway"] == "http://127.0.0.1:9/"
    assert json.loads((files / "part.json").read_text())["lease"] == parted["part"]
    assert (files / "part.json").stat().st_mode & 0o777 == 0o600


@sqlite_only
async def test_what_cannot_be_changed_is_said_in_one_line(terminal: Terminal, service: Service) -> None:
    _, lease = await leased(terminal.deployed)
    await service.mirrored()
    service.follow()
    text, key = hex_text(lease), ("--session-key", terminal.folder / "new.pem")
    on = ("--service", service.state.issuer)

    assert "holds 100 s of credit" in await terminal.refused("lease", "top-up", text, 101, by="developer", on=on)
    assert "SplitTooLarge" in await terminal.refused("lease", "split", text, 39_000, *key, by="developer", on=on)
    assert "not signed by the holder" in await terminal.refused("lease", "top-up", text, 1, by="stranger", on=on)
    assert "no lease 0x1111" in await terminal.refused("lease", "show", "0x" + "11" * 32, on=on)
    assert "expected 0x and 64" in await terminal.refused("lease", "top-up", "0x12", 1, by="developer", on=on)
    opening = ("--session-key", terminal.folder / "none.pem", "--lease", terminal.folder / "l.json")
    assert "none.pem: not found" in await terminal.refused("lease", "open", text, *opening, by="developer", on=on)
    others = ("--session-key", terminal.folder / "new.pem", "--lease", terminal.folder / "l.json")
    assert "another key than the lease's" in await terminal.refused(
        "lease", "open", text, *others, by="developer", on=on
    )
    assert not (terminal.folder / "l.json").exists()


async def test_a_holder_with_gas_changes_its_lease_on_the_chain(terminal: Terminal) -> None:
    _, lease = await leased(terminal.deployed)
    await terminal.deployed.fund("developer")
    text, on_chain = hex_text(lease), (*terminal.chain, "--on-chain")
    part, new = (("--session-key", terminal.folder / f"{name}.pem") for name in ("part", "new"))

    await terminal.ask("lease", "split", text, 200, *part, by="developer", on=on_chain)
    await terminal.ask("lease", "top-up", text, 100, by="developer", on=on_chain)
    await terminal.ask("lease", "rotate", text, *new, by="developer", on=on_chain)

    assert "RotatedLately" in await terminal.refused("lease", "rotate", text, *new, by="developer", on=on_chain)
    assert "BadHolderSignature" in await terminal.refused("lease", "top-up", text, 1, by="stranger", on=on_chain)


async def test_what_was_not_delivered_goes_back(terminal: Terminal) -> None:
    credit, lease = await leased(terminal.deployed, price=3)
    text, lessee = hex_text(lease), address_text(address_of("lessee"))
    assert "NotYetRefundable" in await terminal.refused("lease", "refund", text, by="stranger")
    assert "WindowNotOver" in await terminal.refused("lease", "refund-credits", credit, lessee, by="stranger")
    await terminal.deployed.anvil.advance(WEEK_S + DAY_S + 10)

    assert (await terminal.ask("lease", "refund", text, by="stranger"))["paid"] == 3 * SECONDS
    assert (await terminal.ask("lease", "refund-credits", credit, lessee, by="stranger"))["paid"] == 300
    assert "NothingToRefund" in await terminal.refused("lease", "refund", text, by="stranger")
    assert "NothingToRefund" in await terminal.refused("lease", "refund-credits", credit, lessee, by="stranger")
    assert "UnknownLease" in await terminal.refused("lease", "refund", "0x" + "11" * 32, by="stranger")
