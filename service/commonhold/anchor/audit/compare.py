"""A service against the state that follows from the chain, at the block that the service stands at."""

from collections.abc import Callable, Sequence

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from commonhold.access.saying import SayingInvalid, verify
from commonhold.anchor.audit import records, rows, service
from commonhold.anchor.audit.service import Said, ServiceUnreadable
from commonhold.anchor.audit.state import State
from commonhold.chain.deployment import Deployment
from commonhold.errors import BadInput
from commonhold.meter.segment import SignedReceipt
from commonhold.units import hex_text, to_address

Tell = Callable[[str, Sequence[str], str], None]  # what was looked at, the differences, what to say without

_SIGNED = ("lease", "gpu_ms", "head", "node_signature", "session_signature")


async def compare(http: httpx.AsyncClient, said: Said, state: State, deployment: Deployment, tell: Tell) -> None:
    """Everything that the service shows, and what it published."""
    differences = service.identity(said, deployment, state.window_seconds)
    tell("stands on this chain", differences, f"block {said.number} {hex_text(said.hash)}")
    found = rows.tables(state)
    for what, differ in service.comparisons(said, state, found):
        tell(what, differ(), "as the chain says")
    digest, shown = hex_text(rows.digest(found)), said.status.get("digest")
    tell("digest of the mirror", [f"{shown}, expected {digest}"] if shown != digest else [], digest)
    await _records(http, said, state, deployment, tell)


async def agreement(services: Sequence[tuple[str, httpx.AsyncClient, Said]]) -> tuple[list[str], str]:
    """How services differ from the first of them in the digest, signed by each, of the lowest block that one stands at;
    and what was compared."""
    block, digests, found = min(said.number for _, _, said in services), dict[str, str](), []
    for name, http, said in services:
        try:
            digests[name] = await _digest(http, said, block)
        except (ServiceUnreadable, SayingInvalid, JoseError) as e:
            found.append(f"block {block}: {name}: {e}")
    first = next(iter(digests), "")
    found += [
        f"block {block}: {name} says digest {digest}, {first} {digests[first]}"
        for name, digest in digests.items()
        if digest != digests[first]
    ]
    return found, f"{len(services)} signed digests at block {block}: {digests.get(first)}"


async def _digest(http: httpx.AsyncClient, said: Said, block: int) -> str:
    """What the service signs for a block. Raises ServiceUnreadable, SayingInvalid, JoseError."""
    answer = service.json_of(await service.get(http, f"/digest?at={block}"), dict)
    keys = KeySet.import_key_set(service.json_of(await service.get(http, "/jwks.json"), dict))
    signed = verify(str(answer.get("jws")), keys)
    fingerprint = said.deployment.get("fingerprint")
    if (signed.block, hex_text(signed.deployment)) != (block, fingerprint):
        raise SayingInvalid(f"what it signed is of block {signed.block} and deployment {hex_text(signed.deployment)}")
    return hex_text(signed.digest)


async def _records(http: httpx.AsyncClient, said: Said, state: State, deployment: Deployment, tell: Tell) -> None:
    names = ("epochs' data leads to the anchored roots", "every signature", "one inclusion proof", "sums of use")
    try:
        submitter = to_address(str(said.deployment.get("submitter")))
        receipts = [SignedReceipt.from_json({name: row.get(name) for name in _SIGNED}) for row in said.receipts]
        published, differences = await records.fetch(http, state, deployment.domain("Meter"), submitter)
        leaves = len(published.leaves)
        tell(names[0], differences, f"{len(published.roots)} epochs, {leaves} leaves")
        differences = records.signatures(published, state)
        tell(
            names[1],
            differences,
            f"{published.segments} segments, {len(published.receipts)} receipts with two each",
        )
        what, differences = await records.inclusion(http, published, submitter)
        tell(names[2], differences, what)
        differences = records.used(published, said.totals, said.hours, receipts, state)
        tell(names[3], differences, f"{len(said.totals)} leases, {len(receipts)} receipts")
    except (ServiceUnreadable, BadInput) as e:
        tell("records", [str(e)], "")
