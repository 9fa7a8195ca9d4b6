"""What the mirror says of how the contracts are governed: settings, quorums, proposals and votes. Only reads."""

from dataclasses import dataclass

import sqlalchemy as sa

from commonhold.db import ReadDb
from commonhold.mirror import tables as t
from commonhold.units import Address, BlockNumber, Hash32


@dataclass(frozen=True, slots=True)
class Setting:
    """What the council may change of `contract`; `subject` is a class, or zero for the contract itself."""

    contract: str
    name: str
    subject: Hash32
    value: int | None  # None: "signers", which has none
    changed_at: int | None  # None: it is as at the beginning
    pending: int | None  # the value that waits, from `ready_at` on
    ready_at: int | None
    abdicated: bool


@dataclass(frozen=True, slots=True)
class Signer:
    """An attester (of Members) or appraiser (of Ledger), or who may become one at `ready_at`."""

    contract: str
    signer: Address
    signs: bool
    ready_at: int | None


@dataclass(frozen=True, slots=True)
class Proposal:
    proposal_id: int
    proposer: Address
    calls: str  # JSON: target, value and data of each
    description: str
    vote_start: int  # the snapshot
    vote_end: int
    against: int
    in_favour: int
    abstaining: int
    ready_at: int | None  # None: not queued
    outcome: str | None  # executed, canceled; None: neither yet
    block_number: BlockNumber

    def phase(self, now_s: int) -> str:
        """Where it stands at a time: waiting, voting, voted, queued, ready, executed or canceled."""
        if self.outcome is not None:
            return self.outcome
        if self.ready_at is not None:
            return "ready" if now_s >= self.ready_at else "queued"
        if now_s <= self.vote_start:
            return "waiting"
        return "voting" if now_s <= self.vote_end else "voted"


@dataclass(frozen=True, slots=True)
class Vote:
    proposal_id: int
    voter: Address
    support: int  # 0 against, 1 in favour, 2 abstains
    weight: int
    reason: str


async def settings(db: ReadDb) -> list[Setting]:
    """All settings, by contract, name and subject."""
    c = t.setting.c
    found = sa.select(t.setting).order_by(c.contract, c.name, c.subject)
    return [Setting(*row) for row in await db.execute(found)]


async def signers(db: ReadDb) -> list[Signer]:
    """Who signs in which quorum, and who is to, by contract and address."""
    c = t.signer.c
    return [Signer(*row) for row in await db.execute(sa.select(t.signer).order_by(c.contract, c.signer))]


async def proposals(db: ReadDb) -> list[Proposal]:
    """All proposals, the newest first."""
    c = t.proposal.c
    found = sa.select(t.proposal).order_by(c.block_number.desc(), c.proposal_id)
    return [Proposal(*row) for row in await db.execute(found)]


async def proposal(db: ReadDb, proposal_id: int) -> Proposal | None:
    """The proposal; None: there is none."""
    found = sa.select(t.proposal).where(t.proposal.c.proposal_id == proposal_id)
    row = (await db.execute(found)).one_or_none()
    return None if row is None else Proposal(*row)


async def votes(db: ReadDb, proposal_id: int) -> list[Vote]:
    """The votes on a proposal, by voter."""
    c = t.vote.c
    found = sa.select(t.vote).where(c.proposal_id == proposal_id).order_by(c.voter)
    return [Vote(*row) for row in await db.execute(found)]
