"""The result of an appraisal: what was asked, checked and found, as a document that every honest appraiser makes alike.

Its canonical bytes hold nothing of the appraiser that made them (no name, no clock, no key): SHA-256 of them is the
result hash that a quorum signs and the ledger keeps, and whoever has the document can check it. Pure.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from commonhold.appraiser.canonical import Json, canonical, hex_list
from commonhold.appraiser.nvidia import Check
from commonhold.signing import ZERO32, Appraisal
from commonhold.units import Address, Hash32, address_text, class_id, hex_text

FORMAT: Final = "commonhold/result/v1"


class Kind(StrEnum):
    """What a class counts: DESIGN's words, the contracts' enum."""

    DATA = "DATA"
    MODEL = "MODEL"
    COMPUTE = "COMPUTE"


@dataclass(frozen=True, slots=True)
class PolicyUsed:
    """The policy of an appraisal. `development`: it trusts a development root, so what was found proves nothing."""

    name: str
    id: Hash32
    development: bool


@dataclass(frozen=True, slots=True)
class Result:
    """An accepted appraisal. Times in Unix seconds; `evidence` and `claims` are the parts of the document so called."""

    kind: Kind
    class_name: str
    registrant: Address
    chain_id: int
    ledger: Address
    policy: PolicyUsed
    challenges: tuple[Hash32, ...]  # of all appraisers asked, ascending
    content_hash: Hash32
    evidence: Mapping[str, Json]
    claims: Mapping[str, Json]
    checks: tuple[Check, ...]
    units: int
    level: int
    devices: tuple[Hash32, ...]  # device commitments, ascending; empty unless COMPUTE
    meter_key: bytes | None  # x || y; None: the asset is served by no node
    appraised_at: int
    expires_at: int

    def document(self) -> dict[str, Json]:
        """The result as JSON."""
        return {
            "format": FORMAT,
            "kind": self.kind.value,
            "class": self.class_name,
            "class_id": hex_text(class_id(self.class_name)),
            "registrant": address_text(self.registrant),
            "chain_id": self.chain_id,
            "ledger": address_text(self.ledger),
            "policy": {
                "name": self.policy.name,
                "id": hex_text(self.policy.id),
                "development": self.policy.development,
            },
            "challenges": hex_list(self.challenges),
            "content_hash": hex_text(self.content_hash),
            "evidence": dict(self.evidence),
            "claims": dict(self.claims),
            "checks": checks_json(self.checks),
            "units": self.units,
            "level": self.level,
            "devices": hex_list(self.devices),
            "meter_key": None
            if self.meter_key is None
            else {"x": hex_text(self.meter_key[:32]), "y": hex_text(self.meter_key[32:])},
            "appraised_at": self.appraised_at,
            "expires_at": self.expires_at,
        }

    def result_hash(self) -> Hash32:
        """SHA-256 of the document's canonical bytes."""
        return document_hash(self.document())

    def appraisal(self, deadline: int) -> Appraisal:
        """What an appraiser signs. deadline: until when the ledger takes the signature."""
        return Appraisal(
            class_id=class_id(self.class_name),
            registrant=self.registrant,
            content_hash=self.content_hash,
            result_hash=self.result_hash(),
            policy=self.policy.name,
            units=self.units,
            level=self.level,
            devices=self.devices,
            meter_key_x=ZERO32 if self.meter_key is None else Hash32(self.meter_key[:32]),
            meter_key_y=ZERO32 if self.meter_key is None else Hash32(self.meter_key[32:]),
            expires_at=self.expires_at,
            deadline=deadline,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """An appraisal that was refused, with all checks that were made."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass: at least one."""
        return tuple(check for check in self.checks if check.ok is False)


def document_hash(document: Mapping[str, Json]) -> Hash32:
    """The result hash of a result's document."""
    return Hash32(hashlib.sha256(canonical(document)).digest())


def checks_json(checks: tuple[Check, ...]) -> list[Json]:
    """Checks as JSON. `ok` null: not made, and `detail` says why."""
    return [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
