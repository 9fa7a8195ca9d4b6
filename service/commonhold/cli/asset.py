"""`commonhold asset`: register, list, check and move assets."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

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
    answer,
    get,
    open_chain,
    open_service,
    run,
    show,
)
from commonhold.cli.credits import number
from commonhold.errors import BadInput
from commonhold.units import Units, address_text, level_text, to_address, to_units, units_text

if TYPE_CHECKING:
    from commonhold.actions import Share
    from commonhold.appraiser.quorum import Quorum
    from commonhold.registering import Panel

app = typer.Typer(no_args_is_help=True, help="Assets: register nodes, datasets and models; list, check and move units.")

AssetArgument = Annotated[str, typer.Argument(help="Asset id, decimal.")]
ClassOption = Annotated[str, typer.Option("--class", help="Class name, e.g. compute/h100-sxm.")]
AppraisersOption = Annotated[list[str], typer.Option("--appraiser", help="URL of an appraiser; give all you ask.")]
ShareOption = Annotated[
    list[str] | None,
    typer.Option("--share", help="ADDRESS=UNITS of an owner; without: all to you. What exceeds goes to the commons."),
]
PolicyOption = Annotated[str, typer.Option(help="Policy to be appraised under: nvidia-production, or development.")]
MeterKeyOption = Annotated[Path, typer.Option(help="The node's P-256 key file (`commonhold key new --p256`).")]
AuthorityOption = Annotated[
    Path | None, typer.Option(help="Folder of a development authority; without: this machine's GPUs, through NVML.")
]
SerialOption = Annotated[list[int] | None, typer.Option(help="With --authority: serial of a development GPU.")]
HoursOption = Annotated[int, typer.Option("--valid-hours", min=1, help="How long the appraisal counts.")]
UriOption = Annotated[str, typer.Option(help="For a node the public URL of its gateway; else where it is described.")]


@app.command("list")
def list_assets(service: ServiceOption = SERVICE_URL, as_json: JsonOption = False) -> None:
    """List the assets with class, units, assurance level and policy."""

    async def work() -> None:
        async with open_service(service) as client:
            show(await get(client, "/v1/assets"), as_json=as_json, title="Assets")

    run(work())


@app.command("show")
def show_asset(asset: AssetArgument, service: ServiceOption = SERVICE_URL, as_json: JsonOption = False) -> None:
    """Show one asset with its devices and owners."""

    async def work() -> None:
        async with open_service(service) as client:
            show(await get(client, f"/v1/assets/{number(asset)}"), as_json=as_json)

    run(work())


@app.command("register-node")
def register_node(
    class_name: ClassOption,
    appraiser: AppraisersOption,
    policy: PolicyOption,
    meter_key: MeterKeyOption,
    uri: UriOption,
    key: KeyOption,
    authority: AuthorityOption = None,
    gpu_serial: SerialOption = None,
    share: ShareOption = None,
    valid_hours: HoursOption = 24,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Have this machine's GPUs appraised by a quorum and register them as a COMPUTE asset. Run it on the node."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            node = (class_name, policy, meter_key, authority, gpu_serial, valid_hours)
            quorum = await _appraise_node(chain, key, appraiser, *node)
            await _register(chain, key, quorum, share, uri, as_json)

    run(work())


@app.command("renew-node")
def renew_node(
    asset: AssetArgument,
    class_name: ClassOption,
    appraiser: AppraisersOption,
    policy: PolicyOption,
    meter_key: MeterKeyOption,
    key: KeyOption,
    authority: AuthorityOption = None,
    gpu_serial: SerialOption = None,
    valid_hours: HoursOption = 24,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Have a registered node appraised again before its appraisal expires. Run it on the node, from a timer.

    The same GPUs report again, under a new nonce; another --meter-key replaces the one of the asset.
    """

    async def work() -> None:
        from commonhold import actions

        async with open_chain(rpc, deployment) as chain:
            node = (class_name, policy, meter_key, authority, gpu_serial, valid_hours)
            quorum = await _appraise_node(chain, key, appraiser, *node)
            sender = chain.sender(key)
            mined = await actions.renew_appraisal(sender, number(asset), quorum.appraisal, quorum.signatures)
            row = {"asset": asset, "expires_at": quorum.appraisal.expires_at}
            row |= {"level": level_text(quorum.appraisal.level, quorum.appraisal.policy)}
            show(row | common.mined_row(mined), as_json=as_json)

    run(work())


