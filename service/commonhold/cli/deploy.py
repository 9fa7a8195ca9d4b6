"""`commonhold deploy`: put the contracts on a chain."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commonhold.cli.common import DEPLOYMENT, RPC_URL, JsonOption, RpcOption, run, show
from commonhold.errors import BadInput
from commonhold.keyfile import read_wallet
from commonhold.units import address_text, to_address, to_units

if TYPE_CHECKING:
    from commonhold.chain.deploy import Genesis

KINDS = {"DATA": 0, "MODEL": 1, "COMPUTE": 2}
EXAMPLE = {
    "attesters": ["0x..."],
    "attester_threshold": 2,
    "admissions_per_day": 100,
    "appraisers": ["0x..."],
    "appraiser_threshold": 2,
    "classes": [
        {
            "name": "compute/h100-sxm",
            "kind": "COMPUTE",
            "unit": "GPU",
            "hold_bps": 1000,
            "use_bps": 1000,
            "min_level": 3,
            "floor": "64.0",
        }
    ],
    "window_seconds": 604800,
    "horizon": 4,
    "token": "0x... or null: a development coin is made",
}


def deploy(
    genesis: Annotated[Path, typer.Argument(help="JSON file with all that is fixed for ever; - prints an example.")],
    key: Annotated[Path | None, typer.Option(envvar="COMMONHOLD_KEY", help="Key file that pays the gas.")] = None,
    out: Annotated[Path, typer.Option(help="Where the deployment file goes; never overwritten.")] = DEPLOYMENT,
    rpc: RpcOption = RPC_URL,
    as_json: JsonOption = False,
) -> None:
    """Put Members, Ledger, Access and Meter on a chain. The deployer keeps no role; nobody can change the parameters.

    `commonhold deploy -` prints an example of the file.
    """
    if str(genesis) == "-":
        typer.echo(json.dumps(EXAMPLE, indent=2))
        return
    if key is None:
        raise BadInput("key file: expected --key FILE; `commonhold key new FILE` makes one")
    if out.exists():
        raise BadInput(f"deployment file {out}: exists already; nothing was deployed")
    run(_deploy(genesis, key, out, rpc, as_json))


async def _deploy(genesis: Path, key: Path, out: Path, rpc_url: str, as_json: bool) -> None:
    from commonhold.chain.deploy import deploy as deploy_contracts
    from commonhold.chain.deploy import roles
    from commonhold.chain.rpc import Rpc

    parameters = read_genesis(genesis)
    rpc = Rpc(rpc_url)
    try:
        deployment = await deploy_contracts(rpc, read_wallet(key), parameters)
        deployment.save(out)
        held = await roles(rpc, deployment, deployment.deployer, await rpc.head("latest"))
    finally:
        await rpc.close()
    names = ("Members", "Ledger", "Access", "Meter", "Coin")
    row: dict[str, object] = {name: address_text(deployment.address_of(name)) for name in names}  # type: ignore[arg-type]
    show({"file": str(out), "chain_id": deployment.chain_id, **row, "deployer_roles": held}, as_json=as_json)


def read_genesis(path: Path) -> "Genesis":
    """The parameters in a genesis file. Raises BadInput naming the field."""
    from commonhold.chain.deploy import ClassParams, Genesis

    try:
        body = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadInput(f"genesis file {path}: not found") from error
    except ValueError as error:
        raise BadInput(f"genesis file {path}: {error}") from error
    if not isinstance(body, dict) or body.keys() != EXAMPLE.keys():
        got = sorted(body) if isinstance(body, dict) else type(body).__name__
        raise BadInput(f"genesis file {path}: expected the fields {sorted(EXAMPLE)}, got {got}")
    try:
        return Genesis(
            attesters=[to_address(text) for text in body["attesters"]],
            attester_threshold=int(body["attester_threshold"]),
            admissions_per_day=int(body["admissions_per_day"]),
            appraisers=[to_address(text) for text in body["appraisers"]],
            appraiser_threshold=int(body["appraiser_threshold"]),
            classes=[
                ClassParams(
                    name=str(item["name"]),
                    kind=KINDS[item["kind"]],
                    unit=str(item["unit"]),
                    hold_bps=int(item["hold_bps"]),
                    use_bps=int(item["use_bps"]),
                    min_level=int(item["min_level"]),
                    floor_units=to_units(str(item["floor"])),
                )
                for item in body["classes"]
            ],
            window_seconds=int(body["window_seconds"]),
            horizon=int(body["horizon"]),
            token=None if body["token"] is None else to_address(body["token"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"genesis file {path}: {type(error).__name__} {error}") from error
