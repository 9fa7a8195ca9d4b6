"""`commonhold deploy` and `commonhold deployment`: put the contracts on a chain, and prove who may do what in them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commonhold.cli import common
from commonhold.cli.common import DEPLOYMENT, RPC_URL, DeploymentOption, JsonOption, RpcOption, open_chain, run, show
from commonhold.errors import BadInput
from commonhold.keyfile import read_wallet
from commonhold.units import Hash32, address_text, keccak256, to_address

if TYPE_CHECKING:
    from commonhold.chain.deployment import Deployment
    from commonhold.chain.genesis import Genesis
    from commonhold.units import Address

app = typer.Typer(no_args_is_help=True, help="A deployment: prove who may do what in it, make a factory.")

SaltOption = Annotated[str, typer.Option(help="Any text: with deployer and factory it gives the addresses.")]


def deploy(
    genesis: Annotated[
        Path, typer.Argument(help="JSON file with what the contracts are made with; - prints an example.")
    ],
    key: Annotated[Path | None, typer.Option(envvar="COMMONHOLD_KEY", help="Key file that pays the gas.")] = None,
    out: Annotated[
        Path, typer.Option(help="Where the deployment file goes; another's is never overwritten.")
    ] = DEPLOYMENT,
    salt: SaltOption = "",
    factory: Annotated[str | None, typer.Option(help="A factory that `commonhold deployment factory` made.")] = None,
    rpc: RpcOption = RPC_URL,
    as_json: JsonOption = False,
) -> None:
    """Put the contracts on a chain, at addresses that follow from key and salt. The deployer keeps no role.

    Run it again after a failure: what stands is left as it is. `commonhold deploy -` prints an example of the file.
    """
    from commonhold.chain.genesis import example

    if str(genesis) == "-":
        typer.echo(json.dumps(example(), indent=2))
        return
    if key is None:
        raise BadInput("key file: expected --key FILE; `commonhold key new FILE` makes one")
    from commonhold.chain.deployment import Deployment

    before = Deployment.load(out) if out.exists() else None
    run(_deploy(genesis, key, out, before, salt, None if factory is None else to_address(factory), rpc, as_json))


@app.command()
def prove(rpc: RpcOption = RPC_URL, deployment: DeploymentOption = DEPLOYMENT, as_json: JsonOption = False) -> None:
    """Read every role and parameter from the chain, and compare the code with the build. Exit code 0 only when no key
    holds a power."""
    run(_prove(rpc, deployment, as_json))


@app.command("factory")
def make_factory(
    key: Annotated[Path, typer.Option(envvar="COMMONHOLD_KEY", help="Key file that pays the gas.")],
    rpc: RpcOption = RPC_URL,
    as_json: JsonOption = False,
) -> None:
    """Make a factory on a chain that lacks the deterministic deployment proxy; for `commonhold deploy --factory`."""

    async def work() -> None:
        from commonhold.chain import deploy
        from commonhold.chain.rpc import Rpc

        async with Rpc(rpc) as node:
            address = await deploy.make_factory(node, read_wallet(key))
        show({"factory": address_text(address)}, as_json=as_json)

    run(work())


async def _deploy(
    genesis: Path,
    key: Path,
    out: Path,
    before: "Deployment | None",
    salt: str,
    factory: "Address | None",
    rpc_url: str,
    as_json: bool,
) -> None:
    from commonhold.chain.deploy import deploy as deploy_contracts
    from commonhold.chain.deployment import MADE
    from commonhold.chain.powers import roles
    from commonhold.chain.rpc import Rpc

    parameters, wallet = read_genesis(genesis), read_wallet(key)

    def told(name: str, address: "Address", made: bool) -> None:
        if not as_json:
            common.err.print(f"{name} {address_text(address)} {'made' if made else 'stands'}", markup=False)

    async with Rpc(rpc_url) as rpc:
        mixed = keccak256(salt.encode()) if salt else Hash32(bytes(32))
        if before is not None and (before.salt != mixed or before.genesis != parameters):
            raise BadInput(f"deployment file {out}: is of another deployment; nothing was deployed")
        deployment = await deploy_contracts(rpc, wallet, parameters, salt=mixed, factory=factory, on_made=told)
        deployment.save(out)
        held = await roles(rpc, deployment, deployment.deployer, await rpc.head("latest"))
    row: dict[str, object] = {name: address_text(deployment.address_of(name)) for name in (*MADE, "Coin")}
    show({"file": str(out), "chain_id": deployment.chain_id, **row, "deployer_roles": held}, as_json=as_json)


async def _prove(rpc_url: str, deployment: Path, as_json: bool) -> None:
    from commonhold.chain.powers import prove as prove_powers

    async with open_chain(rpc_url, deployment, verify_logs=True) as chain:
        at = await chain.rpc.head("latest")
        powers = await prove_powers(chain.rpc, chain.deployment, at)
    wrong = [power for power in powers if not power.ok]
    rows = [{"contract": p.contract, "what": p.what, "value": p.value, "wrong": p.wrong or None} for p in powers]
    if as_json:
        show({"block": at.number, "ok": not wrong, "powers": rows}, as_json=True)
    else:
        show(rows, as_json=False, title=f"Powers at block {at.number}")
        common.out.print(f"{len(wrong)} of {len(powers)} are not as they must be" if wrong else "No key holds a power.")
    if wrong:
        raise SystemExit(1)


def read_genesis(path: Path) -> "Genesis":
    """The parameters in a genesis file. Raises BadInput naming the file and the field."""
    from commonhold.chain.genesis import loads

    try:
        return loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"genesis file {path}: not found") from error
    except (BadInput, UnicodeDecodeError) as error:
        raise BadInput(f"genesis file {path}: {error}") from error
