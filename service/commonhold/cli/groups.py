"""`commonhold member detach`, `recover` and the rest of what changes a group: statements, delays, objections."""

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
from commonhold.cli.member import DeadlineOption, FilesArgument, MemberArgument, OutOption, app, evidence_hash, sign
from commonhold.units import Address, address_text, to_address

if TYPE_CHECKING:
    from commonhold.chain.send import Mined, Sender

EvidenceOption = Annotated[Path, typer.Option(help="The document it rests on; its hash is signed or sent.")]
NonceOption = Annotated[int, typer.Option(help="`nonces(member)` of the Members contract.")]
NowOption = Annotated[int | None, typer.Option(help="Unix time to count from, so that all sign the same text.")]


@app.command("sign-detachment")
def sign_detachment(
    member: MemberArgument,
    out: OutOption,
    key: KeyOption,
    evidence: EvidenceOption,
    nonce: NonceOption,
    valid_hours: DeadlineOption = 24,
    now: NowOption = None,
    deployment: DeploymentOption = DEPLOYMENT,
) -> None:
    """As an attester: sign the finding that nobody controls MEMBER any more. Nothing is sent."""
    deadline = (int(time.time()) if now is None else now) + valid_hours * 3_600
    sign(key, deployment, signing.Detachment(to_address(member), evidence_hash(evidence), nonce, deadline), out)


@app.command("sign-recovery")
def sign_recovery(
    member: MemberArgument,
    successor: Annotated[str, typer.Argument(help="Address of the account that takes its place.")],
    out: OutOption,
    key: KeyOption,
    evidence: EvidenceOption,
    nonce: NonceOption,
    valid_hours: DeadlineOption = 24,
    now: NowOption = None,
    deployment: DeploymentOption = DEPLOYMENT,
) -> None:
    """As an attester: sign the finding that MEMBER's key is lost and its holder is at SUCCESSOR. Nothing is sent."""
    deadline = (int(time.time()) if now is None else now) + valid_hours * 3_600
    parties = (to_address(member), to_address(successor))
    sign(key, deployment, signing.Recovery(*parties, evidence_hash(evidence), nonce, deadline), out)


@app.command()
def detach(
    files: FilesArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Send a quorum's statements: the member may leave its group after the delay."""
    _by_quorum(files, key, rpc, deployment, as_json, signing.Detachment)


@app.command()
def recover(
    files: FilesArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Send a quorum's statements: the successor may take the member's place after the delay."""
    _by_quorum(files, key, rpc, deployment, as_json, signing.Recovery)


@app.command()
def challenge(
    member: MemberArgument,
    key: KeyOption,
    evidence: EvidenceOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the root of another group: object to a detachment, once; its delay begins again."""
    from commonhold import actions

    digest = evidence_hash(evidence)
    _send(member, key, rpc, deployment, as_json, lambda sender, who: actions.challenge_detach(sender, who, digest))


@app.command("complete-detach")
def complete_detach(
    member: MemberArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """After the delay: the member is a group of its own. Anyone may send it."""
    from commonhold import actions

    _send(member, key, rpc, deployment, as_json, lambda sender, who: actions.complete(sender, "completeDetach", who))


@app.command("complete-recovery")
def complete_recovery(
    member: MemberArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """After the delay: the successor stands in the member's place. Anyone may send it."""
    from commonhold import actions

    _send(member, key, rpc, deployment, as_json, lambda sender, who: actions.complete(sender, "completeRecovery", who))


@app.command()
def veto(
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """As the member: end a recovery that was started; your key is not lost."""
    from commonhold import actions

    _send(None, key, rpc, deployment, as_json, lambda sender, _: actions.veto_recovery(sender))


@app.command("refuse-gifts")
def refuse_gifts(
    key: KeyOption,
    accept: Annotated[bool, typer.Option("--accept", help="Accept them again.")] = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Refuse units and credits that others send you unasked."""
    from commonhold import actions

    _send(None, key, rpc, deployment, as_json, lambda sender, _: actions.refuse_gifts(sender, not accept))


@app.command()
def lapse(
    member: MemberArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Take a root whose membership is over out of the number of groups. Anyone may send it."""
    from commonhold import actions

    _send(member, key, rpc, deployment, as_json, actions.lapse)


@app.command()
def standing(
    member: MemberArgument,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Show how an account stands, its group and what is under way, and the nonce to sign for. Asks the chain."""
    account = to_address(member)

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            at = await chain.rpc.head("latest")

            async def ask(function: str, *args: object) -> Any:
                return await chain.rpc.call("Members", chain.deployment.members, function, *args, at=at)

            slot, recovery = await ask("memberOf", account), await ask("recoveryOf", account)
            row: dict[str, object] = {
                "member": address_text(account),
                "standing": await _standing(ask, account, slot.since),
                "since": slot.since or None,
                "until": slot.until or None,
                "path": [address_text(one) for one in await ask("pathOf", account)],
                "root": address_text(await ask("rootOf", account)),
                "refuses_gifts": slot.refuses_gifts,
                "successor": _account(await ask("successorOf", account)),
                "detach_ready_at": await ask("detachmentOf", account) or None,
                "recovery_to": _account(recovery.successor),
                "recovery_ready_at": recovery.ready_at or None,
                "nonce": await ask("nonces", account),
            }
        show(row, as_json=as_json)

    run(work())


async def _standing(ask: Callable[..., Awaitable[Any]], account: Address, since: int) -> str:
    """In one word; who was replaced keeps its slot."""
    if any(await ask("successorOf", account)):
        return "replaced"
    if not since:
        return "never a member"
    return "active" if await ask("isActive", account) else "lapsed"


def _account(address: bytes) -> str | None:
    return address_text(address) if any(address) else None


def _by_quorum(
    files: list[Path],
    key: Path,
    rpc: str,
    deployment: Path,
    as_json: bool,
    kind: type[signing.Detachment] | type[signing.Recovery],
) -> None:
    async def work() -> None:
        from commonhold import actions
        from commonhold.cli import statement

        async with open_chain(rpc, deployment) as chain:
            text, signatures = statement.load_all(files, chain.deployment.domain("Members"), kind)
            quorum = actions.ordered(signatures)
            if isinstance(text, signing.Detachment):
                mined = await actions.detach(chain.sender(key), text, quorum)
            else:
                mined = await actions.recover(chain.sender(key), text, quorum)
            ready_at = next(event.ready_at for event in mined.events if hasattr(event, "ready_at"))
            show(
                {"member": address_text(text.member), "ready_at": ready_at, **common.mined_row(mined)}, as_json=as_json
            )

    run(work())


def _send(
    member: str | None,
    key: Path,
    rpc: str,
    deployment: Path,
    as_json: bool,
    act: "Callable[[Sender, Address], Awaitable[Mined]]",
) -> None:
    """Sends one transaction about a member; about the sender where none is named."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            sender = chain.sender(key)
            who = sender.address if member is None else to_address(member)
            mined = await act(sender, who)
            show({"member": address_text(who), **common.mined_row(mined)}, as_json=as_json)

    run(work())
