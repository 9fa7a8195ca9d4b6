"""Evidence of this node's GPUs over the appraisers' challenges, bound to the meter key.

In: challenges, who registers where, the meter key. Out: one report and certificate chain a GPU, all under one nonce.
Two sources: NVML's confidential-compute report of real GPUs, or the development authority, which proves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pynvml
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.agent.telemetry import NvmlMissing, nvml
from commonhold.appraiser.binding import binding_nonce, gpu_nonce
from commonhold.appraiser.devauthority import DevelopmentAuthority
from commonhold.appraiser.nvidia import GpuEvidence
from commonhold.errors import BadInput, Unavailable
from commonhold.signing import p256_point
from commonhold.units import Address


class NoEvidence(Unavailable):
    """The GPUs of this machine give no report: no driver, no confidential mode, or a GPU that knows none."""

    code = "no_evidence"


class EvidenceSource(Protocol):
    """Where reports come from: all GPUs of the node, each under the same nonce of 32 bytes."""

    def collect(self, nonce: bytes) -> tuple[GpuEvidence, ...]: ...


class NvmlEvidence:
    """The GPUs' own reports. Hopper gives them in confidential mode only."""

    def __init__(self, library: Any = pynvml) -> None:
        self._library = library

    def collect(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        """All GPUs or none: a node with a GPU that does not answer has no evidence. Raises NoEvidence."""
        try:
            with nvml(self._library) as library:
                gpus = tuple(_nvml_gpu(library, i, nonce) for i in range(library.nvmlDeviceGetCount()))
        except NvmlMissing as e:
            raise NoEvidence(str(e)) from e
        if not gpus:
            raise NoEvidence("the driver sees no GPU")
        return gpus


class DevelopmentEvidence:
    """GPUs that a development authority makes up: the layout is real, the silicon is not."""

    def __init__(self, authority: DevelopmentAuthority, serials: Sequence[int]) -> None:
        self._gpus = tuple(authority.enroll_gpu(serial) for serial in serials)

    @classmethod
    def load(cls, folder: Path, serials: Sequence[int]) -> "DevelopmentEvidence":
        """From the authority's folder. Raises BadInput."""
        try:
            return cls(DevelopmentAuthority.load(folder), serials)
        except (OSError, ValueError) as e:
            raise BadInput(f"development authority {folder}: {e}") from e

    def collect(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        return tuple(gpu.report(nonce) for gpu in self._gpus)


@dataclass(frozen=True, slots=True)
class NodeEvidence:
    """What a node hands to the appraisers. They compute `nonce` themselves."""

    meter_key: bytes  # x || y, 64 bytes
    nonce: bytes  # 32 bytes, in every report
    gpus: tuple[GpuEvidence, ...]


def collect(
    source: EvidenceSource,
    *,
    challenges: Sequence[bytes],
    provider: Address,
    chain_id: int,
    ledger: Address,
    meter_key: ec.EllipticCurvePublicKey,
) -> NodeEvidence:
    """Evidence of all GPUs of `source`, under the nonce that commits to everything else given here.

    challenges: one of each appraiser, 32 bytes, all different. Raises BadInput, NoEvidence.
    """
    point = p256_point(meter_key)
    try:
        binding = binding_nonce(
            challenges, provider=provider, chain_id=chain_id, ledger=ledger, meter_key=b"\x04" + point
        )
    except ValueError as e:
        raise BadInput(str(e)) from e
    nonce = gpu_nonce(binding)
    return NodeEvidence(point, nonce, source.collect(nonce))


def _nvml_gpu(library: Any, index: int, nonce: bytes) -> GpuEvidence:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    try:
        report = library.nvmlDeviceGetConfComputeGpuAttestationReport(handle, nonce)
        certificate = library.nvmlDeviceGetConfComputeGpuCertificate(handle)
    except pynvml.NVMLError as e:
        raise NoEvidence(f"GPU {index} gives no attestation report: {e}; is its confidential mode on?") from e
    return GpuEvidence(
        bytes(report.attestationReport[: report.attestationReportSize]),
        bytes(certificate.attestationCertChain[: certificate.attestationCertChainSize]),
    )
