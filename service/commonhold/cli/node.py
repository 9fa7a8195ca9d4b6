"""`commonhold node`: a provider's machine. A gateway in front of any HTTP upstream, with a meter beside it."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from commonhold.cli.common import JsonOption, show, write_new
from commonhold.errors import BadInput
from commonhold.units import level_text

app = typer.Typer(no_args_is_help=True, help="A provider's node: gateway, meter, evidence, and a sample workload.")

ConfigArgument = Annotated[Path, typer.Argument(help="The node's JSON configuration.")]


@app.command()
def serve(config: ConfigArgument) -> None:
    """Run the gateway and the meter until Ctrl-C. What was used is sealed, kept on disk and reported before it ends."""
    from commonhold.gateway.config import NodeConfig
    from commonhold.gateway.node import run_node

    settings = NodeConfig.load(config)
    typer.echo(f"node of asset {settings.asset}: {settings.audience}, in front of {settings.upstream}")
    typer.echo(
        f"{settings.gpus} GPUs, level {level_text(settings.level, settings.policy)}; reports to {settings.service_url}"
    )
    run_node(settings)


@app.command()
def config(
    out: Annotated[Path, typer.Argument(help="Where the configuration goes; never overwritten.")],
    service: Annotated[
        str, typer.Option(help="URL of the service that segments are reported to and tokens come from.")
    ],
    public_url: Annotated[str, typer.Option(help="Public URL of this gateway, exactly as the asset's URI on chain.")],
    asset: Annotated[str, typer.Option(help="Asset id, decimal.")],
    upstream: Annotated[str, typer.Option(help="The HTTP service that this node sells.")],
    gpus: Annotated[int, typer.Option(min=1, help="GPUs allotted to whoever has the node.")],
    chain_id: Annotated[int, typer.Option(help="Chain id of the deployment.")],
    meter: Annotated[str, typer.Option(help="Address of the Meter contract.")],
    policy: Annotated[str, typer.Option(help="Policy of the asset's appraisal, as on chain.")],
    level: Annotated[int, typer.Option(min=0, max=5, help="Level of the asset's appraisal, as on chain.")],
    meter_key: Annotated[str, typer.Option(help="The node's P-256 key file; made at the first start.")] = "meter.pem",
    spool: Annotated[str, typer.Option(help="Folder of what is not yet acknowledged.")] = "spool",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8080,
    interval_ms: Annotated[int, typer.Option(help="Between two readings; what a crash may lose.")] = 1_000,
    segment_ms: Annotated[int, typer.Option(help="How long readings wait for a signature at most.")] = 60_000,
    wait_s: Annotated[int, typer.Option(help="How long a request waits while another lease has the GPUs.")] = 30,
) -> None:
    """Write a node's configuration, checked. Paths in it are relative to its folder."""
    from commonhold.gateway.config import NodeConfig

    body = {
        "service_url": service,
        "issuer": service,
        "audience": public_url,
        "asset": asset,
        "chain_id": chain_id,
        "meter": meter,
        "meter_key": meter_key,
        "upstream": upstream,
        "gpus": gpus,
        "spool": spool,
        "host": host,
        "port": port,
        "level": level,
        "policy": policy,
        "interval_ms": interval_ms,
        "segment_ms": segment_ms,
        "wait_s": wait_s,
    }
    NodeConfig.from_json(body, out)
    write_new(out, json.dumps(body, indent=2) + "\n")
    typer.echo(f"node configuration {out}: {len(fields(NodeConfig))} settings")


@app.command()
def workload(
    host: Annotated[str, typer.Option(help="Address to listen on; whoever reaches it may use it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8081,
) -> None:
    """Run the sample upstream: POST /v1/embeddings and POST /v1/matmul, real arithmetic on this machine's CPU."""
    from commonhold.workload import run_workload

    typer.echo(f"workload at http://{host}:{port}")
    run_workload(host, port)


@app.command()
def telemetry(as_json: JsonOption = False) -> None:
    """Show what the driver says of this machine's GPUs, through NVML."""
    from commonhold.agent.telemetry import read

    show(read().to_json(), as_json=as_json)


@app.command()
def authority(
    folder: Annotated[Path, typer.Argument(help="A new folder for the keys of a development authority.")],
) -> None:
    """Make a development authority: evidence with real layout and no hardware behind it. For development only."""
    from commonhold.appraiser.devauthority import DevelopmentAuthority

    made = DevelopmentAuthority.create()
    try:
        made.save(folder)
    except FileExistsError as error:
        raise BadInput(f"development authority {folder}: exists already; nothing was overwritten") from error
    (folder / "root.pem").write_bytes(made.root_pem)
    typer.echo(f"development authority {folder}: appraisers that trust {folder / 'root.pem'} say so in every result")
