"""What may happen to members in a random history: see history.py."""

from commonhold import signing
from commonhold.units import Address, Hash32
from tests.actors import ATTESTERS, address_of
from tests.models.playing import EVERYONE, HEIRS, Player


class MemberPlayer(Player):
    async def _admit(self, role: str) -> None:
        identity = self._hash(self._pick(EVERYONE) if self._rarely() else role)
        a = signing.Admission(
            address_of(role), identity, self._ends(20 if self._rarely() else 24 * 900), self._deadline()
        )
        quorum, model_quorum = self._quorum(self._signers(ATTESTERS), a)
        await self._both(lambda: self.model.admit(a, model_quorum), "relayer", "Members", "admit", a, quorum)

    async def _renew_membership(self) -> None:
        r = signing.Renewal(address_of(self._pick(EVERYONE)), self._ends(24 * 800), self._deadline())
        quorum, model_quorum = self._quorum(self._signers(ATTESTERS), r)
        await self._both(lambda: self.model.renew_membership(r, model_quorum), "relayer", "Members", "renew", r, quorum)

    async def _attach(self) -> None:
        member, controller = address_of(self._pick(EVERYONE)), address_of(self._pick(EVERYONE))
        nonce = self.model.nonces.get(member, 0) + self._rarely()
        a = signing.Attachment(member, controller, nonce, self._deadline())
        roots = [self._role(self.model.root_of(account)) for account in (member, controller)]
        forged = self._rarely()
        first = self.deployed.sign("stranger" if forged else roots[0], a)
        await self._both(
            lambda: self.model.attach(a, not forged or roots[0] == "stranger", True),
            "relayer", "Members", "attach", a, first, self.deployed.sign(roots[1], a),
        )  # fmt: skip

    async def _find(self) -> None:
        evidence = self._evidence()
        f = signing.Finding(
            address_of(self._pick(EVERYONE)), address_of(self._pick(EVERYONE)), evidence, self._deadline()
        )
        quorum, model_quorum = self._quorum(self._signers(ATTESTERS), f)
        await self._both(lambda: self.model.find(f, model_quorum), "relayer", "Members", "find", f, quorum)

    async def _lapse(self) -> None:
        over = [who for who, m in self.model.members.items() if m.counted and m.until <= self.model.now_s]
        account = self.random.choice(sorted(over)) if over and not self._rarely() else address_of(self._pick(EVERYONE))
        await self._both(lambda: self.model.lapse(account), "relayer", "Members", "lapse", account)

    async def _refuse_gifts(self) -> None:
        role, refused = self._pick(EVERYONE), self.random.random() < 0.3
        await self._both(
            lambda: self.model.refuse_gifts(address_of(role), refused), role, "Members", "refuseGifts", refused
        )

    async def _detach(self) -> None:
        controlled = [who for who, member in self.model.members.items() if member.controller != bytes(20)]
        member = self.random.choice(sorted(controlled)) if controlled and not self._rarely() else address_of("provider")
        nonce = self.model.nonces.get(member, 0) + self._rarely()
        d = signing.Detachment(member, self._evidence(), nonce, self._deadline())
        quorum, model_quorum = self._quorum(self._signers(ATTESTERS), d)
        await self._both(lambda: self.model.detach(d, model_quorum), "relayer", "Members", "detach", d, quorum)

    async def _challenge_detach(self) -> None:
        role, member, evidence = self._pick(EVERYONE), self._leaving(), self._evidence()
        await self._both(
            lambda: self.model.challenge_detach(address_of(role), member, evidence),
            role, "Members", "challengeDetach", member, evidence,
        )  # fmt: skip

    async def _complete_detach(self) -> None:
        member = self._leaving()
        await self._both(lambda: self.model.complete_detach(member), "relayer", "Members", "completeDetach", member)

    async def _recover_member(self) -> None:
        member, successor = address_of(self._someone()), address_of(self._pick((*HEIRS, "stranger")))
        nonce = self.model.nonces.get(member, 0) + self._rarely()
        r = signing.Recovery(member, successor, self._evidence(), nonce, self._deadline())
        quorum, model_quorum = self._quorum(self._signers(ATTESTERS), r)
        await self._both(lambda: self.model.recover_member(r, model_quorum), "relayer", "Members", "recover", r, quorum)

    async def _veto_recovery(self) -> None:
        started = [self._role(member) for member in self.model.recoveries]
        role = self._pick(started if started and self.random.random() < 0.4 else EVERYONE)
        await self._both(lambda: self.model.veto_recovery(address_of(role)), role, "Members", "vetoRecovery")

    async def _complete_recovery(self) -> None:
        started = sorted(self.model.recoveries)
        member = self.random.choice(started) if started and not self._rarely() else address_of(self._pick(EVERYONE))
        await self._both(lambda: self.model.complete_recovery(member), "relayer", "Members", "completeRecovery", member)

    def _leaving(self) -> Address:
        leaving = sorted(self.model.detachings)
        return self.random.choice(leaving) if leaving and not self._rarely() else address_of(self._pick(EVERYONE))

    def _evidence(self) -> Hash32:
        """New each time: a finding is used once."""
        return Hash32(bytes(32)) if self._rarely() else self._hash(f"evidence {self.random.randrange(50)}")
