"""Transfers as columns, between chain/bulk.py's bytes and the table `event`. No database."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from commonhold.chain.bulk import TRANSFER, Transfers
from commonhold.chain.events import Erc6909, Transfer
from commonhold.chain.stamp import BlockStamp
from commonhold.many import Column
from commonhold.mirror.tables import Flags, Ints
from commonhold.units import Address

Bytes = np.ndarray[tuple[int], np.dtype[np.void]]


@dataclass(frozen=True, slots=True)
class Moves:
    """n Transfers in the order of the chain, as columns of the table `event`. From or to ZERO_ADDRESS: new, or gone."""

    block_number: Ints
    log_index: np.ndarray[tuple[int], np.dtype[np.int32]]
    block_hash: Bytes  # 32 each
    transaction_hash: Bytes  # 32 each
    of_ledger: Flags  # else Access
    topics: Bytes  # 128 each
    data: Bytes  # 64 each

    @classmethod
    def of(cls, found: Transfers, ledger: Address) -> Self:
        """The logs as moves. `ledger`: the contract whose units move; in the other it is credits."""
        return cls(
            np.frombuffer(found.block_number, "<i8"),
            np.frombuffer(found.log_index, "<i4"),
            np.frombuffer(found.block_hash, "V32"),
            np.frombuffer(found.transaction_hash, "V32"),
            np.frombuffer(found.address, "V20") == np.void(ledger),
            np.frombuffer(found.topics, "V128"),
            np.frombuffer(found.data, "V64"),
        )

    @classmethod
    def of_events(cls, told: Sequence[tuple[BlockStamp, int, Transfer]]) -> Self:
        """The same, of events, each with its block and its place in it."""
        return cls.of(
            Transfers(
                struct.pack(f"<{len(told)}q", *(stamp.number for stamp, _, _ in told)),
                struct.pack(f"<{len(told)}i", *(place for _, place, _ in told)),
                b"".join(stamp.hash for stamp, _, _ in told),
                bytes(32 * len(told)),
                b"".join(bytes(20) if event.contract == "Ledger" else b"\1" * 20 for _, _, event in told),
                b"".join(
                    TRANSFER + b"".join(map(_word, (e.sender, e.receiver, e.id.to_bytes(32)))) for _, _, e in told
                ),
                b"".join(_word(event.caller) + event.amount.to_bytes(32) for _, _, event in told),
            ),
            Address(bytes(20)),
        )

    def __len__(self) -> int:
        return len(self.block_number)

    def some(self, which: Flags) -> Self:
        """Those where `which` is true."""
        return replace(self, **{each.name: getattr(self, each.name)[which] for each in fields(self)})

    def ids(self) -> Bytes:
        """Of what; 32 each."""
        ids: Bytes = self.topics.view([("", "V96"), ("id", "V32")])["id"]
        return ids

    def event(self, place: int) -> Transfer:
        """One of them as the event that it was."""
        topics, data = self.topics[place].tobytes(), self.data[place].tobytes()
        caller, sender, receiver = (Address(word) for word in (data[12:32], topics[44:64], topics[76:96]))
        contract: Erc6909 = "Ledger" if self.of_ledger[place] else "Access"
        return Transfer(contract, caller, sender, receiver, int.from_bytes(topics[96:]), int.from_bytes(data[32:]))

    def rows(self) -> Iterator[list[Column]]:
        """Columns of the table `event`, for each contract that has some."""
        for contract, some in self.by_contract():
            where: list[Column] = [some.block_number, some.log_index, some.block_hash, some.transaction_hash]
            yield [*where, contract, "Transfer", some.topics, some.data]

    def by_contract(self) -> Iterator[tuple[Erc6909, Self]]:
        """Those of each contract that has some."""
        which: tuple[tuple[Erc6909, Flags], ...] = ("Ledger", self.of_ledger), ("Access", ~self.of_ledger)
        for contract, mask in which:
            if mask.any():
                yield contract, self if mask.all() else self.some(mask)


def _word(value: bytes) -> bytes:
    return value.rjust(32, b"\0")
