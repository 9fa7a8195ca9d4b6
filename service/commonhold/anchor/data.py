"""The published bytes of an epoch: every segment and receipt in it, whole: anyone can rebuild its tree. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import orjson

from commonhold.anchor.merkle import Leaf, LeafKind
from commonhold.errors import BadInput
from commonhold.meter.segment import SignedReceipt, SignedSegment
from commonhold.signing import Domain
from commonhold.units import Address, Hash32, address_text, to_address

FORMAT = "commonhold-epoch-v1"


@dataclass(frozen=True, slots=True)
class EpochData:
    """`domain` is the Meter contract's: where the signatures count."""

    domain: Domain
    submitter: Address
    number: int
    segments: tuple[SignedSegment, ...]
    receipts: tuple[SignedReceipt, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no blanks, segments and receipts in the order given."""
        body = {
            "format": FORMAT,
            "chain_id": self.domain.chain_id,
            "meter": address_text(self.domain.address),
            "submitter": address_text(self.submitter),
            "epoch": self.number,
            "segments": [signed.to_json() for signed in self.segments],
            "receipts": [signed.to_json() for signed in self.receipts],
        }
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The epoch of bytes that `to_bytes` wrote, and of no others. Raises BadInput."""
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError as e:
            raise BadInput(f"epoch data is not JSON: {e}") from e
        names = {"format", "chain_id", "meter", "submitter", "epoch", "segments", "receipts"}
        if not isinstance(body, dict) or body.keys() != names or body["format"] != FORMAT:
            raise BadInput(f"epoch data: expected an object of format {FORMAT} with {sorted(names)}")
        if not (isinstance(body["segments"], list) and isinstance(body["receipts"], list)):
            raise BadInput("epoch data: expected lists of segments and receipts")
        found = cls(
            Domain("Meter", body["chain_id"], to_address(str(body["meter"]))),
            to_address(str(body["submitter"])),
            body["epoch"],
            tuple(map(SignedSegment.from_json, body["segments"])),
            tuple(map(SignedReceipt.from_json, body["receipts"])),
        )
        if found.to_bytes() != data:
            raise BadInput("epoch data is not in its canonical form")
        return found

    def leaves(self) -> list[Leaf]:
        """What the tree is built over."""
        segments = (
            Leaf(LeafKind.SEGMENT, signed.segment.lease, signed.digest(self.domain), signed.segment.gpu_ms)
            for signed in self.segments
        )
        receipts = (
            Leaf(LeafKind.RECEIPT, signed.receipt.lease, signed.digest(self.domain), signed.receipt.gpu_ms)
            for signed in self.receipts
        )
        return [*segments, *receipts]


def growth(leaves: Iterable[Leaf], highest: dict[Hash32, int]) -> int:
    """GPU-ms that `leaves` add to the highest totals of their leases. `highest` is brought up to date.

    Summed over all epochs in order this is the sum of the leases' totals: nothing is counted twice.
    """
    added = 0
    for leaf in leaves:
        before = highest.get(leaf.lease, 0)
        if leaf.gpu_ms > before:
            highest[leaf.lease] = leaf.gpu_ms
            added += leaf.gpu_ms - before
    return added
