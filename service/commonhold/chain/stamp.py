"""Where and when on the chain: the block that a read is true at, and a log as a node returned it. Pure values."""

from dataclasses import dataclass
from typing import Literal

from commonhold.units import Address, BlockNumber, Hash32

# How settled a head is: the newest block, one that takes a failure of many validators to undo, one that stays.
Tier = Literal["latest", "safe", "finalized"]


@dataclass(frozen=True, slots=True)
class BlockStamp:
    """One block. Every read of the chain names one."""

    number: BlockNumber
    hash: Hash32
    parent: Hash32
    timestamp: int  # Unix seconds


@dataclass(frozen=True, slots=True)
class RawLog:
    """One log, not yet decoded. (block_number, log_index) orders all logs of one branch."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes
    block_number: BlockNumber
    block_hash: Hash32
    transaction_hash: Hash32
    log_index: int
