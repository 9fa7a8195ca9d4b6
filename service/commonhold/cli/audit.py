"""`commonhold audit`: recompute everything from the chain, and compare."""

import sys
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from commonhold.cli import common
from commonhold.cli.common import (
    DEPLOYMENT,
    RPC_URL,
    DeploymentOption,
    JsonOption,
    RpcOption,
    open_chain,
    open_service,
    run,
    show,
)
from commonhold.errors import BadInput
from commonhold.units import to_hash32

if TYPE_CHECKING:
    from commonhold.anchor.audit.report import AuditReport
    from commonhold.anchor.audit.run import Options


def audit(
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    service: Annotated[
        list[str] | None,
        typer.Option("--service", help="URL of a service to compare with; as many as you like. None: the chain alone."),
    ] = None,
    trust_rpc: Annotated[
        bool,
        typer.Option(
            "--trust-rpc/--verify-logs",
            help="Take the node's word for the events; only on chains whose headers differ from Ethereum's.",
        ),
    ] = False,
    block_hash: Annotated[
        str | None, typer.Option("--block-hash", help="The block to audit, by a hash that you trust.")
    ] = None,
    from_block: Annotated[
        int | None,
        typer.Option(
            "--from-block", min=0, help="Begin there, with what the contracts kept just before; the chain alone."
        ),
    ] = None,
    proofs: Annotated[
        bool,
        typer.Option(
            "--proofs",
            help="Trust nothing but the block's hash: read what contracts keep by storage proofs. Without --block-hash "
            "and services, of the newest final block: compare its hash with what others see.",
        ),
    ] = False,
    report_file: Annotated[
        Path | None,
        typer.Option("--report", help="Write the report as a page of HTML, which a browser also prints as PDF."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute holdings, limits, leases, GPU-hours and anchors from the chain, and compare services with them.

    Needs nothing but an RPC endpoint and the deployment's addresses. Exits with 1 unless every check holds.
    """
    from commonhold.anchor.audit.run import Options

    if proofs and trust_rpc:
        raise typer.BadParameter("--proofs trusts no node, --trust-rpc does: choose one")
    trusted = to_hash32(block_hash) if block_hash else None
    options = Options(block_hash=trusted, from_block=from_block, proofs=proofs)
    if report_file is not None:
        _writable(report_file)
    report = run(_audit(Asked(rpc, deployment, tuple(service or ()), trust_rpc), options, quiet=as_json))
    if report_file is not None:
        from commonhold.anchor.audit import page

        report_file.write_text(page.html(report), encoding="utf-8")
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(asdict(report) | {"ok": report.ok}, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        _print(report)
    if not report.ok:
        raise SystemExit(1)


def _writable(path: Path) -> None:
    """Known before the audit, which takes a while: the report can be drawn, and written there. Raises BadInput."""
    from commonhold.anchor.audit import plots

    plots.check()
    if not path.parent.is_dir() or path.is_dir():
        raise BadInput(f"report {path}: expected a file in a folder that exists")


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask. `trust_rpc`: the node's word is taken for the events."""

    rpc_url: str
    deployment: Path
    services: tuple[str, ...]
    trust_rpc: bool


async def _audit(asked: Asked, options: "Options", *, quiet: bool) -> "AuditReport":
    from commonhold.anchor.audit.run import audit as run_audit

    async with AsyncExitStack() as stack:
        opened = open_chain(asked.rpc_url, asked.deployment, verify_logs=not asked.trust_rpc)
        chain = await stack.enter_async_context(opened)
        services = [await stack.enter_async_context(open_service(url)) for url in asked.services]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"))
        silent = quiet or not common.err.is_terminal
        with Progress(*columns, TimeRemainingColumn(), console=common.err, transient=True, disable=silent) as bar:
            task = bar.add_task("reading the chain", total=None)
            return await run_audit(
                chain.rpc,
                chain.deployment,
                services,
                options=options,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )


def _print(report: "AuditReport") -> None:
    for check in report.checks:
        mark = "[green]holds[/green]" if check.ok else "[bold red]FAILS[/bold red]"
        common.out.print(f"{check.number:>3} {mark}  {escape(check.name)}: {escape(check.detail)}", soft_wrap=True)
    show(report.concentration, as_json=False, title="Concentration of ownership")
    show(report.gpu_hours, as_json=False, title="GPU-hours")
    for line in report.trust:
        common.out.print(f"trusted  {escape(line)}", soft_wrap=True)
    verdict = "[green]every check holds[/green]" if report.ok else "[bold red]not every check holds[/bold red]"
    common.out.print(f"at block {report.block} {report.block_hash}: {verdict}", soft_wrap=True)
