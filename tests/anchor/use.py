"""A chain with some of everything and no service: quick to make, for audits of the chain alone."""

from commonhold.chain.deployment import ContractName
from commonhold.chain.layout import place
from commonhold.units import UNIT, AssetId, Hash32, address_text, hex_text
from tests.actors import Deployed, address_of

GPUS = 40


async def use(d: Deployed) -> tuple[AssetId, Hash32]:
    """Members and a group, assets of two kinds, units moved, credits granted and bought, two leases settled, one epoch
    anchored. The asset that has leases, and the first of them."""
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
    await d.send("stranger", "Meter", "anchor", 0, b"\1" * 32, 2, 300_000, "http://127.0.0.1:9/")
    return asset, one


async def put(
    d: Deployed, value: int, name: ContractName, variable: str, *path: int | bytes | str, at: ContractName | None = None
) -> int:
    """Behind the contract's back: its storage says something else, from the next block on. What it said before.

    at: the contract that has what `name` lays out. So a chain does what the contracts make impossible, and tells of it
    in real events of real blocks.
    """
    where, address = place(name, variable, *path), address_text(d.deployment.address_of(at or name))
    slot = f"0x{where.slot:064x}"
    word = int(await d.anvil.request("eth_getStorageAt", address, slot, "latest"), 16)
    mask = (1 << 8 * where.size) - 1 << 8 * where.offset
    changed = word & ~mask | value << 8 * where.offset
    await d.anvil.request("anvil_setStorageAt", address, slot, hex_text(changed.to_bytes(32)))
    await d.anvil.mine()
    return where.of(word)
