"""Evidence of this node's GPUs, all under one nonce.

In: the nonce, which appraise.py makes of the appraisers' challenges, the registrant and the meter key. Out: one report
and certificate chain a GPU. Two sources: NVML's confidential-compute report of real GPUs, or the development authority,
which proves nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pynvml

from commonhold.agent.telemetry import NvmlMissing, nvml
from commonhold.appraiser.devauthority import DevelopmentAuthority
from commonhold.appraiser.nvidia import GpuEvidence
from commonhold.errors import BadInput, Unavailable


class NoEvidence(Unavailable):
    """The GPUs of this machine give no report: no driver, no confidential mode, or a GPU that knows none."""

    code = "no_evidence"


class EvidenceSource(Protocol):
    """Where reports come from: all GPUs of the node, each under the same nonce of 32 bytes."""

    def collect(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        """The evidence of every GPU. Raises NoEvidence."""
        ...


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
        """The evidence of every enrolled GPU."""
        return tuple(gpu.report(nonce) for gpu in self._gpus)


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
