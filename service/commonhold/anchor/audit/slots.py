"""The same questions answered by proofs of the contracts' storage, down from the state root of one block's header.

So no node's word is taken but that the block exists: who trusts the block's hash, trusts the answers. Where a view has
its answer from is written here in the contracts' own names; the slots follow from their build (chain/layout.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from commonhold.anchor.audit.questions import Question
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.layout import Place, place
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.units import Address, keccak256

Path = tuple[str, ...]
WHOLE: Final[tuple[Path, ...]] = ((),)


def _members(*names: str) -> tuple[Path, ...]:
    """Members of a struct; those of a struct in it with a dot."""
    return tuple(tuple(name.split(".")) for name in names)


@dataclass(frozen=True, slots=True)
class Kept:
    """A view answers with these members of a variable, keyed by the view's arguments in their order.

    by_class: the first argument is a class, which the variable has by its number. holder: whose storage, if another's.
    """

    variable: str
    members: tuple[Path, ...] = WHOLE
    by_class: bool = False
    holder: ContractName | None = None


KEPT_IN: Final[dict[tuple[ContractName, str], Kept]] = {
    ("Members", "memberOf"): Kept("_members", _members("controller", "since", "until", "refusesGifts")),
    ("Members", "successorOf"): Kept("successorOf"),
    ("Members", "detachmentOf"): Kept("_detachings", _members("readyAt")),
    ("Members", "recoveryOf"): Kept("_recoveries", _members("successor", "readyAt")),
    ("Members", "nullifierUsed"): Kept("nullifierUsed"),
    ("Ledger", "classOf"): Kept(
        "_classes",
        _members("kind", "count.holdBps", "useBps", "minLevel", "count.floorUnits", "count.total"),
        by_class=True,
    ),
    ("Ledger", "assetOf"): Kept(
        "_assets",
        _members(
            *("head.class", "operator", "head.expiresAt", "head.level", "head.retired", "head.units"),
            *("contentHash", "resultHash", "meterKeyX", "meterKeyY", "commonsPrice"),
        ),
    ),
    ("Ledger", "totalSupply"): Kept("_assets", _members("head.units")),
    ("Ledger", "assetOfDevice"): Kept("_assetOfDevice"),
    ("Ledger", "balanceOf"): Kept("_balances"),
    ("Ledger", "heldBy"): Kept("_held", by_class=True),
    ("Access", "priceOf"): Kept("_tranches", _members("isOpen", "price")),
    ("Access", "balanceOf"): Kept("_balances"),
    ("Access", "issued"): Kept("_issued"),
    ("Access", "acquiredBy"): Kept("_use", _members("acquired")),
    ("Access", "redeemedBy"): Kept("_use", _members("redeemed")),
    ("Access", "leaseOf"): Kept(
        "_leases",
        _members(
            *("holder", "startsAt", "level", "changes", "keyNumber", "refunded"),
            *("id", "amount", "gpuMs", "price", "keyX", "keyY"),
        ),
    ),
    ("Access", "keyOf"): Kept("_formerKeys", _members("x", "y", "until")),  # but for the present one
    ("Meter", "settledMs"): Kept("_leases", _members("gpuMs"), holder="Access"),
    ("Meter", "deliveredMs"): Kept("deliveredMs"),
    ("Meter", "nextEpoch"): Kept("nextEpoch"),
    ("Meter", "lastAnchor"): Kept("lastAnchor"),
}
TEXTS: Final[dict[tuple[ContractName, str], tuple[str, Path]]] = {("Ledger", "tokenURI"): ("_assets", ("uri",))}
LISTS: Final[dict[tuple[ContractName, str], str]] = {("Ledger", "classIds"): "_classIds"}
# What follows from other answers: the root of a member, from everybody's controller.
IMPLIED: Final[frozenset[tuple[ContractName, str]]] = frozenset({("Members", "rootOf")})
# Whose layout has the signers of a quorum: the ledger keeps in its storage what its registry writes.
SIGNERS_IN: Final[dict[ContractName, ContractName]] = {"Members": "Members", "Ledger": "Registry"}

Numbers = Mapping[bytes, int]  # class -> its number in the ledger


class Proofs:
    """Reads the contracts' storage, proven."""

    how = "each proven from the block's state root"
    at_once = 200

    def __init__(self, rpc: Rpc, deployment: Deployment, at: BlockStamp) -> None:
        self._rpc, self._deployment, self.at = rpc, deployment, at
        self._numbers: Numbers | None = None  # not read yet

    async def read(self, questions: Sequence[Question]) -> list[Any]:
        """The answers, in order; what is implied by others is answered as expected."""
        numbers = await self._classes()
        places = [places_of(question, numbers) for question in questions]
        wanted: dict[ContractName, list[Place]] = {}
        for question, some in zip(questions, places, strict=True):
            wanted.setdefault(holder(question), []).extend(some)
        found: dict[tuple[ContractName, Place], int] = {}
        for name, some in wanted.items():
            values = await self._storage(name, some)
            found |= {(name, one): value for one, value in zip(some, values, strict=True)}
        return [
            answer(question, [found[holder(question), one] for one in some], numbers)
            for question, some in zip(questions, places, strict=True)
        ]

    async def items(self, name: ContractName, function: str) -> tuple[Any, ...]:
        """A list of hashes whose length is not known."""
        return tuple(item.to_bytes(32) for item in await self._list(name, name, LISTS[name, function]))

    async def signers(self, name: ContractName) -> tuple[frozenset[Address], int]:
        """The signers of the contract's quorum, and how many of them it takes."""
        layout = SIGNERS_IN[name]
        found = await self._list(name, layout, "_signers", "_inner", "_values")
        (threshold,) = await self._storage(name, [place(layout, "threshold")])
        return frozenset(Address(signer.to_bytes(20)) for signer in found), threshold

    async def _classes(self) -> Numbers:
        if self._numbers is None:
            classes = await self.items("Ledger", "classIds")
            numbers = await self._storage("Ledger", [place("Ledger", "_numberOf", each) for each in classes])
            self._numbers = dict(zip(classes, numbers, strict=True))
        return self._numbers

    async def _list(self, name: ContractName, layout: ContractName, *path: str) -> list[int]:
        (count,) = await self._storage(name, [place(layout, *path)])
        return await self._storage(name, [place(layout, *path, number) for number in range(count)])

    async def _storage(self, name: ContractName, places: Sequence[Place]) -> list[int]:
        return await self._rpc.storage(self._deployment.address_of(name), places, at=self.at)


