"""What the steps of apply.py share: rows that must be there, sums, and values as they are stored."""

import sqlalchemy as sa

from commonhold.errors import CommonholdError
from commonhold.mirror.rows import Row, Rows
from commonhold.signing import ZERO32
from commonhold.units import hex_text

ZERO_ADDRESS = bytes(20)


class MirrorBroken(CommonholdError):
    """An event does not fit the rows: the mirror stops, since skipping it would leave a hole."""

    status = 500
    code = "mirror_broken"


async def known(rows: Rows, table: sa.Table, **key: bytes | int | str) -> Row:
    """The row, which must be there."""
    row = await rows.get(table, **key)
    if row is None:
        shown = ", ".join(hex_text(part) if isinstance(part, bytes) else str(part) for part in key.values())
        raise MirrorBroken(f"no {table.name} {shown}")
    return row


async def add(rows: Rows, table: sa.Table, column: str, amount: int, **key: bytes | int) -> None:
    """The sum in `column` changed by `amount`. A row with nothing in it is none."""
    old = await rows.get(table, **key)
    total = amount + (0 if old is None else old[column])
    if total < 0:
        raise MirrorBroken(f"{table.name} {column}: expected at least {-amount}, got {total - amount}")
    if old is None:
        await rows.insert(table, **key, **{column: total})
    elif total == 0:
        await rows.delete(table, old)
    else:
        await rows.update(table, old, **{column: total})


def point(x: bytes, y: bytes) -> bytes | None:
    """x || y; None for no key."""
    return None if x == y == ZERO32 else x + y


def text(said: str) -> str:
    """Text that every database can store. Anyone may write a NUL into a URI; PostgreSQL refuses it."""
    return said.replace("\0", "\ufffd")
