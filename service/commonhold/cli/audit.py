"""`commonhold audit`: recompute everything from the chain, and compare."""

import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

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


def audit(
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    service: Annotated[
        str | None, typer.Option("--service", help="URL of a service to compare with; without: the chain alone.")
    ] = None,
    verify_logs: Annotated[
        bool,
        typer.Option(
            "--verify-logs/--no-verify-logs",
            envvar="COMMONHOLD_VERIFY_LOGS",
            help="Recompute every header and receipt; no only on chains whose forms differ from Ethereum's.",
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Recompute holdings, limits, leases, GPU-hours and anchors from the chain, and compare them with a service.

    Needs nothing but the RPC endpoint and the deployment's addresses. Exits with 1 on any difference.
    """
    if not run(_audit(rpc, deployment, service, verify_logs, as_json)):
        raise SystemExit(1)


async def _audit(rpc_url: str, deployment: Path, service_url: str | None, verify_logs: bool, as_json: bool) -> bool:
    from commonhold.anchor.audit import audit as run_audit

    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(open_chain(rpc_url, deployment, verify_logs=verify_logs))
        service = await stack.enter_async_context(open_service(service_url)) if service_url else None
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"))
        with Progress(*columns, console=common.err, transient=True, disable=as_json) as bar:
            task = bar.add_task("reading the chain", total=None)
            report = await run_audit(
                chain.rpc,
                chain.deployment,
                service,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(asdict(report) | {"ok": report.ok}, option=orjson.OPT_INDENT_2) + b"\n")
        return report.ok
    for check in report.checks:
        mark = "[green]holds[/green]" if check.ok else "[bold red]FAILS[/bold red]"
        common.out.print(f"{check.number:>3} {mark}  {escape(check.name)}: {escape(check.detail)}", soft_wrap=True)
    show(report.concentration, as_json=False, title="Concentration")
    show(report.gpu_hours, as_json=False, title="GPU-hours")
    verdict = "[green]every check holds[/green]" if report.ok else "[bold red]not every check holds[/bold red]"
    common.out.print(f"at block {report.block} {report.block_hash}: {verdict}", soft_wrap=True)
    return report.ok