def holder(question: Question) -> ContractName:
    """The contract whose storage has the answer."""
    kept = KEPT_IN.get((question.contract, question.function))
    return (kept.holder if kept else None) or question.contract


def places_of(question: Question, numbers: Numbers) -> list[Place]:
    """Where the answer lies. Raises NoSuchPlace when the contract has no such variable."""
    key, name = (question.contract, question.function), question.contract
    if _is_implied(question):
        return []
    if key in LISTS:
        variable = LISTS[key]
        return [place(name, variable), *(place(name, variable, at) for at in range(len(question.expected)))]
    if key in TEXTS:
        variable, path = TEXTS[key]
        head = place(name, variable, *question.args, *path)
        return [head, *(Place(slot, 0, 32) for slot in _text_slots(head, question.expected))]
    kept = KEPT_IN[key]
    args = (numbers.get(question.args[0], 0), *question.args[1:]) if kept.by_class else question.args
    return [place(holder(question), kept.variable, *args, *path) for path in kept.members]


def answer(question: Question, values: Sequence[int], numbers: Numbers) -> Any:
    """The values as the view would give them, in the form of what is expected."""
    key, expected = (question.contract, question.function), question.expected
    if _is_implied(question):
        return expected
    if key in LISTS:
        count, *items = values
        return tuple(map(_as, expected, items)) if count == len(expected) else f"{count} items"
    if key in TEXTS:
        return expected if list(values) == _text_words(expected) else "another text"
    if key == ("Ledger", "assetOf"):  # its class by number
        of_class = next((each for each, number in numbers.items() if number == values[0]), bytes(32))
        values = (int.from_bytes(of_class), *values[1:])
    if isinstance(expected, tuple):
        return tuple(map(_as, expected, values))
    return _as(expected, values[0])


def _is_implied(question: Question) -> bool:
    """Text that is not UTF-8 comes out of its event changed: that event is proven, its bytes are not compared."""
    key = (question.contract, question.function)
    return key in IMPLIED or (key in TEXTS and "\ufffd" in question.expected)


def _as(expected: Any, value: int) -> Any:
    if isinstance(expected, bytes):
        return value.to_bytes(max(len(expected), -(-value.bit_length() // 8)))
    return bool(value) if isinstance(expected, bool) else value


def _text_slots(head: Place, text: str) -> range:
    """Solidity, layout of bytes and string: 32 bytes or more lie from the hash of the slot on."""
    size = len(text.encode())
    first = int.from_bytes(keccak256(head.slot.to_bytes(32)))
    return range(first, first + (-(-size // 32) if size >= 32 else 0))


def _text_words(text: str) -> list[int]:
    data = text.encode()
    if len(data) < 32:
        return [int.from_bytes(data.ljust(32, b"\0")) | 2 * len(data)]
    return [2 * len(data) + 1] + [int.from_bytes(data[at : at + 32].ljust(32, b"\0")) for at in range(0, len(data), 32)]
