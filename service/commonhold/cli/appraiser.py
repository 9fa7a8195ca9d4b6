"""`commonhold appraiser`: run an appraiser, an independent party that checks evidence and signs what it found."""

import json
from pathlib import Path
from typing import Annotated

import typer

from commonhold.cli.common import JsonOption, get, open_service, run, show, write_new
from commonhold.keyfile import read_wallet, wallet_address, write_wallet
from commonhold.units import address_text, to_address

app = typer.Typer(no_args_is_help=True, help="An appraiser: checks evidence offline, against pinned roots, and signs.")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder for the key and the configuration.")],
    ledger: Annotated[str, typer.Option(help="Address of the Ledger contract that it appraises for.")],
    chain_id: Annotated[int, typer.Option(help="Chain id of the deployment.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8101,
    development_root: Annotated[
        Path | None, typer.Option(help="Also trust this development authority; every result then says so.")
    ] = None,
) -> None:
    """Make a key and a configuration. Its address must be in the ledger's set of appraisers to count."""
    config: dict[str, object] = {
        "key": "appraiser.key",
        "chain_id": chain_id,
        "ledger": address_text(to_address(ledger)),
        "host": host,
        "port": port,
    }
    if development_root is not None:
        config["development_root"] = str(development_root.resolve())
    key = write_wallet(folder / "appraiser.key")
    write_new(folder / "appraiser.json", json.dumps(config, indent=2) + "\n")
    typer.echo(f"appraiser {address_text(wallet_address(key))}: {folder / 'appraiser.json'}")


@app.command()
def serve(config: Annotated[Path, typer.Argument(help="The appraiser's JSON configuration.")]) -> None:
    """Run the appraiser until Ctrl-C. It keeps no database, and no byte of what it is sent."""
    from commonhold.appraiser.config import load_config
    from commonhold.appraiser.config import run as run_appraiser

    settings = load_config(config)
    signer = address_text(wallet_address(read_wallet(settings.key)))
    typer.echo(
        f"appraiser {signer} at http://{settings.host}:{settings.port}, for ledger {address_text(settings.ledger)}"
    )
    run_appraiser(settings)


@app.command()
def who(url: Annotated[str, typer.Argument(help="URL of an appraiser.")], as_json: JsonOption = False) -> None:
    """Show who an appraiser is: its signer and its policies."""

    async def work() -> None:
        async with open_service(url) as client:
            show(await get(client, "/"), as_json=as_json)

    run(work())
