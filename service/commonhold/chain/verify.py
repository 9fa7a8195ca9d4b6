"""Headers and receipts recomputed: what a node says about a block must hash to what the block's own hash commits to.

Pure, no node. In: the JSON of a block or of its receipts; out: a header whose hash is right, or the logs of our
contracts. A header's hash covers its bloom and its receipts' root; the bloom tells which blocks can hold our logs, and
the root covers every byte of every receipt, so that no log can be dropped, added, changed or moved. Not covered, and so
the node's word: which transaction a receipt belongs to (its hash is checked to be the block's at that place).
"""

from binascii import unhexlify
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple

from commonhold.chain.answers import RpcInconsistent, to_hash, to_object, to_stamp
from commonhold.chain.stamp import BlockStamp, RawLog
from commonhold.chain.trie import list_root, rlp_list, rlp_prefix
from commonhold.errors import CommonholdError
from commonhold.units import Address, BlockNumber, Hash32, hex_text, keccak256

# A header in the order of its RLP: name in JSON, and its length in bytes, or None for a number, or 0 for any length.
_HEADER: Final[tuple[tuple[str, int | None], ...]] = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", 256),
    ("difficulty", None),
    ("number", None),
    ("gasLimit", None),
    ("gasUsed", None),
    ("timestamp", None),
    ("extraData", 0),
    ("mixHash", 32),
    ("nonce", 8),
)
# What forks have appended, in their order. A header has the first so many of them.
_APPENDED: Final[tuple[tuple[str, int | None], ...]] = (
    ("baseFeePerGas", None),  # London, EIP-1559
    ("withdrawalsRoot", 32),  # Shanghai, EIP-4895
    ("blobGasUsed", None),  # Cancun, EIP-4844
    ("excessBlobGas", None),
    ("parentBeaconBlockRoot", 32),  # Cancun, EIP-4788
    ("requestsHash", 32),  # Prague, EIP-7685
    ("blockAccessListHash", 32),  # Amsterdam, EIP-7928
    ("slotNumber", None),  # Amsterdam, EIP-7843
)
# What nodes tell beside the header.
_BESIDE: Final = {
    "hash",
    "size",
    "totalDifficulty",
    "transactions",
    "uncles",
    "withdrawals",
    "author",
    "blockAccessList",
}
_KNOWN: Final = {name for name, _ in (*_HEADER, *_APPENDED)} | _BESIDE


class RpcLied(CommonholdError):
    """What the node says does not hash to what it should. Asking the same node again is no remedy."""

    status = 503
    code = "rpc_lied"


@dataclass(frozen=True, slots=True)
class Header:
    """A header whose fields hash to its hash. `transactions`: hashes, as the node says."""

    stamp: BlockStamp
    bloom: int
    receipts_root: Hash32
    transactions: tuple[str, ...]

    def may_concern(self, addresses: Collection[Address]) -> bool:
        """False: no contract of these has a log in the block."""
        return any(self.bloom & bits == bits for bits in map(bloom_bits, addresses))


# One log of ours, cut from the bytes that were hashed: number of its block, its place in there, hash of the block, of
# the transaction, address, topics one after the other, data. Plain, to go from one process to another as it is.
PackedLog = tuple[int, int, bytes, bytes, bytes, bytes, bytes]


def header(found: object, host: str) -> Header:
    """The header in the JSON of a block. Raises RpcLied when its hash is another than its fields'."""
    block = to_object(found)
    try:
        stamp = to_stamp(block)
        fields = "".join(
            [
                _number(block[name]) if size is None else _bytes(block[name], size)
                for name, size in (*_HEADER, *_APPENDED)
                if block.get(name) is not None
            ]
        )
        encoded = unhexlify(fields)
        bloom = int(block["logsBloom"], 16)
        receipts_root = to_hash(block["receiptsRoot"])
        transactions = block.get("transactions") or ()
        hashes = tuple([each["hash"] if isinstance(each, dict) else each for each in transactions])
    except (KeyError, TypeError, ValueError) as error:
        raise RpcInconsistent(f"node {host}: expected a block, got something else: {error!r:.200}") from error
    computed = keccak256(rlp_list(encoded))
    if computed != stamp.hash:
        new = ", ".join(sorted(block.keys() - _KNOWN))
        why = f"; it has fields that this version does not know: {new}" if new else ""
        raise RpcLied(
            f"node {host}: block {stamp.number} says its hash is {hex_text(stamp.hash)}, "
            f"expected {hex_text(computed)} from its fields{why}"
        )
    return Header(stamp, bloom, receipts_root, hashes)


