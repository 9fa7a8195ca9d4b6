"""`commonhold asset` for what is in the commons and what is over: take, decline, price, retire, sync."""

from typing import TYPE_CHECKING, Annotated

import typer

from commonhold.cli import common, history
from commonhold.cli.asset import AssetArgument, app
from commonhold.cli.common import DEPLOYMENT, RPC_URL, Chain, DeploymentOption, JsonOption, KeyOption, RpcOption
from commonhold.cli.credits import number
from commonhold.errors import NotFound
from commonhold.units import UNIT, Address, AssetId, Hash32, to_address, to_units, units_text

if TYPE_CHECKING:
    from commonhold.chain.send import Mined, Sender

UnitsArgument = Annotated[str, typer.Argument(help="How much, at most 6 decimals.")]
SYNC_AT_ONCE = 100  # holders in one transaction


@app.command()
def take(
    asset: AssetArgument,
    units: UnitsArgument,
    key: KeyOption,
    max_price: Annotated[
        int | None,
        typer.Option(min=0, help="Most you pay for 1.000000, in the token's smallest unit; now's when left out."),
    ] = None,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Take units out of the commons, within your group's limit. The asset's operator is paid."""

    async def act(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions
        from commonhold.chain.events import Taken

        amount, at = to_units(units), await chain.rpc.head("latest")
        found = await chain.rpc.call("Ledger", chain.deployment.ledger, "assetOf", number(asset), at=at)
        price = int(found.commons_price)
        most = price if max_price is None else max_price
        mined = await actions.take(
            sender,
            chain.deployment,
            number(asset),
            amount,
            price_wei=most,
            cost_wei=-(-amount * min(price, most) // UNIT),
        )
        paid = sum(event.paid for event in mined.events if isinstance(event, Taken))
        return {"asset": asset, "units": units_text(amount), "price": price, "paid": paid}, mined

    common.send(key, rpc, deployment, as_json, act)


@app.command()
def decline(
    asset: AssetArgument,
    units: UnitsArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Give units up, to the commons: the way back for what was sent to you unasked."""

    async def act(_chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions

        amount = to_units(units)
        mined = await actions.decline(sender, number(asset), amount)
        return {"asset": asset, "units": units_text(amount)}, mined

    common.send(key, rpc, deployment, as_json, act)


@app.command()
def price(
    asset: AssetArgument,
    amount: Annotated[int, typer.Argument(min=0, help="For 1.000000 units, in the token's smallest unit.")],
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the asset's operator: lower what the commons' units cost. It never rises again."""

    async def act(_chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions

        return {"asset": asset, "price": amount}, await actions.lower_commons_price(sender, number(asset), amount)

    common.send(key, rpc, deployment, as_json, act)


@app.command()
def retire(
    asset: AssetArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Take an asset out whose appraisal lapsed long ago; its devices and content are free again. Final. Anyone may."""

    async def act(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions

        devices = await _devices(chain, number(asset))
        mined = await actions.retire(sender, number(asset), devices)
        return {"asset": asset, "devices": len(devices)}, mined

    common.send(key, rpc, deployment, as_json, act)


@app.command()
def sync(
    asset: AssetArgument,
    key: KeyOption,
    holder: Annotated[
        list[str] | None, typer.Option("--holder", help="Address of a holder; all who still count when left out.")
    ] = None,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Count a retired asset out of what its holders' groups hold. Anyone may."""
    named = [to_address(text) for text in holder or ()]

    async def work() -> None:
        from commonhold import actions

        async with common.open_chain(rpc, deployment) as chain:
            sender, which = chain.sender(key), number(asset)
            holders = named or await _counted(chain, which)
            rows = []
            for first in range(0, len(holders), SYNC_AT_ONCE):
                some = holders[first : first + SYNC_AT_ONCE]
                mined = await actions.sync(sender, which, some)
                rows.append({"asset": asset, "holders": len(some), **common.mined_row(mined)})
        common.show(rows, as_json=as_json, title="Holders to count out")

    common.run(work())


async def _devices(chain: Chain, asset: AssetId) -> list[Hash32]:
    """The devices as they were appraised first; no renewal names others."""
    from commonhold.chain.events import Registered

    at = await chain.rpc.head("latest")
    async for event in history.events(chain, "Ledger", at):
        if isinstance(event, Registered) and event.asset == asset:
            return list(event.devices)
    raise NotFound(f"no asset {asset} up to block {at.number}")


async def _counted(chain: Chain, asset: AssetId) -> list[Address]:
    """Who holds some of a retired asset and was not counted out."""
    from commonhold.chain.events import Transfer

    at, ledger = await chain.rpc.head("latest"), chain.deployment.ledger
    ever = {
        event.receiver
        async for event in history.events(chain, "Ledger", at)
        if isinstance(event, Transfer) and event.id == asset
    }
    found = []
    for holder in sorted(ever - {Address(bytes(20)), ledger}):
        held = await chain.rpc.call("Ledger", ledger, "balanceOf", holder, asset, at=at)
        if held and not await chain.rpc.call("Ledger", ledger, "isSynced", asset, holder, at=at):
            found.append(holder)
    return found
