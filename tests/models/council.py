"""Council and Timelock of the reference model: see ledger.py. Sources: contracts/src/Council.sol, Timelock.sol, and
OpenZeppelin's Governor and GovernorTimelockControl 5.7."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from commonhold.units import Address
from tests.models.access import Access
from tests.models.state import BPS, DAY, Revert, operation, refuse_if

MIN_QUORUM = 3
LATE_EXTENSION = DAY
AGAINST, FOR, ABSTAIN = range(3)

Call = tuple[str, str, tuple[Any, ...]]  # contract, function, arguments


@dataclass(frozen=True)
class Proposal:
    """`eta`: when it can be executed; 0: not queued."""

    calls: tuple[Call, ...]
    snapshot: int
    deadline: int
    votes: tuple[int, int, int] = (0, 0, 0)
    eta: int = 0
    executed: bool = False


@dataclass
class Council(Access):
    proposals: dict[str, Proposal] = field(default_factory=dict)  # by description, which the tests never use twice
    voted: dict[tuple[str, Address], bool] = field(default_factory=dict)

    @operation
    def propose(self, sender: Address, calls: Sequence[Call], description: str) -> None:
        refuse_if(self.past_votes(sender, self.now_s - 1) < 1, "GovernorInsufficientProposerVotes")
        snapshot = self.now_s + self.genesis.voting_delay
        self.proposals[description] = Proposal(tuple(calls), snapshot, snapshot + self.genesis.voting_period)

    @operation
    def vote(self, sender: Address, description: str, support: int) -> None:
        proposal = self._in_state(description, "Active")
        refuse_if(self.past_votes(sender, proposal.snapshot) == 0, "NoVote")
        refuse_if(support > ABSTAIN, "GovernorInvalidVoteType")
        refuse_if((description, sender) in self.voted, "GovernorAlreadyCastVote")
        self.voted[description, sender] = True
        votes = [count + (kind == support) for kind, count in enumerate(proposal.votes)]
        deadline = proposal.deadline
        if support != AGAINST and votes[FOR] + votes[ABSTAIN] == self._quorum(proposal):
            deadline = max(deadline, self.now_s + LATE_EXTENSION)
        self.proposals[description] = replace(
            proposal, votes=(votes[AGAINST], votes[FOR], votes[ABSTAIN]), deadline=deadline
        )

    @operation
    def queue(self, description: str) -> None:
        proposal = self._in_state(description, "Succeeded")
        self.proposals[description] = replace(proposal, eta=self.now_s + self.genesis.timelock_delay)

    @operation
    def execute(self, description: str) -> None:
        proposal = self._in_state(description, "Queued")
        refuse_if(self.now_s < proposal.eta, "TimelockUnexpectedOperationState")
        self.proposals[description] = replace(proposal, executed=True)
        for contract, function, args in proposal.calls:
            self._act(contract, function, args)

    def state_of(self, description: str) -> str:
        if description not in self.proposals:
            raise Revert("GovernorNonexistentProposal")
        proposal = self.proposals[description]
        against, for_, abstain = proposal.votes
        if proposal.executed:
            return "Executed"
        if proposal.snapshot >= self.now_s:
            return "Pending"
        if proposal.deadline >= self.now_s:
            return "Active"
        if for_ + abstain < self._quorum(proposal) or for_ <= against:
            return "Defeated"
        return "Queued" if proposal.eta else "Succeeded"

    def _quorum(self, proposal: Proposal) -> int:
        groups = self.group_count(proposal.snapshot)
        return max(MIN_QUORUM, -(-groups * self.genesis.quorum_bps // BPS))

    def _in_state(self, description: str, expected: str) -> Proposal:
        refuse_if(self.state_of(description) != expected, "GovernorUnexpectedProposalState")
        return self.proposals[description]

    def _act(self, contract: str, function: str, args: tuple[Any, ...]) -> None:
        """As the timelock."""
        match function:
            case "change":
                self._change(contract, *args)
            case "cancel":
                self._cancel(contract, *args)
            case "abdicate":
                self._abdicate(contract, *args)
            case "addSigner":
                self._add_signer(contract, *args)
            case "removeSigner":
                self._remove_signer(contract, *args)
            case "createClass":
                self._create_class(*args)
            case _:
                raise ValueError(f"timelock: {function} of {contract} is not modelled")
