"""Epochs onto the chain: each once, in order, whatever fails in between.

frozen    its data can be fetched; nothing was sent
sending   the intent is written, with the URI; a transaction may be on its way, or we died
sent      it is in a block, so far as the node says
anchored  the mirror shows it; a reorg can still take it away, then it is sent again
final     the mirror shows it in a finalized block

One path for normal work and recovery: what the mirror does not show is sent (again). Meter numbers the anchors of a
submitter without a gap, so a second transaction of the same epoch is refused: EpochNotNext is the answer "it is there".
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.anchor.batch import Epoch, epochs
from commonhold.anchor.tables import epoch
from commonhold.chain.send import ContractRefused, Sender
from commonhold.db import read, write
from commonhold.errors import CommonholdError, Unavailable
from commonhold.mirror import read as mirror
from commonhold.units import Hash32, address_text, hex_text


class AnchorDiffers(CommonholdError):
    """The chain has another anchor under an epoch of ours: somebody else submits with the same key."""

    status = 500
    code = "anchor_differs"


class AnchorWaits(Unavailable):
    """The chain does not take an epoch now; once the mirror has followed, it does or has it."""

    code = "anchor_waits"


async def publish(engine: AsyncEngine, sender: Sender, *, base_uri: str) -> list[Epoch]:
    """Every epoch of the sender is as far as it can come now; those that are not final yet. Safe to repeat.

    base_uri: where the API stands; the anchor's URI is its path to the data.
    Raises AnchorDiffers, AnchorWaits, ContractRefused, and what Sender raises; the next call goes on from there.
    """
    async with read(engine) as db:
        pending = [one for one in await epochs(db, sender.address) if one.state != "final"]
        if not pending:
            return []
        anchors = {anchor.epoch: anchor for anchor in await mirror.anchors(db, sender.address)}
        finalized = (await mirror.position(db)).finalized

    for one in pending:
        anchor = anchors.get(one.number)
        if anchor is not None:
            _compare(one, anchor)
            await _move(engine, one, "final" if anchor.block_number <= finalized else "anchored")
            continue
        uri = one.uri or f"{base_uri}/v1/epochs/{one.number}/data"
        # The intent first: whoever comes after us sends the same bytes.
        await _move(engine, one, "sending" if one.state == "frozen" else one.state, uri=uri)
        transaction_hash = await _send(sender, one, uri)
        # Dying above this line repeats the call, and the contract refuses a repeat.
        if transaction_hash is not None:
            await _move(engine, one, "sent", transaction_hash=transaction_hash)
        else:
            await _move(engine, one, "sent")

    async with read(engine) as db:
        return [one for one in await epochs(db, sender.address) if one.state != "final"]


async def _send(sender: Sender, one: Epoch, uri: str) -> Hash32 | None:
    """The anchor is in a block; None: it was already."""
    try:
        mined = await sender.transact("Meter", "anchor", one.number, one.root, one.count, one.gpu_ms, uri)
    except ContractRefused as refused:
        if refused.error == "EpochNotNext":
            expected = int(str(refused.details["expected"]))
            if expected > one.number:
                return None
            # A reorg took the anchors before it and the mirror has not followed yet, or this node lags behind another.
            raise AnchorWaits(f"epoch {one.number}: the chain is at epoch {expected}") from refused
        if refused.error == "unknown":  # such as a second transaction in the block of the first
            raise AnchorWaits(f"epoch {one.number} is tried again: {refused}") from refused
        raise
    return mined.transaction_hash


async def _move(engine: AsyncEngine, one: Epoch, state: str, **values: str | Hash32) -> None:
    if state == one.state and not values:
        return
    async with write(engine) as db:
        c = epoch.c
        where = (c.submitter == one.submitter, c.number == one.number, c.state != "final")
        await db.execute(sa.update(epoch).where(*where).values(state=state, **values))


def _compare(one: Epoch, anchor: mirror.Anchor) -> None:
    if (one.root, one.count, one.gpu_ms) != (anchor.root, anchor.count, anchor.gpu_ms):
        raise AnchorDiffers(
            f"epoch {one.number} of {address_text(one.submitter)}: the chain has root {hex_text(anchor.root)} over "
            f"{anchor.count} leaves and {anchor.gpu_ms} GPU-ms, expected {hex_text(one.root)} over {one.count} and "
            f"{one.gpu_ms}"
        )
