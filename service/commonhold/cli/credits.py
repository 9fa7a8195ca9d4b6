"""`commonhold credits`: open windows, grant, buy and list credits."""

from typing import Annotated

import typer

from commonhold.cli import common
from commonhold.cli.common import (
    DEPLOYMENT,
    RPC_URL,
    SERVICE_URL,
    DeploymentOption,
    JsonOption,
    KeyOption,
    RpcOption,
    ServiceOption,
    get,
    open_chain,
    open_service,
    run,
    show,
)
from commonhold.errors import BadInput
from commonhold.units import AssetId, CreditId, address_text, to_address

app = typer.Typer(no_args_is_help=True, help="Credits: the right to one second of one unit of an asset in one window.")

AssetArgument = Annotated[str, typer.Argument(help="Asset id, decimal.")]
CreditArgument = Annotated[str, typer.Argument(help="Credit id, decimal: one asset, one window, one tranche.")]
SecondsArgument = Annotated[int, typer.Argument(min=1, help="How many credits: seconds of one unit.")]


@app.command("list")
def list_credits(
    holder: Annotated[str, typer.Argument(help="Address of an account.")],
    service: ServiceOption = SERVICE_URL,
    as_json: JsonOption = False,
) -> None:
    """List the credits that HOLDER has."""

    async def work() -> None:
        async with open_service(service) as client:
            address = address_text(to_address(holder))
            show(await get(client, "/v1/credits", holder=address), as_json=as_json, title="Credits")

    run(work())


@app.command()
def offers(service: ServiceOption = SERVICE_URL, as_json: JsonOption = False) -> None:
    """List the open tranches: which asset, which window, at which price."""

    async def work() -> None:
        async with open_service(service) as client:
            show(await get(client, "/v1/offers"), as_json=as_json, title="Offers")

    run(work())


@app.command("open")
def open_window(
    asset: AssetArgument,
    key: KeyOption,
    price: Annotated[int, typer.Option(min=0, help="Per second, in the payment token's smallest unit; 0: granted.")],
    window: Annotated[int | None, typer.Option(help="Window index; the current one when left out.")] = None,
    tranche: Annotated[int, typer.Option(min=0, help="Tells prices of one window apart.")] = 0,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the asset's operator: open a tranche of a window. Its price never changes."""

    async def work() -> None:
        from commonhold import actions

        async with open_chain(rpc, deployment) as chain:
            at = await chain.rpc.head("latest")
            index = window
            if index is None:
                index = int(await chain.rpc.call("Access", chain.deployment.access, "currentWindow", at=at))
            credit = await actions.open_tranche(chain.sender(key), number(asset), index, tranche, price)
            row = {"credit": str(credit), "asset": asset, "window": index, "tranche": tranche, "price": price}
            show(row, as_json=as_json)

    run(work())


@app.command()
def grant(
    credit: CreditArgument,
    receiver: Annotated[str, typer.Argument(help="Address of a member.")],
    seconds: SecondsArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the asset's operator: give credits of a tranche of price 0."""

    async def work() -> None:
        from commonhold import actions

        async with open_chain(rpc, deployment) as chain:
            mined = await actions.grant(chain.sender(key), CreditId(number(credit)), to_address(receiver), seconds)
            show(
                {"credit": credit, "receiver": receiver, "seconds": seconds, **common.mined_row(mined)}, as_json=as_json
            )

    run(work())


@app.command()
def buy(
    credit: CreditArgument,
    seconds: SecondsArgument,
    key: KeyOption,
    max_price: Annotated[int, typer.Option(min=1, help="Most you pay per second, in the token's smallest unit.")],
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Buy credits; the payment stays in escrow until the node delivered and you signed for it."""

    async def work() -> None:
        from commonhold import actions

        async with open_chain(rpc, deployment) as chain:
            bought = await actions.buy(
                chain.sender(key), chain.deployment, CreditId(number(credit)), seconds, max_price
            )
            show({"credit": credit, "seconds": seconds, **common.mined_row(bought)}, as_json=as_json)

    run(work())


def number(text: str) -> AssetId:
    """A decimal id. Raises BadInput."""
    if not text.isdecimal() or int(text) >= 1 << 256:
        raise BadInput(f"id {text[:90]!r}: expected a decimal number below 2^256")
    return AssetId(int(text))
