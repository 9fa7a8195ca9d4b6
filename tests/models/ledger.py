"""The four contracts again in plain Python: dicts and integers, one operation a function of the ABI.

An operation returns None when the contract would accept it, or the name of the custom error that it would revert with;
a refused one changes nothing. The checks stand in the order of contracts/src. A quorum is a list of (signer, whether
the signature is good), any other signature a bool. `number` and `now_s` are those of the block in which the next
operation runs. One file a contract: members, assets, access, and Meter here.
"""

from collections.abc import Sequence
from dataclasses import replace

from commonhold import signing
from commonhold.signing import ZERO32
from commonhold.units import Address, Hash32, credit_parts, keccak256
from tests.models.access import Access
from tests.models.state import Anchor, ClassParams, Genesis, Revert, operation, refuse_if

__all__ = ["ClassParams", "Genesis", "Ledgers"]


class Ledgers(Access):
    """All four contracts."""

    @operation
    def settle(self, receipts: Sequence[tuple[signing.Receipt, bool, bool]]) -> None:
        """Receipts, each with whether the node's and the session's signature are good."""
        for r, node_signed, session_signed in receipts:
            lease = self.leases.get(r.lease)
            if r.gpu_ms <= (lease.settled_ms if lease else 0):
                continue
            if lease is None:
                raise Revert("UnknownLease")
            asset, window, _ = credit_parts(lease.redemption.id)
            appraisal = self.assets[asset].appraisal
            refuse_if(r.gpu_ms > lease.redemption.amount * 1000, "OverLease")
            refuse_if(self.now_s < lease.starts_at, "NotStarted")
            refuse_if(r.gpu_ms > (self.now_s - lease.starts_at) * appraisal.units // 1000, "OverWallClock")
            refuse_if(not node_signed or appraisal.meter_key_x == appraisal.meter_key_y == ZERO32, "BadNodeSignature")
            refuse_if(not session_signed, "BadSessionSignature")

            root = self.root_of(lease.redemption.holder)
            key = (appraisal.class_id, int(window), root, appraisal.level)
            self.delivered[key] = self.delivered.get(key, 0) + r.gpu_ms - lease.settled_ms
            due = self.tranches[lease.redemption.id] * r.gpu_ms // 1000
            self.leases[r.lease] = replace(lease, settled_ms=r.gpu_ms, paid=due)
            self._pay(self.genesis.access, self._operator(asset), due - lease.paid)

    @operation
    def anchor(self, sender: Address, epoch: int, root: Hash32, count: int, gpu_ms: int, uri: str) -> None:
        refuse_if(epoch != self.next_epoch.get(sender, 0), "EpochNotNext")
        refuse_if(root == ZERO32 or count == 0, "EmptyAnchor")
        previous = self.last_anchor.get(sender, ZERO32)
        words = (epoch.to_bytes(32), root, count.to_bytes(32), gpu_ms.to_bytes(32))
        self.next_epoch[sender] = epoch + 1
        self.last_anchor[sender] = keccak256(previous + b"".join(words))
        self.anchors[sender, epoch] = Anchor(root, previous, count, gpu_ms, uri, self.number)
