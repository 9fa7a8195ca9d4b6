"""The same questions answered by proofs of the contracts' storage, down from the state root of one block's header.

So no node's word is taken but that the block exists: who trusts the block's hash, trusts the answers. Where a view has
its answer from is written here in the contracts' own names; the slots follow from their build (chain/layout.py).
"""

from collections.abc import Sequence
from typing import Any, Final

from commonhold.anchor.audit.questions import QUORUMS, Question
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.layout import Place, place
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.units import Address, keccak256

Path = tuple[str, ...]
WHOLE: Final[tuple[Path, ...]] = ((),)

# View -> the variable, keyed by the view's arguments in their order, and which of its members the answer has.
KEPT_IN: Final[dict[tuple[ContractName, str], tuple[str, tuple[Path, ...]]]] = {
    ("Members", "memberOf"): ("_members", (("controller",), ("since",), ("until",))),
    ("Members", "nullifierUsed"): ("nullifierUsed", WHOLE),
    ("Ledger", "classOf"): (
        "_classes",
        (("kind",), ("count", "holdBps"), ("useBps",), ("minLevel",), ("count", "floorUnits"), ("count", "total")),
    ),
    ("Ledger", "assetOf"): (
        "_assets",
        tuple(
            (name,)
            for name in (
                *("classId", "operator", "expiresAt", "level", "units"),
                *("contentHash", "resultHash", "meterKeyX", "meterKeyY"),
            )
        ),
    ),
    ("Ledger", "totalSupply"): ("_assets", (("units",),)),
    ("Ledger", "assetOfDevice"): ("assetOfDevice", WHOLE),
    ("Ledger", "balanceOf"): ("_balances", WHOLE),
    ("Ledger", "heldBy"): ("_held", WHOLE),
    ("Access", "priceOf"): ("_tranches", (("isOpen",), ("price",))),
    ("Access", "balanceOf"): ("_balances", WHOLE),
    ("Access", "issued"): ("_issued", WHOLE),
    ("Access", "acquiredBy"): ("_use", (("acquired",),)),
    ("Access", "redeemedBy"): ("_use", (("redeemed",),)),
    ("Access", "leaseOf"): (
        "_leases",
        (("holder",), ("id",), ("amount",), ("startsAt",), ("paid",), ("keyX",), ("keyY",)),
    ),
    ("Meter", "settledMs"): ("settledMs", WHOLE),
    ("Meter", "deliveredMs"): ("deliveredMs", WHOLE),
    ("Meter", "nextEpoch"): ("nextEpoch", WHOLE),
    ("Meter", "lastAnchor"): ("lastAnchor", WHOLE),
}
TEXTS: Final[dict[tuple[ContractName, str], str]] = {("Ledger", "tokenURI"): "_uris"}
LISTS: Final[dict[tuple[ContractName, str], str]] = {("Ledger", "classIds"): "_classIds"}
# What follows from other answers: the root of a member, from everybody's controller.
IMPLIED: Final[frozenset[tuple[ContractName, str]]] = frozenset({("Members", "rootOf")})


class Proofs:
    """Reads the contracts' storage, proven."""

    how = "each proven from the block's state root"
    at_once = 200

    def __init__(self, rpc: Rpc, deployment: Deployment, at: BlockStamp) -> None:
        self._rpc, self._deployment, self.at = rpc, deployment, at

    async def read(self, questions: Sequence[Question]) -> list[Any]:
        """The answers, in order; what is implied by others is answered as expected."""
        places = [places_of(question) for question in questions]
        wanted: dict[ContractName, list[Place]] = {}
        for question, some in zip(questions, places, strict=True):
            wanted.setdefault(question.contract, []).extend(some)
        found: dict[tuple[ContractName, Place], int] = {}
        for name, some in wanted.items():
            values = await self._rpc.storage(self._deployment.address_of(name), some, at=self.at)
            found |= {(name, one): value for one, value in zip(some, values, strict=True)}
        return [
            answer(question, [found[question.contract, one] for one in some])
            for question, some in zip(questions, places, strict=True)
        ]

    async def items(self, name: ContractName, function: str) -> tuple[Any, ...]:
        """A list of hashes whose length is not known."""
        address, variable = self._deployment.address_of(name), LISTS[name, function]
        (count,) = await self._rpc.storage(address, [place(name, variable)], at=self.at)
        places = [place(name, variable, number) for number in range(count)]
        return tuple(item.to_bytes(32) for item in await self._rpc.storage(address, places, at=self.at))

    async def signers(self, name: ContractName) -> tuple[frozenset[Address], int]:
        """The signers of a quorum, and how many of them it takes."""
        address, variable = self._deployment.address_of(name), f"_{QUORUMS[name]}"
        count, threshold = await self._rpc.storage(
            address, [place(name, variable, "list"), place(name, variable, "threshold")], at=self.at
        )
        places = [place(name, variable, "list", number) for number in range(count)]
        found = await self._rpc.storage(address, places, at=self.at)
        return frozenset(Address(signer.to_bytes(20)) for signer in found), threshold


def places_of(question: Question) -> list[Place]:
    """Where the answer lies. Raises NoSuchPlace when the contract has no such variable."""
    key, name = (question.contract, question.function), question.contract
    if _is_implied(question):
        return []
    if key in LISTS:
        variable = LISTS[key]
        return [place(name, variable), *(place(name, variable, at) for at in range(len(question.expected)))]
    if key in TEXTS:
        head = place(name, TEXTS[key], *question.args)
        return [head, *(Place(slot, 0, 32) for slot in _text_slots(head, question.expected))]
    variable, members = KEPT_IN[key]
    return [place(name, variable, *question.args, *path) for path in members]


def answer(question: Question, values: Sequence[int]) -> Any:
    """The values as the view would give them, in the form of what is expected."""
    key, expected = (question.contract, question.function), question.expected
    if _is_implied(question):
        return expected
    if key in LISTS:
        count, *items = values
        return tuple(map(_as, expected, items)) if count == len(expected) else f"{count} items"
    if key in TEXTS:
        return expected if list(values) == _text_words(expected) else "another text"
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
