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
    SERVICE_URL,
    Chain,
    DeploymentOption,
    JsonOption,
    KeyOption,
    RpcOption,
    ServiceOption,
    get,
    open_service,
    run,
    show,
)
from commonhold.cli.credits import number
from commonhold.errors import BadInput
from commonhold.keyfile import read_or_write_p256, read_p256, read_wallet
from commonhold.p256 import p256_point
from commonhold.units import CreditId, Hash32, hex_text, to_address, to_hash32

if TYPE_CHECKING:
    from commonhold.chain.send import Mined, Sender
    from commonhold.client.client import Client

app = typer.Typer(no_args_is_help=True, help="Leases: show, split, top up, rotate the session key, refund.")

LeaseArgument = Annotated[str, typer.Argument(help="Id of the lease.")]
SecondsArgument = Annotated[int, typer.Argument(min=1, help="How many seconds.")]
NewSessionOption = Annotated[
    Path, typer.Option("--session-key", help="The new session key (P-256 PEM); made when missing.")
]
OnChainOption = Annotated[
    bool, typer.Option("--on-chain", help="Send it yourself and pay the gas; else the service does, with --service.")
]
DEADLINE_S = 600


@app.command("show")
def show_lease(lease: LeaseArgument, service: ServiceOption = SERVICE_URL, as_json: JsonOption = False) -> None:
    """Show one lease: its time, its session key, what was settled and paid."""

    async def work() -> None:
        async with open_service(service) as client:
            show(await get(client, f"/v1/leases/{hex_text(to_hash32(lease))}"), as_json=as_json)

    run(work())


