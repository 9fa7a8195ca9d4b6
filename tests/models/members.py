"""Members of the reference model: see ledger.py. Source: contracts/src/Members.sol."""

from dataclasses import replace

from commonhold import signing
from commonhold.signing import ZERO32
from commonhold.units import Address, class_id
from tests.models.state import DAY, ZERO, Member, Quorum, State, operation, refuse_if


class Members(State):
    @operation
    def admit(self, a: signing.Admission, quorum: Quorum) -> None:
        day = self.now_s // DAY
        refuse_if(a.member == ZERO, "ZeroMember")
        refuse_if(a.member in self.members, "AlreadyMember")
        refuse_if(a.nullifier in self.nullifiers, "NullifierUsed")
        refuse_if(a.until <= self.now_s, "UntilNotLater")
        refuse_if(self.admitted_on.get(day, 0) >= self.genesis.admissions_per_day, "TooManyAdmissions")
        self._check_quorum(self.genesis.attesters, self.genesis.attester_threshold, a.deadline, quorum)
        self.admitted_on[day] = self.admitted_on.get(day, 0) + 1
        self.nullifiers[a.nullifier] = a.member
        self.members[a.member] = Member(a.nullifier, ZERO, self.now_s, a.until)

    @operation
    def renew_membership(self, r: signing.Renewal, quorum: Quorum) -> None:
        refuse_if(r.member not in self.members, "NotMember")
        refuse_if(r.until <= self.members[r.member].until, "UntilNotLater")
        self._check_quorum(self.genesis.attesters, self.genesis.attester_threshold, r.deadline, quorum)
        self.members[r.member] = replace(self.members[r.member], until=r.until)

    @operation
    def attach(self, a: signing.Attachment, member_signed: bool, controller_signed: bool) -> None:
        """The signatures are those of the two roots."""
        refuse_if(self.now_s > a.deadline, "DeadlinePassed")
        old_root, new_root = self._two_roots(a.member, a.controller)
        refuse_if(not member_signed or not controller_signed, "BadSignature")
        refuse_if(a.nonce != self.nonces.get(a.member, 0), "InvalidAccountNonce")
        self.nonces[a.member] = a.nonce + 1
        self._join(old_root, new_root)

    @operation
    def find(self, f: signing.Finding, quorum: Quorum) -> None:
        refuse_if(f.evidence == ZERO32, "NoEvidence")
        old_root, new_root = self._two_roots(f.member, f.controller)
        self._check_quorum(self.genesis.attesters, self.genesis.attester_threshold, f.deadline, quorum)
        self._join(old_root, new_root)

    def _two_roots(self, member: Address, controller: Address) -> tuple[Address, Address]:
        refuse_if(member not in self.members or controller not in self.members, "NotMember")
        roots = self.root_of(member), self.root_of(controller)
        refuse_if(roots[0] == roots[1], "SameGroup")
        return roots

    def _join(self, old_root: Address, new_root: Address) -> None:
        self.members[old_root] = replace(self.members[old_root], controller=new_root)
        for params in self.genesis.classes:
            class_ = class_id(params.name)
            self._count(self.held, (class_, new_root), self.held.pop((class_, old_root), 0))
            for window in range(self.current_window(), self.current_window() + self.genesis.horizon + 1):
                for use in (self.acquired, self.redeemed):
                    self._count(use, (class_, window, new_root), use.pop((class_, window, old_root), 0))
