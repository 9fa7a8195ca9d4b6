"""`commonhold lease`: change a lease that you hold, or be paid for what was not delivered."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commonhold import signing
from commonhold.cli import common
from commonhold.cli.common import (
    DEPLOYMENT,
    RPC_URL,
    DeploymentOption,
    JsonOption,
    KeyOption,
    RpcOption,
    open_chain,
    run,
    show,
)
from commonhold.cli.credits import number
from commonhold.keyfile import read_or_write_p256
from commonhold.p256 import p256_point
from commonhold.units import CreditId, Hash32, hex_text, to_address, to_hash32

if TYPE_CHECKING:
    from commonhold.chain.send import Mined, Sender

app = typer.Typer(no_args_is_help=True, help="Leases: split, top up, rotate the session key, refund.")

LeaseArgument = Annotated[str, typer.Argument(help="Id of the lease.")]
SecondsArgument = Annotated[int, typer.Argument(min=1, help="How many seconds.")]
SessionOption = Annotated[
    Path, typer.Option("--session-key", help="The new session key (P-256 PEM); made when missing.")
]
DEADLINE_S = 600


@app.command()
def split(
    lease: LeaseArgument,
    seconds: SecondsArgument,
    key: KeyOption,
    session_key: SessionOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the holder: make part of a lease one of its own, bound to another session key."""
    from commonhold import actions

    async def act(sender: "Sender", of: Hash32, change: int) -> "Mined":
        statement = signing.Split(of, seconds, *_key(session_key), change, int(time.time()) + DEADLINE_S)
        common.err.print(f"new lease {hex_text(signing.digest(sender.domain('Access'), statement))}", markup=False)
        return await actions.split(sender, statement)

    _send(lease, key, rpc, deployment, as_json, act)


@app.command("top-up")
def top_up(
    lease: LeaseArgument,
    seconds: SecondsArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the holder: redeem more of your credits into a lease."""
    from commonhold import actions

    async def act(sender: "Sender", of: Hash32, change: int) -> "Mined":
        return await actions.top_up(sender, signing.TopUp(of, seconds, change, int(time.time()) + DEADLINE_S))

    _send(lease, key, rpc, deployment, as_json, act)


@app.command()
def rotate(
    lease: LeaseArgument,
    key: KeyOption,
    session_key: SessionOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the holder: bind a lease to another session key. The one before proves use for an hour more."""
    from commonhold import actions

    async def act(sender: "Sender", of: Hash32, change: int) -> "Mined":
        statement = signing.Rotation(of, *_key(session_key), change, int(time.time()) + DEADLINE_S)
        return await actions.rotate(sender, statement)

    _send(lease, key, rpc, deployment, as_json, act)


@app.command()
def refund(
    lease: LeaseArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Pay a lease's holder for what was not delivered, some time after its window. Anyone may send it."""
    from commonhold import actions

    _send(lease, key, rpc, deployment, as_json, lambda sender, of, _: actions.refund(sender, of))


@app.command("refund-credits")
def refund_credits(
    credit: Annotated[str, typer.Argument(help="Credit id, decimal.")],
    holder: Annotated[str, typer.Argument(help="Address of who holds them.")],
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Pay a holder for bought credits whose window is over. Anyone may send it."""

    async def work() -> None:
        from commonhold import actions

        async with open_chain(rpc, deployment) as chain:
            of = CreditId(number(credit))
            mined = await actions.refund_credits(chain.sender(key), of, to_address(holder))
            show({"credit": credit, "holder": holder, **common.mined_row(mined)}, as_json=as_json)

    run(work())


def _key(path: Path) -> tuple[Hash32, Hash32]:
    point = p256_point(read_or_write_p256(path).public_key())
    return Hash32(point[:32]), Hash32(point[32:])


def _send(
    lease: str,
    key: Path,
    rpc: str,
    deployment: Path,
    as_json: bool,
    act: "Callable[[Sender, Hash32, int], Awaitable[Mined]]",
) -> None:
    """Sends one transaction about a lease; it is told the number of the lease's next change."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            of, at = to_hash32(lease), await chain.rpc.head("latest")
            found: Any = await chain.rpc.call("Access", chain.deployment.access, "leaseOf", of, at=at)
            mined = await act(chain.sender(key), of, int(found.changes))
            show({"lease": lease, **common.mined_row(mined)}, as_json=as_json)

    run(work())
