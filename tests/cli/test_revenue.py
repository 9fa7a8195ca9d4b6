"""What is in the commons, what assets earn and who gets it, by commands alone."""

import pytest

from commonhold import signing
from commonhold.units import UNIT, AssetId, CreditId, address_text, hex_text, keccak256
from tests.actors import ATTESTERS, DATA, DAY_S, MODEL, address_of
from tests.cli.people import Terminal

pytestmark = pytest.mark.chain

PRICE = 1_000_000
EVIDENCE = keccak256(b"a court's letter")


async def asset_for_sale(terminal: Terminal, *, expires_in_s: int = 10 * DAY_S) -> AssetId:
    """10 units of data, of which 4 are the provider's and 6 in the commons at PRICE."""
    deployed = terminal.deployed
    await deployed.admit("provider", "buyer", "owner")
    appraisal = await deployed.appraisal("provider", 10 * UNIT, of_class=DATA, expires_in_s=expires_in_s)
    return await deployed.register(appraisal, "provider", split={"provider": 4 * UNIT}, commons_price=PRICE)


async def earned(terminal: Terminal) -> tuple[AssetId, CreditId]:
    """A machine, half the provider's and the rest in the commons, has earned 3,600 credits of 10."""
    deployed = terminal.deployed
    await deployed.admit("provider", "buyer", "owner")
    asset = await deployed.register_compute(split={"provider": 4 * UNIT})
    credit = await deployed.open(asset, price=10)
    await deployed.pay("buyer", 36_000)
    await deployed.send("buyer", "Access", "buy", credit, 3_600, 10)
    lease = await deployed.redeem("buyer", credit, 3_600)
    await deployed.anvil.advance(3_600)
    receipt = deployed.signed_receipt(lease, 3_600_000, session="buyer")
    await deployed.send("relayer", "Meter", "settle", [receipt])
    return asset, credit


async def test_units_are_taken_from_the_commons_and_given_back(terminal: Terminal) -> None:
    asset = await asset_for_sale(terminal)
    await terminal.deployed.send("deployer", "Coin", "transfer", address_of("buyer"), 10 * PRICE)

    await terminal.ask("asset", "price", asset, PRICE // 2, by="provider")
    taken = await terminal.ask("asset", "take", asset, "2.5", by="buyer")
    assert (taken["units"], taken["price"], taken["paid"]) == ("2.500000", PRICE // 2, PRICE * 5 // 4)
    declined = await terminal.ask("asset", "decline", asset, "0.5", by="buyer")
    assert declined["units"] == "0.500000"

    assert "PriceNotLower" in await terminal.refused("asset", "price", asset, PRICE, by="provider")
    assert "NotRegistrant" in await terminal.refused("asset", "price", asset, 1, by="stranger")
    assert "PriceAbove" in await terminal.refused("asset", "take", asset, "1", "--max-price", 1, by="buyer")
    assert "UnknownAsset" in await terminal.refused("asset", "take", 12, "1", by="buyer")
    assert "InsufficientBalance" in await terminal.refused("asset", "decline", asset, "9", by="buyer")
    assert "NotActiveMember" in await terminal.refused("asset", "take", asset, "1", by="stranger")


async def test_revenue_is_claimed_and_the_commons_part_shared(terminal: Terminal) -> None:
    asset, _ = await earned(terminal)
    provider = address_text(address_of("provider"))
    assert await terminal.ask("asset", "revenue", provider) == [
        {"of": str(asset), "owed": 17_999},  # per unit, rounded down: the rest waits
        {"of": "commons", "owed": 0},
    ]

    (claimed,) = await terminal.ask("asset", "claim", "--all", "--account", provider, by="relayer")
    assert (claimed["asset"], claimed["account"], claimed["paid"]) == (str(asset), provider, 17_999)
    assert await terminal.ask("asset", "claim", "--all", by="provider") == []
    shared = await terminal.ask("asset", "share-commons", asset, by="stranger")
    assert (shared["shared"], shared["groups"]) == (17_999, 3)
    assert (await terminal.ask("asset", "claim-commons", by="owner"))["paid"] == 5_999

    assert "NothingToClaim" in await terminal.refused("asset", "claim", asset, by="provider")
    assert "NothingToClaim" in await terminal.refused("asset", "claim-commons", "--root", "0x" + "11" * 20, by="owner")
    assert "expected an asset id or --all" in await terminal.refused("asset", "claim", by="provider")
    assert "expected an asset id or --all" in await terminal.refused("asset", "claim", asset, "--all", by="provider")


async def test_a_lapsed_asset_is_retired_and_counted_out(terminal: Terminal) -> None:
    asset = await asset_for_sale(terminal, expires_in_s=DAY_S)
    assert "NotLapsed" in await terminal.refused("asset", "retire", asset, by="stranger")
    assert "NotRetired" in await terminal.refused(
        "asset", "sync", asset, "--holder", address_text(address_of("provider")), by="stranger"
    )
    await terminal.deployed.anvil.advance(2 * DAY_S + 10)

    assert (await terminal.ask("asset", "retire", asset, by="stranger"))["devices"] == 0
    assert [row["holders"] for row in await terminal.ask("asset", "sync", asset, by="stranger")] == [1]
    assert await terminal.ask("asset", "sync", asset, by="stranger") == []
    assert "IsRetired" in await terminal.refused("asset", "take", asset, "1", by="buyer")
    assert "no asset 12" in await terminal.refused("asset", "retire", 12, by="stranger")


async def test_all_that_a_lost_key_held_is_its_successors(terminal: Terminal) -> None:
    deployed = terminal.deployed
    await deployed.admit("provider", "owner")
    asset = await deployed.register_compute()
    await deployed.register_data("provider", of_class=MODEL)
    await deployed.send("provider", "Ledger", "transfer", address_of("owner"), asset, 2 * UNIT)
    credit = await deployed.open(asset)
    await deployed.grant(credit, "owner", 600)
    lease = await deployed.redeem("owner", credit, 100)
    owner, heir = address_text(address_of("owner")), address_text(address_of("heir"))
    assert "was not replaced" in await terminal.refused("asset", "recover", owner, by="stranger")
    statement = signing.Recovery(address_of("owner"), address_of("heir"), EVIDENCE, 0, await deployed.now() + 3_600)
    await deployed.send("relayer", "Members", "recover", statement, deployed.quorum(ATTESTERS[:2], statement))
    await deployed.anvil.advance(DAY_S + 10)
    await deployed.send("relayer", "Members", "completeRecovery", address_of("owner"))

    moved = await terminal.ask("asset", "recover", owner, by="stranger")

    assert (moved["successor"], moved["assets"], moved["credits"], moved["leases"]) == (heir, 1, 1, 1)
    assert len(moved["transactions"]) == 3
    at, d = await deployed.rpc.head(), deployed.deployment
    assert await deployed.rpc.call("Ledger", d.ledger, "balanceOf", address_of("heir"), asset, at=at) == 2 * UNIT
    assert await deployed.rpc.call("Access", d.access, "balanceOf", address_of("heir"), credit, at=at) == 500
    kept = await deployed.rpc.call("Access", d.access, "leaseOf", lease, at=at)
    assert hex_text(kept.holder) == heir.lower()
    again = await terminal.ask("asset", "recover", owner, by="stranger")
    assert (again["assets"], again["credits"], again["leases"], again["transactions"]) == (0, 0, 0, [])
