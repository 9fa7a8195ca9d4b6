"""Epochs: what is not under a root yet is put under one, once. Each segment and receipt is in exactly one epoch.

In: what meter has recorded. Out: a frozen epoch with its published bytes, and proofs. Called by the worker and the API;
commits nothing.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from commonhold.anchor import merkle
from commonhold.anchor.data import EpochData, growth
from commonhold.anchor.merkle import Leaf, LeafKind
from commonhold.anchor.tables import epoch, leaf
from commonhold.db import Db, ReadDb
from commonhold.errors import NotFound
from commonhold.meter import tables as meter
from commonhold.meter.read import signed_receipt, signed_segment
from commonhold.mirror import read as mirror
from commonhold.mirror.tables import lease
from commonhold.signing import Domain
from commonhold.units import Address, BlockNumber, GpuMs, Hash32, hex_text

# Leaves of one epoch. With segments of 60 readings its data is then about 20 MB; what is left waits for the next one.
MAX_LEAVES = 10_000


@dataclass(frozen=True, slots=True)
class Epoch:
    """`state`: "frozen", "sending", "sent", "anchored" (the mirror shows it) or "final" (no reorg can undo it)."""

    submitter: Address
    number: int
    state: str
    root: Hash32
    count: int
    gpu_ms: GpuMs
    closed_at: int
    uri: str | None  # None: frozen
    transaction_hash: Hash32 | None  # None: not sent, or died while sending


@dataclass(frozen=True, slots=True)
class Proof:
    """That `leaf` is under the root of the epoch: `merkle.verify(root, leaf, siblings)`."""

    submitter: Address
    epoch: int
    root: Hash32
    leaf: Leaf
    siblings: tuple[Hash32, ...]


_COLUMNS = [column for column in epoch.c if column.name != "data"]


async def close(
    db: Db,
    *,
    domain: Domain,
    submitter: Address,
    now_s: int,
    most: int = MAX_LEAVES,
    redeemed_until: BlockNumber | None = None,
) -> Epoch | None:
    """An epoch of everything that is in none yet, the oldest first, at most `most` leaves; None: there is nothing.

    Its data can be fetched once the caller has committed: before anything of it is sent to the chain.
    domain: of Meter. redeemed_until: only of leases that were redeemed up to that block; None: of all.
    """
    number = await _next_number(db, submitter)
    data = EpochData(domain, submitter, number, *await _open(db, most, redeemed_until))
    leaves = data.leaves()
    if not leaves:
        return None
    found = Epoch(
        submitter=submitter,
        number=number,
        state="frozen",
        root=merkle.tree(leaves).root,
        count=len(leaves),
        gpu_ms=GpuMs(growth(leaves, await _highest(db, {one.lease for one in leaves}))),
        closed_at=now_s,
        uri=None,
        transaction_hash=None,
    )
    insert = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    row = {name: getattr(found, name) for name in Epoch.__slots__} | {"data": data.to_bytes()}
    if (await db.execute(insert(epoch).values(row).on_conflict_do_nothing())).rowcount == 0:
        return None  # somebody else closed it at the same time
    rows = [
        {
            "digest": one.digest,
            "kind": int(one.kind),
            "submitter": submitter,
            "number": number,
            "lease": one.lease,
            "gpu_ms": one.gpu_ms,
        }
        for one in leaves
    ]
    await db.execute(sa.insert(leaf), rows)
    return found


async def epochs(db: ReadDb, submitter: Address | None = None) -> list[Epoch]:
    """All epochs, or those of one submitter, in order."""
    wanted = () if submitter is None else (epoch.c.submitter == submitter,)
    found = await db.execute(sa.select(*_COLUMNS).where(*wanted).order_by(epoch.c.submitter, epoch.c.number))
    return [Epoch(*row) for row in found]


async def epoch_of(db: ReadDb, submitter: Address, number: int) -> Epoch | None:
    """One epoch; None: there is none."""
    found = sa.select(*_COLUMNS).where(epoch.c.submitter == submitter, epoch.c.number == number)
    row = (await db.execute(found)).one_or_none()
    return None if row is None else Epoch(*row)


async def data(db: ReadDb, submitter: Address, number: int) -> bytes | None:
    """The published bytes of an epoch; None: there is none."""
    found = sa.select(epoch.c.data).where(epoch.c.submitter == submitter, epoch.c.number == number)
    return (await db.execute(found)).scalar_one_or_none()


async def proof_of(db: ReadDb, digest: Hash32) -> Proof:
    """The proof that a segment or receipt is in its epoch. Raises NotFound: it is in none yet."""
    row = (await db.execute(sa.select(leaf.c.submitter, leaf.c.number).where(leaf.c.digest == digest))).one_or_none()
    if row is None:
        raise NotFound(f"digest {hex_text(digest)}: in no epoch (yet)")
    submitter, number = Address(row.submitter), row.number
    found = await db.execute(sa.select(leaf).where(leaf.c.submitter == submitter, leaf.c.number == number))
    leaves = [Leaf(LeafKind(one.kind), one.lease, one.digest, one.gpu_ms) for one in found]
    tree = merkle.tree(leaves)
    proven, siblings = tree.proof(digest)
    return Proof(submitter, number, tree.root, proven, siblings)


async def _next_number(db: ReadDb, submitter: Address) -> int:
    """After the last one here and the last one on chain: a new database goes on where the old one was."""
    last = sa.select(sa.func.max(epoch.c.number)).where(epoch.c.submitter == submitter)
    here = (await db.execute(last)).scalar()
    chain = max((anchor.epoch for anchor in await mirror.anchors(db, submitter)), default=-1)
    return max(-1 if here is None else int(here), chain) + 1


async def _open(db: ReadDb, most: int, redeemed_until: BlockNumber | None) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Segments and receipts of no epoch, in the order in which they came."""
    s, r = meter.segment, meter.receipt
    segments = await db.execute(
        _unassigned(s, redeemed_until).order_by(s.c.received_at, s.c.asset, s.c.boot, s.c.sequence).limit(most)
    )
    found = tuple(map(signed_segment, segments))
    receipts = await db.execute(
        _unassigned(r, redeemed_until).order_by(r.c.received_at, r.c.lease, r.c.gpu_ms).limit(most - len(found))
    )
    return found, tuple(map(signed_receipt, receipts))


def _unassigned(table: sa.Table, redeemed_until: BlockNumber | None) -> sa.Select[Any]:
    found = sa.select(table).where(~sa.exists().where(leaf.c.digest == table.c.digest))
    if redeemed_until is None:
        return found
    return found.where(sa.exists().where(lease.c.lease == table.c.lease, lease.c.redeemed_block <= redeemed_until))


async def _highest(db: ReadDb, leases: set[Hash32]) -> dict[Hash32, int]:
    """The highest total of each lease in earlier epochs."""
    c = leaf.c
    found = await db.execute(sa.select(c.lease, sa.func.max(c.gpu_ms)).where(c.lease.in_(leases)).group_by(c.lease))
    return {Hash32(row[0]): int(row[1]) for row in found}
