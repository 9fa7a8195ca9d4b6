"""The page at `/`: the state of the pool for people, from the same rows as the API."""

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from commonhold.api.deps import BLOCK_HEADER, FINALIZED_HEADER, Read, State
from commonhold.api.pages.overview import overview
from commonhold.errors import Unavailable
from commonhold.mirror.read import position
from commonhold.units import hex_text

router = APIRouter(include_in_schema=False)
folder = Path(__file__).parent
template = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined).get_template(
    "index.html"
)


def _script_hash() -> str:
    """SHA-256 of the page's own script, as a Content-Security-Policy names it."""
    script = "".join(re.findall(r"<script>(.*?)</script>", (folder / "index.html").read_text(), re.DOTALL))
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


# The page runs one script, known by its bytes, and loads nothing from anywhere.
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_script_hash()}'; "
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
        "faults": state.faults() | state.node_faults(),
    }
    headers = dict(HEADERS)
    try:
        at = await position(db)
        headers |= {BLOCK_HEADER: f"{at.number} {hex_text(at.hash)}", FINALIZED_HEADER: str(at.finalized)}
        shown = await overview(db)
    except Unavailable:
        empty: list[object] = []
        shown = {"position": None, "classes": empty, "assets": empty, "hours": empty, "leases": empty, "anchors": empty}
        shown |= {"digest": "", "counts": {"assets": 0}}
    return HTMLResponse(template.render(shown | about), headers=headers)
