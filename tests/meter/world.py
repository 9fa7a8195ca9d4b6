"""A mirror with one node, two leases and their keys, without a chain: rows as apply.py would write them."""

from dataclasses import dataclass, field

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import Db, write
from commonhold.meter.segment import Reading, Signature, SignedReceipt, SignedSegment, seal
from commonhold.mirror import tables as t
from commonhold.p256 import p256_point, sign_es256
from commonhold.signing import ZERO32, Domain, Receipt, preimage
from commonhold.units import UNIT, Address, Hash32, class_id, credit_id

DOMAIN = Domain("Meter", 31337, Address(bytes.fromhex("11" * 20)))
NODE = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
SESSION = ec.derive_private_key(0xBEE, ec.SECP256R1())
STRANGER = ec.derive_private_key(0xBAD, ec.SECP256R1())
PROVIDER, DEVELOPER = Address(b"\xaa" * 20), Address(b"\xdd" * 20)
CLASS = class_id("compute/test")
ASSET, OTHER_ASSET, GPUS = 77, 78, 2
LEASE, SECOND_LEASE, OTHER_LEASE = (Hash32(bytes([n]) * 32) for n in (1, 2, 3))
SECONDS = 3_600
NOW_S = 1_800_000_000
NOW_MS = NOW_S * 1000
EXPIRES_S = NOW_S + 86_400
LATER_S = NOW_S + 2 * 86_400  # a clock at which nothing below is in the future


async def fill(engine: AsyncEngine) -> None:
    """Two assets of one class; two leases of the first, one of the second."""
    async with write(engine) as db:
        await _rows(db)


async def _rows(db: Db) -> None:
    at = {"first": 0, "number": 1, "hash": b"\1" * 32, "timestamp": NOW_S}
    await db.execute(sa.insert(t.cursor).values(id=1, chain_id=31337, deployment=b"\7" * 32, finalized=0, **at))
    members = [(PROVIDER, b"\1" * 32), (DEVELOPER, b"\2" * 32)]
    for member, nullifier in members:
        values = {"address": member, "nullifier": nullifier, "root": member, "since": 1, "until": LATER_S}
        values |= {"counted": True, "refuses_gifts": False}
        await db.execute(sa.insert(t.member).values(values))
    limits = {"hold_bps": 10_000, "use_bps": 10_000, "min_level": 0, "floor_units": 0, "total_units": 2 * GPUS * UNIT}
    await db.execute(sa.insert(t.asset_class).values(class_id=CLASS, name="compute/test", kind=2, unit="GPU", **limits))
    window = NOW_S // 604_800
    leases = {LEASE: (ASSET, 0), SECOND_LEASE: (ASSET, 1), OTHER_LEASE: (OTHER_ASSET, 0)}
    for asset in (ASSET, OTHER_ASSET):
        row = {"asset": asset, "class_id": CLASS, "operator": PROVIDER, "units": GPUS * UNIT, "level": 3}
        row |= {"policy": "development", "content_hash": ZERO32, "result_hash": ZERO32, "uri": "http://node"}
        row |= {"appraised_at": NOW_S - 600, "expires_at": EXPIRES_S, "meter_key": p256_point(NODE.public_key())}
        row |= {"retired": False, "commons_price_wei": 0, "accrued_wei": 0, "claimed_wei": 0, "shared_wei": 0}
        await db.execute(sa.insert(t.asset).values(row))
    for lease, (asset, tranche) in leases.items():
        credit = credit_id(asset, window, tranche)
        row = {"credit_id": credit, "asset": asset, "window": window, "tranche": tranche, "price_wei": 5}
        await db.execute(sa.insert(t.offer).values(row))
        row = {"lease": lease, "holder": DEVELOPER, "credit_id": credit, "seconds": SECONDS, "starts_at": NOW_S}
        row |= {"session_key": p256_point(SESSION.public_key()), "redeemed_block": 1, "settled_ms": 0, "paid_wei": 0}
        row |= {"level": 3, "key_number": 0, "changes": 0}
        await db.execute(sa.insert(t.lease).values(row))


def receipt(
    lease: Hash32, gpu_ms: int, head: Hash32 = ZERO32, *, node: ec.EllipticCurvePrivateKey = NODE
) -> SignedReceipt:
    statement = Receipt(lease, gpu_ms, head)
    message = preimage(DOMAIN, statement)
    return SignedReceipt(statement, Signature(sign_es256(node, message)), Signature(sign_es256(SESSION, message)))


@dataclass(slots=True)
class Node:
    """A node that meters honestly: `work` seals the next segment of a lease."""

    gpus: int = GPUS
    asset: int = ASSET
    domain: Domain = DOMAIN
    key: ec.EllipticCurvePrivateKey = NODE
    boot: int = NOW_MS
    now_ms: int = NOW_MS
    sequence: int = 0
    heads: dict[Hash32, Hash32] = field(default_factory=dict)
    totals: dict[Hash32, int] = field(default_factory=dict)

    def work(
        self, lease: Hash32 = LEASE, *, readings: int = 3, busy_ms: int = 800, wall_ms: int = 1_000
    ) -> SignedSegment:
        """`readings` intervals of `wall_ms`, of which all GPUs were allotted for `busy_ms`."""
        started_at_ms, total = self.now_ms, self.totals.get(lease, 0)
        run = []
        for _ in range(readings):
            self.now_ms, total = self.now_ms + wall_ms, total + busy_ms * self.gpus
            run.append(Reading(self.now_ms, total))
        signed = self.sealed(lease, started_at_ms, run)
        self.heads[lease], self.totals[lease] = signed.segment.head, total
        self.sequence += 1
        return signed

    def sealed(self, lease: Hash32, started_at_ms: int, run: list[Reading]) -> SignedSegment:
        """A segment of any content in the next place; the node's state stays."""
        return seal(
            self.domain,
            self.key,
            asset=self.asset,
            boot=self.boot,
            sequence=self.sequence,
            lease=lease,
            previous=self.heads.get(lease, ZERO32),
            started_at_ms=started_at_ms,
            readings=run,
        )

    def restart(self) -> None:
        """A new boot, one second later; chains and totals come from the spool."""
        self.now_ms += 1_000
        self.boot, self.sequence = self.now_ms, 0

    def idle(self, wall_ms: int) -> None:
        self.now_ms += wall_ms
