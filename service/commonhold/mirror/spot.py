"""Spot checks: some rows of the mirror, chosen by chance, against the chain's storage, proven by eth_getProof.

Beside the follower, which recomputes receipts: what a bug in applying events, a hand in the database or a chain whose
events say something else than its state would change shows here. Called by the worker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.layout import Place, place
from commonhold.chain.rpc import BlockGone, Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.db import ReadDb, read
from commonhold.errors import CommonholdError
from commonhold.mirror import tables as t
from commonhold.mirror.read import Position, position
from commonhold.units import address_text, hex_text


class SpotCheckFailed(CommonholdError):
    """A row of the mirror is not what the chain's storage holds. One of them is wrong, and a proof says which."""

    status = 500
    code = "spot_check_failed"


@dataclass(frozen=True, slots=True)
class Claim:
    """What one row says about one place in a contract's storage."""

    what: str
    contract: ContractName
    place: Place
    value: int


async def spot_check(engine: AsyncEngine, rpc: Rpc, deployment: Deployment, most: int) -> int:
    """`most` holdings, as many credits and as many leases (or all, where there are fewer) are what the chain holds at
    the block that the mirror is at, final or not; how many were compared. 0, too, when a reorg took that block.

    Raises SpotCheckFailed, naming the first row that differs; RpcLied, Unavailable.
    """
    async with read(engine) as db:
        at = await position(db)
        claims = await chosen(db, most)
    try:
        await _compare(rpc, deployment, at, claims)
    except BlockGone:
        return 0
    return len(claims)


async def chosen(db: ReadDb, most: int) -> list[Claim]:
    """The claims of rows chosen by chance, at most `most` of each kind."""
    return [
        *(
            Claim(
                f"holding of asset {row.asset} by {address_text(row.owner)}",
                "Ledger",
                place("Ledger", "_balances", bytes(row.owner), row.asset),
                row.units,
            )
            for row in await _some(db, t.holding, most)
        ),
        *(
            Claim(
                f"credit {row.credit_id} of {address_text(row.holder)}",
                "Access",
                place("Access", "_balances", bytes(row.holder), row.credit_id),
                row.seconds,
            )
            for row in await _some(db, t.credit, most)
        ),
        *(
            Claim(
                f"GPU-ms settled of lease {hex_text(row.lease)}",
                "Access",
                place("Access", "_leases", bytes(row.lease), "gpuMs"),
                row.settled_ms,
            )
            for row in await _some(db, t.lease, most)
        ),
    ]


async def _compare(rpc: Rpc, deployment: Deployment, at: Position, claims: Sequence[Claim]) -> None:
    stamp = BlockStamp(at.number, at.hash, at.hash, at.timestamp)  # its parent does not matter to a proof
    names: dict[ContractName, None] = dict.fromkeys(claim.contract for claim in claims)
    for name in names:
        ours = [claim for claim in claims if claim.contract == name]
        proven = await rpc.storage(deployment.address_of(name), [claim.place for claim in ours], at=stamp)
        for claim, value in zip(ours, proven, strict=True):
            if value != claim.value:
                raise SpotCheckFailed(
                    f"{claim.what} is {claim.value} in the mirror at block {at.number} {hex_text(at.hash)}, "
                    f"{name} holds {value}, proven"
                )


async def _some(db: ReadDb, table: sa.Table, most: int) -> Sequence[sa.Row[tuple[object, ...]]]:
    return (await db.execute(sa.select(table).order_by(sa.func.random()).limit(most))).all()
