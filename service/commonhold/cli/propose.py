"""`commonhold council propose`: one change by a command, several by a file. Everything is tried on the chain first."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commonhold.cli import common
from commonhold.cli.common import (
    DEPLOYMENT,
    RPC_URL,
    Chain,
    DeploymentOption,
    JsonOption,
    KeyOption,
    RpcOption,
)
from commonhold.cli.settings import ClassOption, OfOption, WhichOption
from commonhold.errors import BadInput

if TYPE_CHECKING:
    from commonhold.chain.deployment import Deployment
    from commonhold.chain.send import Mined, Sender
    from commonhold.voting import Motion

app = typer.Typer(
    no_args_is_help=True, help="Propose what the timelock is to do. Each call is tried as the timelock first."
)

WhyOption = Annotated[str, typer.Option("--why", help="The description that everyone reads and votes on.")]
AnywayOption = Annotated[
    bool, typer.Option("--anyway", help="Propose even what the contracts would refuse today, such as a step too soon.")
]
SettingArgument = Annotated[
    str, typer.Argument(help="holdBps, useBps, minLevel, floorUnits, admissionsPerDay or threshold.")
]
SignerArgument = Annotated[str, typer.Argument(help="Address of the signer.")]


@app.command("file")
def from_file(
    file: Annotated[Path, typer.Argument(help="description and calls, as JSON or (name.toml) TOML.")],
    key: KeyOption,
    anyway: AnywayOption = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Propose what a file says; its calls happen together or not at all.

    {"description": "why", "calls": [{"do": "change", "name": "useBps", "class": "compute/h100-sxm", "value": 900}]}
    """
    from commonhold.chain.deployment import Deployment
    from commonhold.cli import motions

    try:
        text = file.read_text(encoding="utf-8")
        motion = motions.parse(Deployment.load(deployment), text, toml=file.suffix == ".toml")
    except FileNotFoundError as error:
        raise BadInput(f"proposal file {file}: not found") from error
    except (BadInput, UnicodeDecodeError) as error:
        raise BadInput(f"proposal file {file}: {error}") from error
    _propose(motion, key, anyway, rpc, deployment, as_json)


