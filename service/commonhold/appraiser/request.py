"""What a provider asks an appraiser: as values, and as the JSON between them, read strictly.

Both sides use this file, so it imports nothing of a server. Times are Unix seconds and proposed by whoever asks: all
appraisers must find the same.
"""

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from commonhold.appraiser.canonical import Json
from commonhold.appraiser.manifest import Manifest
from commonhold.appraiser.nvidia import MAX_CHAIN_BYTES, MAX_NODE_DEVICES, MAX_REPORT_BYTES, GpuEvidence
from commonhold.appraiser.result import Kind
from commonhold.errors import BadInput
from commonhold.units import Address, Hash32, address_text, hex_text, to_address, to_hash32

MAX_CHALLENGES: Final = 32
UINT48: Final = 1 << 48


@dataclass(frozen=True, slots=True)
class Terms:
    """What every request says."""

    registrant: Address
    class_name: str
    policy: str
    appraised_at: int
    expires_at: int
    deadline: int  # until when the ledger takes the signatures
    challenges: tuple[Hash32, ...] = ()  # of all appraisers asked, in any order; none before they were asked


@dataclass(frozen=True, slots=True)
class ComputeRequest:
    """A node of GPUs. `meter_key`: x || y."""

    terms: Terms
    meter_key: bytes
    evidences: tuple[GpuEvidence, ...]


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """A dataset or a model. `manifest`: of what was sent. `meter_key` None: no node serves it."""

    kind: Kind  # DATA or MODEL
    terms: Terms
    meter_key: bytes | None
    manifest: Manifest


Request = ComputeRequest | ContentRequest

HexAddress = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
Hex32 = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{64}$")]
Seconds48 = Annotated[int, Field(ge=0, lt=UINT48)]


class Body(BaseModel):
    """A JSON body: exact types, no unknown field."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """The body of these bytes. Raises BadInput naming the first wrong field."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as e:
            first = e.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise BadInput(f"{where}: {first['msg']}") from e

    def content(self) -> bytes:
        """The bytes that `parse` reads."""
        return self.model_dump_json(by_alias=True).encode()


class ChallengeBody(Body):
    """POST /v1/challenges: for whom, and for which ledger."""

    registrant: HexAddress
    chain_id: int = Field(gt=0)
    ledger: HexAddress


class PointBody(Body):
    """A P-256 point."""

    x: Hex32
    y: Hex32

    @classmethod
    def of(cls, point: bytes) -> Self:
        return cls(x=hex_text(point[:32]), y=hex_text(point[32:]))

    def point(self) -> bytes:
        return to_hash32(self.x) + to_hash32(self.y)


class EvidenceBody(Body):
    """What one GPU hands out. `report`: base64."""

    report: str = Field(max_length=4 * (MAX_REPORT_BYTES // 3 + 1))
    chain_pem: str = Field(max_length=MAX_CHAIN_BYTES)

    @classmethod
    def of(cls, evidence: GpuEvidence) -> Self:
        """Raises BadInput."""
        try:
            return cls(report=b64encode(evidence.report).decode("ascii"), chain_pem=evidence.chain_pem.decode("ascii"))
        except (UnicodeDecodeError, ValidationError) as e:
            raise BadInput(
                f"evidence: expected at most {MAX_REPORT_BYTES} bytes of report and {MAX_CHAIN_BYTES} of PEM in ASCII, "
                f"got {len(evidence.report)} and {len(evidence.chain_pem)}"
            ) from e

    def evidence(self) -> GpuEvidence:
        """Raises BadInput."""
        try:
            return GpuEvidence(b64decode(self.report, validate=True), self.chain_pem.encode("ascii"))
        except (binascii.Error, UnicodeEncodeError) as e:
            raise BadInput(f"evidences: expected reports in base64 and chains in ASCII: {e}") from e


class TermsBody(Body):
    """What the bodies of both kinds of request have."""

    registrant: HexAddress
    class_name: str = Field(alias="class", min_length=1, max_length=64)
    policy: str = Field(min_length=1, max_length=64)
    challenges: list[Hex32] = Field(min_length=1, max_length=MAX_CHALLENGES)
    appraised_at: Seconds48
    expires_at: Seconds48
    deadline: Seconds48

    def terms(self) -> Terms:
        """Raises BadInput."""
        return Terms(
            registrant=to_address(self.registrant),
            class_name=self.class_name,
            policy=self.policy,
            challenges=tuple(to_hash32(challenge) for challenge in self.challenges),
            appraised_at=self.appraised_at,
            expires_at=self.expires_at,
            deadline=self.deadline,
        )


class ComputeBody(TermsBody):
    """POST /v1/appraisals of a node, application/json."""

    kind: Literal["COMPUTE"]
    meter_key: PointBody
    evidences: list[EvidenceBody] = Field(min_length=1, max_length=MAX_NODE_DEVICES)

    @classmethod
    def of(cls, request: ComputeRequest) -> Self:
        return cls(
            kind="COMPUTE",
            meter_key=PointBody.of(request.meter_key),
            evidences=[EvidenceBody.of(evidence) for evidence in request.evidences],
            **terms_json(request.terms),  # type: ignore[arg-type]
        )

    def request(self) -> ComputeRequest:
        """Raises BadInput."""
        evidences = tuple(body.evidence() for body in self.evidences)
        return ComputeRequest(self.terms(), self.meter_key.point(), evidences)


class ContentBody(TermsBody):
    """The part `request` of POST /v1/appraisals of a dataset or model, multipart/form-data."""

    kind: Literal["DATA", "MODEL"]
    meter_key: PointBody | None = None

    @classmethod
    def of(cls, request: ContentRequest) -> Self:
        return cls(
            kind="DATA" if request.kind is Kind.DATA else "MODEL",
            meter_key=None if request.meter_key is None else PointBody.of(request.meter_key),
            **terms_json(request.terms),  # type: ignore[arg-type]
        )

    def point(self) -> bytes | None:
        """The meter key as x || y. None: no node serves it."""
        return None if self.meter_key is None else self.meter_key.point()


def inlined(body: type[Body]) -> Json:
    """The JSON schema of a body without references, so that it can stand in another document."""
    schema = body.model_json_schema()
    parts = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, dict) and "$ref" in node:
            return inline(parts[node["$ref"].rpartition("/")[2]])
        if isinstance(node, dict):
            return {name: inline(value) for name, value in node.items()}
        return [inline(value) for value in node] if isinstance(node, list) else node

    return cast(Json, inline(schema))


def terms_json(terms: Terms) -> dict[str, str | int | list[str]]:
    """The fields of a `TermsBody`."""
    return {
        "registrant": address_text(terms.registrant),
        "class": terms.class_name,
        "policy": terms.policy,
        "challenges": [hex_text(challenge) for challenge in terms.challenges],
        "appraised_at": terms.appraised_at,
        "expires_at": terms.expires_at,
        "deadline": terms.deadline,
    }
