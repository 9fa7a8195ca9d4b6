"""Settings and signers of the reference model: see ledger.py. Sources: contracts/src/Settings.sol, Signers.sol, and the
hooks of Members.sol and Classes.sol."""

from dataclasses import dataclass, field, replace
from typing import Any

from commonhold.signing import ZERO32
from commonhold.units import Address, Hash32, class_id
from tests.models.state import BPS, DAY, TOTAL_END, ZERO, ClassParams, Quorum, Revert, State, operation, refuse_if

LOOSEN_DELAY, PERIOD = 14 * DAY, 90 * DAY
MOST_SIGNERS = 32
OF_CLASS = {"holdBps": "hold_bps", "useBps": "use_bps", "minLevel": "min_level", "floorUnits": "floor_units"}

Key = tuple[str, str, Hash32]  # contract, name, subject


@dataclass(frozen=True)
class Course:
    pending: int = 0
    pending_at: int = 0
    next_change_at: int = 0
    abdicated: bool = False


@dataclass
class Settings(State):
    values: dict[tuple[str, str], int] = field(default_factory=dict)  # contract, name: those of no class
    courses: dict[Key, Course] = field(default_factory=dict)
    signers: dict[str, frozenset[Address]] = field(default_factory=dict)  # of a contract
    signers_ready: dict[tuple[str, Address], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.signers |= {"Members": self.genesis.attesters, "Ledger": self.genesis.appraisers}
        self.values["Members", "threshold"] = self.genesis.attester_threshold
        self.values["Ledger", "threshold"] = self.genesis.appraiser_threshold
        self.values["Members", "admissionsPerDay"] = self.genesis.admissions_per_day

    def setting(self, contract: str, name: str, subject: Hash32) -> tuple[int | bool, ...]:
        """All that `settingOf` tells, in its order."""
        course = self._course(contract, name, subject)
        least, most, step, lower_is_tighter = self._rule(contract, name, subject)
        value = self.value(contract, name, subject)
        bounds = (value, least, most, step, lower_is_tighter)
        return (*bounds, course.pending, course.pending_at, course.next_change_at, course.abdicated)

    @operation
    def enact(self, contract: str, name: str, subject: Hash32) -> None:
        course = self._course(contract, name, subject)
        refuse_if(course.pending_at == 0, "NothingPending")
        refuse_if(self.now_s < course.pending_at, "NotYet")
        self._check_change(contract, name, subject, course.pending)
        self._apply(contract, name, subject, course.pending)

    @operation
    def enact_signer(self, contract: str, signer: Address) -> None:
        ready_at = self.signers_ready.get((contract, signer), 0)
        self._check_not_abdicated(contract, "signers", ZERO32)
        refuse_if(ready_at == 0 or self.now_s < ready_at, "SignerNotReady")
        self.signers_ready.pop((contract, signer))
        refuse_if(signer in self.signers[contract], "BadSigner")
        self._set_signers(contract, self.signers[contract] | {signer})

    @operation
    def as_stranger(self) -> None:
        """Any call that only the timelock may make."""
        raise Revert("OnlyTimelock")

    # What the timelock does, as part of the execution of a proposal.

    def _change(self, contract: str, name: str, subject: Hash32, value: int) -> None:
        before, lower_is_tighter = self._check_change(contract, name, subject, value)
        self._drop(contract, name, subject)
        if (value < before) == lower_is_tighter:
            self._apply(contract, name, subject, value)
            return
        course = self._course(contract, name, subject)
        self.courses[contract, name, subject] = replace(course, pending=value, pending_at=self.now_s + LOOSEN_DELAY)

    def _cancel(self, contract: str, name: str, subject: Hash32) -> None:
        refuse_if(self._course(contract, name, subject).pending_at == 0, "NothingPending")
        self._drop(contract, name, subject)

    def _abdicate(self, contract: str, name: str, subject: Hash32) -> None:
        if (name, subject) != ("signers", ZERO32):
            self._rule(contract, name, subject)
        self._check_not_abdicated(contract, name, subject)
        self._drop(contract, name, subject)
        self.courses[contract, name, subject] = replace(self._course(contract, name, subject), abdicated=True)

    def _add_signer(self, contract: str, signer: Address) -> None:
        self._check_not_abdicated(contract, "signers", ZERO32)
        refuse_if(signer == ZERO or signer in self.signers[contract], "BadSigner")
        self.signers_ready[contract, signer] = self.now_s + LOOSEN_DELAY

    def _remove_signer(self, contract: str, signer: Address) -> None:
        self._check_not_abdicated(contract, "signers", ZERO32)
        if self.signers_ready.pop((contract, signer), 0):
            return
        refuse_if(signer not in self.signers[contract], "NotInQuorum")
        self._set_signers(contract, self.signers[contract] - {signer})

    def _create_class(self, params: ClassParams) -> None:
        class_ = class_id(params.name)
        refuse_if(len(self.classes) >= self.genesis.max_classes, "TooManyClasses")
        refuse_if(params.name == "" or class_ in self.classes, "BadClass")
        self.classes[class_] = params
        for name in ("floorUnits", "holdBps", "useBps", "minLevel"):
            least, most, _, _ = self._rule("Ledger", name, class_)
            refuse_if(not least <= self.value("Ledger", name, class_) <= most, "OutOfBounds")

    def _check_quorum(self, contract: str, deadline: int, quorum: Quorum) -> None:
        refuse_if(self.now_s > deadline, "DeadlinePassed")
        refuse_if(len(quorum) < self.values[contract, "threshold"], "QuorumTooSmall")
        previous = ZERO
        for signer, is_good in quorum:
            refuse_if(signer <= previous, "SignersNotAscending")
            refuse_if(signer not in self.signers[contract], "NotInQuorum")
            refuse_if(not is_good, "BadSignature")
            previous = signer

    def _set_signers(self, contract: str, signers: frozenset[Address]) -> None:
        refuse_if(len(signers) > MOST_SIGNERS, "TooManySigners")
        threshold = self.values[contract, "threshold"]
        refuse_if(threshold > len(signers) or 2 * threshold <= len(signers), "BadThreshold")
        self.signers[contract] = signers

    def _rule(self, contract: str, name: str, subject: Hash32) -> tuple[int, int, int, bool]:
        """Least, most, step, and whether lower is tighter."""
        if contract == "Ledger" and subject in self.classes:
            return self._rule_of_class(name, self.classes[subject])
        if (contract, name, subject) == ("Members", "admissionsPerDay", ZERO32):
            return 1, 10_000, max(1, self.values["Members", name] // 2), True
        refuse_if((name, subject) != ("threshold", ZERO32), "UnknownSetting")
        count = len(self.signers[contract])
        return count // 2 + 1, count, 1, False

    def _rule_of_class(self, name: str, params: ClassParams) -> tuple[int, int, int, bool]:
        match name:
            case "holdBps":
                return max(100, -(-BPS // max(params.floor_units, 1))), 5_000, 500, True
            case "floorUnits":
                least = -(-BPS // max(params.hold_bps, 1))
                return least, TOTAL_END - 1, max(10**6, params.floor_units // 4), True
            case "useBps":
                return 100, BPS, 500, True
            case "minLevel":
                return 0, 5, 1, False
            case _:
                raise Revert("UnknownSetting")

    def value(self, contract: str, name: str, subject: Hash32) -> int:
        if contract == "Ledger" and subject in self.classes:
            value: int = getattr(self.classes[subject], OF_CLASS[name])
            return value
        return self.values[contract, name]

    def _check_change(self, contract: str, name: str, subject: Hash32, value: int) -> tuple[int, bool]:
        least, most, step, lower_is_tighter = self._rule(contract, name, subject)
        before = self.value(contract, name, subject)
        self._check_not_abdicated(contract, name, subject)
        refuse_if(value == before, "SameValue")
        refuse_if(not least <= value <= most, "OutOfBounds")
        refuse_if(abs(value - before) > step, "StepTooLarge")
        refuse_if(self.now_s < self._course(contract, name, subject).next_change_at, "TooSoon")
        return before, lower_is_tighter

    def _check_not_abdicated(self, contract: str, name: str, subject: Hash32) -> None:
        refuse_if(self._course(contract, name, subject).abdicated, "SettingAbdicated")

    def _apply(self, contract: str, name: str, subject: Hash32, value: int) -> None:
        self.courses[contract, name, subject] = Course(next_change_at=self.now_s + PERIOD)
        if subject in self.classes:
            changed: Any = {OF_CLASS[name]: value}
            self.classes[subject] = replace(self.classes[subject], **changed)
        else:
            self.values[contract, name] = value

    def _drop(self, contract: str, name: str, subject: Hash32) -> None:
        course = self._course(contract, name, subject)
        self.courses[contract, name, subject] = replace(course, pending=0, pending_at=0)

    def _course(self, contract: str, name: str, subject: Hash32) -> Course:
        return self.courses.get((contract, name, subject), Course())
