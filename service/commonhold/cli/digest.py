"""`commonhold digest`: whether services mirror the same state, in one line."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

import typer

from commonhold.cli.common import JsonOption, get, open_service, out, run, show
from commonhold.errors import BadInput, CommonholdError
from commonhold.units import hex_text


class DigestsDiffer(CommonholdError):
    """Two mirrors of one deployment say different things of one block."""

    code = "digests_differ"


def digest(
    service: Annotated[
        list[str], typer.Option("--service", envvar="COMMONHOLD_SERVICE_URL", help="URL of a service; again for more.")
    ],
    at: Annotated[
        int | None, typer.Option("--at", help="Block to ask for; default: the newest that is final for all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask services for the signed digest of their mirrors at one block, and compare.

    Each answer is verified with the keys of its service. Exits with 1 when they differ.
    """
    run(compare(service, at, as_json=as_json))


async def compare(urls: list[str], at: int | None, *, as_json: bool) -> None:
    """Prints the digest that all of these services say of block `at`. Raises DigestsDiffer."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_service(url)) for url in urls]
        if at is None:
            stands = [(await get(client, "/status"))["block"] for client in clients]
            first = max([(await get(client, "/v1/deployment"))["block"] for client in clients])
            at = min(block["finalized"] for block in stands)
            if at < first:  # nothing of it is final yet
                at = min(block["number"] for block in stands)
        said = [await _ask(client, at) for client in clients]
    rows = [
        {
            "service": url,
            "block": one.block,
            "block_hash": None if one.block_hash is None else hex_text(one.block_hash),
            "digest": hex_text(one.digest),
        }
        for url, one in zip(urls, said, strict=True)
    ]
    if len({(one.chain_id, one.deployment) for one in said}) > 1:
        raise BadInput("these services are of different deployments: there is nothing to compare")
    same = len({one.digest for one in said}) == 1 and len({one.block_hash for one in said} - {None}) <= 1
    if as_json:
        show(rows, as_json=True)
    elif same:
        many = "" if len(said) == 1 else f" ({len(said)} services agree)"
        out.print(f"block {at} digest {hex_text(said[0].digest)}{many}", soft_wrap=True, highlight=False)
    if not same:
        told = "; ".join(f"{row['service']} says {row['digest']} of block hash {row['block_hash']}" for row in rows)
        raise DigestsDiffer(f"digests of block {at} differ: {told}")


async def _ask(client: Any, at: int) -> Any:
    from joserfc.jwk import KeySet

    from commonhold.access import saying

    shown = await get(client, "/digest", at=str(at))
    said = saying.verify(shown["jws"], KeySet.import_key_set(await get(client, "/jwks.json")))
    if said.block != at:
        raise saying.SayingInvalid(f"signed digest is of block {said.block}, expected {at}")
    return said
