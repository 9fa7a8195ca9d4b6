"""The replayed state as the rows that a mirror would have, and as the JSON that a service would show. Pure.

Made from the audit's own replay, so that equal rows, and an equal digest, mean two ways that agree.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from commonhold.anchor.audit.state import Proposal, State
from commonhold.mirror.digest import of_rows
from commonhold.units import Hash32, address_text, hex_text, units_text

Row = dict[str, Any]

_DECIMAL = {"asset", "credit_id", "proposal_id"}
_UNITS = {"units", "floor_units", "total_units"}
_KINDS = ("DATA", "MODEL", "COMPUTE")


def tables(state: State) -> dict[str, list[Row]]:
    """The rows of every STATE table, by its name."""
    return {
        "member": [
            {
                "address": address,
                "nullifier": member.nullifier,
                "controller": member.controller,
                "root": state.root_of(address),
                "since": member.since,
                "until": member.until,
                "counted": member.counted,
                "refuses_gifts": member.refuses_gifts,
                "successor": member.successor,
                "detach_ready_at": member.detach_ready_at,
                "recovery_to": member.recovery_to,
                "recovery_ready_at": member.recovery_ready_at,
            }
            for address, member in state.members.items()
        ],
        "asset_class": _classes(state),
        "asset": _assets(state),
        "device": [{"device": device, "asset": asset} for device, asset in state.devices.items()],
        "holding": [
            {"asset": a, "owner": owner, "units": n, "counted": (a, owner) not in state.uncounted}
            for (a, owner), n in state.holdings.items()
        ],
        "claim": [{"asset": a, "account": who, "amount_wei": n} for (a, who), n in state.claims.items()],
        "commons_claim": [{"root": root, "amount_wei": n} for root, n in state.commons_claims.items()],
        **_governed(state),
        "offer": [
            {"credit_id": o.id, "asset": o.asset, "window": o.window, "tranche": o.tranche, "price_wei": o.price}
            for o in state.offers.values()
        ],
        "credit": [{"credit_id": c, "holder": holder, "seconds": n} for (c, holder), n in state.credits.items()],
        "lease": [
            {
                "lease": lease,
                "holder": row.redeemed.holder,
                "credit_id": row.redeemed.id,
                "seconds": row.redeemed.amount,
                "starts_at": row.redeemed.starts_at,
                "level": row.redeemed.level,
                "session_key": row.redeemed.key_x + row.redeemed.key_y,
                "redeemed_block": row.block,
                "settled_ms": row.settled_ms,
                "paid_wei": row.paid,
                "key_number": row.key_number,
                "changes": row.changes,
                "part_of": row.part_of,
                "refunded_wei": row.refunded,
            }
            for lease, row in state.leases.items()
        ],
        "former_key": [
            {"lease": lease, "number": number, "session_key": point, "until": until}
            for lease, row in state.leases.items()
            for number, (point, until) in enumerate(row.former_keys)
        ],
        "delivered": [
            {"class_id": class_id, "window": window, "root": root, "level": level, "gpu_ms": gpu_ms}
            for (class_id, window, root, level), gpu_ms in state.delivered.items()
        ],
        "anchor": [
            {
                "submitter": event.submitter,
                "epoch": event.epoch,
                "root": event.root,
                "previous": event.previous,
                "count": event.count,
                "gpu_ms": event.gpu_ms,
                "uri": _storable(event.uri),
                "block_number": block,
            }
            for event, block in state.anchors.values()
        ],
    }


def digest(found: Mapping[str, list[Row]]) -> Hash32:
    """What mirror/digest.py says of a database with these rows."""
    return of_rows(found)


def as_json(row: Row) -> Row:
    """A row in the texts and numbers of the API."""
    return {name: _value(name, value) for name, value in row.items()}


def differences(what: str, key: tuple[str, ...], expected: Iterable[Row], got: Iterable[Row]) -> list[str]:
    """How a service's rows differ from those that follow from the chain; fields that only it has are not looked at."""
    ours = {_key(row, key): row for row in map(as_json, expected)}
    theirs: dict[str, Row] = {}
    found = []
    for row in got:
        name = _key(row, key)
        if name in theirs:
            found.append(f"{what} {name} is there twice")
        theirs[name] = row
    found += [f"{what} {name} is missing" for name in ours.keys() - theirs.keys()]
    found += [f"{what} {name} is not on the chain" for name in theirs.keys() - ours.keys()]
    for name in ours.keys() & theirs.keys():
        for field, value in ours[name].items():
            if theirs[name].get(field) != value:
                found.append(f"{what} {name}: {field} is {theirs[name].get(field)!r}, the chain says {value!r}")
    return sorted(found)


