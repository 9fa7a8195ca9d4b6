"""Members of the reference model: see ledger.py. Sources: contracts/src/Members.sol, Control.sol, Groups.sol."""

from dataclasses import replace
from typing import Any, cast

from commonhold import signing
from commonhold.signing import ZERO32
from commonhold.units import Address, Hash32
from tests.models.revenue import Pool
from tests.models.state import DAY, ZERO, Member, Quorum, operation, refuse_if

MAX_TERM = 3 * 365 * DAY


class Members(Pool):
    @operation
    def admit(self, a: signing.Admission, quorum: Quorum) -> None:
        day = self.now_s // DAY
        self._check_new(a.member)
        refuse_if(a.nullifier in self.nullifiers, "NullifierUsed")
        self._check_until(a.until, self.now_s)
        refuse_if(self.admitted_on.get(day, 0) >= self.values["Members", "admissionsPerDay"], "TooManyAdmissions")
        self._check_quorum("Members", a.deadline, quorum)
        self.admitted_on[day] = self.admitted_on.get(day, 0) + 1
        self.nullifiers[a.nullifier] = a.member
        self.members[a.member] = Member(a.nullifier, ZERO, self.now_s, a.until)
        self._count_group(a.member, True)
        self._enter(a.member)

    @operation
    def renew_membership(self, r: signing.Renewal, quorum: Quorum) -> None:
        member = self._standing(r.member)
        self._check_until(r.until, max(member.until, self.now_s))
        self._check_quorum("Members", r.deadline, quorum)
        is_back = member.controller == ZERO and not member.counted
        since = member.since if self.is_active(r.member) else self.now_s
        self.members[r.member] = replace(member, since=since, until=r.until)
        if is_back:
            self._count_group(r.member, True)
            self._enter(r.member)

    @operation
    def lapse(self, account: Address) -> None:
        member = self._known(account)
        refuse_if(not member.counted, "NotCounted")
        refuse_if(self.is_active(account), "NotLapsed")
        self._count_group(account, False)
        self._exit(account)

    @operation
    def refuse_gifts(self, sender: Address, refused: bool) -> None:
        self.members[sender] = replace(self._standing(sender), refuses_gifts=refused)

    @operation
    def attach(self, a: signing.Attachment, member_signed: bool, controller_signed: bool) -> None:
        """The signatures are those of the two roots."""
        refuse_if(self.now_s > a.deadline, "DeadlinePassed")
        old_root, new_root = self._two_roots(a.member, a.controller)
        refuse_if(old_root == new_root, "SameGroup")
        refuse_if(not member_signed or not controller_signed, "BadSignature")
        self._use_nonce(a.member, a.nonce)
        self._join(old_root, new_root)

    @operation
    def find(self, f: signing.Finding, quorum: Quorum) -> None:
        refuse_if(f.evidence == ZERO32, "NoEvidence")
        refuse_if(f in self.findings, "FindingUsed")
        old_root, new_root = self._two_roots(f.member, f.controller)
        if old_root == new_root:
            refuse_if(f.member not in self.detachings, "SameGroup")
            refuse_if(f.member in self.path_of(f.controller), "NotController")
        self._check_quorum("Members", f.deadline, quorum)
        self.findings[f] = True
        self.detachings.pop(f.member, None)
        if old_root != new_root:
            self._join(old_root, new_root)

    @operation
    def detach(self, d: signing.Detachment, quorum: Quorum) -> None:
        member = self._standing(d.member)
        refuse_if(d.evidence == ZERO32, "NoEvidence")
        refuse_if(member.controller == ZERO, "NotControlled")
        refuse_if(d.member in self.detachings, "AlreadyStarted")
        self._check_quorum("Members", d.deadline, quorum)
        self._use_nonce(d.member, d.nonce)
        self.detachings[d.member] = self.now_s + self.genesis.detach_delay, d.nonce

    @operation
    def challenge_detach(self, sender: Address, member: Address, evidence: Hash32) -> None:
        refuse_if(member not in self.detachings, "NothingStarted")
        _, round_ = self.detachings[member]
        refuse_if(evidence == ZERO32, "NoEvidence")
        refuse_if(sender == self.root_of(member), "OwnGroup")
        refuse_if(len(self.path_of(sender)) > 1 or not self.is_active(sender), "NotActiveRoot")
        refuse_if((member, round_, sender) in self.challenged, "AlreadyChallenged")
        self.challenged[member, round_, sender] = True
        self.detachings[member] = self.now_s + self.genesis.detach_delay, round_

    @operation
    def complete_detach(self, account: Address) -> None:
        self._check_ready(self.detachings.get(account, (0, 0))[0])
        controllers = self.path_of(account)[1:]
        del self.detachings[account]
        self.members[account] = replace(self.members[account], controller=ZERO, since=self.now_s)
        self._count_group(account, True)
        for totals in self._totals():
            for key in [key for key in totals if key[-1] == account and self._moves(key)]:
                for controller in controllers:
                    self._count(totals, (*key[:-1], controller), -totals[key])
        self._enter(account)

    @operation
    def recover_member(self, r: signing.Recovery, quorum: Quorum) -> None:
        self._standing(r.member)
        refuse_if(r.evidence == ZERO32, "NoEvidence")
        started = self.recoveries.get(r.member)
        refuse_if(started is not None and started[0] not in self.members, "AlreadyStarted")
        self._check_new(r.successor)
        self._check_quorum("Members", r.deadline, quorum)
        self._use_nonce(r.member, r.nonce)
        self.recoveries[r.member] = r.successor, self.now_s + self.genesis.recovery_delay

    @operation
    def veto_recovery(self, sender: Address) -> None:
        refuse_if(sender not in self.recoveries, "NothingStarted")
        del self.recoveries[sender]

    @operation
    def complete_recovery(self, account: Address) -> None:
        successor, ready_at = self.recoveries.get(account, (ZERO, 0))
        self._check_ready(ready_at)
        self._check_new(successor)
        del self.recoveries[account]
        self.detachings.pop(account, None)
        member = self.members[account]
        controlled_since = self.now_s if member.controller != ZERO else 0
        self.members[successor] = replace(member, since=self.now_s, controlled_since=controlled_since)
        self.members[account] = replace(
            member, controller=successor, until=0, counted=False, refuses_gifts=False, successor=successor
        )
        for totals in self._totals():
            for key in [key for key in totals if key[-1] == account and self._moves(key)]:
                totals[*key[:-1], successor] = totals[key]
        self._replace_place(account, successor)

    def past_votes(self, account: Address, at: int) -> int:
        """1 for who was the root of its group at that time, and an active member ever since."""
        if not self.is_active(account) or self.members[account].since > at:
            return 0
        member = self.members[account]
        return 0 if member.controller != ZERO and member.controlled_since <= at else 1

    def _join(self, old_root: Address, new_root: Address) -> None:
        """The totals of the old root stay its own, and are the new root's as well."""
        self.members[old_root] = replace(self.members[old_root], controller=new_root, controlled_since=self.now_s)
        self._count_group(old_root, False)
        for totals in self._totals():
            for key in [key for key in totals if key[-1] == old_root and self._moves(key)]:
                self._count(totals, (*key[:-1], new_root), totals[key])
        self._exit(old_root)

    def _totals(self) -> tuple[dict[tuple[Any, ...], int], ...]:
        """Units of a class, and seconds of a class in a window, by the account that is the last part of the key."""
        return cast("tuple[dict[tuple[Any, ...], int], ...]", (self.held, self.acquired, self.redeemed))

    def _moves(self, key: tuple[Any, ...]) -> bool:
        """Windows that have ended count no more."""
        return len(key) == 2 or 0 <= key[1] - self.current_window() <= self.genesis.horizon

    def _count_group(self, root: Address, counted: bool) -> None:
        if self.members[root].counted == counted:
            return
        self.members[root] = replace(self.members[root], counted=counted)
        self.groups[self.now_s] = self.group_count(self.now_s) + (1 if counted else -1)

    def _known(self, account: Address) -> Member:
        refuse_if(account not in self.members, "NotMember")
        return self.members[account]

    def _standing(self, account: Address) -> Member:
        member = self._known(account)
        refuse_if(member.until == 0, "Replaced")
        return member

    def _two_roots(self, member: Address, controller: Address) -> tuple[Address, Address]:
        self._known(member)
        self._known(controller)
        return self.root_of(member), self.root_of(controller)

    def _check_new(self, account: Address) -> None:
        refuse_if(account == ZERO, "ZeroMember")
        refuse_if(account in (self.genesis.ledger, self.genesis.access), "SystemAccount")
        refuse_if(account in self.members, "AlreadyMember")

    def _check_until(self, until: int, than: int) -> None:
        refuse_if(until <= than, "UntilNotLater")
        refuse_if(until > self.now_s + MAX_TERM, "UntilTooLate")

    def _check_ready(self, ready_at: int) -> None:
        refuse_if(ready_at == 0, "NothingStarted")
        refuse_if(self.now_s < ready_at, "NotReady")

    def _use_nonce(self, account: Address, nonce: int) -> None:
        refuse_if(nonce != self.nonces.get(account, 0), "InvalidAccountNonce")
        self.nonces[account] = nonce + 1
