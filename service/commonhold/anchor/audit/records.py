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
from commonhold.anchor.merkle import Leaf
from commonhold.errors import BadInput
from commonhold.meter.segment import SignedReceipt, SignedSegment
from commonhold.meter.timeline import SKEW_MS, Appraised, Placed, Timeline, too_fast
from commonhold.signing import Domain
from commonhold.units import Address, Hash32, address_text, credit_parts, hex_text, to_hash32

Hours = dict[tuple[Hash32, int, int, str], tuple[int, int]]  # class, window, level, policy -> GPU-ms, segments


@dataclass(slots=True)
class Published:
    """What one submitter's anchored epochs contain; `roots` are those on the chain."""

    domain: Domain
    segments: list[SignedSegment] = field(default_factory=list)
    receipts: list[SignedReceipt] = field(default_factory=list)
    leaves: dict[Hash32, tuple[int, Leaf]] = field(default_factory=dict)  # digest -> its epoch
    highest: dict[Hash32, int] = field(default_factory=dict)  # total of each lease
    roots: dict[int, Hash32] = field(default_factory=dict)


async def fetch(
    http: httpx.AsyncClient, state: State, domain: Domain, submitter: Address
) -> tuple[Published, list[str]]:
    """The data of every anchored epoch of `submitter`, re-hashed; and what does not match its anchor."""
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
        found += [
            f"{name}: {hex_text(leaf.digest)} is in two epochs" for leaf in leaves if leaf.digest in published.leaves
        ]
        published.leaves = {leaf.digest: (epoch, leaf) for leaf in leaves} | published.leaves
        published.segments += data.segments
        published.receipts += data.receipts
    return published, found


def signatures(published: Published, state: State) -> tuple[list[str], Hours]:
    """What is wrong with segments and receipts, each and together; and the GPU time of the segments."""
    found: list[str] = []
    timeline, hours = Timeline(), defaultdict[tuple[Hash32, int, int, str], tuple[int, int]](lambda: (0, 0))
    totals: dict[Hash32, int] = {}
    for signed in sorted(published.segments, key=lambda signed: signed.segment.ended_at_ms):
        s = signed.segment
        name = f"segment {s.sequence} of boot {s.boot} of asset {s.asset}"
        lease = state.leases.get(s.lease)
        if lease is None or credit_parts(lease.redeemed.id)[0] != s.asset:
            found.append(f"{name}: its lease is not of this asset on the chain")
            continue
        covering = [one for one in _appraisals(state, s.asset) if one.covers(s.started_at_ms, s.ended_at_ms)]
        if not covering:
            found.append(f"{name}: no appraisal covers its time")
            continue
        appraised = covering[-1]
        if defect := signed.verify(published.domain, appraised.meter_key or b""):
            found.append(f"{name}: {defect}")
        registered = state.assets[s.asset].registered
        placed = Placed.of(s, signed.readings[0], signed.digest(published.domain))
        conflict = timeline.conflict(placed)
        from_ms = lease.redeemed.starts_at * 1000 - SKEW_MS
        misfit = conflict.reason if conflict else timeline.misfit(placed, units=registered.units, lease_from_ms=from_ms)
        if misfit := misfit or too_fast(signed.readings, registered.units):
            found.append(f"{name}: {misfit}")
        timeline.add(placed)
        grown = s.gpu_ms - totals.get(s.lease, 0)
        totals[s.lease] = s.gpu_ms
        key = (registered.class_id, credit_parts(lease.redeemed.id)[1], appraised.level, appraised.policy)
        hours[key] = (hours[key][0] + grown, hours[key][1] + 1)
    heads = {(s.segment.lease, s.segment.head): s.segment.gpu_ms for s in published.segments}
    for receipt in published.receipts:
        found += receipt_defects(receipt, state, published.domain, heads)
    return found, dict(hours)


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
    digests = [receipt.digest(published.domain) for receipt in published.receipts]
    digests += [segment.digest(published.domain) for segment in published.segments]
    if not digests:
        return "nothing is anchored yet", []
    epoch, leaf = published.leaves[digests[0]]
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
    published: Published, hours: Hours, totals: list[Row], shown: list[Row], receipts: list[SignedReceipt], state: State
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
    metered: dict[Hash32, int] = {}
    for one in published.segments:
        metered[one.segment.lease] = max(metered.get(one.segment.lease, 0), one.segment.gpu_ms)
    for lease, gpu_ms in metered.items():
        said_ms = by_lease.get(hex_text(lease), {}).get("metered_ms")
        if type(said_ms) is not int or said_ms < gpu_ms:
            found.append(f"lease {hex_text(lease)}: metered_ms is {said_ms}, anchored segments say {gpu_ms}")
    by_key = {tuple(row.get(name) for name in ("class_id", "window", "level", "policy")): row for row in shown}
    for (class_id, window, level, policy), (gpu_ms, segments) in hours.items():
        row_said = by_key.get((hex_text(class_id), window, level, policy), {})
        got = (row_said.get("gpu_ms"), row_said.get("segments"))
        enough = all(type(n) is int for n in got) and got[1] >= segments  # type: ignore[operator]
        if not enough or (got[1] == segments and got[0] != gpu_ms):
            found.append(
                f"GPU time at level {level}, {policy}, window {window} is {got}, records say {(gpu_ms, segments)}"
            )
    heads = {(s.segment.lease, s.segment.head): s.segment.gpu_ms for s in published.segments}
    there = {signed.receipt for signed in receipts}
    found += [
        f"anchored receipt of lease {hex_text(signed.receipt.lease)} is not shown"
        for signed in published.receipts
        if signed.receipt not in there
    ]
    for signed in receipts:
        found += receipt_defects(signed, state, published.domain, heads)
    return found


def _appraisals(state: State, asset: int) -> list[Appraised]:
    return [Appraised(a.from_s, a.expires_at, a.level, a.policy, a.meter_key) for a in state.assets[asset].appraisals]


def _session_key(lease: Lease) -> bytes:
    return lease.redeemed.key_x + lease.redeemed.key_y
