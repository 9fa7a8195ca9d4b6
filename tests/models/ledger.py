"""The five contracts again in plain Python: dicts and integers, one operation a function of the ABI.

An operation returns None when the contract would accept it, or the name of the custom error that it would revert with;
a refused one changes nothing. The checks stand in the order of contracts/src. A quorum is a list of (signer, whether
the signature is good), any other signature a bool. `number` and `now_s` are those of the block in which the next
operation runs. One file a contract: settings, revenue, members, assets, access, council, and Meter here.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from commonhold import signing
from commonhold.signing import ZERO32
from commonhold.units import Address, Hash32, credit_parts, keccak256
from tests.models.council import Council
from tests.models.state import Anchor, ClassParams, Genesis, Lease, Revert, operation, refuse_if

__all__ = ["ClassParams", "Genesis", "Ledgers"]

SignedReceipt = tuple[signing.Receipt, int, bool, bool]  # with the key's number; whether node and session have signed


class Ledgers(Council):
    """All of them."""

    @operation
    def settle(self, receipts: Sequence[SignedReceipt]) -> None:
        accrued = [(self._settle(*receipt), receipt[0].lease) for receipt in receipts]
        for asset, run in groupby(accrued, lambda each: self._asset_of(each[1])):
            if paid := sum(added for added, _ in run):
                self._accrue(asset, paid)

    @operation
    def anchor(self, sender: Address, epoch: int, root: Hash32, count: int, gpu_ms: int, uri: str) -> None:
        refuse_if(epoch != self.next_epoch.get(sender, 0), "EpochNotNext")
        refuse_if(root == ZERO32 or count == 0, "EmptyAnchor")
        previous = self.last_anchor.get(sender, ZERO32)
        words = (epoch.to_bytes(32), root, count.to_bytes(32), gpu_ms.to_bytes(32))
        self.next_epoch[sender] = epoch + 1
        self.last_anchor[sender] = keccak256(previous + b"".join(words))
        self.anchors[sender, epoch] = Anchor(root, previous, count, gpu_ms, uri, self.number)

    def _settle(self, r: signing.Receipt, key_number: int, node_signed: bool, session_signed: bool) -> int:
        """What accrues for one receipt."""
        lease = self.leases.get(r.lease)
        if r.gpu_ms <= (lease.settled_ms if lease else 0):
            return 0
        if lease is None:
            raise Revert("UnknownLease")
        asset, window, _ = credit_parts(lease.id)
        appraisal = self.assets[asset].appraisal
        self._check_time(r, lease, key_number, appraisal.units)
        refuse_if(not node_signed or appraisal.meter_key_x == appraisal.meter_key_y == ZERO32, "BadNodeSignature")
        refuse_if(not session_signed, "BadSessionSignature")

        key = (appraisal.class_id, int(window), self.root_of(lease.holder), min(lease.level, appraisal.level))
        self._count(self.delivered, key, r.gpu_ms - lease.settled_ms)
        self.leases[r.lease] = replace(lease, settled_ms=r.gpu_ms)
        return self.leases[r.lease].paid - lease.paid

    def _check_time(self, r: signing.Receipt, lease: Lease, key_number: int, units: int) -> None:
        refuse_if(key_number >= len(lease.keys), "UnknownKey")
        refuse_if(r.gpu_ms > lease.amount * 1000, "OverLease")
        refuse_if(self.now_s > self.settleable_until(lease), "TooLate")
        refuse_if(self.now_s < lease.starts_at, "NotStarted")
        until = min(self.now_s, self.end_of(credit_parts(lease.id)[1]))
        if proves_until := lease.keys[key_number][1]:
            until = min(until, proves_until)
        refuse_if(r.gpu_ms > max(0, until - lease.starts_at) * units // 1000, "OverWallClock")

    def _asset_of(self, lease: Hash32) -> int:
        return int(credit_parts(self.leases[lease].id)[0]) if lease in self.leases else 0
