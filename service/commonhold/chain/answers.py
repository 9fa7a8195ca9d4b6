"""What a node answers, as our values: the JSON of JSON-RPC, checked for its form. Pure; for rpc.py."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonhold.chain.stamp import BlockStamp, RawLog
from commonhold.errors import Unavailable
from commonhold.units import Address, BlockNumber, Hash32


class RpcInconsistent(Unavailable):
    """The node contradicts what was asked, or itself. Nothing of the answer is used."""

    code = "rpc_inconsistent"


class BlockGone(RpcInconsistent):
    """The node does not know a block that it, or another node, told of before: the chain has reorganized."""

    code = "block_gone"


class RpcBehind(RpcInconsistent):
    """The node has not come as far as was asked: it is syncing, or lags behind another. That is no reorganisation."""

    code = "rpc_behind"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction."""

    transaction_hash: Hash32
    block_hash: Hash32
    block_number: BlockNumber
    ok: bool
    gas_used: int
    contract: Address | None  # made by it; None: it made none
    logs: tuple[RawLog, ...]


def to_stamp(found: object) -> BlockStamp:
    """The stamp of a block."""
    block = to_object(found)
    return BlockStamp(
        number=BlockNumber(to_number(block.get("number"))),
        hash=to_hash(block.get("hash")),
        parent=to_hash(block.get("parentHash")),
        timestamp=to_number(block.get("timestamp")),
    )


def to_log(found: object) -> RawLog:
    """A log that stands; one that a reorganization removed is refused."""
    log = to_object(found)
    if log.get("removed") not in (None, False):
        raise RpcInconsistent(f"expected no removed log, got one of block {log.get('blockNumber')!r:.80}")
    topics = log.get("topics")
    if not isinstance(topics, list) or len(topics) > 4:
        raise RpcInconsistent(f"expected a log with at most 4 topics, got {topics!r:.200}")
    return RawLog(
        address=Address(to_bytes(log.get("address"), 20)),
        topics=tuple(to_hash(topic) for topic in topics),
        data=to_bytes(log.get("data")),
        block_number=BlockNumber(to_number(log.get("blockNumber"))),
        block_hash=to_hash(log.get("blockHash")),
        transaction_hash=to_hash(log.get("transactionHash")),
        log_index=to_number(log.get("logIndex")),
    )


def to_receipt(found: object) -> Receipt:
    """A receipt with its logs."""
    receipt = to_object(found)
    logs: Sequence[object] = receipt.get("logs") or ()
    made = receipt.get("contractAddress")
    return Receipt(
        transaction_hash=to_hash(receipt.get("transactionHash")),
        block_hash=to_hash(receipt.get("blockHash")),
        block_number=BlockNumber(to_number(receipt.get("blockNumber"))),
        ok=to_number(receipt.get("status")) == 1,
        gas_used=to_number(receipt.get("gasUsed")),
        contract=Address(to_bytes(made, 20)) if made else None,
        logs=tuple(to_log(log) for log in logs),
    )


def to_object(value: object) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise RpcInconsistent(f"expected a JSON object from the node, got {value!r:.80}")
    return value


def to_number(value: object) -> int:
    """The number of a JSON-RPC quantity."""
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,64}", value):
        return int(value, 16)
    raise RpcInconsistent(f"expected a number as 0x and hexadecimal digits from the node, got {value!r:.80}")


def to_bytes(value: object, length: int | None = None) -> bytes:
    """The bytes of JSON-RPC data, of `length` bytes if that is given."""
    if isinstance(value, str) and re.fullmatch(r"0x([0-9a-fA-F]{2})*", value):
        data = bytes.fromhex(value[2:])
        if length in (None, len(data)):
            return data
    raise RpcInconsistent(f"expected {length or 'some'} bytes as 0x and hexadecimal digits, got {value!r:.80}")


def to_hash(value: object) -> Hash32:
    """The 32 bytes of a hash."""
    return Hash32(to_bytes(value, 32))
