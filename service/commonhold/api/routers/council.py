"""How the contracts are governed: what may be changed, who signs, what is proposed and how the groups vote."""

import json

from fastapi import APIRouter

from commonhold.api.deps import AppState, AtBlock, Paged, Read, State, to_id
from commonhold.api.schemas import CallOut, ProposalDetail, ProposalOut, SettingOut, SignerOut, VoteOut, shaped
from commonhold.errors import NotFound
from commonhold.mirror import council
from commonhold.mirror.read import Position

router = APIRouter(prefix="/v1", tags=["council"])


@router.get("/settings", response_model=list[SettingOut])
async def settings(db: Read, _at: AtBlock, page: Paged) -> list[SettingOut]:
    """What the council may change, with what waits. Bounds and steps: `settingOf` of the contract."""
    return shaped(SettingOut, (await council.settings(db))[page.slice])


@router.get("/signers", response_model=list[SignerOut])
async def signers(db: Read, _at: AtBlock, page: Paged) -> list[SignerOut]:
    """Attesters and appraisers, and who is to become one."""
    return shaped(SignerOut, (await council.signers(db))[page.slice])


@router.get("/proposals", response_model=list[ProposalOut])
async def proposals(db: Read, at: AtBlock, page: Paged, state: State) -> list[ProposalOut]:
    """Proposals, the newest first."""
    rows = (await council.proposals(db))[page.slice]
    return [ProposalOut.model_validate(_shown(row, state, at)) for row in rows]


@router.get("/proposals/{proposal}", response_model=ProposalDetail)
async def proposal(proposal: str, db: Read, at: AtBlock, state: State) -> ProposalDetail:
    """One proposal, with its votes."""
    number = to_id(proposal, 256)
    row = await council.proposal(db, number)
    if row is None:
        raise NotFound(f"no proposal {number}")
    votes = [
        VoteOut.model_validate({name: getattr(vote, name) for name in VoteOut.model_fields})
        for vote in await council.votes(db, number)
    ]
    return ProposalDetail.model_validate(_shown(row, state, at) | {"votes": votes})


def _shown(row: council.Proposal, state: AppState, at: Position) -> dict[str, object]:
    names = ProposalOut.model_fields.keys() - {"phase", "calls"}
    shown: dict[str, object] = {name: getattr(row, name) for name in names}
    calls = [CallOut.model_validate(call) for call in json.loads(row.calls)]
    return shown | {"phase": row.phase(max(state.clock(), at.timestamp)), "calls": calls}
