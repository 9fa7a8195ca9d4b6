"""`commonhold council` and `commonhold settings`: how the groups change what may be changed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    open_chain,
    open_service,
    run,
    show,
    write_new,
)
from commonhold.errors import BadInput
from commonhold.units import Hash32, address_text, class_id, hex_text, to_address

if TYPE_CHECKING:
    from commonhold.voting import Motion

app = typer.Typer(no_args_is_help=True, help="The council: propose, vote, queue, execute. One group, one vote.")
settings_app = typer.Typer(no_args_is_help=True, help="What the council may change.")

MotionArgument = Annotated[Path, typer.Argument(help="File of a motion: its calls and its description.")]
ProposalArgument = Annotated[str, typer.Argument(help="Number of the proposal, decimal.")]


@settings_app.command("show")
def show_settings(service: ServiceOption = SERVICE_URL, as_json: JsonOption = False) -> None:
    """List all settings with what waits. Bounds and steps: `commonhold deployment prove`."""

    async def work() -> None:
        async with open_service(service) as client:
            show(await get(client, "/v1/settings"), as_json=as_json, title="Settings")

    run(work())


@app.command("list")
def list_proposals(service: ServiceOption = SERVICE_URL, as_json: JsonOption = False) -> None:
    """List the proposals, the newest first."""

    async def work() -> None:
        async with open_service(service) as client:
            show(await get(client, "/v1/proposals"), as_json=as_json, title="Proposals")

    run(work())


@app.command("show")
def show_proposal(
    proposal: ProposalArgument,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Show where a proposal stands, as the contract says now."""

    async def work() -> None:
        from commonhold.voting import STATES

        async with open_chain(rpc, deployment) as chain:
            number = _number(proposal)
            start = await _ask(chain, "proposalSnapshot", number)
            votes = await _ask(chain, "proposalVotes", number)
            row: dict[str, object] = {"proposal": proposal, "state": STATES[await _ask(chain, "state", number)]}
            row |= {"for": votes.for_votes, "against": votes.against_votes, "abstain": votes.abstain_votes}
            row |= {"vote_start": start, "vote_end": await _ask(chain, "proposalDeadline", number)}
            row |= {"ready_at": await _ask(chain, "proposalEta", number) or None}
            if start < (await chain.rpc.head("latest")).timestamp:
                row["quorum"] = await _ask(chain, "quorum", start)
            show(row, as_json=as_json)

    run(work())


@app.command("draft-change")
def draft_change(
    contract: Annotated[str, typer.Argument(help="Members or Ledger.")],
    name: Annotated[str, typer.Argument(help="The setting, e.g. useBps.")],
    value: Annotated[int, typer.Argument(min=0, help="Its new value.")],
    out: Annotated[Path, typer.Option("--out", help="File for the motion; never overwritten.")],
    description: Annotated[str, typer.Option(help="Why; it is part of the proposal's number.")],
    of_class: Annotated[str | None, typer.Option("--class", help="Class name, for a setting of a class.")] = None,
    deployment: DeploymentOption = DEPLOYMENT,
) -> None:
    """Write the motion that changes a setting. Nothing is sent."""
    from commonhold import voting
    from commonhold.chain.deployment import Deployment

    if contract not in ("Members", "Ledger"):
        raise BadInput(f"contract {contract[:40]!r}: expected Members or Ledger")
    subject = Hash32(bytes(32)) if of_class is None else class_id(of_class)
    called = voting.change(Deployment.load(deployment), contract, name, subject, value)  # type: ignore[arg-type]
    calls = [{"target": address_text(called.target), "value": str(called.value), "data": hex_text(called.data)}]
    write_new(out, json.dumps({"calls": calls, "description": description}, indent=2), what="motion file")


@app.command()
def propose(
    motion: MotionArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the root of a group: put a motion to the vote."""

    async def work() -> None:
        from commonhold import voting

        read = read_motion(motion)
        async with open_chain(rpc, deployment) as chain:
            number, mined = await voting.propose(chain.sender(key), read)
            show({"proposal": str(number), **common.mined_row(mined)}, as_json=as_json)

    run(work())


@app.command()
def vote(
    proposal: ProposalArgument,
    support: Annotated[str, typer.Argument(help="for, against or abstain.")],
    key: KeyOption,
    reason: Annotated[str, typer.Option(help="Why; everybody can read it.")] = "",
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the root of a group: vote."""

    async def work() -> None:
        from commonhold import voting

        if support not in voting.SUPPORT:
            raise BadInput(f"vote {support[:40]!r}: expected one of {', '.join(voting.SUPPORT)}")
        async with open_chain(rpc, deployment) as chain:
            mined = await voting.vote(chain.sender(key), _number(proposal), support, reason)
            show({"proposal": proposal, "vote": support, **common.mined_row(mined)}, as_json=as_json)

    run(work())


@app.command()
def queue(
    motion: MotionArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """After the vote: let a motion that passed wait in the timelock. Anyone may send it."""

    async def work() -> None:
        from commonhold import voting

        read = read_motion(motion)
        async with open_chain(rpc, deployment) as chain:
            show(common.mined_row(await voting.queue(chain.sender(key), read)), as_json=as_json)

    run(work())


@app.command()
def execute(
    motion: MotionArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """After the timelock's delay: carry a motion out. Anyone may send it."""

    async def work() -> None:
        from commonhold import voting

        read = read_motion(motion)
        async with open_chain(rpc, deployment) as chain:
            show(common.mined_row(await voting.execute(chain.sender(key), read)), as_json=as_json)

    run(work())


def read_motion(path: Path) -> "Motion":
    """The motion in a file. Raises BadInput."""
    from commonhold.voting import Call, Motion

    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        calls = [
            Call(to_address(call["target"]), bytes.fromhex(call["data"].removeprefix("0x")), int(call["value"]))
            for call in body["calls"]
        ]
        return Motion(calls, str(body["description"]))
    except FileNotFoundError as error:
        raise BadInput(f"motion file {path}: not found") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"motion file {path}: {type(error).__name__} {error}") from error


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 256:
        raise BadInput(f"proposal {text[:90]!r}: expected a decimal number below 2^256")
    return int(text)


async def _ask(chain: Chain, function: str, *args: object) -> Any:
    at = await chain.rpc.head("latest")
    return await chain.rpc.call("Council", chain.deployment.council, function, *args, at=at)