@app.command()
def change(
    name: SettingArgument,
    value: Annotated[str, typer.Argument(help="The new value; floorUnits in units, such as 100.0.")],
    key: KeyOption,
    why: WhyOption,
    class_name: ClassOption = None,
    of: OfOption = None,
    anyway: AnywayOption = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Propose another value of a setting, within its bounds and one step (`commonhold settings show`)."""
    number: object = value
    if name != "floorUnits":
        if not value.isdecimal():
            raise BadInput(f"change {name}: value {value[:40]!r}: expected a whole number")
        number = int(value)
    fields = {"do": "change", "name": name, "class": class_name, "of": of, "value": number}
    _one(fields, why, key, anyway, rpc, deployment, as_json)


@app.command()
def cancel(
    name: SettingArgument,
    key: KeyOption,
    why: WhyOption,
    class_name: ClassOption = None,
    of: OfOption = None,
    anyway: AnywayOption = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Propose to drop a change of a setting that waits."""
    fields = {"do": "cancel", "name": name, "class": class_name, "of": of}
    _one(fields, why, key, anyway, rpc, deployment, as_json)


@app.command()
def abdicate(
    name: Annotated[str, typer.Argument(help="A setting's name, or signers for the members of a quorum.")],
    key: KeyOption,
    why: WhyOption,
    class_name: ClassOption = None,
    of: OfOption = None,
    anyway: AnywayOption = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Propose to give up the power over a setting, or over who signs, for good."""
    fields = {"do": "abdicate", "name": name, "class": class_name, "of": of}
    _one(fields, why, key, anyway, rpc, deployment, as_json)


@app.command("add-signer")
def add_signer(
    signer: SignerArgument,
    of: WhichOption,
    key: KeyOption,
    why: WhyOption,
    anyway: AnywayOption = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Propose a further attester or appraiser; it signs two weeks after execution, when anyone enacts it."""
    _one({"do": "add-signer", "of": of, "signer": signer}, why, key, anyway, rpc, deployment, as_json)


@app.command("remove-signer")
def remove_signer(
    signer: SignerArgument,
    of: WhichOption,
    key: KeyOption,
    why: WhyOption,
    anyway: AnywayOption = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Propose that an attester or appraiser signs no more, from execution on."""
    _one({"do": "remove-signer", "of": of, "signer": signer}, why, key, anyway, rpc, deployment, as_json)


@app.command("create-class")
def create_class(
    name: Annotated[str, typer.Argument(help="Name of the class, such as compute/b200-sxm.")],
    kind: Annotated[str, typer.Option(help="COMPUTE, DATA or MODEL.")],
    unit: Annotated[str, typer.Option(help="What one unit is, such as GPU or MB.")],
    hold_bps: Annotated[int, typer.Option(help="Most that one group may hold, in 1/10,000.")],
    use_bps: Annotated[int, typer.Option(help="Most of a window that one group may use, in 1/10,000.")],
    min_level: Annotated[int, typer.Option(help="Lowest assurance level of an asset, 0 to 5.")],
    floor_units: Annotated[str, typer.Option(help="Units that limits are counted against at least.")],
    key: KeyOption,
    why: WhyOption,
    anyway: AnywayOption = False,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Propose a further class of assets."""
    limits = {"hold_bps": hold_bps, "use_bps": use_bps, "min_level": min_level, "floor_units": floor_units}
    fields = {"do": "create-class", "name": name, "kind": kind, "unit": unit, **limits}
    _one(fields, why, key, anyway, rpc, deployment, as_json)


def _one(
    fields: Mapping[str, object], why: str, key: Path, anyway: bool, rpc: str, deployment: Path, as_json: bool
) -> None:
    from commonhold.chain.deployment import Deployment
    from commonhold.cli import motions
    from commonhold.voting import Motion

    if not why.strip():
        raise BadInput("--why: expected text that says why")
    given = {name: value for name, value in fields.items() if value is not None}
    motion = Motion([motions.call(Deployment.load(deployment), given)], why)
    _propose(motion, key, anyway, rpc, deployment, as_json)


def _propose(motion: "Motion", key: Path, anyway: bool, rpc: str, deployment: Path, as_json: bool) -> None:
    async def act(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import voting

        if not anyway:
            await _try(chain, motion)
        proposal, mined = await voting.propose(sender, motion.by(sender.address))
        council, d = chain.deployment.council, chain.deployment
        start = int(await chain.rpc.call("Council", council, "proposalSnapshot", proposal, at=mined.block))
        end = int(await chain.rpc.call("Council", council, "proposalDeadline", proposal, at=mined.block))
        return {"proposal": str(proposal), "calls": _words(d, motion), "vote_start": start, "vote_end": end}, mined

    common.send(key, rpc, deployment, as_json, act)


async def _try(chain: Chain, motion: "Motion") -> None:
    """Each call, as the timelock would make it now. Raises ContractRefused, with the numbers."""
    from commonhold.cli import motions

    at, d = await chain.rpc.head("latest"), chain.deployment
    for call in motion.calls:
        name = d.contract_at(call.target)
        what = f"{motions.words(d, call, {}).partition(':')[0]} by the timelock"
        await chain.rpc.call_raw(call.target, call.data, at=at, sender=d.timelock, what=what, name=name)


def _words(deployment: "Deployment", motion: "Motion") -> list[str]:
    from commonhold.cli import motions
    from commonhold.units import class_id

    classes: dict[bytes, str] = {class_id(params.name): params.name for params in deployment.genesis.classes}
    return [motions.words(deployment, call, classes) for call in motion.calls]
