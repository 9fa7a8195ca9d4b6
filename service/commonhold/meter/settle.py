"""Receipts to the chain: what both sides signed becomes a payment. Whoever sends it, and how often, changes nothing."""

import logging
from collections.abc import Sequence

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain.send import ContractRefused, Mined, Sender
from commonhold.db import ReadDb, read, write
from commonhold.meter.read import session_keys
from commonhold.meter.segment import Signature, SignedReceipt
from commonhold.meter.tables import settlement
from commonhold.meter.totals import Closing, closing_soon, pending_settlements
from commonhold.mirror.read import lease as mirrored_lease
from commonhold.mirror.read import position
from commonhold.p256 import verify_es256
from commonhold.signing import Domain, Receipt, preimage
from commonhold.units import BlockNumber, Hash32, hex_text

log = logging.getLogger(__name__)

MOST = 50  # receipts in one transaction
PUT_OFF_BLOCKS = 100  # before a refused receipt is tried again, such as one by a node's key before the present one
_UNTIL_LATER = ("OverWallClock", "NotStarted")

WARN_BEFORE = 4  # the last quarter of the time for settling is when a receipt that still waits is told of

ContractReceipt = tuple[Receipt, int, Hash32, Hash32, Hash32, Hash32]  # IMeter.SignedReceipt


async def settle(
    engine: AsyncEngine,
    sender: Sender,
    most: int = MOST,
    *,
    closing: Closing | None = None,
    redeemed_until: BlockNumber | None = None,
) -> Mined | None:
    """Some of the receipts that the chain has not counted are settled; None: there is nothing to settle now.

    redeemed_until: only of leases that were redeemed up to that block; None: of all.

    What was sent is not sent again before the mirror is at its block; if we die before that is written, it is, and the
    contract skips what it has. A receipt that the chain refuses is put off, so that neither it nor many like it hold up
    any other. closing: so that leases that can be settled no more are left out, and told of before.
    """
    refused_now: set[Hash32] = set()
    domain = sender.domain("Meter")
    while pending := [
        one for one in await _pending(engine, most, closing, redeemed_until) if one.receipt.lease not in refused_now
    ]:
        while pending:
            numbers = await _key_numbers(engine, pending, domain)
            receipts = [contract_receipt(signed, number) for signed, number in zip(pending, numbers, strict=True)]
            try:
                mined = await sender.transact("Meter", "settle", receipts)
            except ContractRefused as refused:
                at = _refused_at(refused, pending)
                if at is None and len(pending) > 1:
                    # Such as the token's own error: which receipt it is, is found by halves. The others come next time.
                    del pending[len(pending) // 2 :]
                else:
                    signed = pending.pop(at or 0)
                    refused_now.add(signed.receipt.lease)
                    await _put_off(engine, signed, refused)
            else:
                await _sent(engine, pending, mined.block.number)
                return mined
    return None


def contract_receipt(signed: SignedReceipt, key_number: int) -> ContractReceipt:
    """The receipt as `Meter.settle` takes it; `key_number` of the session key that has signed."""
    return (signed.receipt, key_number, *_halves(signed.node_signature), *_halves(signed.session_signature))


async def _pending(
    engine: AsyncEngine, most: int, closing: Closing | None, redeemed_until: BlockNumber | None
) -> list[SignedReceipt]:
    async with read(engine) as db:
        if closing is not None and (late := await closing_soon(db, closing, closing.settle_delay // WARN_BEFORE)):
            log.warning("%d leases have receipts that are not settled, and close soon", late)
        return await pending_settlements(db, most, closing, redeemed_until)


async def _key_numbers(engine: AsyncEngine, pending: Sequence[SignedReceipt], domain: Domain) -> list[int]:
    """Of each receipt, which session key of its lease has signed it: nearly always the only one."""
    async with read(engine) as db:
        return [await _key_number(db, signed, domain) for signed in pending]


async def _key_number(db: ReadDb, signed: SignedReceipt, domain: Domain) -> int:
    lease = await mirrored_lease(db, signed.receipt.lease)
    if lease is None or lease.key_number == 0:
        return 0
    message = preimage(domain, signed.receipt)
    keys = await session_keys(db, lease)
    by = (key.number for key in keys if verify_es256(key.point, message, signed.session_signature))
    return next(by, lease.key_number)


async def _put_off(engine: AsyncEngine, signed: SignedReceipt, refused: ContractRefused) -> None:
    log.warning("receipt of lease %s is put off: %s", hex_text(signed.receipt.lease), refused)
    async with read(engine) as db:
        at = (await position(db)).number
    # Time heals some refusals, and a quiet chain has no blocks to wait for: those go to the end of the queue only.
    await _sent(engine, [signed], at if refused.error in _UNTIL_LATER else at + PUT_OFF_BLOCKS)


async def _sent(engine: AsyncEngine, receipts: Sequence[SignedReceipt], block_number: int) -> None:
    """These are not sent again before the mirror is at that block."""
    async with write(engine) as db:
        insert = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
        for signed in receipts:
            values = {"gpu_ms": signed.receipt.gpu_ms, "block_number": block_number}
            row = insert(settlement).values(lease=signed.receipt.lease, **values)
            await db.execute(row.on_conflict_do_update(index_elements=["lease"], set_=values))


def _halves(signature: Signature) -> tuple[Hash32, Hash32]:
    return Hash32(signature[:32]), Hash32(signature[32:])


def _refused_at(refused: ContractRefused, pending: Sequence[SignedReceipt]) -> int | None:
    """Which of `pending` the contract means: its errors name the index or the lease. None: neither."""
    index, lease = refused.details.get("index"), refused.details.get("lease")
    for at, signed in enumerate(pending):
        if str(index) == str(at) or lease == hex_text(signed.receipt.lease):
            return at
    return None
