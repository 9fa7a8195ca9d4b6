"""`commonhold member`: who takes part, and who controls whom."""

import time
from pathlib import Path
from typing import Annotated

import typer

from commonhold import signing
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
from commonhold.keyfile import read_wallet, wallet_address
from commonhold.units import Hash32, address_text, hex_text, keccak256, to_address

app = typer.Typer(no_args_is_help=True, help="Members and groups: list, admit, renew, attach, find.")

MemberArgument = Annotated[str, typer.Argument(help="Address of an account.")]
ControllerArgument = Annotated[str, typer.Argument(help="Address of the account that controls it.")]
OutOption = Annotated[Path, typer.Option("--out", help="File for the signed statement; never overwritten.")]
FilesArgument = Annotated[list[Path], typer.Argument(help="Signed statements of one and the same text.")]
DeadlineOption = Annotated[int, typer.Option("--valid-hours", min=1, help="How long the statement may be used.")]
DaysOption = Annotated[int, typer.Option("--days", min=1, help="How long the membership lasts.")]


@app.command("list")
def list_members(service: ServiceOption = SERVICE_URL, as_json: JsonOption = False) -> None:
    """List the members with the group each counts in."""

    async def work() -> None:
        async with open_service(service) as client:
            show(await get(client, "/v1/members"), as_json=as_json, title="Members")

    run(work())


@app.command("show")
def show_member(address: MemberArgument, service: ServiceOption = SERVICE_URL, as_json: JsonOption = False) -> None:
    """Show one member."""

    async def work() -> None:
        async with open_service(service) as client:
            show(await get(client, f"/v1/members/{address_text(to_address(address))}"), as_json=as_json)

    run(work())


@app.command("sign-admission")
def sign_admission(
    member: MemberArgument,
    out: OutOption,
    key: KeyOption,
    identity: Annotated[
        str, typer.Option(help="The real-world identity, e.g. an LEI; only its hash leaves this machine.")
    ],
    days: DaysOption = 365,
    valid_hours: DeadlineOption = 24,
    now: Annotated[
        int | None, typer.Option(help="Unix time to count from, so that attesters sign the same text.")
    ] = None,
    deployment: DeploymentOption = DEPLOYMENT,
) -> None:
    """As an attester: sign that MEMBER is admitted. Nothing is sent."""
    from commonhold.actions import identity_nullifier

    now_s = int(time.time()) if now is None else now
    admission = signing.Admission(
        member=to_address(member),
        nullifier=identity_nullifier(identity),
        until=now_s + days * 86_400,
        deadline=now_s + valid_hours * 3_600,
    )
    sign(key, deployment, admission, out)


@app.command("sign-renewal")
def sign_renewal(
    member: MemberArgument,
    out: OutOption,
    key: KeyOption,
    days: DaysOption = 365,
    valid_hours: DeadlineOption = 24,
    now: Annotated[int | None, typer.Option(help="Unix time to count from.")] = None,
    deployment: DeploymentOption = DEPLOYMENT,
) -> None:
    """As an attester: sign that MEMBER's membership is prolonged. Nothing is sent."""
    now_s = int(time.time()) if now is None else now
    renewal = signing.Renewal(to_address(member), now_s + days * 86_400, now_s + valid_hours * 3_600)
    sign(key, deployment, renewal, out)


@app.command("sign-attachment")
def sign_attachment(
    member: MemberArgument,
    controller: ControllerArgument,
    out: OutOption,
    key: KeyOption,
    nonce: Annotated[int, typer.Option(help="`nonces(member)` of the Members contract; 0 the first time.")] = 0,
    valid_hours: DeadlineOption = 24,
    now: Annotated[int | None, typer.Option(help="Unix time to count from, so that both sign the same text.")] = None,
    deployment: DeploymentOption = DEPLOYMENT,
) -> None:
    """As one of the two roots: sign that MEMBER's group counts as CONTROLLER's. Nothing is sent."""
    now_s = int(time.time()) if now is None else now
    text = signing.Attachment(to_address(member), to_address(controller), nonce, now_s + valid_hours * 3_600)
    sign(key, deployment, text, out)


