"""The events of settings, quorums, proposals and votes; and the timelock's, whose roles never change."""

from dataclasses import replace
from typing import Any

from commonhold.anchor.audit.ledger import CLASS_SETTINGS
from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import Proposal, Setting, Signer
from commonhold.anchor.audit.step import Step, Unknown, on, shown
from commonhold.chain import governing as g
from commonhold.signing import ZERO32

LOOSEN_DELAY_S = 14 * 86_400  # Settings.sol
PERIOD_S = 90 * 86_400
MOST_SIGNERS = 32  # Signers.sol
OUTCOMES = {g.ProposalExecuted: "executed", g.ProposalCanceled: "canceled"}


@on(g.SettingChanged, g.SettingScheduled, g.SettingCancelled, g.Abdicated)
def setting(step: Step, event: g.SettingChanged | g.SettingScheduled | g.SettingCancelled | g.Abdicated) -> None:
    """A number that the council may change has, or will have, another value, or keeps it for ever."""
    name = event.name.rstrip(b"\0").decode("ascii", "replace")
    key = (event.contract, name, event.subject)
    known = step.state.settings.get(key)
    now = known or Setting(None)
    step.state.settings[key] = now
    step.check(Rule.SETTINGS, not now.abdicated, lambda: f"setting {name} was abdicated, and changed")
    if isinstance(event, g.SettingChanged | g.SettingScheduled):
        _check_course(step, name, now, event)
    if isinstance(event, g.SettingChanged):
        if known is not None:
            now.changed_at = step.now_s
        now.value, now.pending, now.ready_at = event.value, None, None
        if event.subject != ZERO32 and (c := step.state.classes.get(event.subject)):
            changed: dict[str, Any] = {CLASS_SETTINGS[name]: event.value}
            c.created = replace(c.created, **changed)
    elif isinstance(event, g.SettingScheduled):
        now.pending, now.ready_at = event.value, event.ready_at
    elif isinstance(event, g.SettingCancelled):
        now.pending, now.ready_at = None, None
    else:
        now.abdicated = True


@on(g.SignerScheduled, g.SignerAdded, g.SignerRemoved)
def signer(step: Step, event: g.SignerScheduled | g.SignerAdded | g.SignerRemoved) -> None:
    """A quorum has another signer, or one less."""
    key, signers = (event.contract, event.signer), step.state.signers
    if isinstance(event, g.SignerScheduled):
        signers[key] = Signer(key in signers and signers[key].signs, event.ready_at)
    elif isinstance(event, g.SignerAdded):
        signers[key] = Signer(True)
    elif signers.pop(key, None) is None and step.state.known is None:
        raise Unknown(f"signer {shown(event.signer)} of {event.contract}")
    threshold = step.state.settings.get((event.contract, "threshold", ZERO32))
    if threshold is not None and threshold.value is not None:  # else the contract is being made
        count = sum(of == event.contract and one.signs for (of, _), one in signers.items())
        majority = count <= MOST_SIGNERS and threshold.value <= count < 2 * threshold.value
        step.check(
            Rule.SETTINGS, majority, lambda: f"{event.contract} has {count} signers, {threshold.value} are enough"
        )


@on(g.ProposalCreated)
def proposed(step: Step, event: g.ProposalCreated) -> None:
    """The groups are asked something."""
    new = event.proposal_id not in step.state.proposals
    step.check(Rule.SETTINGS, new, lambda: f"proposal {event.proposal_id} was made twice")
    step.state.proposals[event.proposal_id] = Proposal(event, step.block, vote_end=event.vote_end)


@on(g.VoteCast, g.VoteCastWithParams)
def voted(step: Step, event: g.VoteCast | g.VoteCastWithParams) -> None:
    """A group has voted: once, and with one vote."""
    proposal, key = _proposal(step, event.proposal_id), (event.proposal_id, event.voter)
    if proposal is None:
        return
    once = key not in step.state.votes and event.weight == 1 and event.support < len(proposal.votes)
    step.check(Rule.SETTINGS, once, lambda: f"{shown(event.voter)} voted twice, or more than once counts")
    if once:
        proposal.votes[event.support] += event.weight
        step.state.votes[key] = (event.support, event.weight, event.reason)


@on(g.ProposalExtended)
def extended(step: Step, event: g.ProposalExtended) -> None:
    """The groups have longer to vote."""
    if (proposal := _proposal(step, event.proposal_id)) is not None:
        proposal.vote_end = event.extended_deadline


@on(g.ProposalQueued)
def queued(step: Step, event: g.ProposalQueued) -> None:
    """What passed waits in the timelock."""
    if (proposal := _proposal(step, event.proposal_id)) is None:
        return
    passed = proposal.votes[1] > proposal.votes[0]
    step.check(Rule.SETTINGS, passed, lambda: f"proposal {event.proposal_id} was queued and has not passed")
    proposal.ready_at = event.eta_seconds


@on(g.ProposalExecuted, g.ProposalCanceled)
def ended(step: Step, event: g.ProposalExecuted | g.ProposalCanceled) -> None:
    """A proposal was carried out after its delay, or will not be."""
    if (proposal := _proposal(step, event.proposal_id)) is None:
        return
    waited = proposal.ready_at is not None and proposal.ready_at <= step.now_s
    right = waited or isinstance(event, g.ProposalCanceled)
    step.check(Rule.SETTINGS, right, lambda: f"proposal {event.proposal_id} was executed before its time")
    proposal.outcome = OUTCOMES[type(event)]


@on(g.RoleGranted, g.RoleRevoked, g.RoleAdminChanged, g.TimelockChange, g.MinDelayChange)
def made(step: Step, event: g.RoleGranted | g.RoleRevoked | g.RoleAdminChanged | object) -> None:
    """The timelock's roles and its delay, and the council's timelock, are as they were made: told before any member
    is there, and never again."""
    first = not step.state.members and step.state.known is None
    step.check(Rule.SETTINGS, first, lambda: f"{type(event).__name__} after the contracts were made")


@on(g.CallScheduled, g.CallExecuted, g.CallSalt, g.Cancelled)
def carried_out(step: Step, event: object) -> None:
    """What the timelock does shows in what it changes."""


def _proposal(step: Step, number: int) -> Proposal | None:
    """None: it was made before an audit that begins in the middle."""
    found = step.state.proposals.get(number)
    if found is None and step.state.known is None:
        raise Unknown(f"proposal {number}")
    return found


def _check_course(step: Step, name: str, now: Setting, event: g.SettingChanged | g.SettingScheduled) -> None:
    """Once in 90 days, and what loosens works 14 days after it was decided (13)."""
    if isinstance(event, g.SettingScheduled):
        waits = event.ready_at == step.now_s + LOOSEN_DELAY_S
        step.check(Rule.SETTINGS, waits, lambda: f"setting {name} was to be loosened at {event.ready_at}")
        return
    rested = now.changed_at is None or step.now_s >= now.changed_at + PERIOD_S
    step.check(Rule.SETTINGS, rested, lambda: f"setting {name} changed twice within 90 days")
    if now.ready_at is not None:
        due = now.ready_at <= step.now_s and event.value == now.pending
        step.check(Rule.SETTINGS, due, lambda: f"setting {name} changed to {event.value} before its time")
