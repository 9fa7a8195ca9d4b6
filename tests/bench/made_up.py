"""A chain of any length for mirror.py, made up: no EVM runs, and yet all that a mirror recomputes is right.

It begins with the real blocks of an anvil: our contracts stand, and one giver has all units of some assets. They are
kept as anvil tells them. The blocks after them have one transaction each, with 50 to 150 Transfers of the ledger. A
third of these give to accounts: all assets to the first, then to the next, again and again. The others pass on at
random what was given, never more than there is. Where such a chain ends, it has a sixtieth as many accounts as events,
MOST_MEMBERS at most, and its events are of the same kinds as at any other length: one chain serves for all sizes, each
with a head of its own (made_up_node.py).

Right are: of each header the hash, parent, number, time, bloom and root of receipts; the receipts; the list of
transactions; every balance. Not right, since only an EVM could tell: the root of the state and that of the
transactions, which are the last real block's, and the gas; of a transaction there is its hash and nothing more. The
contracts would refuse these accounts, too, since nobody admitted them: a mirror does not ask. The same beginning always
gets the same blocks.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import rlp

from commonhold.chain.bulk import TRANSFER
from commonhold.chain.deployment import MADE, Deployment
from commonhold.chain.node import Anvil
from commonhold.chain.trie import list_root, rlp_bytes, rlp_list, rlp_number
from commonhold.chain.verify import bloom_bits
from commonhold.units import Address, address_text, hex_text, keccak256
from tests.bench.chains import BUILD, Chain
from tests.bench.mirror_chain import FINAL, MOST_MEMBERS, account, seeded

GIVES = 3  # one in so many Transfers gives
GIVEN = 100  # units at once: what the giver has, UNITS of each asset, lasts for 6,000,000 Transfers
GIVER = -1  # its place among the accounts
SLOT_S = 12  # from block to block
GAS = 30_000  # a Transfer

# A header in the order of its RLP, as anvil has it since Prague. Source: Yellow Paper 4.4, EIPs 1559, 4895, 4844, 4788
# and 7685.
HEADER = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
)
NUMBERS = {
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "baseFeePerGas",
    "blobGasUsed",
    "excessBlobGas",
}

Json = dict[str, Any]
Move = tuple[int, int, int, int]  # from whom and to whom, GIVER or the number of an account; number of the asset; units


@dataclass(frozen=True, slots=True)
class Beginning:
    """The real part: all blocks so far, each with its receipts, as anvil tells them; and whose units are given."""

    deployment: Deployment
    giver: Address
    assets: Sequence[int]
    code: Mapping[str, str]  # of our contracts, by their addresses in lower case
    blocks: Sequence[tuple[Json, list[Json]]]


class Block(NamedTuple):
    """A block as a node tells it: JSON of the header, with the transactions' hashes, and of the receipts."""

    hash: str
    header: bytes
    receipts: bytes
    events: int  # Transfers that were made up


