"""The page at `/`: the state of the pool for people, from the same rows as the API."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from commonhold.api.deps import Read, State
from commonhold.api.pages.overview import overview
from commonhold.errors import Unavailable

router = APIRouter(include_in_schema=False)
template = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
).get_template("index.html")

# The page runs one script of its own and loads nothing from anywhere.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


@router.get("/", response_class=HTMLResponse)
async def page(db: Read, state: State) -> HTMLResponse:
    """The state of the pool, true at one block."""
    about = {
        "issuer": state.issuer,
        "chain_id": state.deployment.chain_id,
        "logs_verified": state.rpc.verify_logs,
        "faults": state.faults(),
    }
    try:
        shown = await overview(db)
    except Unavailable:
        empty: list[object] = []
        shown = {"position": None, "classes": empty, "assets": empty, "hours": empty, "leases": empty, "anchors": empty}
        shown |= {"digest": ""}
    return HTMLResponse(template.render(shown | about), headers=HEADERS)
