"""`commonhold key`: make and look at key files."""

from pathlib import Path
from typing import Annotated

import typer

from commonhold import keyfile
from commonhold.cli.common import JsonOption, show
from commonhold.p256 import p256_point
from commonhold.units import address_text, hex_text

app = typer.Typer(no_args_is_help=True, help="Key files: make a wallet, session or meter key; show its public part.")

PathArgument = Annotated[Path, typer.Argument(help="The key file.")]


@app.command()
def new(
    path: PathArgument,
    p256: Annotated[
        bool, typer.Option("--p256", help="A P-256 key (session or meter key) instead of a wallet.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key in a new file, readable by you alone. A key is never overwritten."""
    if p256:
        keyfile.write_p256(path)
    else:
        keyfile.write_wallet(path)
    _show(path, p256, as_json)


@app.command("show")
def show_key(
    path: PathArgument,
    p256: Annotated[bool, typer.Option("--p256", help="It is a P-256 key.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the address or public point of a key file."""
    _show(path, p256, as_json)


def _show(path: Path, p256: bool, as_json: bool) -> None:
    if p256:
        point = p256_point(keyfile.read_p256(path).public_key())
        show({"file": str(path), "x": hex_text(point[:32]), "y": hex_text(point[32:])}, as_json=as_json)
    else:
        address = keyfile.wallet_address(keyfile.read_wallet(path))
        show({"file": str(path), "address": address_text(address)}, as_json=as_json)
