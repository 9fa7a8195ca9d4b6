"""All that a service says, read at one block, and how it differs from what follows from the chain."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from commonhold.anchor.audit.rows import Row, differences, group_units
from commonhold.anchor.audit.state import State
from commonhold.anchor.concentration import concentration
from commonhold.chain.deployment import Deployment
from commonhold.errors import Unavailable
from commonhold.units import Hash32, hex_text, to_hash32, units_text

PAGE = 1_000
TRIES = 5
BLOCK_HEADER = "Commonhold-Block"


class ServiceUnreadable(Unavailable):
    """The service does not answer as its API says, or moves on faster than it can be read."""

    code = "service_unreadable"


class _Moved(Exception):
    """An answer is true at another block than the ones before it."""


@dataclass(frozen=True, slots=True)
class Said:
    """Every answer is true at the block. `credits` and `receipts` are of all members and leases together."""

    number: int
    hash: Hash32
    status: Row
    deployment: Row
    members: list[Row]
    classes: list[Row]
    assets: list[Row]  # each with its devices
    holdings: list[Row]
    offers: list[Row]
    credits: list[Row]
    leases: list[Row]
    delivered: list[Row]
    anchors: list[Row]
    totals: list[Row]
    hours: list[Row]
    receipts: list[Row]


async def read(http: httpx.AsyncClient) -> Said:
    """Everything, again from the start when the service moved to another block. Raises ServiceUnreadable."""
    for _ in range(TRIES):
        try:
            return await _Reader(http).read()
        except _Moved as moved:
            reason = str(moved)
            await asyncio.sleep(0.2)
    raise ServiceUnreadable(f"service {http.base_url}: {reason}, {TRIES} times")


async def get(http: httpx.AsyncClient, path: str) -> httpx.Response:
    """The answer to a GET. Raises ServiceUnreadable unless it is 200."""
    try:
        response = await http.get(path)
    except httpx.HTTPError as e:
        raise ServiceUnreadable(f"service {http.base_url}: {path}: {type(e).__name__}") from e
    if response.status_code != 200:
        raise ServiceUnreadable(f"service {http.base_url}: {path}: status {response.status_code}, expected 200")
    return response


def json_of(response: httpx.Response, kind: type) -> Any:
    """The JSON of an answer, an object or a list as `kind` says. Raises ServiceUnreadable."""
    try:
        found = response.json()
    except ValueError as e:
        raise ServiceUnreadable(f"service: {response.url.path}: answer is not JSON") from e
    rows = found if isinstance(found, list) else [found]
    if not isinstance(found, kind) or not all(isinstance(row, dict) for row in rows):
        raise ServiceUnreadable(f"service: {response.url.path}: expected JSON of another form")
    return found


class _Reader:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http, self._block = http, ""

    async def read(self) -> Said:
        status = await self._at_block("/status", dict)
        members = await self._all("/v1/members")
        assets = await self._all("/v1/assets")
        leases = await self._all("/v1/leases")
        number, block_hash = self._block.split(" ")
        return Said(
            number=int(number),
            hash=to_hash32(block_hash),
            status=status,
            deployment=json_of(await get(self._http, "/v1/deployment"), dict),
            members=members,
            classes=await self._all("/v1/classes", paged=False),
            assets=[await self._at_block(f"/v1/assets/{row.get('asset')}", dict) for row in assets],
            holdings=await self._all("/v1/holdings"),
            offers=await self._all("/v1/offers"),
            credits=[row for m in members for row in await self._all(f"/v1/credits?holder={m.get('address')}")],
            leases=leases,
            delivered=await self._all("/v1/delivered"),
            anchors=await self._all("/v1/anchors"),
            totals=await self._all("/v1/totals"),
            hours=await self._all("/v1/hours", paged=False),
            receipts=[row for one in leases for row in await self._all(f"/v1/receipts?lease={one.get('lease')}")],
        )

    async def _all(self, path: str, *, paged: bool = True) -> list[Row]:
        rows: list[Row] = []
        while True:
            sign = "&" if "?" in path else "?"
            some = await self._at_block(f"{path}{sign}limit={PAGE}&offset={len(rows)}" if paged else path, list)
            rows += some
            if not paged or len(some) < PAGE:
                return rows

    async def _at_block(self, path: str, kind: type) -> Any:
        response = await get(self._http, path)
        block = response.headers.get(BLOCK_HEADER, "")
        if self._block and block != self._block:
            raise _Moved(f"it moved from block {self._block} to {block} while it was read")
        self._block = block
        if len(block.split(" ")) != 2:
            raise ServiceUnreadable(f"service {self._http.base_url}: {path} does not name its block")
        return json_of(response, kind)


def identity(said: Said, deployment: Deployment, window_seconds: int) -> list[str]:
    """Whether it serves these contracts."""
    expected = {
        "chain_id": deployment.chain_id,
        "fingerprint": hex_text(deployment.fingerprint()),
        "window_seconds": window_seconds,
    }
    return [
        f"{name} is {said.deployment.get(name)}, expected {value}"
        for name, value in expected.items()
        if said.deployment.get(name) != value
    ]


Compared = tuple[str, Callable[[], list[str]]]  # what is compared, and how


def comparisons(said: Said, state: State, tables: Mapping[str, list[Row]]) -> Sequence[Compared]:
    """Every kind of row, one after the other."""

    def compare(what: str, table: str, key: tuple[str, ...], got: list[Row]) -> Callable[[], list[str]]:
        return lambda: differences(what, key, tables[table], got)

    return (
        ("members", compare("member", "member", ("address",), said.members)),
        ("classes and concentration", lambda: _classes(said, state, tables)),
        ("assets and devices", lambda: _assets(said, tables)),
        ("holdings", compare("holding", "holding", ("asset", "owner"), said.holdings)),
        ("offers", compare("offer", "offer", ("credit_id",), said.offers)),
        ("credits", compare("credit", "credit", ("credit_id", "holder"), said.credits)),
        ("leases", compare("lease", "lease", ("lease",), said.leases)),
        (
            "GPU time delivered",
            compare("delivered", "delivered", ("class_id", "window", "root", "level"), said.delivered),
        ),
        ("anchors", compare("anchor", "anchor", ("submitter", "epoch"), said.anchors)),
    )


def _classes(said: Said, state: State, tables: Mapping[str, list[Row]]) -> list[str]:
    found = differences("class", ("class_id",), tables["asset_class"], said.classes)
    shown = {row.get("class_id"): row for row in said.classes}
    for class_id, c in state.classes.items():
        row = shown.get(hex_text(class_id), {})
        groups = group_units(state, class_id)
        numbers = concentration((units for _, units in groups), c.total)
        expected = {
            "largest_bps_floor": numbers.largest_bps_floor,
            "hhi_floor": numbers.hhi_floor,
            "nakamoto": numbers.nakamoto,
        }
        got = row.get("concentration") or {}
        for name, value in expected.items():
            if got.get(name) != value:
                found.append(f"class {c.created.name}: {name} is {got.get(name)}, the chain says {value}")
        if row.get("holdings") != [{"root": root, "units": units_text(units)} for root, units in groups]:
            found.append(f"class {c.created.name}: holdings per group are not those of the chain")
    return found


def _assets(said: Said, tables: Mapping[str, list[Row]]) -> list[str]:
    found = differences("asset", ("asset",), tables["asset"], said.assets)
    devices = [
        {"device": device, "asset": row.get("asset")} for row in said.assets for device in row.get("devices") or ()
    ]
    return found + differences("device", ("device",), tables["device"], devices)
