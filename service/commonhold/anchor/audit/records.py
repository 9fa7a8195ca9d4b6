"""The published records behind the anchors: their roots, their signatures, and what they add up to."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from commonhold.anchor import merkle
from commonhold.anchor.audit import service
from commonhold.anchor.audit.rows import Row
from commonhold.anchor.audit.state import Lease, State
from commonhold.anchor.data import EpochData, growth
from commonhold.anchor.merkle import Leaf, LeafKind
from commonhold.errors import BadInput
from commonhold.meter.segment import SignedReceipt, SignedSegment
from commonhold.meter.timeline import SKEW_MS, Appraised, Placed, Timeline, too_fast
from commonhold.signing import Domain
from commonhold.units import Address, Hash32, address_text, credit_parts, hex_text, to_hash32

Hours = dict[tuple[Hash32, int, int, str], tuple[int, int]]  # class, window, level, policy -> GPU-ms, segments


@dataclass(slots=True)
class Published:
    """What one submitter's anchored epochs contain, epoch after epoch: of a segment only what others are held against,
    never its readings. `roots` are those on the chain."""

    domain: Domain
    segments: int = 0
    receipts: list[SignedReceipt] = field(default_factory=list)
    leaves: dict[Hash32, int] = field(default_factory=dict)  # digest -> its epoch
    first: Leaf | None = None  # a receipt if there is one
    highest: dict[Hash32, int] = field(default_factory=dict)  # total of each lease
    metered: dict[Hash32, int] = field(default_factory=dict)  # the same, of segments alone
    heads: dict[tuple[Hash32, Hash32], int] = field(default_factory=dict)  # total of the lease at each segment's head
    roots: dict[int, Hash32] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    grown: dict[Hash32, list[tuple[int, int, int, str]]] = field(default_factory=dict)  # end, total, level, policy
    defects: list[str] = field(default_factory=list)

    def hours(self, state: State) -> Hours:
        """GPU time of the segments, which a lease's totals tell in the order of time, whatever epoch they are in."""
        found = defaultdict[tuple[Hash32, int, int, str], tuple[int, int]](lambda: (0, 0))
        for lease, points in self.grown.items():
            asset, window, _ = credit_parts(state.leases[lease].redeemed.id)
            before = 0
            for _, gpu_ms, level, policy in sorted(points):
                key = (state.assets[asset].registered.class_id, window, level, policy)
                found[key] = (found[key][0] + gpu_ms - before, found[key][1] + 1)
                before = gpu_ms
        return dict(found)


async def fetch(
    http: httpx.AsyncClient, state: State, domain: Domain, submitter: Address
) -> tuple[Published, list[str]]:
    """The data of every anchored epoch of `submitter`, re-hashed, its segments checked; and what does not match its
    anchor. What is wrong with segments is in `defects`."""
    published, found = Published(domain), []
    for epoch in range(state.next_epoch.get(submitter, 0)):
        anchor, name = state.anchors[submitter, epoch][0], f"epoch {epoch}"
        published.roots[epoch] = anchor.root
        answer = await service.get(http, f"/v1/epochs/{epoch}/data?submitter={address_text(submitter)}")
        try:
            data = EpochData.from_bytes(answer.content)
        except BadInput as e:
            found.append(f"{name}: {e}")
            continue
        if (data.domain, data.submitter, data.number) != (domain, submitter, epoch):
            found.append(f"{name}: the data is of another epoch, submitter or chain")
        leaves = data.leaves()
        root = merkle.tree(leaves).root if leaves else None
        if root != anchor.root:
            found.append(
                f"{name}: data leads to {hex_text(root) if root else 'nothing'}, anchored is {hex_text(anchor.root)}"
            )
        got = (len(leaves), growth(leaves, published.highest))
        if got != (anchor.count, anchor.gpu_ms):
            found.append(
                f"{name}: {got[0]} leaves that add {got[1]} ms, anchored are {anchor.count} and {anchor.gpu_ms}"
            )
        for leaf in leaves:
            if published.leaves.setdefault(leaf.digest, epoch) != epoch:
                found.append(f"{name}: {hex_text(leaf.digest)} is in two epochs")
            if published.first is None or (leaf.kind, published.first.kind) == (LeafKind.RECEIPT, LeafKind.SEGMENT):
                published.first = leaf
        published.receipts += data.receipts
        for signed in sorted(data.segments, key=lambda signed: signed.segment.ended_at_ms):
            published.defects += _segment(published, signed, state)
    return published, found


