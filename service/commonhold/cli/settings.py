"""`commonhold settings` and `commonhold signers`: what the groups may change, and who signs."""

from collections.abc import Mapping
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
from commonhold.errors import BadInput
from commonhold.signing import ZERO32
from commonhold.units import Hash32, address_text, hex_text, to_address, units_text

if TYPE_CHECKING:
    from commonhold.chain.governing import Governed
    from commonhold.chain.send import Mined, Sender
    from commonhold.chain.stamp import BlockStamp

app = typer.Typer(no_args_is_help=True, help="Settings: what the council may change, how far, and what waits.")
signers_app = typer.Typer(no_args_is_help=True, help="Signers: attesters and appraisers, and who is to become one.")

NameArgument = Annotated[
    str, typer.Argument(help="holdBps, useBps, minLevel, floorUnits, admissionsPerDay or threshold.")
]
ClassOption = Annotated[str | None, typer.Option("--class", help="The class that the setting is of: name or id.")]
OfOption = Annotated[str | None, typer.Option("--of", help="Whose it is, of the two quorums: attesters or appraisers.")]
WhichOption = Annotated[str, typer.Option("--of", help="Of which quorum: attesters or appraisers.")]


@app.command("show")
def show_settings(
    name: Annotated[str | None, typer.Argument(help="Only the settings of this name.")] = None,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Show every setting with its bounds, the largest step, what waits, and when it may change next. Asks the chain."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            at = await chain.rpc.head("latest")
            rows = [*await _settings(chain, "Members", at), *await _settings(chain, "Ledger", at)]
        if name is not None:
            known = sorted({str(row["name"]) for row in rows})
            rows = [row for row in rows if row["name"] == name]
            if not rows:
                raise BadInput(f"no setting {name[:40]!r}; expected one of {', '.join(known)}")
        show(rows, as_json=as_json, title=f"Settings at block {at.number}")

    run(work())


@app.command()
def enact(
    name: NameArgument,
    key: KeyOption,
    class_name: ClassOption = None,
    of: OfOption = None,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Carry out a change that loosens and has waited in public. Anyone may."""

    async def act(chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import voting
        from commonhold.cli import motions

        governed, setting, subject = motions.setting(name, class_name, of)
        mined = await voting.enact(sender, governed, setting, subject)
        found = await chain.rpc.call(
            governed, chain.deployment.address_of(governed), "settingOf", setting, subject, at=mined.block
        )
        return {"name": name, "of": class_name or of or governed, "value": _value(name, found.value)}, mined

    common.send(key, rpc, deployment, as_json, act)


@signers_app.command("show")
def show_signers(
    rpc: RpcOption = RPC_URL, deployment: DeploymentOption = DEPLOYMENT, as_json: JsonOption = False
) -> None:
    """Show who signs in each quorum, how many must, and who is to become a signer. Asks the chain."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            at = await chain.rpc.head("latest")
            waiting = await _waiting(chain, at)
            rows = [await _quorum(chain, name, governed, at, waiting) for name, governed in _quorums().items()]
        show(rows, as_json=as_json, title=f"Signers at block {at.number}")

    run(work())


@signers_app.command("enact")
def enact_signer(
    signer: Annotated[str, typer.Argument(help="Address of who is to sign.")],
    key: KeyOption,
    of: WhichOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Carry out the addition of a signer that has waited in public. Anyone may."""

    async def act(_chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import voting
        from commonhold.cli import motions

        mined = await voting.enact_signer(sender, motions.quorum("signer", of), to_address(signer))
        return {"signer": signer, "of": of}, mined

    common.send(key, rpc, deployment, as_json, act)


async def _settings(chain: Chain, governed: "Governed", at: "BlockStamp") -> list[dict[str, object]]:
    address = chain.deployment.address_of(governed)
    names, subjects = await chain.rpc.call(governed, address, "settings", at=at)
    classes = await history.class_names(chain, at) if governed == "Ledger" else {}
    return [
        await _setting(chain, governed, name, subject, classes, at)
        for name, subject in zip(names, subjects, strict=True)
    ]


async def _setting(
    chain: Chain, governed: "Governed", key: bytes, subject: Hash32, classes: Mapping[bytes, str], at: "BlockStamp"
) -> dict[str, object]:
    address = chain.deployment.address_of(governed)
    s = await chain.rpc.call(governed, address, "settingOf", key, subject, at=at)
    name = key.rstrip(b"\0").decode("ascii", errors="replace")
    return {
        "name": name,
        "of": governed if subject == ZERO32 else classes.get(subject, hex_text(subject)),
        "value": _value(name, s.value),
        "min": _value(name, s.min),
        "max": _value(name, s.max),
        "step": _value(name, s.step),
        "tighter": "lower" if s.lower_is_tighter else "higher",
        "pending": _value(name, s.pending) if s.pending_at else None,
        "pending_at": s.pending_at or None,
        "next_change_at": s.next_change_at,
        "abdicated": s.abdicated,
    }


async def _quorum(
    chain: Chain, name: str, governed: "Governed", at: "BlockStamp", waiting: Mapping["Governed", set[bytes]]
) -> dict[str, object]:
    from commonhold.voting import setting_name

    address = chain.deployment.address_of(governed)
    signers = await chain.rpc.call(governed, address, name, at=at)
    coming = {}
    for signer in sorted(waiting[governed]):
        ready_at = int(await chain.rpc.call(governed, address, "signerReadyAt", signer, at=at))
        if ready_at:
            coming[address_text(signer)] = ready_at
    return {
        "quorum": name,
        "threshold": int(await chain.rpc.call(governed, address, "threshold", at=at)),
        "signers": [address_text(signer) for signer in signers],
        "pending": coming,
        "abdicated": await chain.rpc.call(governed, address, "isAbdicated", setting_name("signers"), ZERO32, at=at),
    }


async def _waiting(chain: Chain, at: "BlockStamp") -> Mapping["Governed", set[bytes]]:
    """Everyone who was ever scheduled to sign; the contract says who still waits."""
    from commonhold.chain.governing import SignerScheduled

    found: dict[Governed, set[bytes]] = {governed: set() for governed in _quorums().values()}
    for governed, signers in found.items():
        async for event in history.events(chain, governed, at):
            if isinstance(event, SignerScheduled):
                signers.add(event.signer)
    return found


def _quorums() -> "Mapping[str, Governed]":
    from commonhold.cli.motions import QUORUMS

    return QUORUMS


def _value(name: str, value: int) -> int | str:
    return units_text(value) if name == "floorUnits" else int(value)
