"""Transfers into the two tables of balances, `holding` and `credit`: nearly all that a mirror reads.

A balance follows from what came and what went and from nothing that happens in between, so moves are counted together,
as columns: each balance is read once, written once in a transaction, and leaves one version for each block that changed
it. Ids and keys are bytes, as the drivers take them. Commits nothing.

Units of a retired asset are not moved here: with them it matters what came first (owned.py).
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import sqlalchemy as sa

from commonhold.chain.events import Erc6909, Transfer
from commonhold.db import Db
from commonhold.driver import Write
from commonhold.many import Column, deleting_rows, inserting, select_many, updating
from commonhold.mirror.behind import Behind, made
from commonhold.mirror.moves import Moves
from commonhold.mirror.step import ZERO_ADDRESS, MirrorBroken
from commonhold.mirror.tables import HISTORY, Flags, Ints, balance_key, credit, holding, marks

_ID: Final = 32  # bytes of a key; whose it is follows
_KEY: Final = _ID + 20
_AT_ONCE: Final = 10_000  # balances that are written: 1 MB
_READY: Final = 1_000  # rows that are made ready for the database before it is their turn: a block has some hundreds
KNOWN: Final = 1 << 17  # balances kept in memory: 33 MB


class Unpaid(MirrorBroken):
    """A move takes more than there is."""

    def __init__(self, message: str, block_number: int, event: Transfer) -> None:
        super().__init__(message)
        self.block_number = block_number
        self.event = event


@dataclass(frozen=True, eq=False, slots=True)
class Kind:
    """One table of balances: id, whose, balance, and what is the same in all its rows. `of`: what digest.py hashes of a
    row up to whose it is, `then`: between that and the balance."""

    table: sa.Table
    rest: tuple[bool, ...]
    of: Callable[..., str]
    then: str

    def element(self, id_: int, whose: bytes, balance: int, *rest: bool) -> bytes:
        """What digest.py hashes of a row: a tenth of the time that JSON of any row takes."""
        return f"{self.of(id_, *rest)}{whose.hex()}{self.then}{balance}}}".encode()


def _of_holding(asset: int, counted: bool) -> str:
    is_counted = "true" if counted else "false"
    return f'holding {{"asset":{asset},"counted":{is_counted},"owner":"'


def _of_credit(credit_id: int) -> str:
    return f'credit {{"credit_id":{credit_id},"holder":"'


KINDS: Final[dict[Erc6909, Kind]] = {
    "Ledger": Kind(holding, (True,), _of_holding, '","units":'),
    "Access": Kind(credit, (), _of_credit, '","seconds":'),
}


def of_row(table: sa.Table) -> Callable[..., bytes] | None:
    """What digest.py hashes of a row of the table, of its values in the order of its columns; None: not one of ours."""
    return next((kind.element for kind in KINDS.values() if kind.table is table), None)


class Book:
    """Balances in memory. Each key, id || whose, has a number, and by that the key is found, what stands for it in an
    index, how much it is (0: no row), since which block, how much the table says, and whether it need say other."""

    def __init__(self) -> None:
        self.whole: bool | None = None  # what has no number has no balance; None: not looked at yet
        self.numbers: dict[bytes, int] = {}
        self.keys: list[bytes] = []
        self.hashes: Ints = np.empty(256, np.int64)
        self.held: Ints = np.zeros(256, np.int64)
        self.from_block: Ints = np.zeros(256, np.int64)
        self.stored: Ints = np.zeros(256, np.int64)
        self.changed: Flags = np.zeros(256, np.bool_)

    def add(self, keys: Sequence[bytes]) -> None:
        """These, which were not, are known, with no balance."""
        count = len(self.keys) + len(keys)
        while count > len(self.held):
            for name in ("hashes", "held", "from_block", "stored", "changed"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate((column, np.zeros_like(column))))
        self.hashes[len(self.keys) : count] = [balance_key(key[:_ID], key[_ID:]) for key in keys]
        self.numbers.update(zip(keys, range(len(self.keys), count), strict=True))
        self.keys.extend(keys)

    def columns(self, numbers: Ints) -> tuple[Column, Column]:
        """Ids and whose, of these numbers."""
        joined = b"".join(map(self.keys.__getitem__, numbers.tolist()))
        both = np.frombuffer(joined, [("id", f"V{_ID}"), ("whose", f"V{_KEY - _ID}")])
        return both["id"], both["whose"]

    def unwritten(self) -> Ints:
        """The numbers of those that are not what the table says; they count as written from now on."""
        numbers = np.flatnonzero(self.changed)
        self.changed[numbers] = False
        # What came and went in between was never there.
        there: Ints = numbers[(self.held[numbers] != 0) | (self.stored[numbers] != 0)]
        return there


class Known:
    """What balances are after the last transaction, and the sum over all rows, so that the next need not ask for them
    again; of no use to any but the one that follows it."""

    def __init__(self) -> None:
        self._at = b""  # hash of the block that they were after; empty: nobody knows
        self._books: dict[Erc6909, Book] = {}
        self.active: set[bytes] = set()  # assets that are not retired
        self.sum: bytes | None = None  # what digest.py keeps after it

    def begin(self, at: bytes) -> None:
        """A transaction begins after this block; empty: after one that is nobody's, as when blocks are undone. Until
        `keep` nobody knows what they are."""
        if not at or at != self._at:
            self._books.clear()
            self.active.clear()
            self.sum = None
        elif self.full:  # what does not fit is asked for again
            self._books.clear()
        self._at = b""

    def of(self, contract: Erc6909) -> Book:
        """To be used, and brought up to date."""
        if contract not in self._books:
            self._books[contract] = Book()
        return self._books[contract]

    @property
    def full(self) -> bool:
        """They are more than are kept."""
        return sum(len(book.keys) for book in self._books.values()) > KNOWN

    def keep(self, at: bytes) -> None:
        """They are those after this block, as the database says once it has what is written of it."""
        self._at = at


class Balances:
    """The balances of one contract as one transaction changes them: counted by `apply`, written by `write`."""

    def __init__(self, contract: Erc6909, known: Known, dialect: sa.Dialect) -> None:
        """known: it is brought up to date. dialect: of the database."""
        self._dialect = dialect
        self._kind = KINDS[contract]
        self._book = known.of(contract)
        self._written: list[tuple[Ints, Ints, Ints]] = []  # numbers, what they were, and are

    async def apply(self, moves: Moves, behind: Behind[Db]) -> None:
        """The balances are those after these moves of the contract, in the order of the chain; their history is written
        behind. Raises Unpaid."""
        words = moves.data.view(">u8").reshape(-1, 8)
        amounts = words[:, 7].astype(np.int64)
        if (odd := words[:, 4:7].any(axis=1) | (amounts < 0)).any():
            raise self._unpaid(moves, int(np.argmax(odd)), "a balance below 2^63")
        # From whom and to whom, one after the other.
        keys = np.empty((len(moves), 2), [("id", f"V{_ID}"), ("whose", f"V{_KEY - _ID}")])
        named = moves.topics.view([("", "V44"), ("from", "V20"), ("", "V12"), ("to", "V20"), ("id", "V32")])
        keys["id"][:, 0] = keys["id"][:, 1] = named["id"]
        keys["whose"][:, 0], keys["whose"][:, 1] = named["from"], named["to"]
        await asyncio.sleep(0)  # what is written behind goes on
        numbers = await self._numbers(keys.reshape(-1).view(f"V{_KEY}").tolist(), behind)
        await asyncio.sleep(0)
        owned = (keys["whose"] != np.void(ZERO_ADDRESS)).reshape(-1)
        deltas = np.stack((-amounts, amounts), axis=1).reshape(-1)
        # ERC-6909 lets anyone move zero, also of an id that does not exist.
        places = np.flatnonzero(owned & (deltas != 0))
        places = places[np.argsort(numbers[places], kind="stable")]
        blocks = moves.block_number[places // 2]
        await asyncio.sleep(0)
        running, versions = _count(numbers[places], deltas[places], blocks, self._book)
        if (running < 0).any():
            at = np.flatnonzero(running < 0)[np.argmin(places[running < 0])]
            raise self._unpaid(moves, int(places[at] // 2), f"{running[at] - deltas[places[at]]}")
        # Of each number its last stays.
        self._book.held[numbers[places]] = running
        self._book.from_block[versions.of] = versions.block
        self._book.changed[versions.of] = True
        await asyncio.sleep(0)
        await behind.add(*made(self._history(versions), at_once=len(versions.of) <= _READY))

    def write(self) -> Sequence[Write]:
        """What makes the table have them. Raises, when it is done, what the database does about a row that breaks its
        rules."""
        book = self._book
        numbers = book.unwritten()
        before, held = book.stored[numbers], book.held[numbers]
        if len(numbers):
            book.stored[numbers] = held
            self._written.append((numbers, before, held))
        return made(self._writes(numbers, before, held), at_once=len(numbers) <= _READY)

    def __len__(self) -> int:
        """How many rows of the table are others; one that was written twice counts twice."""
        return sum(len(numbers) for numbers, _, _ in self._written)

    def changes(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Of each row that is another: what digest.py hashes, before and after. None: there was none, or is none."""
        for numbers, before, held in self._written:
            openings = map(self._opening, map(self._book.keys.__getitem__, numbers.tolist()))
            for opening, was, now in zip(openings, before.tolist(), held.tolist(), strict=True):
                then = f"{opening}{was}}}".encode() if was else None
                yield then, f"{opening}{now}}}".encode() if now else None

    def _writes(self, numbers: Ints, before: Ints, held: Ints) -> Iterator[Write]:
        """What makes the table have them."""
        table, book = self._kind.table, self._book
        gone, new, other = held == 0, before == 0, (held != 0) & (before != 0)
        keys = map(book.keys.__getitem__, numbers[gone].tolist())
        yield from deleting_rows(self._dialect, table, [(key[:_ID], key[_ID:]) for key in keys])
        # Some at a time, since all of them are copied. New ones as the index has them: each page of it is touched once.
        for some in _parts(np.flatnonzero(other)):
            yield from updating(self._dialect, table, self._columns(numbers[some], held[some]))
        order = np.array(sorted(np.flatnonzero(new).tolist(), key=lambda place: book.keys[numbers[place]]), np.int64)
        for some in _parts(order):
            yield from inserting(self._dialect, table, self._columns(numbers[some], held[some]))

    def _columns(self, numbers: Ints, held: Ints) -> list[Column]:
        """Rows of the table, of these numbers."""
        return [*self._book.columns(numbers), held, *self._kind.rest, self._book.from_block[numbers]]

    def _history(self, versions: "_Versions") -> Iterator[Write]:
        """What adds these to the history."""
        table, rest, book = HISTORY[self._kind.table.name], self._kind.rest, self._book
        for some in (np.flatnonzero(versions.now), np.flatnonzero(versions.now == 0)):
            if not len(some):
                continue
            # As the index has them: by block, and then by what stands for the key.
            some = some[np.lexsort((book.hashes[versions.of[some]], versions.block[some]))]
            blocks, previous, hashes = versions.block[some], versions.previous[some], book.hashes[versions.of[some]]
            is_gone = not versions.now[some[0]]
            values: list[Column] = [None] * (1 + len(rest)) if is_gone else [versions.now[some], *rest]
            marked = is_gone or (previous < 0) | marks(hashes, blocks)
            ends: list[Column] = [blocks, is_gone, previous, marked, hashes]
            yield from inserting(self._dialect, table, [*book.columns(versions.of[some]), *values, *ends])

    def elements(self) -> Iterator[bytes] | None:
        """What digest.py hashes of every row of the table; None: not all are known."""
        held = self._book.held[: len(self._book.keys)].tolist()
        known = zip(self._book.keys, held, strict=True)
        every = (f"{self._opening(key)}{units}}}".encode() for key, units in known if units)
        return every if self._book.whole else None

    def _opening(self, key: bytes) -> str:
        """What is hashed of a row before the balance and a bracket."""
        return f"{_before_whose(self._kind, key[:_ID])}{key[_ID:].hex()}{self._kind.then}"

    async def _numbers(self, keys: Sequence[bytes], behind: Behind[Db]) -> Ints:
        """The keys' numbers; what is not known yet is read."""
        book, numbers = self._book, self._book.numbers
        found = list(map(numbers.get, keys))
        if None not in found:
            return np.array(found, np.int64)
        wanted = sorted(set(keys).difference(numbers))
        db = await behind.settle() if wanted and not book.whole else None
        if db is not None and book.whole is None:
            book.whole = not (await db.execute(sa.select(sa.exists().select_from(self._kind.table)))).scalar_one()
        book.add(wanted)
        if db is not None and not book.whole:
            asked = [(key[:_ID], key[_ID:]) for key in wanted]
            for id_, whose, balance, *_, from_block in await select_many(db, self._kind.table, asked):
                number = numbers[id_ + whose]
                book.held[number] = book.stored[number] = balance
                book.from_block[number] = from_block
        return np.fromiter(map(numbers.__getitem__, keys), np.int64, len(keys))

    def _unpaid(self, moves: Moves, place: int, got: str) -> Unpaid:
        event = moves.event(place)
        column = self._kind.table.columns[2]
        return Unpaid(f"{column}: expected at least {event.amount}, got {got}", int(moves.block_number[place]), event)


