"""What routes are given: the service's state, a transaction, and the block that an answer is true at.

Both transactions end before the answer leaves (scope="function"): FastAPI's default would tell a client "recorded" and
commit afterwards.
"""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commonhold.access.dpop import NonceKeys
from commonhold.access.issue import Terms
from commonhold.access.keys import SigningKeys
from commonhold.chain.deployment import Deployment
from commonhold.chain.rpc import Rpc
from commonhold.chain.send import Sender
from commonhold.chain.stamp import BlockStamp, Tier
from commonhold.db import Db, ReadDb, read, write
from commonhold.errors import BadInput, Unavailable
from commonhold.mirror import read as mirror
from commonhold.mirror.follow import Tally
from commonhold.mirror.read import Past, Position, position
from commonhold.mirror.tiers import Settled, Tiers, settled
from commonhold.units import Address

MAX_BODY_BYTES = 4 << 20  # a batch of segments

BLOCK_HEADER = "Commonhold-Block"
PAST_HEADER = "Commonhold-At"
FINALIZED_HEADER = "Commonhold-Finalized"


@dataclass(slots=True)
class AppState:
    """What one service is made of. `signing_keys` is replaced when keys rotate; the rest stays."""

    engine: AsyncEngine
    rpc: Rpc
    deployment: Deployment
    sender: Sender | None  # None: this service relays nothing
    signing_keys: SigningKeys
    nonce_keys: NonceKeys
    issuer: str  # public URL, without a slash at its end
    window_seconds: int
    submitter: Address  # whose anchors are this service's
    quantum_ms: int
    token_ttl_s: int
    clock: Callable[[], int]  # Unix seconds
    tier: Tier = "latest"
    tiers: Tiers = field(default_factory=Tiers)  # what counts for a token, and what is settled
    max_behind: int = 20  # blocks that the mirror may be behind the node before no token is issued
    max_head_age_s: int = 0  # how old the newest block may be while the service is ready; 0: any age
    tally: Tally = field(default_factory=Tally)
    relay_wait_s: float = 10.0  # how long a token request waits for its lease
    faults: Callable[[], dict[str, str]] = dict  # which loops stopped or wait, and why; empty: all run
    integrity: Callable[[], dict[str, str]] = dict  # those whose stop puts the mirror in doubt; empty: it is not

    def node_faults(self) -> dict[str, str]:
        """RPC endpoints that lied or are of another chain, and how. They are not asked again: while another one is, the
        service is ready all the same, since it recomputes what that one says, too."""
        return {f"rpc {each.host}": each.dropped for each in self.rpc.health() if each.dropped is not None}

    async def settled(self) -> Settled:
        """Up to which block admissions and redemptions count now. Raises Unavailable."""
        admit = await settled(self.engine, self.rpc, self.tiers.admit)
        if self.tiers.redeem == self.tiers.admit:
            return Settled(admit, admit)
        return Settled(admit, await settled(self.engine, self.rpc, self.tiers.redeem))

    @property
    def terms(self) -> Terms:
        """What all tokens of this service have in common."""
        return Terms(
            issuer=self.issuer,
            chain_id=self.deployment.chain_id,
            window_seconds=self.window_seconds,
            quantum_ms=self.quantum_ms,
            ttl_s=self.token_ttl_s,
        )


def get_state(request: Request) -> AppState:
    """The service that the application was made for."""
    state = request.app.state.commonhold
    assert isinstance(state, AppState)  # noqa: S101 - for the type checker: create_app put it there
    return state


State = Annotated[AppState, Depends(get_state)]


async def read_db(state: State) -> AsyncIterator[ReadDb]:
    """One transaction that only reads, for one request."""
    async with read(state.engine) as db:
        yield db


async def write_db(state: State) -> AsyncIterator[Db]:
    """One transaction that may write, for one request: committed before the answer leaves."""
    async with write(state.engine) as db:
        yield db


Read = Annotated[ReadDb, Depends(read_db, scope="function")]
Write = Annotated[Db, Depends(write_db, scope="function")]


async def at_block(db: Read, request: Request, response: Response) -> Position:
    """Names the block that the answer is true at, in a header, and in another the one above which all of it may still
    be reorganised. Raises MirrorEmpty."""
    found = await position(db)
    request.state.block = f"{found.number} 0x{found.hash.hex()}"  # problems.py puts it on refusals
    response.headers[BLOCK_HEADER] = request.state.block
    request.state.finalized = response.headers[FINALIZED_HEADER] = str(found.finalized)
    return found


