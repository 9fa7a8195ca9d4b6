"""Carries a holder's signed change of a lease to the chain, so that the holder needs no gas: a split, a top-up or
another session key. The contract does each once: a statement names the lease's state, `change`, and every change counts
on.

The order is relay.py's: one claim at a time for a statement, send, wait until the mirror shows it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.access.relay import POLL_S
from commonhold.access.siwe import MAX_SIGNATURE_BYTES
from commonhold.chain.send import Mined, Sender
from commonhold.db import read
from commonhold.errors import BadInput, LimitExceeded, Unavailable
from commonhold.mirror.read import LeaseRow
from commonhold.mirror.read import lease as mirrored_lease
from commonhold.signing import Rotation, Split, TopUp, from_message
from commonhold.units import Hash32, hex_text

Change = Split | TopUp | Rotation
KINDS: Final[Mapping[str, type[Change]]] = {kind.__name__: kind for kind in (Split, TopUp, Rotation)}
_FUNCTIONS: Final = {Split: "split", TopUp: "topUp", Rotation: "rotate"}
MOST_CHANGES = 20  # of one lease that are relayed; whoever needs more sends them itself


class Pending(Unavailable):
    """The change is on its way: asking again later with the same statement finds it."""

    code = "pending"


@dataclass(frozen=True, slots=True)
class Signed:
    """A change as its holder signed it."""

    statement: Change
    signature: bytes


def parse(kind: str, message: object, signature: str) -> Signed:
    """Raises BadInput."""
    if kind not in KINDS:
        raise BadInput(f"primaryType {kind[:40]!r}: expected one of {', '.join(KINDS)}")
    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
    except ValueError as e:
        raise BadInput("signature: expected hexadecimal digits") from e
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise BadInput(f"signature of {len(raw)} bytes: expected at most {MAX_SIGNATURE_BYTES}")
    return Signed(from_message(KINDS[kind], message), raw)


def check_rate(lease: LeaseRow) -> None:
    """Returns when one more change of the lease is not too many. Raises LimitExceeded."""
    if lease.changes >= MOST_CHANGES:
        raise LimitExceeded(
            f"lease {hex_text(lease.lease)} was changed {lease.changes} times, at most {MOST_CHANGES} are relayed: "
            "send it yourself",
            details={"changes": lease.changes, "most": MOST_CHANGES},
        )


async def send(sender: Sender, signed: Signed) -> Mined:
    """The change is on the chain. Raises ContractRefused; TransactionTimeout when it may still come."""
    function = _FUNCTIONS[type(signed.statement)]
    return await sender.transact("Access", function, signed.statement, signed.signature)


def done(statement: Change, lease: LeaseRow, part: LeaseRow | None, *, relayed: bool) -> LeaseRow | None:
    """The lease that the statement has made or changed, when the mirror shows it. A top-up leaves no trace of its own:
    it was this one when it was relayed a moment ago."""
    if isinstance(statement, Split):
        return part
    if lease.changes != statement.change + 1:
        return None
    if isinstance(statement, TopUp):
        return lease if relayed else None
    return lease if lease.session_key == statement.key_x + statement.key_y else None


async def arrived(engine: AsyncEngine, statement: Change, made: Hash32, wait_s: float) -> LeaseRow:
    """The lease as the statement left it, or the part that it made. Raises Pending when the mirror does not show it in
    `wait_s`."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_s
    which = made if isinstance(statement, Split) else statement.lease
    while True:
        async with read(engine) as db:
            row = await mirrored_lease(db, which)
        if row is not None and (isinstance(statement, Split) or row.changes > statement.change):
            return row
        if clock() >= deadline:
            text = f"change {statement.change} of lease {hex_text(statement.lease)} is on its way, not mirrored yet"
            raise Pending(text, details={"interval": 1})
        await asyncio.sleep(POLL_S)