async def made_up(events: int) -> Chain:
    """A chain whose final blocks can be as many as have so many Transfers, a few more or less. Made once."""
    chain = Chain.named(f"made-up-{events}")
    if not chain.state.exists():
        print(f"making up the chain {chain.name}, once", flush=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        async with seeded() as (anvil, deployed, mover):
            begun = await beginning(anvil, deployed.deployment, mover.address, mover.assets)
        begun.deployment.save(chain.deployment)
        write(chain.state, begun, events)
    return chain


async def beginning(anvil: Anvil, deployment: Deployment, giver: Address, assets: Sequence[int]) -> Beginning:
    """What the anvil has now."""
    head = int(await anvil.request("eth_blockNumber"), 16)
    blocks = [
        (
            await anvil.request("eth_getBlockByNumber", hex(number), False),
            await anvil.request("eth_getBlockReceipts", hex(number)),
        )
        for number in range(head + 1)
    ]
    addresses = [address_text(deployment.address_of(name)) for name in (*MADE, "Coin")]
    code = {address.lower(): await anvil.request("eth_getCode", address, hex(head)) for address in addresses}
    return Beginning(deployment, giver, assets, code, blocks)


def write(path: Path, begun: Beginning, events: int) -> None:
    """The files are there: beside `path` one that ends in .data, with header and receipts of each block, one after the
    other; and `path` tells where each begins. It comes last: without it there is no chain."""
    places, hashes, told = [0], [], [0]
    unfinished = path.with_suffix(".new")
    with path.with_suffix(".data").open("wb") as data:
        for block in chain_of(begun, events):
            data.write(block.header)
            data.write(block.receipts)
            middle = places[-1] + len(block.header)
            places += [middle, middle + len(block.receipts)]
            hashes.append(block.hash)
            told.append(told[-1] + block.events)
            if len(hashes) % 1_000 == 0:
                print(f"  {len(hashes)} blocks, {told[-1]:,} of {events:,} events", flush=True)
    index = {
        "chain_id": hex(begun.deployment.chain_id),
        "code": begun.code,
        "places": places,  # bytes; of header, receipts, header, ..., and the end
        "hashes": hashes,
        "events": told[1:],  # Transfers that were made up, of the blocks so far
    }
    unfinished.write_bytes(orjson.dumps(index))
    unfinished.replace(path)


def chain_of(begun: Beginning, events: int) -> Iterator[Block]:
    """The blocks, from the chain's first: FINAL more than have so many Transfers."""
    for header, receipts in begun.blocks:
        yield Block(header["hash"], orjson.dumps(header), orjson.dumps(receipts), 0)
    maker, told, more = Maker(begun), 0, FINAL
    for some in moves(len(begun.assets)):
        yield maker.block(some)
        if told >= events:
            more -= 1
        if not more:
            return
        told += len(some)


def moves(assets: int) -> Iterator[list[Move]]:
    """The Transfers of each made-up block, without end. Always the same ones."""
    drawn = random.Random(1)
    all_ = _all_moves(assets, drawn)
    while True:
        yield list(islice(all_, drawn.randint(50, 150)))


def _all_moves(assets: int, drawn: random.Random) -> Iterator[Move]:
    held = [0] * (MOST_MEMBERS * assets)  # by account, all assets of one after the other
    given = 0
    for number in count():
        if number % GIVES == 0:
            place = given % len(held)
            held[place] += GIVEN
            given += 1
            yield GIVER, *divmod(place, assets), GIVEN
            continue
        known = min(given, len(held))
        while not held[place := drawn.randrange(known)]:
            pass
        sender, asset = divmod(place, assets)
        receiver = drawn.randrange(1 + (known - 1) // assets)
        units = min(drawn.randint(1, 3), held[place])
        held[place] -= units
        held[receiver * assets + asset] += units
        yield sender, receiver, asset, units


class _Word(NamedTuple):
    """A topic, in all forms that it is needed in."""

    rlp: bytes
    text: str
    bloom: int


_Log = tuple[tuple[_Word, _Word, _Word, _Word], bytes]  # topics, data


class Maker:
    """Makes up the next block, and the next one."""

    def __init__(self, begun: Beginning) -> None:
        self._last = begun.blocks[-1][0]
        self._giver = begun.giver
        self._ledger = begun.deployment.ledger
        self._accounts = [_word(each) for each in (*map(account, range(MOST_MEMBERS)), begun.giver)]
        self._assets = [_word(asset.to_bytes(32)) for asset in begun.assets]

    def block(self, moves: Sequence[Move]) -> Block:
        """The block after the last one, with these Transfers, all by the giver's call."""
        logs: list[_Log] = [
            (
                (_TRANSFER, self._accounts[sender], self._accounts[receiver], self._assets[asset]),
                bytes(12) + self._giver + units.to_bytes(32),
            )
            for sender, receiver, asset, units in moves
        ]
        receipt = self._receipt(logs)
        number = int(self._last["number"], 16) + 1
        transaction = hex_text(keccak256(f"transaction of block {number}".encode()))
        header = self._last | {
            "parentHash": self._last["hash"],
            "receiptsRoot": hex_text(list_root([self._receipt_rlp(receipt, logs)])),
            "logsBloom": receipt["logsBloom"],
            "number": hex(number),
            "gasUsed": receipt["gasUsed"],
            "timestamp": hex(int(self._last["timestamp"], 16) + SLOT_S),
            "transactions": [transaction],
        }
        header["hash"] = header_hash(header)
        self._last = header
        where = {
            "blockHash": header["hash"],
            "blockNumber": header["number"],
            "transactionHash": transaction,
            "transactionIndex": "0x0",
        }
        return Block(header["hash"], orjson.dumps(header), self._told(receipt, where, logs), len(moves))

    def _receipt(self, logs: Sequence[_Log]) -> Json:
        """The block's only one, but for its logs and where it is."""
        bloom = bloom_bits(self._ledger)
        for topics, _ in logs:
            for topic in topics:
                bloom |= topic.bloom
        gas = hex(GAS * len(logs))
        return {
            "type": "0x2",
            "status": "0x1",
            "cumulativeGasUsed": gas,
            "logsBloom": f"0x{bloom:0512x}",
            "gasUsed": gas,
            "effectiveGasPrice": "0x0",
            "from": hex_text(self._giver),
            "to": hex_text(self._giver),
            "contractAddress": None,
        }

    def _receipt_rlp(self, receipt: Json, logs: Sequence[_Log]) -> bytes:
        """As the trie has it. Source: EIP-2718, Yellow Paper 4.3.1."""
        by = rlp_bytes(self._ledger)
        all_ = [
            rlp_list(by + rlp_list(b"".join([topic.rlp for topic in topics])) + rlp_bytes(data))
            for topics, data in logs
        ]
        gas, bloom = int(receipt["cumulativeGasUsed"], 16), bytes.fromhex(receipt["logsBloom"][2:])
        return b"\x02" + rlp_list(rlp_number(1) + rlp_number(gas) + rlp_bytes(bloom) + rlp_list(b"".join(all_)))

    def _told(self, receipt: Json, where: Json, logs: Sequence[_Log]) -> bytes:
        """JSON of the receipts. Joined by hand: it is most of what a chain is."""
        each = {"address": hex_text(self._ledger), **where, "removed": False}
        same = orjson.dumps(each).decode()[:-1]
        texts = [
            f'{same},"topics":["{event.text}","{sender.text}","{receiver.text}","{asset.text}"],'
            f'"data":"0x{data.hex()}","logIndex":"{at:#x}"}}'
            for at, ((event, sender, receiver, asset), data) in enumerate(logs)
        ]
        return f'[{orjson.dumps(receipt | where).decode()[:-1]},"logs":[{",".join(texts)}]}}]'.encode()


def header_hash(header: Json) -> str:
    """Of a header in JSON, from its fields."""
    fields = [int(header[name], 16) if name in NUMBERS else bytes.fromhex(header[name][2:]) for name in HEADER]
    return hex_text(keccak256(rlp.encode(fields)))


def _word(value: bytes) -> _Word:
    padded = value.rjust(32, b"\0")
    return _Word(rlp_bytes(padded), hex_text(padded), bloom_bits(Address(padded)))


_TRANSFER = _word(TRANSFER)