@app.command("sign-finding")
def sign_finding(
    member: MemberArgument,
    controller: ControllerArgument,
    out: OutOption,
    key: KeyOption,
    evidence: Annotated[Path, typer.Option(help="The document the finding rests on; its hash is signed.")],
    valid_hours: DeadlineOption = 24,
    now: Annotated[int | None, typer.Option(help="Unix time to count from.")] = None,
    deployment: DeploymentOption = DEPLOYMENT,
) -> None:
    """As an attester: sign the finding that CONTROLLER controls MEMBER. Nothing is sent."""
    now_s = int(time.time()) if now is None else now
    deadline = now_s + valid_hours * 3_600
    text = signing.Finding(to_address(member), to_address(controller), evidence_hash(evidence), deadline)
    sign(key, deployment, text, out)


@app.command()
def admit(
    files: FilesArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Send the attesters' statements: the account becomes a member. Anyone may send them."""

    async def work() -> None:
        from commonhold import actions
        from commonhold.cli import statement

        async with open_chain(rpc, deployment) as chain:
            text, signatures = statement.load_all(files, chain.deployment.domain("Members"), signing.Admission)
            mined = await actions.admit(chain.sender(key), text, actions.ordered(signatures))
            show({"member": address_text(text.member), "until": text.until, **common.mined_row(mined)}, as_json=as_json)

    run(work())


@app.command()
def renew(
    files: FilesArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Send the attesters' statements: the membership lasts longer."""

    async def work() -> None:
        from commonhold import actions
        from commonhold.cli import statement

        async with open_chain(rpc, deployment) as chain:
            text, signatures = statement.load_all(files, chain.deployment.domain("Members"), signing.Renewal)
            mined = await actions.renew_membership(chain.sender(key), text, actions.ordered(signatures))
            show({"member": address_text(text.member), "until": text.until, **common.mined_row(mined)}, as_json=as_json)

    run(work())


@app.command()
def attach(
    member_file: Annotated[Path, typer.Argument(help="The statement signed by the member's root.")],
    controller_file: Annotated[Path, typer.Argument(help="The same statement signed by the controller's root.")],
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Send both sides' statements: two groups count as one."""

    async def work() -> None:
        from commonhold import actions
        from commonhold.cli import statement

        async with open_chain(rpc, deployment) as chain:
            domain = chain.deployment.domain("Members")
            text, _ = statement.load_all([member_file, controller_file], domain, signing.Attachment)
            signatures = [statement.load(path, domain).signature for path in (member_file, controller_file)]
            mined = await actions.attach(chain.sender(key), text, *signatures)
            row = {"member": address_text(text.member), "controller": address_text(text.controller)}
            show(row | common.mined_row(mined), as_json=as_json)

    run(work())


@app.command()
def find(
    files: FilesArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Send a quorum's finding that one account controls another: two groups count as one, with nobody's consent."""

    async def work() -> None:
        from commonhold import actions
        from commonhold.cli import statement

        async with open_chain(rpc, deployment) as chain:
            text, signatures = statement.load_all(files, chain.deployment.domain("Members"), signing.Finding)
            mined = await actions.find(chain.sender(key), text, actions.ordered(signatures))
            row = {"member": address_text(text.member), "controller": address_text(text.controller)}
            show(row | {"evidence": hex_text(text.evidence)} | common.mined_row(mined), as_json=as_json)

    run(work())


def evidence_hash(evidence: Path) -> Hash32:
    """The hash of a document. Raises BadInput."""
    try:
        return keccak256(evidence.read_bytes())
    except OSError as error:
        raise BadInput(f"evidence {evidence}: {error.strerror}") from error


def sign(key: Path, deployment: Path, text: signing.Statement, out: Path) -> None:
    """The statement to Members, with the signature of the wallet in `key`, is in `out`."""
    from commonhold.chain.deployment import Deployment
    from commonhold.cli.statement import Signed

    wallet = read_wallet(key)
    domain = Deployment.load(deployment).domain("Members")
    Signed.make(wallet, domain, text).save(out, domain)
    common.out.print(f"{type(text).__name__} signed by {address_text(wallet_address(wallet))}: {out}")