@app.command()
def split(
    lease: LeaseArgument,
    seconds: SecondsArgument,
    key: KeyOption,
    session_key: NewSessionOption,
    on_chain: OnChainOption = False,
    service: ServiceOption = SERVICE_URL,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the holder: make part of a lease one of its own, bound to another session key (then `lease open`)."""
    of, wallet = to_hash32(lease), read_wallet(key)
    session = read_or_write_p256(session_key)

    async def relayed(client: "Client") -> dict[str, object]:
        part = await client.split(of, seconds, session)
        return {"lease": lease, "part": hex_text(part), "seconds": seconds, "session_key": str(session_key)}

    async def sent(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions

        point = p256_point(session.public_key())
        change, deadline = await _change(chain, of)
        statement = signing.Split(of, seconds, Hash32(point[:32]), Hash32(point[32:]), change, deadline)
        part = signing.digest(chain.deployment.domain("Access"), statement)
        return {"lease": lease, "part": hex_text(part), "seconds": seconds}, await actions.split(sender, statement)

    if on_chain:
        common.send(key, rpc, deployment, as_json, sent)
    else:
        _relay(service, wallet, relayed, as_json)


@app.command("top-up")
def top_up(
    lease: LeaseArgument,
    seconds: SecondsArgument,
    key: KeyOption,
    on_chain: OnChainOption = False,
    service: ServiceOption = SERVICE_URL,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the holder: redeem more of your credits into a lease."""
    of, wallet = to_hash32(lease), read_wallet(key)

    async def relayed(client: "Client") -> dict[str, object]:
        await client.top_up(of, seconds)
        return {"lease": lease, "added": seconds}

    async def sent(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions

        statement = signing.TopUp(of, seconds, *await _change(chain, of))
        return {"lease": lease, "added": seconds}, await actions.top_up(sender, statement)

    if on_chain:
        common.send(key, rpc, deployment, as_json, sent)
    else:
        _relay(service, wallet, relayed, as_json)


@app.command()
def rotate(
    lease: LeaseArgument,
    key: KeyOption,
    session_key: NewSessionOption,
    on_chain: OnChainOption = False,
    service: ServiceOption = SERVICE_URL,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the holder: bind a lease to another session key; `commonhold lease open` goes on with it.

    The key before proves use for an hour more. Sign for what it used (`commonhold call ... --close`) before, or then.
    """
    of, wallet = to_hash32(lease), read_wallet(key)
    session = read_or_write_p256(session_key)

    async def relayed(client: "Client") -> dict[str, object]:
        await client.rotate_key(of, session)
        return {"lease": lease, "session_key": str(session_key)}

    async def sent(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions

        point = p256_point(session.public_key())
        change, deadline = await _change(chain, of)
        statement = signing.Rotation(of, Hash32(point[:32]), Hash32(point[32:]), change, deadline)
        return {"lease": lease, "session_key": str(session_key)}, await actions.rotate(sender, statement)

    if on_chain:
        common.send(key, rpc, deployment, as_json, sent)
    else:
        _relay(service, wallet, relayed, as_json)


@app.command("open")
def open_lease(
    lease: LeaseArgument,
    key: KeyOption,
    session_key: Annotated[Path, typer.Option("--session-key", help="The lease's session key (P-256 PEM).")],
    lease_file: Annotated[Path, typer.Option("--lease", help="File for the lease; never overwritten.")],
    before: Annotated[
        Path | None, typer.Option(help="The lease's file under the key before: what was used then counts on.")
    ] = None,
    service: ServiceOption = SERVICE_URL,
    as_json: JsonOption = False,
) -> None:
    """Sign in for a lease that you hold and write its lease file, for `commonhold call`: the part of a split, or, with
    --before, a lease whose key was rotated."""
    of, wallet, session = to_hash32(lease), read_wallet(key), read_p256(session_key)
    if lease_file.exists():
        raise BadInput(f"lease file {lease_file}: exists already; name another with --lease")

    used = _used(before, of)

    async def work() -> None:
        from commonhold.cli.developer import write_private
        from commonhold.client.client import Client

        async with Client(service, wallet, session) as client:
            opened = await client.open(of, observed_gpu_ms=used[0], requests=used[1])
        write_private(lease_file, opened.to_json())
        claims = opened.token.claims
        row = {"lease": lease, "gateway": claims.audience, "expires_at": claims.expires_at, "file": str(lease_file)}
        show(row, as_json=as_json)

    run(work())


@app.command()
def refund(
    lease: LeaseArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Pay a lease's holder for what was not delivered, some time after its window. Anyone may send it."""
    of = to_hash32(lease)

    async def act(_chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions
        from commonhold.chain.events import Refunded

        mined = await actions.refund(sender, of)
        paid = sum(event.amount for event in mined.events if isinstance(event, Refunded))
        return {"lease": lease, "paid": paid}, mined

    common.send(key, rpc, deployment, as_json, act)


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
    of, whose = CreditId(number(credit)), to_address(holder)

    async def act(_chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions
        from commonhold.chain.events import CreditsRefunded

        mined = await actions.refund_credits(sender, of, whose)
        paid = sum(event.amount for event in mined.events if isinstance(event, CreditsRefunded))
        return {"credit": credit, "holder": holder, "paid": paid}, mined

    common.send(key, rpc, deployment, as_json, act)


def _relay(service: str, wallet: bytes, act: "Callable[[Client], Awaitable[dict[str, object]]]", as_json: bool) -> None:
    """Signs, and lets the service send and pay."""

    async def work() -> None:
        from commonhold.client.client import Client

        async with Client(service, wallet) as client:
            show(await act(client), as_json=as_json)

    run(work())


def _used(file: Path | None, lease: Hash32) -> tuple[int, int]:
    """GPU-ms and requests that a lease file counts. Raises BadInput, also when it is another lease's."""
    from commonhold.cli.developer import read_json

    if file is None:
        return 0, 0
    kept = read_json(file)
    try:
        of, used = to_hash32(kept["lease"]), (int(kept["observed_gpu_ms"]), int(kept["requests"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"lease file {file}: {type(error).__name__} {error}") from error
    if of != lease:
        raise BadInput(f"lease file {file}: is of lease {hex_text(of)}, expected {hex_text(lease)}")
    return used


async def _change(chain: Chain, lease: Hash32) -> tuple[int, int]:
    """The number of the lease's next change, and a deadline by the chain's clock or ours, the later one."""
    at = await chain.rpc.head("latest")
    found: Any = await chain.rpc.call("Access", chain.deployment.access, "leaseOf", lease, at=at)
    return int(found.changes), max(int(time.time()), at.timestamp) + DEADLINE_S