AtBlock = Annotated[Position, Depends(at_block, scope="function")]


async def past(
    db: Read,
    _at: AtBlock,
    response: Response,
    at: Annotated[
        int | None, Query(description="an earlier block to answer for; default: the last one mirrored")
    ] = None,
) -> Past | None:
    """The earlier block that is asked about, which a header of its own names. Raises BlockNotMirrored."""
    if at is None:
        return None
    response.headers[PAST_HEADER] = str(at)
    return await mirror.at_block(db, at)


At = Annotated[Past | None, Depends(past, scope="function")]


async def at_write(db: Write, request: Request, response: Response) -> Position:
    """The same in the transaction that writes: a request that held one connection while it waits for a second would
    wait for others that do the same."""
    return await at_block(db, request, response)


AtWrite = Annotated[Position, Depends(at_write, scope="function")]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: `limit` items from the `offset`-th."""

    limit: int
    offset: int

    @property
    def slice(self) -> slice:
        return slice(self.offset, self.offset + self.limit)


def page(
    limit: Annotated[int, Query(ge=1, le=1000, description="most items to return")] = 100,
    offset: Annotated[int, Query(ge=0, description="items to skip")] = 0,
) -> Page:
    return Page(limit, offset)


Paged = Annotated[Page, Depends(page)]


def to_id(text: str, bits: int) -> int:
    """The number of decimal text. Raises BadInput."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,77}", text, re.ASCII) or int(text) >> bits:
        raise BadInput(f"id {text[:80]!r}: expected decimal text of at most {bits} bits")
    return int(text)


class InDoubt(Unavailable):
    """An integrity fault is open: what the mirror says may be wrong. Only people can close it."""

    code = "in_doubt"


def trusted(state: AppState) -> None:
    """No integrity fault is open. Raises InDoubt."""
    if open_faults := state.integrity():
        raise InDoubt("the mirror is in doubt: " + "; ".join(f"{name}: {text}" for name, text in open_faults.items()))


async def fresh(state: AppState) -> BlockStamp:
    """The node's newest block, when the mirror has followed it. Raises Unavailable otherwise: no limit is decided, and
    no token issued, on a state that is known to be old, or in doubt."""
    trusted(state)
    head = await state.rpc.head(state.tier)
    async with read(state.engine) as db:
        mirrored = await position(db)
    if head.number - mirrored.number > state.max_behind:
        raise Unavailable(
            f"mirror is at block {mirrored.number}, the chain at {head.number}: more than {state.max_behind} behind",
            details={"mirror": mirrored.number, "chain": head.number},
        )
    return head


async def young(state: AppState, head: BlockStamp) -> None:
    """The node's newest block is young enough; `head` is of the tier that is believed. Raises Unavailable: a chain or a
    node that stands still says nothing of what happens now."""
    if not state.max_head_age_s:
        return
    newest = head if state.tier == "latest" else await state.rpc.head("latest")
    age_s = state.clock() - newest.timestamp
    if age_s > state.max_head_age_s:
        raise Unavailable(
            f"newest block {newest.number} is {age_s} s old, expected at most {state.max_head_age_s}",
            details={"chain": newest.number, "age_s": age_s},
        )


async def limited_body(request: Request, most: int = MAX_BODY_BYTES) -> bytes:
    """The request's body. Raises BodyTooLarge as soon as it is longer than `most` bytes."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise BodyTooLarge(f"body of more than {most} bytes")
    except ClientDisconnect as e:
        raise BadInput("the client left while sending its body") from e
    return bytes(body)


async def whole_body(request: Request) -> bytes:
    """`limited_body`, as a dependency."""
    return await limited_body(request)


# Stands before any transaction among the parameters of a route: FastAPI makes them in this order, and a client that
# sends slowly must hold none open.
WholeBody = Annotated[bytes, Depends(whole_body)]


class LimitedBodies:
    """ASGI: no body is longer than MAX_BODY_BYTES. FastAPI reads a JSON body whole before it asks the route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY_BYTES:  # what FastAPI passes on from inside its own reading
                raise HTTPException(413, f"body of more than {MAX_BODY_BYTES} bytes")
            return message

        await self._app(scope, counted, send)


class BodyTooLarge(BadInput):
    """The request's body is larger than any that makes sense."""

    status = 413
    code = "body_too_large"
