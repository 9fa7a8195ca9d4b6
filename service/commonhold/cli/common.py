"""What the commands share: options, files, connections, and how results and errors are shown."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commonhold.errors import BadInput, CommonholdError, Unavailable
from commonhold.keyfile import read_wallet
from commonhold.units import hex_text

if TYPE_CHECKING:  # heavy: imported by the commands that need them
    import httpx

    from commonhold.chain.deployment import Deployment
    from commonhold.chain.rpc import Rpc
    from commonhold.chain.send import Mined, Sender

out = Console()
err = Console(stderr=True, highlight=False, soft_wrap=True)

RpcOption = Annotated[
    str, typer.Option("--rpc", envvar="COMMONHOLD_RPC_URL", help="JSON-RPC endpoint of the chain; several by commas.")
]
DeploymentOption = Annotated[
    Path, typer.Option("--deployment", envvar="COMMONHOLD_DEPLOYMENT", help="Deployment file: chain id and addresses.")
]
ServiceOption = Annotated[
    str, typer.Option("--service", envvar="COMMONHOLD_SERVICE_URL", help="URL of a Commonhold service.")
]
KeyOption = Annotated[
    Path,
    typer.Option("--key", envvar="COMMONHOLD_KEY", help="Your wallet's key file (`commonhold key new` makes one)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of text.")]

RPC_URL = "http://127.0.0.1:8545"
SERVICE_URL = "http://127.0.0.1:8000"
DEPLOYMENT = Path("deployment.json")

Row = Mapping[str, object]
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine to its end."""
    return asyncio.run(work)


def fail(error: CommonholdError, *, as_json: bool) -> NoReturn:
    """Says what is wrong on standard error, in one line (or as JSON), and exits with 1."""
    if as_json:
        body = {**error.details, "code": error.code, "detail": str(error)}
        sys.stderr.write(json.dumps(body) + "\n")
    else:
        err.print(f"[red]error:[/red] {escape(str(error))}")
    raise SystemExit(1)


def show(value: Row | Sequence[Row], *, as_json: bool, title: str = "") -> None:
    """Prints one thing or a list of things: JSON for scripts, a table for people."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=None if os.environ.get("COMMONHOLD_JSON_LINES") else 2) + "\n")
        return
    if isinstance(value, Mapping):
        table = Table(title=title or None, show_header=False, box=None, pad_edge=False)
        table.add_column()
        table.add_column(overflow="fold")  # a cut id is of no use
        for name, item in value.items():
            table.add_row(name, escape(_text(item)))
        out.print(table)
        return
    if not value:
        out.print(f"{title or 'Nothing'}: none")
        return
    table = Table(title=title or None)
    for name in value[0]:
        table.add_column(name, overflow="fold")
    for row in value:
        table.add_row(*(escape(_text(item)) for item in row.values()))
    out.print(table)


def _text(item: object) -> str:
    if isinstance(item, list | tuple):
        return ", ".join(_text(one) for one in item)
    if isinstance(item, Mapping):
        return ", ".join(f"{name}={_text(one)}" for name, one in item.items())
    return "-" if item is None else str(item)


@dataclass(frozen=True, slots=True)
class Chain:
    """An open connection to the chain of a deployment file."""

    rpc: "Rpc"
    deployment: "Deployment"

    def sender(self, key: Path) -> "Sender":
        """Sends transactions of the wallet in `key`."""
        from commonhold.chain.send import Sender

        return Sender(self.rpc, read_wallet(key), self.deployment)


@asynccontextmanager
async def open_chain(rpc_url: str, deployment: Path, *, verify_logs: bool = False) -> AsyncIterator[Chain]:
    """Connects, and refuses a chain that is not the deployment's.

    verify_logs: for who reads events; a transaction's result is the node's word anyway.
    """
    from commonhold.chain.deployment import Deployment
    from commonhold.chain.endpoints import Endpoints
    from commonhold.config import split_urls

    described = Deployment.load(deployment)
    rpc = Endpoints(split_urls(rpc_url), verify_logs=verify_logs)
    try:
        await rpc.check(described)
        yield Chain(rpc, described)
    finally:
        await rpc.close()


@asynccontextmanager
async def open_service(url: str) -> AsyncIterator["httpx.AsyncClient"]:
    """An HTTP client of a service. Raises BadInput for what is no URL, Unavailable when nobody answers there."""
    import httpx

    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # such as a port of 99999
        fine = False
    if not fine:
        raise BadInput(f"service {url[:200]!r}: expected a URL such as {SERVICE_URL}")
    async with httpx.AsyncClient(base_url=url.rstrip("/"), timeout=30) as client:
        try:
            yield client
        except httpx.TransportError as error:
            raise Unavailable(f"service {url}: {type(error).__name__}, no answer") from error


async def get(client: "httpx.AsyncClient", path: str, **params: str) -> Any:
    """The JSON of a GET; a problem of the service is raised with its own text."""
    return answer(await client.get(path, params=params))


def answer(response: "httpx.Response") -> Any:
    """The JSON of a response. Raises ServiceRefused with the service's own words, or when it is no service's."""
    if not response.is_success:
        raise ServiceRefused.of(response)
    try:
        return response.json()
    except ValueError as error:
        kind = response.headers.get("content-type", "nothing")
        asked = response.request.url
        raise ServiceRefused(f"{asked.host}{asked.path}: expected JSON of a service, got {kind}") from error


class ServiceRefused(CommonholdError):
    """The service answered with an error; the message is its own."""

    status = 502
    code = "service_refused"

    @classmethod
    def of(cls, response: "httpx.Response") -> "ServiceRefused":
        """The error for a response that is none of success."""
        try:
            body = response.json()
        except ValueError:
            body = {}
        if not isinstance(body, dict):
            body = {}
        detail = body.get("detail") or body.get("error_description") or body.get("error") or response.reason_phrase
        details = {k: v for k, v in body.items() if isinstance(v, str | int | bool) and k not in ("type", "detail")}
        return cls(f"{response.request.url.host} answered {response.status_code}: {detail}", details=details)


def write_new(path: Path, text: str, *, what: str = "file") -> None:
    """The text is in a file that did not exist before. Raises BadInput when it did."""
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadInput(f"{what} {path}: exists already; nothing was overwritten") from error


def send(
    key: Path,
    rpc: str,
    deployment: Path,
    as_json: bool,
    act: Callable[["Chain", "Sender"], Coroutine[Any, Any, tuple[Row, "Mined"]]],
) -> None:
    """Sends what `act` does with the wallet in `key`, and shows what it says and the transaction."""

    async def work() -> None:
        async with open_chain(rpc, deployment) as chain:
            row, mined = await act(chain, chain.sender(key))
            show({**row, **mined_row(mined)}, as_json=as_json)

    run(work())


def mined_row(mined: "Mined") -> dict[str, object]:
    """What a mined transaction shows."""
    return {"transaction": hex_text(mined.transaction_hash), "block": mined.block.number, "gas": mined.gas_used}
