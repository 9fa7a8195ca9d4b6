"""A chain with some of everything and no service: quick to make, for audits of the chain alone."""

from commonhold.units import UNIT, AssetId
from tests.actors import Deployed, address_of

GPUS = 40


async def use(d: Deployed) -> AssetId:
    """Members and a group, assets of two kinds, units moved, credits granted and bought, two leases, one settled, one
    epoch anchored. The asset that has leases."""
    await d.admit("provider", "affiliate", "owner", "developer", "buyer")
    await d.attach("affiliate", "owner")
    asset = await d.register_compute(gpus=GPUS, split={"provider": 28 * UNIT, "owner": 12 * UNIT})
    await d.register_data(units=10 * UNIT)
    await d.send("owner", "Ledger", "transfer", address_of("affiliate"), asset, 3 * UNIT)
    free, sold = await d.open(asset), await d.open(asset, tranche=1, price=7)
    await d.grant(free, "developer", 5_000)
    await d.pay("buyer", 10_000_000)
    await d.send("buyer", "Access", "buy", sold, 9_000, 7)
    await d.send("buyer", "Access", "transfer", address_of("developer"), sold, 4_000)
    one = await d.redeem("developer", free, 3_600)
    two = await d.redeem("developer", sold, 4_000, nonce=1)
    await d.anvil.advance(60)
    await d.send("stranger", "Meter", "settle", [d.signed_receipt(one, 100_000), d.signed_receipt(two, 200_000)])
    await d.send("submitter", "Meter", "anchor", 0, b"\1" * 32, 2, 300_000, "http://127.0.0.1:9/")
    return asset
