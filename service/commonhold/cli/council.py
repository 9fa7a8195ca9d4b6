"""`commonhold council`: what the groups decide together, from the proposal to its execution."""

from typing import TYPE_CHECKING, Annotated

import typer

from commonhold.cli import common, history
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
from commonhold.cli.propose import app as propose_app
from commonhold.errors import BadInput, NotFound
from commonhold.units import address_text

if TYPE_CHECKING:
    from commonhold.chain.governing import ProposalCreated
    from commonhold.chain.send import Mined, Sender
    from commonhold.chain.stamp import BlockStamp
    from commonhold.voting import Motion

app = typer.Typer(no_args_is_help=True, help="Council: propose, vote, queue and execute; one group, one vote.")
app.add_typer(propose_app, name="propose")

ProposalArgument = Annotated[str, typer.Argument(help="Number of the proposal, decimal.")]


@app.command()
def vote(
    proposal: ProposalArgument,
    support: Annotated[str, typer.Argument(help="for, against or abstain.")],
    key: KeyOption,
    reason: Annotated[str, typer.Option(help="Why, for everyone to read.")] = "",
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Cast your group's vote, as its root. It cannot be changed."""
    from commonhold import voting

    if support not in voting.SUPPORT:
        raise BadInput(f"vote {support[:40]!r}: expected one of {', '.join(voting.SUPPORT)}")

    async def act(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        mined = await voting.vote(sender, number(proposal), support, reason)
        return {"proposal": proposal, "vote": support, **await _votes(chain, number(proposal), mined.block)}, mined

    common.send(key, rpc, deployment, as_json, act)


@app.command()
def queue(
    proposal: ProposalArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Put a proposal that has passed into the timelock, where it waits. Anyone may."""

    async def act(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import voting

        mined = await voting.queue(sender, await _motion(chain, number(proposal)))
        ready_at = await _ask(chain, "proposalEta", number(proposal), at=mined.block)
        return {"proposal": proposal, "ready_at": ready_at}, mined

    common.send(key, rpc, deployment, as_json, act)


@app.command()
def execute(
    proposal: ProposalArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Carry out a proposal that has waited in the timelock. Anyone may. What loosens then waits in public once more."""

    async def act(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import voting
        from commonhold.chain.governing import SettingScheduled, SignerScheduled

        mined = await voting.execute(sender, await _motion(chain, number(proposal)))
        waits = [event.ready_at for event in mined.events if isinstance(event, SettingScheduled | SignerScheduled)]
        return {"proposal": proposal, "phase": "executed", "to_enact_at": max(waits, default=None)}, mined

    common.send(key, rpc, deployment, as_json, act)


@app.command("list")
def list_proposals(
    rpc: RpcOption = RPC_URL, deployment: DeploymentOption = DEPLOYMENT, as_json: JsonOption = False
) -> None:
    """List all proposals, the newest first. Asks the chain."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            at = await chain.rpc.head("latest")
            rows = [await _row(chain, created, at) for created in reversed(await _proposals(chain, at))]
        show(rows, as_json=as_json, title=f"Proposals at block {at.number}")

    run(work())


@app.command("show")
def show_proposal(
    proposal: ProposalArgument,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Show a proposal: what it would do, its times, its votes and what it needs. Asks the chain."""

    async def work() -> None:
        from commonhold.cli import motions

        async with open_chain(rpc, deployment) as chain:
            at = await chain.rpc.head("latest")
            created = await _created(chain, number(proposal), at)
            classes = await history.class_names(chain, at)
            calls = [motions.words(chain.deployment, call, classes) for call in _as_motion(created).calls]
            row = await _row(chain, created, at)
            row |= {"proposer": address_text(created.proposer), "calls": calls}
            row |= {"needed": await _needed(chain, created, at), "cast": await _cast(chain, created.proposal_id, at)}
        show(row, as_json=as_json)

    run(work())


async def _row(chain: Chain, created: "ProposalCreated", at: "BlockStamp") -> dict[str, object]:
    from commonhold.voting import STATES

    which = created.proposal_id
    return {
        "proposal": str(which),
        "description": created.description,
        "phase": STATES[await _ask(chain, "state", which, at=at)],
        "vote_start": created.vote_start,
        "vote_end": await _ask(chain, "proposalDeadline", which, at=at),
        "ready_at": await _ask(chain, "proposalEta", which, at=at) or None,
        **await _votes(chain, which, at),
    }


async def _votes(chain: Chain, proposal: int, at: "BlockStamp") -> dict[str, object]:
    tally = await chain.rpc.call("Council", chain.deployment.council, "proposalVotes", proposal, at=at)
    return {"for": tally.for_votes, "against": tally.against_votes, "abstain": tally.abstain_votes}


async def _needed(chain: Chain, created: "ProposalCreated", at: "BlockStamp") -> int | None:
    """Votes for or abstaining that it takes; None: not known before the snapshot."""
    if created.vote_start >= at.timestamp:
        return None
    return await _ask(chain, "quorum", created.vote_start, at=at)


async def _cast(chain: Chain, proposal: int, at: "BlockStamp") -> list[dict[str, object]]:
    """Who voted, how and why, in order."""
    from commonhold.chain.governing import VoteCast
    from commonhold.voting import SUPPORT

    return [
        {"voter": address_text(event.voter), "vote": SUPPORT[event.support], "reason": event.reason}
        async for event in history.events(chain, "Council", at)
        if isinstance(event, VoteCast) and event.proposal_id == proposal
    ]


async def _ask(chain: Chain, function: str, argument: int, *, at: "BlockStamp") -> int:
    return int(await chain.rpc.call("Council", chain.deployment.council, function, argument, at=at))


async def _proposals(chain: Chain, at: "BlockStamp") -> "list[ProposalCreated]":
    from commonhold.chain.governing import ProposalCreated

    return [event async for event in history.events(chain, "Council", at) if isinstance(event, ProposalCreated)]


async def _created(chain: Chain, proposal: int, at: "BlockStamp") -> "ProposalCreated":
    found = [created for created in await _proposals(chain, at) if created.proposal_id == proposal]
    if not found:
        raise NotFound(f"no proposal {proposal} up to block {at.number}; `commonhold council list` shows all")
    return found[0]


async def _motion(chain: Chain, proposal: int) -> "Motion":
    """What was proposed, whole: the chain keeps only its hash."""
    return _as_motion(await _created(chain, proposal, await chain.rpc.head("latest")))


def _as_motion(created: "ProposalCreated") -> "Motion":
    from commonhold.units import Address
    from commonhold.voting import Call, Motion

    calls = zip(created.targets, created.calldatas, created.values, strict=True)
    return Motion([Call(Address(target), data, value) for target, data, value in calls], created.description)
