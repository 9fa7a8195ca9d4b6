"""Large answers of a node, verified and cut to what is of use: what apart.py does in its own process, or in ours.

Pure. In: the bytes of an answer to one batch, and plain values; out: plain values, for `marshal` to carry. The errors
that leave it are those of ERRORS.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from commonhold.chain import verify
from commonhold.chain.answers import RpcInconsistent
from commonhold.chain.decode import cut
from commonhold.chain.stamp import BlockStamp
from commonhold.chain.verify import Header, RpcLied
from commonhold.errors import CommonholdError
from commonhold.units import BlockNumber, Hash32, hex_text

# number, hash, parent, timestamp
Stamp = tuple[int, bytes, bytes, int]
# of a block that may hold our logs: its stamp, the root of its receipts, its transactions
Concerned = tuple[Stamp, bytes, tuple[str, ...]]
# of a log: verify.PackedLog, and the values of its event, where decode.cut reads it
Told = tuple[int, int, bytes, bytes, bytes, bytes, bytes, tuple[Any, ...] | None]

ERRORS: Final[dict[str, type[CommonholdError]]] = {each.__name__: each for each in (RpcLied, RpcInconsistent)}


def results(body: bytes, first_id: int, count: int) -> list[Any] | None:
    """What a node answers to a batch, in the order of the questions; None: not that."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        return None
    by_id = {each.get("id"): each for each in said}
    found = [by_id.get(asked) for asked in range(first_id, first_id + count)]
    if not all(each is not None and each.get("error") is None and "result" in each for each in found):
        return None
    return [each["result"] for each in found if each is not None]


def headers(
    body: bytes, first_id: int, numbers: Sequence[int], addresses: Sequence[bytes], every: bool, host: str
) -> tuple[Stamp, Stamp, list[Concerned], list[Stamp]] | None:
    """(first, last, those that may concern the addresses, all of them if `every`) of blocks in a row, each linked to
    the one before. None: the node does not take such a batch."""
    found = results(body, first_id, len(numbers))
    return None if found is None else linked(found, numbers, addresses, every, host)


def linked(
    found: Sequence[Any], numbers: Sequence[int], addresses: Sequence[bytes], every: bool, host: str
) -> tuple[Stamp, Stamp, list[Concerned], list[Stamp]]:
    """As `headers`, of JSON. Raises RpcLied; RpcInconsistent where a block is missing or does not continue another."""
    concerned: list[Concerned] = []
    stamps: list[Stamp] = []
    parent: BlockStamp | None = None
    first: BlockStamp | None = None
    for number, block in zip(numbers, found, strict=True):
        if block is None:
            raise RpcInconsistent(f"node {host} has no block {number}, expected one below its head")
        header = verify.header(block, host)
        stamp = header.stamp
        if stamp.number != number:
            raise RpcInconsistent(f"node {host}: expected block {number}, got {stamp.number}")
        if parent is not None:
            check_link(host, parent, stamp)
        parent, first = stamp, first or stamp
        if header.may_concern(addresses):  # type: ignore[arg-type]
            concerned.append((_plain(stamp), header.receipts_root, header.transactions))
        if every:
            stamps.append(_plain(stamp))
    if first is None or parent is None:
        raise RpcInconsistent(f"node {host}: expected blocks, got none")
    return _plain(first), _plain(parent), concerned, stamps


def logs(
    body: bytes, first_id: int, concerned: Sequence[Concerned], addresses: Sequence[bytes], host: str
) -> list[list[Told]] | None:
    """The logs of the addresses in each of these blocks, from all their receipts. None: as in `headers`."""
    found = results(body, first_id, len(concerned))
    return None if found is None else of_receipts(found, concerned, addresses, host)


def of_receipts(
    found: Sequence[Any], concerned: Sequence[Concerned], addresses: Sequence[bytes], host: str
) -> list[list[Told]]:
    """As `logs`, of JSON. Raises RpcLied; RpcInconsistent where receipts are missing."""
    told: list[list[Told]] = []
    for (stamp, root, transactions), receipts in zip(concerned, found, strict=True):
        if receipts is None:
            block = f"block {stamp[0]} {hex_text(stamp[1])}"
            raise RpcInconsistent(f"node {host} has no receipts of {block} (any more)")
        header = Header(to_stamp(stamp), 0, Hash32(root), transactions)
        packed = verify.packed_logs(header, receipts, addresses, host)  # type: ignore[arg-type]
        told.append([(*log, cut(log[5], log[6])) for log in packed])
    return told


def check_link(host: str, parent: BlockStamp, child: BlockStamp) -> None:
    """Raises RpcInconsistent; the next step finds out from the start which branch the node is on."""
    if (child.number, child.parent) != (parent.number + 1, parent.hash):
        raise RpcInconsistent(
            f"node {host}: parent of block {child.number} is {hex_text(child.parent)}, "
            f"expected {hex_text(parent.hash)} of block {parent.number}"
        )


def to_stamp(plain: Stamp) -> BlockStamp:
    """The stamp as ours."""
    number, hash_, parent, timestamp = plain
    return BlockStamp(BlockNumber(number), Hash32(hash_), Hash32(parent), timestamp)


def _plain(stamp: BlockStamp) -> Stamp:
    return stamp.number, stamp.hash, stamp.parent, stamp.timestamp


WORK: Final[dict[str, Callable[..., Any]]] = {"headers": headers, "logs": logs}
