"""Large answers of a node, verified and cut to what is of use: what apart.py does in its own process, or in ours.

Pure. In: the bytes of an answer to one batch, and plain values; out: plain values, for `marshal` to carry. The errors
that leave it are those of ERRORS.
"""

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import orjson

from commonhold.chain import verify
from commonhold.chain.answers import RpcInconsistent
from commonhold.chain.stamp import BlockStamp
from commonhold.chain.verify import Header, PackedLog, RpcLied
from commonhold.errors import CommonholdError
from commonhold.units import BlockNumber, Hash32, hex_text, keccak256

# number, hash, parent, timestamp
Stamp = tuple[int, bytes, bytes, int]
# of a block that may hold our logs: its stamp, the root of its receipts, its transactions
Concerned = tuple[Stamp, bytes, tuple[str, ...]]
# of blocks: how many logs each has, those that are no Transfer, and the columns of those that are
Found = tuple[list[int], list[PackedLog], tuple[bytes, ...]]

TRANSFER: Final = keccak256(b"Transfer(address,address,address,uint256,uint256)")  # topic of ERC-6909's event
_ZEROS: Final = bytes(12)


class Transfers(NamedTuple):
    """Logs of ERC-6909's Transfer, of which there are so many that they are kept as columns: values of fixed size, one
    after the other, in the order of the chain."""

    block_number: bytes  # 8 each, little-endian
    log_index: bytes  # 4 each, little-endian
    block_hash: bytes  # 32 each
    transaction_hash: bytes  # 32 each
    address: bytes  # 20 each
    topics: bytes  # 128 each
    data: bytes  # 64 each

    def part(self, first: int, end: int) -> "Transfers":
        """Those from place `first` to before place `end`."""
        return Transfers(*(each[first * size : end * size] for each, size in zip(self, SIZES, strict=True)))

    @property
    def logs(self) -> list[PackedLog]:
        """The same, each by itself."""
        cut_up = (
            [column[at : at + size] for at in range(0, len(column), size)]
            for column, size in zip(self, SIZES, strict=True)
        )
        return [
            (int.from_bytes(number, "little"), int.from_bytes(index, "little"), *rest)
            for number, index, *rest in zip(*cut_up, strict=True)
        ]


SIZES: Final = (8, 4, 32, 32, 20, 128, 64)  # bytes of each value
NO_TRANSFERS: Final = Transfers(*[b""] * len(SIZES))

ERRORS: Final[dict[str, type[CommonholdError]]] = {each.__name__: each for each in (RpcLied, RpcInconsistent)}


def results(body: bytes | memoryview, first_id: int, count: int) -> list[Any] | None:
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
    body: bytes | memoryview, first_id: int, numbers: Sequence[int], addresses: Sequence[bytes], every: bool, host: str
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
    body: bytes | memoryview, first_id: int, concerned: Sequence[Concerned], addresses: Sequence[bytes], host: str
) -> Found | None:
    """The logs of the addresses in each of these blocks, from all their receipts. None: as in `headers`."""
    found = results(body, first_id, len(concerned))
    return None if found is None else of_receipts(found, concerned, addresses, host)


def of_receipts(found: Sequence[Any], concerned: Sequence[Concerned], addresses: Sequence[bytes], host: str) -> Found:
    """As `logs`, of JSON. Raises RpcLied; RpcInconsistent where receipts are missing."""
    counts: list[int] = []
    all_: list[PackedLog] = []
    for (stamp, root, transactions), receipts in zip(concerned, found, strict=True):
        if receipts is None:
            block = f"block {stamp[0]} {hex_text(stamp[1])}"
            raise RpcInconsistent(f"node {host} has no receipts of {block} (any more)")
        header = Header(to_stamp(stamp), 0, Hash32(root), transactions)
        some = verify.packed_logs(header, receipts, addresses, host)  # type: ignore[arg-type]
        counts.append(len(some))
        all_ += some
    others, transfers = sorted_out(all_)
    return counts, others, tuple(transfers)


def sorted_out(found: Sequence[PackedLog]) -> tuple[list[PackedLog], Transfers]:
    """What is no Transfer, and what is."""
    others: list[PackedLog] = []
    transfers: list[PackedLog] = []
    for log in found:
        (transfers if _is_transfer(log[5], log[6]) else others).append(log)
    if not transfers:
        return others, NO_TRANSFERS
    numbers, indexes, *rest = zip(*transfers, strict=True)
    places = struct.pack(f"<{len(numbers)}q", *numbers), struct.pack(f"<{len(indexes)}i", *indexes)
    return others, Transfers(*places, *map(b"".join, rest))


def _is_transfer(topics: bytes, data: bytes) -> bool:
    """The log is a Transfer of ERC-6909, with zeros where its words have zeros. Any other is decode.py's to understand.

    topics: one after the other.
    """
    return (
        (len(topics), len(data)) == (128, 64)
        and topics.startswith(TRANSFER)
        and topics[32:44] == topics[64:76] == data[:12] == _ZEROS
    )


def joined(parts: Sequence[Found]) -> Found:
    """What belongs together, as one."""
    counts, others, transfers = zip(*parts, strict=True)
    columns = tuple(map(b"".join, zip(*transfers, strict=True)))
    return list(chain.from_iterable(counts)), list(chain.from_iterable(others)), columns


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
