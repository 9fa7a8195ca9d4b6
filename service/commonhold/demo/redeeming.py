"""Step 5: credits granted and bought, redeemed over HTTP without gas; a redemption over the use limit is refused."""

import time

from commonhold import actions, p256
from commonhold.chain.node import Anvil
from commonhold.chain.send import ContractRefused
from commonhold.client.errors import ServiceRefused
from commonhold.demo import parties, show
from commonhold.demo.holding import until_mirrored
from commonhold.demo.parties import COMPUTE
from commonhold.demo.world import World
from commonhold.units import CreditId, address_text, class_id, hex_text, units_text

PRICE = 700  # of the coin's smallest unit (6 decimals) per GPU-second: 2.52 an hour
GRANTED_S, BOUGHT_S = 600, 500_000
LEASED_S = 24  # of 4 GPUs: 6 s of wall clock
GRANTED_LEASE_S = 8
OVER_LIMIT_S = 900_000


async def redeem_within_limits(world: World, anvil: Anvil) -> None:
    """Step 5."""
    show.step(5, "Credits granted and bought, redeemed without gas")
    await _acquire(world)
    developer = world.keys.address("developer")
    await anvil.fund(address_text(developer), 0)
    show.fact("gas left to the developer", await world.rpc.balance(developer, await world.rpc.head("latest")))

    for name, seconds in (("bought", LEASED_S), ("granted", GRANTED_LEASE_S)):
        lease = await world.client.redeem(world.credits[name], seconds)
        claims = lease.token.claims
        show.fact(
            f"{seconds} s of {name} credits", f"one EIP-712 signature, relayed: lease {hex_text(lease.lease)[:18]}…"
        )
        show.fact(
            "access token",
            f"JWT ES256, DPoP-bound, {claims.expires_at - claims.issued_at} s, up to {claims.limit_gpu_ms} GPU-ms, "
            f"level {claims.level} ({claims.policy})",
        )
        world.leases[name] = lease
    await _redeem_over_limit(world)


async def _acquire(world: World) -> None:
    window, node = await world.window(), world.assets["node"]
    provider, developer = world.sender("provider"), world.keys.address("developer")
    world.credits["granted"] = await actions.open_tranche(provider, node, window, 0, 0)
    world.credits["bought"] = await actions.open_tranche(provider, node, window, 1, PRICE)
    await actions.grant(provider, world.credits["granted"], developer, GRANTED_S)
    show.fact("granted by the provider", f"{GRANTED_S} s of window {window}")
    for role in ("developer", "branch"):
        cost = BOUGHT_S * PRICE
        await world.sender("deployer").transact("Coin", "transfer", world.keys.address(role), cost)
        mined = await actions.buy(world.sender(role), world.deployment, world.credits["bought"], BOUGHT_S, PRICE)
        show.fact(f"bought by the {role}", f"{BOUGHT_S} s for {units_text(cost)} CDC, in escrow")
    escrow = await world.view("Coin", "balanceOf", world.deployment.access)
    show.expect("escrow", 2 * BOUGHT_S * PRICE, escrow)
    await until_mirrored(world, mined.block.number)


async def _redeem_over_limit(world: World) -> None:
    """The branch turns out to be the developer's: together they hold more than one group may use."""
    developer, branch = world.keys.address("developer"), world.sender("branch")
    await parties.find_branch(world)
    # A move inside a group is never refused.
    moved = await branch.transact("Access", "transfer", developer, world.credits["bought"], BOUGHT_S)
    window = await world.window()
    acquired = await world.view("Access", "acquiredBy", class_id(COMPUTE), window, developer)
    redeemed = await world.view("Access", "redeemedBy", class_id(COMPUTE), window, developer)
    show.fact(
        "a quorum's finding", f"branch belongs to developer: one group, {acquired} s acquired, {redeemed} s redeemed"
    )
    await until_mirrored(world, moved.block.number)

    try:
        await world.client.redeem(world.credits["bought"], OVER_LIMIT_S)
    except ServiceRefused as error:
        show.expect("rule of the refusal", "OverUseLimit", error.details.get("rule"))
        show.refused("the service", str(error))
    else:
        raise show.DemoFailed(f"redemption of {OVER_LIMIT_S} s over the use limit: expected a refusal, it was accepted")

    statement = actions.redemption(
        developer,
        CreditId(world.credits["bought"]),
        OVER_LIMIT_S,
        p256.p256_point(world.client.session_key.public_key()),
        deadline=int(time.time()) + 600,
    )
    signature = actions.sign(world.keys.wallet("developer"), world.deployment.domain("Access"), statement)
    try:
        await actions.redeem(world.sender("relayer"), statement, signature, check=False)
    except ContractRefused as error:
        show.expect("custom error of the chain", "OverUseLimit", error.details.get("error"))
        show.refused("the chain, sent anyway", str(error))
    else:
        raise show.DemoFailed(f"redemption of {OVER_LIMIT_S} s sent anyway: expected a refusal, it was accepted")
