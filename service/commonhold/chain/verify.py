"""Headers and receipts recomputed: what a node says about a block must hash to what the block's own hash commits to.

Pure, no node. In: the JSON of a block or of its receipts; out: a header whose hash is right, or the logs of our
contracts. A header's hash covers its bloom and its receipts' root; the bloom tells which blocks can hold our logs, and
the root covers every byte of every receipt, so that no log can be dropped, added, changed or moved. Not covered, and so
the node's word: which transaction a receipt belongs to (its hash is checked to be the block's at that place).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from commonhold.chain.answers import RpcInconsistent, to_bytes, to_hash, to_number, to_object, to_stamp
from commonhold.chain.stamp import BlockStamp, RawLog
from commonhold.chain.trie import list_root, rlp_bytes, rlp_list, rlp_number, rlp_prefix
from commonhold.errors import CommonholdError
from commonhold.units import Address, Hash32, hex_text, keccak256

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

# RLP of "a list of n topics begins here": each is 33 bytes of RLP.
_TOPICS: Final = tuple(rlp_prefix(33 * count, 0xC0).hex() for count in range(5))


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


def header(found: object, host: str) -> Header:
    """The header in the JSON of a block. Raises RpcLied when its hash is another than its fields'."""
    block = to_object(found)
    stamp = to_stamp(block)
    appended = [(name, size) for name, size in _APPENDED if block.get(name) is not None]
    fields = b"".join(_field(block.get(name), size) for name, size in (*_HEADER, *appended))
    computed = keccak256(rlp_list(fields))
    if computed != stamp.hash:
        new = ", ".join(sorted(block.keys() - _KNOWN))
        why = f"; it has fields that this version does not know: {new}" if new else ""
        raise RpcLied(
            f"node {host}: block {stamp.number} says its hash is {hex_text(stamp.hash)}, "
            f"expected {hex_text(computed)} from its fields{why}"
        )
    transactions = block.get("transactions") or ()
    return Header(
        stamp=stamp,
        bloom=int.from_bytes(to_bytes(block["logsBloom"], 256)),
        receipts_root=to_hash(block["receiptsRoot"]),
        transactions=tuple(each["hash"] if isinstance(each, dict) else each for each in transactions),
    )


def logs(header: Header, found: object, addresses: Collection[Address], host: str) -> list[RawLog]:
    """The logs of these contracts in the block, in order, from all its receipts.

    Raises RpcLied when the receipts are not those that the header commits to.
    """
    stamp = header.stamp
    where = f"node {host}: receipts of block {stamp.number} {hex_text(stamp.hash)}"
    try:
        receipts = [to_object(receipt) for receipt in _list(found)]
        root = list_root([_receipt(receipt) for receipt in receipts])
    except (KeyError, TypeError, ValueError, RpcInconsistent) as error:
        raise RpcLied(f"{where}: expected receipts, got something else: {error}") from error
    if root != header.receipts_root:
        raise RpcLied(
            f"{where}: the {len(receipts)} it gave hash to {hex_text(root)}, "
            f"expected {hex_text(header.receipts_root)}, which the block's header commits to"
        )
    transactions = tuple(receipt.get("transactionHash") for receipt in receipts)
    if transactions != header.transactions:
        raise RpcLied(f"{where}: they are of other transactions than the block lists")

    wanted = {hex_text(address): address for address in addresses}
    ours: list[RawLog] = []
    index = 0  # its place in the block; the node's own word for it is not needed
    for receipt in receipts:
        for log in receipt["logs"]:
            address = wanted.get(log["address"]) or wanted.get(log["address"].lower())
            if address is not None:
                ours.append(
                    RawLog(
                        address=address,
                        topics=tuple(Hash32(bytes.fromhex(topic[2:])) for topic in log["topics"]),
                        data=bytes.fromhex(log["data"][2:]),
                        block_number=stamp.number,
                        block_hash=stamp.hash,
                        transaction_hash=to_hash(receipt["transactionHash"]),
                        log_index=index,
                    )
                )
            index += 1
    return ours


@cache  # as many as a deployment has contracts
def bloom_bits(address: Address) -> int:
    """The three bits that a log of this contract sets in a block's bloom. Source: Yellow Paper, 4.3.1."""
    hashed = keccak256(address)
    bits = 0
    for pair in (0, 2, 4):
        bits |= 1 << (int.from_bytes(hashed[pair : pair + 2]) & 2047)
    return bits


def _field(value: object, size: int | None) -> bytes:
    """RLP of one field of a header."""
    if size is None:
        return rlp_number(to_number(value))
    return rlp_bytes(to_bytes(value, size or None))


def _receipt(receipt: Mapping[str, Any]) -> bytes:
    """A receipt as the trie holds it: EIP-2718, the type's byte before the RLP of a typed one.

    The hexadecimal digits are joined first and decoded once: this is where a mirror spends its time.
    """
    logs = "".join([_log(log) for log in _list(receipt["logs"])])
    before = receipt.get("root")  # Byzantium, EIP-658, put the status in its place
    outcome = rlp_number(to_number(receipt["status"])) if before is None else b"\xa0" + to_hash(before)
    bloom = to_bytes(receipt["logsBloom"], 256)
    encoded = bytes.fromhex(logs)
    if 2 * len(encoded) != len(logs):  # fromhex passes over spaces
        raise ValueError("a log has other characters than hexadecimal digits")
    body = b"".join(
        (
            outcome,
            rlp_number(to_number(receipt["cumulativeGasUsed"])),
            b"\xb9\x01\x00",
            bloom,
            rlp_prefix(len(encoded), 0xC0),
            encoded,
        )
    )
    kind = to_number(receipt.get("type", "0x0"))
    return rlp_list(body) if kind == 0 else bytes((kind,)) + rlp_list(body)


def _log(log: Mapping[str, Any]) -> str:
    """RLP of a log, in hexadecimal digits."""
    address, topics, data = log["address"], log["topics"], log["data"]
    if len(address) != 42 or len(data) % 2 or not data.startswith("0x"):
        raise ValueError("a log's address or data has an odd length")
    parts = ["94", address[2:], _TOPICS[len(topics)]]
    for topic in topics:
        if len(topic) != 66:
            raise ValueError("a topic has other than 32 bytes")
        parts += ("a0", topic[2:])
    size = len(data) // 2 - 1
    parts += (_data_prefix(size) if size != 1 or data[2:] >= "80" else "", data[2:])
    body = "".join(parts)
    return rlp_prefix(len(body) // 2, 0xC0).hex() + body


@cache  # as many as events have sizes, and others' events few more
def _data_prefix(size: int) -> str:
    return rlp_prefix(size, 0x80).hex()


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return value
