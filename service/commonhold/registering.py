"""How a provider gets an asset appraised: evidence or bytes to the appraisers, a quorum's appraisal back. The commands
and the demo call this; what comes back goes to `actions.register`.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from commonhold.agent.evidence import EvidenceSource
from commonhold.appraiser import quorum
from commonhold.appraiser.appraise import BYTES_HASHED
from commonhold.appraiser.manifest import Progress, hash_path
from commonhold.appraiser.nvidia import GpuEvidence
from commonhold.appraiser.quorum import Answer, ComputeAsk, ContentAsk, Quorum
from commonhold.appraiser.request import Terms
from commonhold.appraiser.result import Kind
from commonhold.signing import Domain
from commonhold.units import Address

DEADLINE_S = 3_600


@dataclass(frozen=True, slots=True)
class Panel:
    """The appraisers that are asked, and what the ledger says of them."""

    urls: Sequence[str]
    need: int
    appraisers: Collection[Address]
    ledger: Domain
    http: httpx.AsyncClient | None = None
    on_answer: Callable[[Answer], None] | None = None

    async def ask(self, ask: ComputeAsk | ContentAsk) -> Quorum:
        """The quorum's appraisal. Raises NoQuorum with every appraiser's answer."""
        return await quorum.collect(
            self.urls,
            ask,
            need=self.need,
            ledger=self.ledger,
            appraisers=self.appraisers,
            http=self.http,
            on_answer=self.on_answer,
        )


async def appraise_node(
    panel: Panel,
    source: EvidenceSource,
    *,
    provider: Address,
    class_name: str,
    policy: str,
    meter_key: bytes,
    now_s: int,
    validity_s: int,
) -> Quorum:
    """A node's appraisal: its GPUs report under a nonce that commits to the challenges, provider and meter key."""

    async def evidence(nonce: bytes) -> Sequence[GpuEvidence]:
        return await asyncio.to_thread(source.collect, nonce)

    return await panel.ask(ComputeAsk(_terms(provider, class_name, policy, now_s, validity_s), meter_key, evidence))


async def appraise_content(
    panel: Panel,
    location: Path,
    *,
    provider: Address,
    class_name: str,
    kind: Kind,
    meter_key: bytes | None,
    now_s: int,
    validity_s: int,
    progress: Progress | None = None,
) -> Quorum:
    """The appraisal of a dataset's folder or a model's file: every appraiser hashes every byte."""
    manifest = await asyncio.to_thread(hash_path, location, progress)
    terms = _terms(provider, class_name, BYTES_HASHED, now_s, validity_s)
    return await panel.ask(ContentAsk(terms, kind, manifest, location, meter_key))


def _terms(provider: Address, class_name: str, policy: str, now_s: int, validity_s: int) -> Terms:
    return Terms(
        registrant=provider,
        class_name=class_name,
        policy=policy,
        challenges=(),
        appraised_at=now_s,
        expires_at=now_s + validity_s,
        deadline=now_s + min(DEADLINE_S, validity_s),
    )