def logs(header: Header, found: object, addresses: Collection[Address], host: str) -> list[RawLog]:
    """The logs of these contracts in the block, in order, from all its receipts. Raises as `packed_logs`."""
    return [unpack(log) for log in packed_logs(header, found, addresses, host)]


def unpack(log: PackedLog) -> RawLog:
    """The log as others take it."""
    number, index, block_hash, transaction_hash, address, topics, data = log
    return RawLog(
        address=Address(address),
        topics=tuple([Hash32(topics[at : at + 32]) for at in range(0, len(topics), 32)]),
        data=data,
        block_number=BlockNumber(number),
        block_hash=Hash32(block_hash),
        transaction_hash=Hash32(transaction_hash),
        log_index=index,
    )


def packed_logs(header: Header, found: object, addresses: Collection[Address], host: str) -> list[PackedLog]:
    """The logs of these contracts in the block, in order, from all its receipts.

    Raises RpcLied when the receipts are not those that the header commits to.
    """
    stamp = header.stamp
    where = f"node {host}: receipts of block {stamp.number} {hex_text(stamp.hash)}"
    wanted = {address.hex(): address for address in addresses}
    places: list[list[_Place]] = []
    try:
        receipts = [to_object(receipt) for receipt in _list(found)]
        encoded = [_receipt(receipt, wanted, places) for receipt in receipts]
        root = list_root([whole for whole, _ in encoded])
        transactions = tuple([receipt.get("transactionHash") for receipt in receipts])
    except (KeyError, TypeError, ValueError, RpcInconsistent) as error:
        raise RpcLied(f"{where}: expected receipts, got something else: {error}") from error
    if root != header.receipts_root:
        raise RpcLied(
            f"{where}: the {len(receipts)} it gave hash to {hex_text(root)}, "
            f"expected {hex_text(header.receipts_root)}, which the block's header commits to"
        )
    if transactions != header.transactions:
        raise RpcLied(f"{where}: they are of other transactions than the block lists")

    ours: list[PackedLog] = []
    before = 0  # logs of the receipts before: a log's place in the block; the node's own word for it is not needed
    for receipt, (_, of_logs), some in zip(receipts, encoded, places, strict=True):
        if some:
            transaction = to_hash(receipt["transactionHash"])
            ours += [
                (
                    stamp.number,
                    before + index,
                    stamp.hash,
                    transaction,
                    address,
                    b"".join(shape.topics(of_logs, at)),
                    of_logs[at + shape.data_at : at + shape.size],
                )
                for index, address, at, shape in some
            ]
        before += len(receipt["logs"])
    return ours


@cache  # as many as a deployment has contracts
def bloom_bits(address: Address) -> int:
    """The three bits that a log of this contract sets in a block's bloom. Source: Yellow Paper, 4.3.1."""
    hashed = keccak256(address)
    bits = 0
    for pair in (0, 2, 4):
        bits |= 1 << (int.from_bytes(hashed[pair : pair + 2]) & 2047)
    return bits


class _Shape(NamedTuple):
    """What logs with so many topics and so much data have in common: their RLP but for the values."""

    before: str  # hexadecimal digits; the address follows
    between: str  # the topics follow, each with a prefix of one byte
    after: str  # the data follows
    topic_digits: int
    size: int  # bytes of the whole
    data_at: int
    topics: Callable[[bytes, int], tuple[bytes, ...]]


_Place = tuple[int, bytes, int, _Shape]  # which log of its receipt, by whom, where it begins in the receipt's logs


