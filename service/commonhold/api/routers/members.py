"""Who takes part, and in which group."""

from fastapi import APIRouter

from commonhold.api.deps import At, Paged, Read
from commonhold.api.schemas import MemberOut, shaped
from commonhold.errors import NotFound
from commonhold.mirror import read
from commonhold.units import address_text, to_address

router = APIRouter(prefix="/v1/members", tags=["ownership"])


@router.get("", response_model=list[MemberOut])
async def members(db: Read, at: At, page: Paged) -> list[MemberOut]:
    """All members, in order of admission."""
    return shaped(MemberOut, await read.members(db, at, page.slice))


@router.get("/{address}", response_model=MemberOut)
async def member(address: str, db: Read, at: At) -> read.Member:
    """One member. 404 for an account that was never admitted."""
    found = await read.member(db, to_address(address), at)
    if found is None:
        raise NotFound(f"{address_text(to_address(address))} is not a member")
    return found