def _segment(published: Published, signed: SignedSegment, state: State) -> Iterator[str]:
    """What is wrong with one segment, alone and among those before."""
    s = signed.segment
    name = f"segment {s.sequence} of boot {s.boot} of asset {s.asset}"
    published.segments += 1
    published.metered[s.lease] = max(published.metered.get(s.lease, 0), s.gpu_ms)
    published.heads[s.lease, s.head] = s.gpu_ms
    lease = state.leases.get(s.lease)
    if lease is None or credit_parts(lease.redeemed.id)[0] != s.asset:
        yield f"{name}: its lease is not of this asset on the chain"
        return
    covering = [one for one in _appraisals(state, s.asset) if one.covers(s.started_at_ms, s.ended_at_ms)]
    if not covering:
        yield f"{name}: no appraisal covers its time"
        return
    appraised = covering[-1]
    if defect := signed.verify(published.domain, appraised.meter_key or b""):
        yield f"{name}: {defect}"
    units = state.assets[s.asset].registered.units
    placed = Placed.of(s, signed.readings[0], signed.digest(published.domain))
    conflict = published.timeline.conflict(placed)
    from_ms = lease.redeemed.starts_at * 1000 - SKEW_MS
    misfit = conflict.reason if conflict else published.timeline.misfit(placed, units=units, lease_from_ms=from_ms)
    if misfit := misfit or too_fast(signed.readings, units):
        yield f"{name}: {misfit}"
    published.timeline.add(placed)
    published.grown.setdefault(s.lease, []).append((s.ended_at_ms, s.gpu_ms, appraised.level, appraised.policy))


def signatures(published: Published, state: State) -> list[str]:
    """What is wrong with segments and receipts, each and together."""
    found = published.defects
    for receipt in published.receipts:
        found += receipt_defects(receipt, state, published.domain, published.heads)
    return found


def receipt_defects(
    signed: SignedReceipt, state: State, domain: Domain, heads: dict[tuple[Hash32, Hash32], int]
) -> Iterator[str]:
    """What is wrong with one receipt. heads: total of each segment's lease at its head."""
    r = signed.receipt
    name = f"receipt of {r.gpu_ms} ms for lease {hex_text(r.lease)}"
    lease = state.leases.get(r.lease)
    if lease is None:
        yield f"{name}: no such lease on the chain"
        return
    defects = [
        signed.verify(domain, one.meter_key or b"", _session_key(lease))
        for one in _appraisals(state, credit_parts(lease.redeemed.id)[0])
    ]
    if all(defects):
        yield f"{name}: {defects[-1]}"
    total = heads.get((r.lease, r.head))
    if total is not None and total != r.gpu_ms:
        yield f"{name}: the segment with its head says {total} ms"


async def inclusion(http: httpx.AsyncClient, published: Published, submitter: Address) -> tuple[str, list[str]]:
    """What was proven under its anchored root by the service's proof: a receipt if there is one; and what fails."""
    leaf = published.first
    if leaf is None:
        return "nothing is anchored yet", []
    epoch = published.leaves[leaf.digest]
    what = f"{leaf.kind.name.lower()} {hex_text(leaf.digest)} in epoch {epoch}"
    path = f"/v1/epochs/{epoch}/proof?digest={hex_text(leaf.digest)}&submitter={address_text(submitter)}"
    try:
        body = service.json_of(await service.get(http, path), dict)
        proof = [to_hash32(str(sibling)) for sibling in body.get("proof") or ()]
    except (service.ServiceUnreadable, BadInput) as e:
        return what, [f"{what}: {e}"]
    if merkle.verify(published.roots[epoch], leaf, proof):
        return f"{what}, with {len(proof)} siblings", []
    return what, [f"{what}: proof does not lead to the anchored root {hex_text(published.roots[epoch])}"]


def used(
    published: Published, totals: list[Row], shown: list[Row], receipts: list[SignedReceipt], state: State
) -> list[str]:
    """How the service's sums and receipts differ from the published records. It may have more that is not anchored yet,
    never less, and never another sum of the same segments."""
    found = []
    by_lease = {row.get("lease"): row for row in totals}
    for lease, row in state.leases.items():
        said = by_lease.get(hex_text(lease), {})
        if said.get("settled_ms") != row.settled_ms:
            found.append(
                f"lease {hex_text(lease)}: settled_ms is {said.get('settled_ms')}, the chain says {row.settled_ms}"
            )
    for lease, gpu_ms in published.metered.items():
        said_ms = by_lease.get(hex_text(lease), {}).get("metered_ms")
        if type(said_ms) is not int or said_ms < gpu_ms:
            found.append(f"lease {hex_text(lease)}: metered_ms is {said_ms}, anchored segments say {gpu_ms}")
    by_key = {tuple(row.get(name) for name in ("class_id", "window", "level", "policy")): row for row in shown}
    for (class_id, window, level, policy), (gpu_ms, segments) in published.hours(state).items():
        row_said = by_key.get((hex_text(class_id), window, level, policy), {})
        got = (row_said.get("gpu_ms"), row_said.get("segments"))
        enough = all(type(n) is int for n in got) and got[1] >= segments  # type: ignore[operator]
        if not enough or (got[1] == segments and got[0] != gpu_ms):
            found.append(
                f"GPU time at level {level}, {policy}, window {window} is {got}, records say {(gpu_ms, segments)}"
            )
    there = {signed.receipt for signed in receipts}
    found += [
        f"anchored receipt of lease {hex_text(signed.receipt.lease)} is not shown"
        for signed in published.receipts
        if signed.receipt not in there
    ]
    for signed in receipts:
        found += receipt_defects(signed, state, published.domain, published.heads)
    return found


def _appraisals(state: State, asset: int) -> list[Appraised]:
    return [Appraised(a.from_s, a.expires_at, a.level, a.policy, a.meter_key) for a in state.assets[asset].appraisals]


def _session_key(lease: Lease) -> bytes:
    return lease.redeemed.key_x + lease.redeemed.key_y
