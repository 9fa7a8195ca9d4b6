"""The events of one contract of a deployment, asked of a node in pieces that every node gives."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from commonhold.cli import common
from commonhold.cli.common import Chain
from commonhold.units import class_id

if TYPE_CHECKING:
    from commonhold.chain.deployment import ContractName
    from commonhold.chain.events import ChainEvent
    from commonhold.chain.stamp import BlockStamp

PIECE = 5_000  # blocks; hosted nodes refuse more, some from 10,000 on


async def events(chain: Chain, name: "ContractName", at: "BlockStamp") -> "AsyncIterator[ChainEvent]":
    """Every event of the contract up to a block, in order, as the node tells them."""
    from commonhold.chain.decode import decode

    d = chain.deployment
    pieces = range(d.block, at.number + 1, PIECE)
    columns = (TextColumn(f"reading {name}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=common.err, transient=True, disable=len(pieces) < 2) as bar:
        for first in bar.track(pieces):
            for log in await chain.rpc.logs([d.address_of(name)], first, min(first + PIECE - 1, at.number)):
                yield decode(log, d)


async def class_names(chain: Chain, at: "BlockStamp") -> Mapping[bytes, str]:
    """Names of all classes by id: of the first ones the deployment file has them, of the others their events."""
    from commonhold.chain.events import ClassCreated

    names: dict[bytes, str] = {class_id(params.name): params.name for params in chain.deployment.genesis.classes}
    ids = await chain.rpc.call("Ledger", chain.deployment.ledger, "classIds", at=at)
    if set(ids) - names.keys():
        async for event in events(chain, "Ledger", at):
            if isinstance(event, ClassCreated):
                names[event.class_id] = event.name
    return names
