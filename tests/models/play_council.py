"""What the council may do in a random history: see history.py."""

from collections.abc import Sequence
from typing import Any

from commonhold.chain.contract import encode_call
from commonhold.signing import ZERO32
from commonhold.units import Hash32, class_id, keccak256
from tests.actors import ATTESTERS, address_of
from tests.models.council import Call
from tests.models.playing import EVERYONE, Player
from tests.models.settings import OF_CLASS
from tests.models.small import GPUS, TEXT
from tests.models.state import ClassParams

NEW_CLASSES = (
    ClassParams("model/llm", 1, "MB", hold_bps=3_000, use_bps=5_000, min_level=0, floor_units=1_000),
    ClassParams("model/none", 1, "MB", hold_bps=6_000, use_bps=5_000, min_level=0, floor_units=1_000),
)


class CouncilPlayer(Player):
    async def _propose(self) -> None:
        """At most one call does something, so that what it is refused with is not another's."""
        role, text = self._someone(), f"proposal {len(self.model.proposals)}"
        calls = [self._some_call()]
        targets, values, data = self._encoded(calls)
        await self._both(
            lambda: self.model.propose(address_of(role), calls, text),
            role, "Council", "propose", targets, values, data, text,
        )  # fmt: skip

    async def _vote(self) -> None:
        text = self._proposal("Active")
        snapshot = self.model.proposals[text].snapshot if text in self.model.proposals else 0
        waiting = [
            role
            for role in EVERYONE
            if (text, address_of(role)) not in self.model.voted and self.model.past_votes(address_of(role), snapshot)
        ]
        role = self._pick(EVERYONE if self._rarely() or not waiting else waiting)
        support = 3 if self._rarely() else self.random.choice([0, 1, 1, 1, 1, 2])
        await self._both(
            lambda: self.model.vote(address_of(role), text, support),
            role, "Council", "castVote", await self._id(text), support,
        )  # fmt: skip

    async def _queue(self) -> None:
        text = self._proposal("Succeeded")
        await self._both(
            lambda: self.model.queue(text),
            "relayer", "Council", "queue", *self._encoded(self._calls(text)), keccak256(text.encode()),
        )  # fmt: skip

    async def _execute(self) -> None:
        text = self._proposal("Queued")
        await self._both(
            lambda: self.model.execute(text),
            "relayer", "Council", "execute", *self._encoded(self._calls(text)), keccak256(text.encode()),
        )  # fmt: skip

    async def _enact(self) -> None:
        waiting = [key for key, course in self.model.courses.items() if course.pending_at]
        contract, name, subject = (
            self.random.choice(sorted(waiting))
            if waiting and not self._rarely()
            else ("Ledger", "holdBps", class_id(GPUS))
        )
        await self._both(
            lambda: self.model.enact(contract, name, subject),
            "relayer", contract, "enact", word(name), subject,  # type: ignore[arg-type]
        )  # fmt: skip

    async def _enact_signer(self) -> None:
        waiting = sorted(self.model.signers_ready)
        contract, signer = (
            self.random.choice(waiting) if waiting and not self._rarely() else ("Members", address_of("stranger"))
        )
        await self._both(
            lambda: self.model.enact_signer(contract, signer),
            "relayer", contract, "enactSigner", signer,  # type: ignore[arg-type]
        )  # fmt: skip

    async def _as_stranger(self) -> None:
        """What only the timelock may do."""
        role, (contract, function, args) = self._pick(EVERYONE), self._some_call()
        await self._both(self.model.as_stranger, role, contract, function, *_abi(function, args))  # type: ignore[arg-type]

    def _some_call(self) -> Call:
        kind = self.random.choices(["change", "signers", "class", "cancel", "abdicate"], [10, 3, 1, 1, 1])[0]
        if kind == "class":
            return "Ledger", "createClass", (self.random.choice(NEW_CLASSES),)
        contract = self.random.choice(["Members", "Ledger"])
        if kind == "signers":
            function = self.random.choice(["addSigner", "removeSigner"])
            return contract, function, (address_of(self._pick((*ATTESTERS, "elder", "juror"))),)
        contract, name, subject = self._setting(contract)
        if kind == "change":
            value = self.model.value(contract, name, subject)
            step = self.random.choice([1, -1]) * self.random.choice([1, 1, 100, 499, 500, 501, 250_000, 10**6])
            return contract, "change", (name, subject, max(0, value + step))
        return contract, kind, (name, subject)

    def _setting(self, contract: str) -> tuple[str, str, Hash32]:
        if contract == "Ledger" and self.random.random() < 0.8:
            return contract, self.random.choice(list(OF_CLASS)), class_id(self._pick((GPUS, TEXT)))
        return contract, "threshold" if contract == "Ledger" else self._pick(("threshold", "admissionsPerDay")), ZERO32

    def _proposal(self, state: str) -> str:
        """The description of a proposal in this state, most of the time; or of any."""
        texts = list(self.model.proposals)
        fitting = [text for text in texts if self.model.state_of(text) == state]
        if fitting and not self._rarely():
            return self.random.choice(fitting)
        return self.random.choice(texts or ["no proposal"])

    def _calls(self, text: str) -> Sequence[Call]:
        found = self.model.proposals.get(text)
        return found.calls if found else ()

    def _encoded(self, calls: Sequence[Call]) -> tuple[list[bytes], list[int], list[bytes]]:
        """Targets, values, call data."""
        deployment: Any = self.deployed.deployment
        return (
            [deployment.address_of(contract) for contract, _, _ in calls],
            [0 for _ in calls],
            [encode_call(contract, function, _abi(function, args)) for contract, function, args in calls],  # type: ignore[arg-type]
        )

    async def _id(self, text: str) -> int:
        at = await self.deployed.rpc.head()
        asked = (*self._encoded(self._calls(text)), keccak256(text.encode()))
        found = await self.deployed.rpc.call(
            "Council", self.deployed.deployment.address_of("Council"), "hashProposal", *asked, at=at
        )
        return int(found)


def word(name: str) -> bytes:
    """Short text as the contracts write it."""
    return name.encode().ljust(32, b"\0")


def _abi(function: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments as the ABI has them."""
    if function == "createClass":
        params = args[0]
        return (
            (
                params.name, params.kind, params.unit, params.hold_bps, params.use_bps, params.min_level,
                params.floor_units,
            ),
        )  # fmt: skip
    if function in ("change", "cancel", "abdicate"):
        return (word(args[0]), *args[1:])
    return args