@lru_cache(maxsize=1_000)  # as many as events have sizes; others' logs come in more
def _shape(topics: int, data_digits: int, short: bool) -> _Shape:
    """`data_digits` with the 0x. `short`: the data is one byte below 0x80, its own RLP. Raises ValueError."""
    if topics > 4 or data_digits % 2:
        raise ValueError("a log has more than four topics, or data of an odd length")
    size = data_digits // 2 - 1
    after = b"" if short else rlp_prefix(size, 0x80)
    of_topics = rlp_prefix(33 * topics, 0xC0)
    inner = 21 + len(of_topics) + 33 * topics + len(after) + size
    before = rlp_prefix(inner, 0xC0) + b"\x94"
    topics_at = len(before) + 20 + len(of_topics)
    return _Shape(
        before=before.hex(),
        between=of_topics.hex(),
        after=after.hex(),
        topic_digits=66 * topics,
        size=len(before) + inner - 1,
        data_at=topics_at + 33 * topics + len(after),
        topics=Struct(f"{topics_at}x" + "x32s" * topics).unpack_from,
    )


def _receipt(
    receipt: Mapping[str, Any], wanted: Mapping[str, bytes], places: list[list[_Place]]
) -> tuple[bytes, bytes]:
    """A receipt as the trie holds it (EIP-2718: the type's byte before the RLP of a typed one), and its logs' part of
    that. Adds to `places` the list of the wanted logs in that part.

    The hexadecimal digits are joined first and decoded once: this is where a mirror spends its time.
    """
    digits: list[str] = []
    ours: list[_Place] = []
    at = 0
    for index, log in enumerate(_list(receipt["logs"])):
        address, topics, data = log["address"], log["topics"], log["data"]
        shape = _shape(len(topics), len(data), len(data) == 4 and data < "0x80")
        joined = "".join(topics)
        if len(address) != 42 or len(joined) != shape.topic_digits:
            raise ValueError("a log's address has other than 20 bytes, or a topic other than 32")
        # Each topic's 0x makes way for the prefix of 32 bytes.
        digits.append(f"{shape.before}{address[2:]}{shape.between}{joined.replace('0x', 'a0')}{shape.after}{data[2:]}")
        owner = wanted.get(address[2:].lower())  # of the digits that are hashed, however they are written
        if owner is not None:
            ours.append((index, owner, at, shape))
        at += shape.size
    places.append(ours)
    of_logs = unhexlify("".join(digits))
    before = receipt.get("root")  # Byzantium, EIP-658, put the status in its place
    body = b"".join(
        (
            unhexlify(_number(receipt["status"]) if before is None else _bytes(before, 32)),
            unhexlify(_number(receipt["cumulativeGasUsed"])),
            unhexlify(_bytes(receipt["logsBloom"], 256)),
            rlp_prefix(len(of_logs), 0xC0),
            of_logs,
        )
    )
    kind = int(receipt.get("type", "0x0"), 16)
    return rlp_list(body) if kind == 0 else bytes((kind,)) + rlp_list(body), of_logs


def _number(value: str) -> str:
    """RLP of a quantity, in hexadecimal digits. What is no quantity gives another hash, or ValueError."""
    number = int(value, 16)
    if number < 0x80:
        return f"{number:02x}" if number else "80"
    digits = f"{number:x}"
    if len(digits) % 2:
        digits = "0" + digits
    return f"{0x80 + len(digits) // 2:02x}{digits}"


def _bytes(value: str, size: int) -> str:
    """RLP of data of `size` bytes, of any number with 0, in hexadecimal digits. Raises ValueError."""
    if size and len(value) != 2 + 2 * size:
        raise ValueError(f"expected {size} bytes, got {value!r:.80}")
    if not size and len(value) == 4 and value < "0x80":
        return value[2:]
    return _prefix((len(value) - 2) // 2) + value[2:]


@cache  # as many as headers have lengths of fields
def _prefix(size: int) -> str:
    return rlp_prefix(size, 0x80).hex()


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return value