@app.command("register-data")
def register_data(
    folder: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    class_name: ClassOption,
    appraiser: AppraisersOption,
    uri: UriOption,
    key: KeyOption,
    share: ShareOption = None,
    valid_hours: HoursOption = 24,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Have a dataset hashed by a quorum of appraisers and register it as a DATA asset. They are sent every byte."""
    run(
        _register_content("DATA", folder, class_name, appraiser, uri, key, share, valid_hours, rpc, deployment, as_json)
    )


@app.command("register-model")
def register_model(
    file: Annotated[Path, typer.Argument(help="The model's file.")],
    class_name: ClassOption,
    appraiser: AppraisersOption,
    uri: UriOption,
    key: KeyOption,
    share: ShareOption = None,
    valid_hours: HoursOption = 24,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Have a model hashed by a quorum of appraisers and register it as a MODEL asset. They are sent every byte."""
    terms = (class_name, appraiser, uri, key, share, valid_hours, rpc, deployment, as_json)
    run(_register_content("MODEL", file, *terms))


@app.command()
def check(
    asset: AssetArgument,
    sender: Annotated[str, typer.Argument(help="Address that would send.")],
    receiver: Annotated[str, typer.Argument(help="Address that would receive.")],
    units: Annotated[str, typer.Argument(help="How much, at most 6 decimals.")],
    service: ServiceOption = SERVICE_URL,
    as_json: JsonOption = False,
) -> None:
    """Ask the service whether a transfer would be accepted, with the numbers of the limit. Nothing is sent."""

    async def work() -> None:
        question = {
            "sender": address_text(to_address(sender)),
            "receiver": address_text(to_address(receiver)),
            "asset": str(number(asset)),
            "units": units_text(to_units(units)),
        }
        async with open_service(service) as client:
            show(answer(await client.post("/v1/transfers/check", json=question)), as_json=as_json)

    run(work())


@app.command()
def transfer(
    asset: AssetArgument,
    receiver: Annotated[str, typer.Argument(help="Address of a member.")],
    units: Annotated[str, typer.Argument(help="How much, at most 6 decimals.")],
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Move units of an asset to another member. What the chain would refuse is not sent."""

    async def work() -> None:
        from commonhold import actions

        async with open_chain(rpc, deployment) as chain:
            amount = to_units(units)
            mined = await actions.transfer(chain.sender(key), to_address(receiver), number(asset), amount)
            row = {"asset": asset, "receiver": receiver, "units": units_text(amount)}
            show(row | common.mined_row(mined), as_json=as_json)

    run(work())


async def _appraise_node(
    chain: Chain,
    key: Path,
    appraisers: list[str],
    class_name: str,
    policy: str,
    meter_key: Path,
    authority: Path | None,
    serials: list[int] | None,
    valid_hours: int,
) -> "Quorum":
    """The quorum's appraisal of this machine's GPUs, or of an authority's."""
    from commonhold.agent.evidence import DevelopmentEvidence, EvidenceSource, NvmlEvidence
    from commonhold.keyfile import read_p256
    from commonhold.p256 import p256_point
    from commonhold.registering import appraise_node

    source: EvidenceSource = NvmlEvidence()
    if authority is not None:
        source = DevelopmentEvidence.load(authority, serials or [])
    return await appraise_node(
        await _panel(chain, appraisers),
        source,
        provider=chain.sender(key).address,
        class_name=class_name,
        policy=policy,
        meter_key=p256_point(read_p256(meter_key).public_key()),
        now_s=int(time.time()),
        validity_s=valid_hours * 3_600,
    )


async def _register_content(
    kind: str,
    location: Path,
    class_name: str,
    appraisers: list[str],
    uri: str,
    key: Path,
    shares: list[str] | None,
    valid_hours: int,
    rpc: str,
    deployment: Path,
    as_json: bool,
) -> None:
    from commonhold.appraiser.result import Kind
    from commonhold.registering import appraise_content

    async with open_chain(rpc, deployment) as chain:
        with Progress(TextColumn("hashing"), BarColumn(), DownloadColumn(), console=common.err, transient=True) as bar:
            task = bar.add_task("hash", total=None)
            quorum = await appraise_content(
                await _panel(chain, appraisers),
                location,
                provider=chain.sender(key).address,
                class_name=class_name,
                kind=Kind(kind),
                meter_key=None,
                now_s=int(time.time()),
                validity_s=valid_hours * 3_600,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        await _register(chain, key, quorum, shares, uri, as_json)


async def _panel(chain: Chain, urls: list[str]) -> "Panel":
    """The appraisers asked, with what the ledger says of its appraisers and their quorum."""
    from commonhold.registering import Panel

    at = await chain.rpc.head("latest")
    ledger = chain.deployment.ledger
    return Panel(
        urls=urls,
        need=int(await chain.rpc.call("Ledger", ledger, "threshold", at=at)),
        appraisers=await chain.rpc.call("Ledger", ledger, "appraisers", at=at),
        ledger=chain.deployment.domain("Ledger"),
        on_answer=lambda told: common.err.print(f"{told.url}: {told.detail}", markup=False),
    )


async def _register(
    chain: Chain, key: Path, quorum: "Quorum", shares: list[str] | None, uri: str, as_json: bool
) -> None:
    from commonhold import actions

    appraisal = quorum.appraisal
    sender = chain.sender(key)
    split = [_share(text) for text in shares] if shares else [actions.Share(sender.address, Units(appraisal.units))]
    asset, mined = await actions.register(sender, appraisal, quorum.signatures, split, uri)
    row = {
        "asset": str(asset),
        "units": units_text(appraisal.units),
        "level": level_text(appraisal.level, appraisal.policy),
        "appraised_by": [address_text(signer) for signer, _ in quorum.signatures],
        "expires_at": appraisal.expires_at,
    }
    show(row | common.mined_row(mined), as_json=as_json)


def _share(text: str) -> "Share":
    from commonhold.actions import Share

    owner, separator, units = text.partition("=")
    if not separator:
        raise BadInput(f"share {text[:60]!r}: expected ADDRESS=UNITS")
    return Share(to_address(owner), to_units(units))
