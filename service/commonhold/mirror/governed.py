"""The events of settings, quorums, proposals and votes into rows. What the timelock does shows in what it changes."""

import json
from typing import assert_never

from commonhold.chain import governing as g
from commonhold.chain.stamp import BlockStamp
from commonhold.mirror.rows import Rows
from commonhold.mirror.step import MirrorBroken, known, text
from commonhold.mirror.tables import asset_class, proposal, setting, signer, vote
from commonhold.signing import ZERO32
from commonhold.units import address_text, hex_text

# Settings of a class, and the column of asset_class that each is.
CLASS_COLUMNS = {
    "holdBps": "hold_bps",
    "useBps": "use_bps",
    "minLevel": "min_level",
    "floorUnits": "floor_units",
}
_VOTES = ("against", "in_favour", "abstaining")


async def apply(rows: Rows, stamp: BlockStamp, event: g.GovernanceEvent) -> None:
    """The rows say what `event`, in block `stamp`, tells."""
    match event:
        case g.SettingChanged() | g.SettingScheduled() | g.SettingCancelled() | g.Abdicated():
            await _setting(rows, stamp, event)
        case g.SignerScheduled() | g.SignerAdded() | g.SignerRemoved():
            await _signer(rows, event)
        case g.ProposalCreated():
            calls = zip(event.targets, event.values, event.calldatas, strict=True)
            await rows.insert(
                proposal,
                proposal_id=event.proposal_id,
                proposer=event.proposer,
                calls=json.dumps(
                    [{"target": address_text(to), "value": str(wei), "data": hex_text(data)} for to, wei, data in calls]
                ),
                description=text(event.description),
                vote_start=event.vote_start,
                vote_end=event.vote_end,
                against=0,
                in_favour=0,
                abstaining=0,
                ready_at=None,
                outcome=None,
                block_number=stamp.number,
            )
        case g.VoteCast() | g.VoteCastWithParams():
            await _voted(rows, event)
        case g.ProposalExtended():
            old = await known(rows, proposal, proposal_id=event.proposal_id)
            await rows.update(proposal, old, vote_end=event.extended_deadline)
        case g.ProposalQueued():
            old = await known(rows, proposal, proposal_id=event.proposal_id)
            await rows.update(proposal, old, ready_at=event.eta_seconds)
        case g.ProposalExecuted():
            await rows.update(proposal, await known(rows, proposal, proposal_id=event.proposal_id), outcome="executed")
        case g.ProposalCanceled():
            await rows.update(proposal, await known(rows, proposal, proposal_id=event.proposal_id), outcome="canceled")
        case (
            g.TimelockChange()
            | g.CallScheduled()
            | g.CallExecuted()
            | g.CallSalt()
            | g.Cancelled()
            | g.MinDelayChange()
            | g.RoleAdminChanged()
            | g.RoleGranted()
            | g.RoleRevoked()
        ):
            pass  # kept in the log: proposals have rows of their own, and roles are as they were made
        case _:
            assert_never(event)


async def begin(rows: Rows, name: str, subject: bytes, value: int) -> None:
    """A setting of Ledger that another event tells of: it has this value from the start."""
    await rows.insert(setting, contract="Ledger", name=name, subject=subject, **_first(value))


async def _setting(
    rows: Rows,
    stamp: BlockStamp,
    event: g.SettingChanged | g.SettingScheduled | g.SettingCancelled | g.Abdicated,
) -> None:
    name = event.name.rstrip(b"\0").decode("ascii", "replace")
    key: dict[str, str | bytes] = {"contract": event.contract, "name": name, "subject": event.subject}
    old = await rows.get(setting, **key)
    if old is None:
        # The first word of a setting is its value, when the contract is made; "signers" has none. Those of a class are
        # there since the class is.
        if event.subject != ZERO32:
            raise MirrorBroken(f"no setting {name} of {hex_text(event.subject)}")
        value = event.value if isinstance(event, g.SettingChanged) else None
        await rows.insert(setting, **key, **_first(value))
        old = await known(rows, setting, **key)
        if isinstance(event, g.SettingChanged):
            return
    match event:
        case g.SettingChanged():
            changes = {"value": event.value, "changed_at": stamp.timestamp, "pending": None, "ready_at": None}
            await rows.update(setting, old, **changes)
            if event.subject != ZERO32:
                of = await known(rows, asset_class, class_id=event.subject)
                await rows.update(asset_class, of, **{CLASS_COLUMNS[name]: event.value})
        case g.SettingScheduled():
            await rows.update(setting, old, pending=event.value, ready_at=event.ready_at)
        case g.SettingCancelled():
            await rows.update(setting, old, pending=None, ready_at=None)
        case g.Abdicated():
            await rows.update(setting, old, abdicated=True)
        case _:
            assert_never(event)


def _first(value: int | None) -> dict[str, object]:
    return {"value": value, "changed_at": None, "pending": None, "ready_at": None, "abdicated": False}


async def _signer(rows: Rows, event: g.SignerScheduled | g.SignerAdded | g.SignerRemoved) -> None:
    key = {"contract": event.contract, "signer": event.signer}
    old = await rows.get(signer, **key)
    match event:
        case g.SignerScheduled() if old is None:
            await rows.insert(signer, **key, signs=False, ready_at=event.ready_at)
        case g.SignerScheduled() if old is not None:
            await rows.update(signer, old, ready_at=event.ready_at)
        case g.SignerAdded() if old is None:
            await rows.insert(signer, **key, signs=True, ready_at=None)
        case g.SignerAdded() if old is not None:
            await rows.update(signer, old, signs=True, ready_at=None)
        case g.SignerRemoved() if old is not None:
            await rows.delete(signer, old)
        case _:
            raise MirrorBroken(f"no signer {address_text(event.signer)} of {event.contract}")


async def _voted(rows: Rows, event: g.VoteCast | g.VoteCastWithParams) -> None:
    old = await known(rows, proposal, proposal_id=event.proposal_id)
    if event.support >= len(_VOTES):
        raise MirrorBroken(f"vote {event.support} on proposal {event.proposal_id}: expected 0 to {len(_VOTES) - 1}")
    column = _VOTES[event.support]
    await rows.update(proposal, old, **{column: old[column] + event.weight})
    await rows.insert(
        vote,
        proposal_id=event.proposal_id,
        voter=event.voter,
        support=event.support,
        weight=event.weight,
        reason=text(event.reason),
    )
