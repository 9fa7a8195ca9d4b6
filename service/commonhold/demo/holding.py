"""Step 4: the holding limit, counted with the affiliate: refused by the service before any transaction, refused by the
chain when sent anyway; the same move under the limit goes through.
"""

from commonhold import actions
from commonhold.chain.send import ContractRefused
from commonhold.demo import show
from commonhold.demo.parties import COMPUTE
from commonhold.demo.world import World, wait_for
from commonhold.units import Units, address_text, class_id, units_text

TOO_MUCH = Units(500_000)
WITHIN = Units(200_000)


async def hold_within_limits(world: World) -> None:
    """Step 4."""
    show.step(4, "A holding limit counts a group, not a wallet")
    asset = world.assets["node"]
    root = world.keys.address("provider")
    held = await world.view("Ledger", "heldBy", class_id(COMPUTE), root)
    most = held + await world.view("Ledger", "headroom", class_id(COMPUTE), root)
    own = await world.view("Ledger", "balanceOf", root, asset)
    show.fact("provider and affiliate hold", f"{units_text(own)} + {units_text(held - own)}, limit {units_text(most)}")

    question = {
        "sender": address_text(world.keys.address("investor")),
        "receiver": address_text(world.keys.address("affiliate")),
        "asset": str(asset),
    }
    answer = await world.http.post(
        f"{world.service_url}/v1/transfers/check", json={**question, "units": units_text(TOO_MUCH)}
    )
    show.expect("answer to a transfer over the limit", 409, answer.status_code)
    show.refused("the service", answer.json()["detail"])

    affiliate = world.keys.address("affiliate")
    try:
        await actions.transfer(world.sender("investor"), affiliate, asset, TOO_MUCH, check=False)
    except ContractRefused as error:
        show.expect("custom error of the chain", "OverHoldingLimit", error.details.get("error"))
        show.refused("the chain, sent anyway", str(error))
    else:
        raise show.DemoFailed(f"transfer of {units_text(TOO_MUCH)} over the limit: expected a refusal, it was accepted")

    answer = await world.http.post(
        f"{world.service_url}/v1/transfers/check", json={**question, "units": units_text(WITHIN)}
    )
    show.expect("answer to a transfer under the limit", 200, answer.status_code)
    mined = await actions.transfer(world.sender("investor"), affiliate, asset, WITHIN)
    now_held = await world.view("Ledger", "heldBy", class_id(COMPUTE), root)
    show.expect("holding of the group", held + WITHIN, now_held)
    show.fact("the same move, under the limit", f"{units_text(WITHIN)}: the group holds {units_text(now_held)}")
    show.fact("gas", mined.gas_used)
    await until_mirrored(world, mined.block.number)


async def until_mirrored(world: World, number: int) -> None:
    """The service's mirror has applied block `number`."""

    async def reached() -> bool | None:
        position = (await world.http.get(f"{world.service_url}/status")).json()
        return True if position["block"]["number"] >= number else None

    await wait_for(f"block {number} in the mirror", reached)
