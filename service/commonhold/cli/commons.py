"""`commonhold asset take`, `claim`, `retire` and the rest: the commons, revenue, and assets whose time is over."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commonhold.cli import common
from commonhold.cli.asset import AssetArgument, app
from commonhold.cli.common import (
    DEPLOYMENT,
    RPC_URL,
    Chain,
    DeploymentOption,
    JsonOption,
    KeyOption,
    RpcOption,
    open_chain,
    run,
    show,
)
from commonhold.cli.credits import number
from commonhold.units import UNIT, AssetId, to_address, to_hash32, to_units, units_text

if TYPE_CHECKING:
    from commonhold.chain.send import Mined, Sender

UnitsArgument = Annotated[str, typer.Argument(help="How much, at most 6 decimals.")]


@app.command()
def take(
    asset: AssetArgument,
    units: UnitsArgument,
    key: KeyOption,
    max_price: Annotated[int, typer.Option(min=0, help="Most you pay for 1.000000, in the token's smallest unit.")] = 0,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Take units out of the commons, within your group's limit; the asset's operator is paid."""
    from commonhold import actions

    amount = to_units(units)

    async def act(chain: Chain, sender: "Sender", of: AssetId) -> "Mined":
        cost = -(-amount * max_price // UNIT)
        return await actions.take(sender, chain.deployment, of, amount, price_wei=max_price, cost_wei=cost)

    _send(asset, key, rpc, deployment, as_json, act)


@app.command()
def decline(
    asset: AssetArgument,
    units: UnitsArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Give units up, to the commons: the way back for what was sent unasked."""
    from commonhold import actions

    amount = to_units(units)
    _send(asset, key, rpc, deployment, as_json, lambda _, sender, of: actions.decline(sender, of, amount))


@app.command()
def price(
    asset: AssetArgument,
    price: Annotated[int, typer.Argument(min=0, help="For 1.000000 of the commons, in the token's smallest unit.")],
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the asset's operator: lower the price of the commons' units."""
    from commonhold import actions

    _send(asset, key, rpc, deployment, as_json, lambda _, sender, of: actions.lower_commons_price(sender, of, price))


@app.command()
def retire(
    asset: AssetArgument,
    key: KeyOption,
    device: Annotated[list[str] | None, typer.Option(help="Its devices, as they were appraised.")] = None,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Take an asset out of its class whose appraisal lapsed longer ago than the grace period. Anyone may send it."""
    from commonhold import actions

    devices = sorted(to_hash32(text) for text in device or ())
    _send(asset, key, rpc, deployment, as_json, lambda _, sender, of: actions.retire(sender, of, devices))


@app.command()
def sync(
    asset: AssetArgument,
    holders: Annotated[list[str], typer.Argument(help="Accounts that hold units of it.")],
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Take what holders have of a retired asset out of what their groups hold. Anyone may send it."""
    from commonhold import actions

    accounts = [to_address(holder) for holder in holders]
    _send(asset, key, rpc, deployment, as_json, lambda _, sender, of: actions.sync(sender, of, accounts))


@app.command()
def claim(
    asset: AssetArgument,
    key: KeyOption,
    account: Annotated[str | None, typer.Option(help="Whose revenue; without: yours.")] = None,
    commons: Annotated[
        bool, typer.Option("--commons", help="Share the commons' part among the groups instead.")
    ] = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Pay an account its revenue of an asset, whoever sends it."""
    from commonhold import actions

    async def act(_: Chain, sender: "Sender", of: AssetId) -> "Mined":
        if commons:
            return await actions.share_commons(sender, of)
        return await actions.claim(sender, of, sender.address if account is None else to_address(account))

    _send(asset, key, rpc, deployment, as_json, act)


@app.command("claim-commons")
def claim_commons(
    root: Annotated[str, typer.Argument(help="Root of a group.")],
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Pay a group its part of what the commons has shared, whoever sends it."""

    async def work() -> None:
        from commonhold import actions

        async with open_chain(rpc, deployment) as chain:
            mined = await actions.claim_commons(chain.sender(key), to_address(root))
            show({"root": root, **common.mined_row(mined)}, as_json=as_json)

    run(work())


@app.command()
def revenue(
    asset: AssetArgument,
    account: Annotated[str, typer.Argument(help="Address of an account.")],
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Show what an asset still owes an account, as the contract says now."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            at, ledger = await chain.rpc.head("latest"), chain.deployment.ledger
            owner = to_address(account)
            units = await chain.rpc.call("Ledger", ledger, "balanceOf", owner, number(asset), at=at)
            owed = await chain.rpc.call("Ledger", ledger, "revenueOf", number(asset), owner, at=at)
            show({"asset": asset, "account": account, "units": units_text(units), "owed": str(owed)}, as_json=as_json)

    run(work())


def _send(
    asset: str,
    key: Path,
    rpc: str,
    deployment: Path,
    as_json: bool,
    act: "Callable[[Chain, Sender, AssetId], Awaitable[Mined]]",
) -> None:
    """Sends one transaction about an asset."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            mined = await act(chain, chain.sender(key), number(asset))
            show({"asset": asset, **common.mined_row(mined)}, as_json=as_json)

    run(work())