@dataclass(frozen=True, slots=True)
class _Versions:
    """What balances were after each block that changed them: number, block, the block of the version before (-1: there
    was no row), and how much it is."""

    of: Ints
    block: Ints
    previous: Ints
    now: Ints


def _count(numbers: Ints, deltas: Ints, blocks: Ints, book: Book) -> tuple[Ints, _Versions]:
    """What each balance is after each of its changes, and the versions that they leave.

    numbers: sorted; of one number in the order of the chain. book: the balances before.
    """
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    held = book.held[numbers[first]]
    sums = np.cumsum(deltas)
    lengths = np.diff(first, append=len(numbers))
    running = sums + np.repeat(held - (sums[first] - deltas[first]), lengths)
    # The last change of a number in a block is the version after it.
    more = (np.diff(numbers, append=-1) != 0) | (np.diff(blocks, append=-1) != 0)
    last = np.flatnonzero(more)
    of, block, now = numbers[last], blocks[last], running[last]
    was = np.roll(now, 1)
    begins = np.flatnonzero(np.diff(of, prepend=-1))
    was[begins] = held
    # What is as it was before the block has no version.
    other = np.flatnonzero(now != was)
    of, block, was, now = of[other], block[other], was[other], now[other]
    previous = np.roll(block, 1)
    begins = np.flatnonzero(np.diff(of, prepend=-1))
    previous[begins] = book.from_block[of[begins]]
    previous[was == 0] = -1
    return running, _Versions(of, block, previous, now)


def _parts(places: Ints) -> Iterator[Ints]:
    for start in range(0, len(places), _AT_ONCE):
        yield places[start : start + _AT_ONCE]


@lru_cache(maxsize=10_000)  # as many as there may be ids that move; others come in more
def _before_whose(kind: Kind, id_: bytes) -> str:
    return kind.of(int.from_bytes(id_), *kind.rest)
