"""What our own operations cost, each a transaction of its own with all slots cold, on real input.

Out: gas by the name of the operation in build/bench/gas.json.
"""

from collections.abc import Sequence

from commonhold.chain.contract import encode_call
from commonhold.units import UNIT, AssetId, Hash32, keccak256
from tests.actors import Deployed, address_of

GPUS = 200  # of one node, so that a hundred leases fit one window
BATCHES = (1, 10, 100)
FOR = 1


async def units(deployed: Deployed) -> dict[str, int]:
    """Transfers of units between groups and inside one, at the limit, and after revenue."""
    await deployed.admit("provider", "owner", "buyer", "affiliate", "lessee", "wallet", "holding")
    appraisal = await deployed.appraisal("provider", GPUS * UNIT, name="node")
    asset = await deployed.register(appraisal, "provider", split={"provider": 60 * UNIT}, commons_price=5)
    for role in ("provider", "buyer"):
        await deployed.pay(role, 10**6)
        await deployed.send(role, "Coin", "approve", deployed.deployment.ledger, 10**6)
    await deployed.send("provider", "Ledger", "take", asset, 30 * UNIT, 5)  # what exceeded the limit of a young class
    found = {
        "transfer_new": await _transfer(deployed, asset, "provider", "owner"),
        "transfer_existing": await _transfer(deployed, asset, "provider", "owner"),
    }
    await deployed.send("provider", "Ledger", "take", asset, 2 * UNIT, 5)
    await deployed.attach("affiliate", "provider")
    await deployed.attach("wallet", "holding")
    return found | {
        "transfer_to_limit_new": await _transfer(deployed, asset, "provider", "buyer", 60 * UNIT),
        "transfer_back": await _transfer(deployed, asset, "buyer", "provider", 30 * UNIT),
        "transfer_same_group_new": await _transfer(deployed, asset, "provider", "affiliate"),
        "transfer_same_group_existing": await _transfer(deployed, asset, "provider", "affiliate"),
        "transfer_to_controlled_new": await _transfer(deployed, asset, "buyer", "wallet"),
        "transfer_to_controlled_existing": await _transfer(deployed, asset, "buyer", "wallet"),
        "transfer_between_controlled": await _transfer(deployed, asset, "affiliate", "wallet"),
        "take_from_commons": await _gas(deployed, "buyer", "Ledger", "take", asset, UNIT, 5),
        "decline": await _gas(deployed, "buyer", "Ledger", "decline", asset, UNIT),
    }


async def access(deployed: Deployed) -> dict[str, int]:
    """From credits to revenue, with a hundred leases of ten holders."""
    holders = [f"holder{number}" for number in range(10)]
    for role in holders:
        await deployed.fund(role)
    await deployed.admit("provider", *holders)
    asset = await deployed.register_compute(gpus=GPUS, name="served")
    granted = await deployed.open(asset, tranche=0)
    sold = await deployed.open(asset, tranche=1, price=1_000)
    first = holders[0]
    await deployed.pay(first, 10**12)
    found = {
        "grant_new": await _gas(deployed, "provider", "Access", "grant", granted, address_of(first), 9_000),
        "grant_existing": await _gas(deployed, "provider", "Access", "grant", granted, address_of(first), 9_000),
        "buy_new": await _gas(deployed, first, "Access", "buy", sold, 1_000, 1_000),
        "buy_existing": await _gas(deployed, first, "Access", "buy", sold, 1_000, 1_000),
    }
    for role in holders[1:]:
        await deployed.pay(role, 10**12)
        await deployed.send(role, "Access", "buy", sold, 20_000, 1_000)
    await deployed.send(first, "Access", "buy", sold, 20_000, 1_000)
    statement, signature = await deployed.redemption(first, sold, 600)
    found["redeem"] = await _gas(deployed, "relayer", "Access", "redeemFor", statement, signature)

    leases = [(role, await deployed.redeem(role, sold, 600, nonce=nonce)) for role in holders for nonce in range(1, 13)]
    await deployed.anvil.advance(3_600)
    # Who is settled for the first time pays for new slots; what comes later is what most receipts cost.
    await _settle(deployed, leases[:10:1] + leases[12::12], 1_000)
    rest = [lease for lease in leases if lease not in leases[:10] and lease not in leases[12::12]]
    at = 0
    for count in BATCHES:
        batch = rest[at : at + count] if count < 100 else leases[-100:]
        at += count
        gas = await _settle(deployed, batch, 2_000 + at)
        found[f"settle_per_receipt_{count}"] = round(gas / count)
    return found | {
        "claim_revenue": await _gas(deployed, "relayer", "Ledger", "claim", asset, address_of("provider")),
        "transfer_new_after_revenue": await _transfer(deployed, asset, "provider", holders[3]),
        "transfer_existing_after_revenue": await _transfer(deployed, asset, "provider", holders[3]),
        "anchor_first": await _gas(
            deployed, "submitter", "Meter", "anchor", 0, keccak256(b"root"), 100, 1, "https://x"
        ),
        "anchor_later": await _gas(
            deployed, "submitter", "Meter", "anchor", 1, keccak256(b"root"), 100, 1, "https://x"
        ),
    }


async def council(deployed: Deployed) -> dict[str, int]:
    """A proposal that changes a limit, and the votes for it."""
    voters = ("provider", "owner", "buyer")
    await deployed.admit(*voters)
    await deployed.anvil.advance(10)
    contract = deployed.deployment.address_of("Council")
    word = b"admissionsPerDay".ljust(32, b"\0")
    call = encode_call("Members", "change", (word, bytes(32), 99))
    proposal = ([deployed.deployment.members], [0], [call])
    found = {"propose": await _gas(deployed, voters[0], "Council", "propose", *proposal, "lower the rate")}
    at = await deployed.rpc.head()
    asked = (*proposal, keccak256(b"lower the rate"))
    id_ = await deployed.rpc.call("Council", contract, "hashProposal", *asked, at=at)
    await deployed.anvil.advance(await _number(deployed, "votingDelay") + 1)
    found["vote_first"] = await _gas(deployed, voters[0], "Council", "castVote", id_, FOR)
    found["vote_later"] = await _gas(deployed, voters[1], "Council", "castVote", id_, FOR)
    await deployed.send(voters[2], "Council", "castVote", id_, FOR)
    await deployed.anvil.advance(await _number(deployed, "votingPeriod") + 1)
    found["queue"] = await _gas(deployed, "relayer", "Council", "queue", *asked)
    await deployed.anvil.advance(30 * 86_400)
    found["execute"] = await _gas(deployed, "relayer", "Council", "execute", *asked)
    return found


async def _transfer(deployed: Deployed, asset: AssetId, sender: str, receiver: str, units_: int = UNIT) -> int:
    await deployed.fund(sender)
    return await _gas(deployed, sender, "Ledger", "transfer", address_of(receiver), asset, units_)


async def _settle(deployed: Deployed, leases: Sequence[tuple[str, Hash32]], gpu_ms: int) -> int:
    receipts = [deployed.signed_receipt(lease, gpu_ms, node="served", session=role) for role, lease in leases]
    return await _gas(deployed, "relayer", "Meter", "settle", receipts)


async def _gas(deployed: Deployed, role: str, name: str, function: str, *args: object) -> int:
    return (await deployed.send(role, name, function, *args)).gas_used  # type: ignore[arg-type]


async def _number(deployed: Deployed, function: str) -> int:
    contract = deployed.deployment.address_of("Council")
    return int(await deployed.rpc.call("Council", contract, function, at=await deployed.rpc.head()))
