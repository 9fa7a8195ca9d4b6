"""How the groups change what may be changed: a proposal of calls, votes, the timelock's delay, execution. The commands
and the demo call this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from commonhold.chain.contract import encode_call
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.governing import ProposalCreated
from commonhold.chain.send import Mined, Sender
from commonhold.errors import CommonholdError
from commonhold.units import Address, Hash32, address_text, keccak256

# Governor's states, in its order. Source: OpenZeppelin, IGovernor.ProposalState.
STATES: Final = ("pending", "active", "canceled", "defeated", "succeeded", "queued", "expired", "executed")
SUPPORT: Final = ("against", "for", "abstain")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the timelock makes when the proposal is executed."""

    target: Address
    data: bytes
    value: int = 0


@dataclass(frozen=True, slots=True)
class Motion:
    """What is proposed. Calls and description are its number: all of it is given again to queue and execute."""

    calls: Sequence[Call]
    description: str

    def arguments(self) -> tuple[list[Address], list[int], list[bytes]]:
        """As the Governor takes the calls."""
        return [c.target for c in self.calls], [c.value for c in self.calls], [c.data for c in self.calls]

    def by(self, proposer: Address) -> "Motion":
        """The same, for this proposer alone: nobody who sees it first can propose it, and then cancel it.

        Source: OpenZeppelin, Governor._isValidDescriptionForProposer.
        """
        return Motion(self.calls, f"{self.description}\n#proposer={address_text(proposer).lower()}")

    @property
    def description_hash(self) -> Hash32:
        return keccak256(self.description.encode())


class NotProposed(CommonholdError):
    """A mined transaction did not tell of the proposal that it was sent for."""

    code = "not_proposed"


def setting_name(name: str) -> Hash32:
    """A setting's name as the contracts have it: short ASCII in a word."""
    return Hash32(name.encode("ascii").ljust(32, b"\0"))


def change(deployment: Deployment, contract: ContractName, name: str, subject: Hash32, value: int) -> Call:
    """The call that changes a setting."""
    data = encode_call(contract, "change", (setting_name(name), subject, value))
    return Call(deployment.address_of(contract), data)


async def propose(sender: Sender, motion: Motion) -> tuple[int, Mined]:
    """The motion is put to the vote; its number. Only who has a vote."""
    mined = await sender.transact("Council", "propose", *motion.arguments(), motion.description)
    created = [event for event in mined.events if isinstance(event, ProposalCreated)]
    if len(created) != 1:
        raise NotProposed(f"{len(created)} proposals in the transaction, expected 1")
    return created[0].proposal_id, mined


async def vote(sender: Sender, proposal: int, support: str, reason: str = "") -> Mined:
    """The sender's group has voted; `support` is one of SUPPORT."""
    return await sender.transact("Council", "castVoteWithReason", proposal, SUPPORT.index(support), reason)


async def queue(sender: Sender, motion: Motion) -> Mined:
    """What passed waits in the timelock. Anyone may send it."""
    return await sender.transact("Council", "queue", *motion.arguments(), motion.description_hash)


async def execute(sender: Sender, motion: Motion) -> Mined:
    """What has waited is done. Anyone may send it."""
    return await sender.transact("Council", "execute", *motion.arguments(), motion.description_hash)


async def enact(sender: Sender, contract: ContractName, name: Hash32, subject: Hash32) -> Mined:
    """A change that loosens and has waited in public holds. Anyone may send it."""
    return await sender.transact(contract, "enact", name, subject)


async def enact_signer(sender: Sender, contract: ContractName, signer: Address) -> Mined:
    """Who was scheduled, and has waited, signs. Anyone may send it."""
    return await sender.transact(contract, "enactSigner", signer)