def _classes(state: State) -> list[Row]:
    return [
        {
            "class_id": class_id,
            "name": _storable(c.created.name),
            "kind": c.created.kind,
            "unit": _storable(c.created.unit),
            "hold_bps": c.created.hold_bps,
            "use_bps": c.created.use_bps,
            "min_level": c.created.min_level,
            "floor_units": c.created.floor_units,
            "total_units": c.total,
        }
        for class_id, c in state.classes.items()
    ]


def _assets(state: State) -> list[Row]:
    return [
        {
            "asset": asset,
            "class_id": a.registered.class_id,
            "operator": a.operator,
            "units": a.registered.units,
            "level": a.now.level,
            "policy": _storable(a.now.policy),
            "content_hash": a.now.content_hash,
            "result_hash": a.now.result_hash,
            "meter_key": a.now.meter_key if any(a.now.meter_key) else None,
            "appraised_at": a.now.from_s,
            "expires_at": a.now.expires_at,
            "retired": a.retired,
            "commons_price_wei": a.commons_price,
            "accrued_wei": a.accrued,
            "claimed_wei": a.claimed,
            "shared_wei": a.shared,
            "uri": _storable(a.registered.uri),
        }
        for asset, a in state.assets.items()
    ]


def _governed(state: State) -> dict[str, list[Row]]:
    return {
        "setting": [
            {
                "contract": contract,
                "name": name,
                "subject": subject,
                "value": s.value,
                "changed_at": s.changed_at,
                "pending": s.pending,
                "ready_at": s.ready_at,
                "abdicated": s.abdicated,
            }
            for (contract, name, subject), s in state.settings.items()
        ],
        "signer": [
            {"contract": contract, "signer": who, "signs": s.signs, "ready_at": s.ready_at}
            for (contract, who), s in state.signers.items()
        ],
        "proposal": [_proposal(number, p) for number, p in state.proposals.items()],
        "vote": [
            {"proposal_id": number, "voter": voter, "support": support, "weight": weight, "reason": _storable(reason)}
            for (number, voter), (support, weight, reason) in state.votes.items()
        ],
    }


def _proposal(number: int, p: Proposal) -> Row:
    calls = zip(p.created.targets, p.created.values, p.created.calldatas, strict=True)
    return {
        "proposal_id": number,
        "proposer": p.created.proposer,
        "calls": json.dumps(
            [{"target": address_text(to), "value": str(wei), "data": hex_text(data)} for to, wei, data in calls]
        ),
        "description": _storable(p.created.description),
        "vote_start": p.created.vote_start,
        "vote_end": p.vote_end,
        "against": p.votes[0],
        "in_favour": p.votes[1],
        "abstaining": p.votes[2],
        "ready_at": p.ready_at,
        "outcome": p.outcome,
        "block_number": p.block,
    }


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return address_text(value) if len(value) == 20 else hex_text(value)
    if name in _DECIMAL or name.endswith("_wei"):
        return None if value is None else str(value)
    if name in _UNITS:
        return units_text(value)
    return _KINDS[value] if name == "kind" else value


def _key(row: Row, key: tuple[str, ...]) -> str:
    return " ".join(str(row.get(name)) for name in key)


def _storable(text: str) -> str:
    """As the mirror keeps text: without NUL, which PostgreSQL refuses."""
    return text.replace("\0", "\ufffd")


def group_units(state: State, class_id: Hash32) -> list[tuple[str, int]]:
    """(root, units) of every group that owns some of the class, the largest first, as the API lists them."""
    units = sorted(state.held.get(class_id, {}).items(), key=lambda pair: (-pair[1], pair[0]))
    return [(address_text(root), n) for root, n in units]
