"""GPU telemetry and evidence: what NVML says, mapped; and machines without a GPU, which say so."""

from pathlib import Path

import pynvml
import pytest

from commonhold.agent import telemetry
from commonhold.agent.evidence import DevelopmentEvidence, NoEvidence, NvmlEvidence
from commonhold.appraiser.devauthority import DevelopmentAuthority
from commonhold.errors import BadInput
from tests.agent.nvml_shape import NvmlShape


def has_gpu() -> bool:
    return telemetry.read().absent is None


def test_answers_of_nvml_are_mapped() -> None:
    shape = NvmlShape()

    seen = telemetry.read(shape)

    assert (seen.driver, seen.confidential, seen.absent) == ("580.95.05", "on", None)
    first, second = seen.gpus
    assert (first.index, first.name, first.energy_mj) == (0, "NVIDIA H100 80GB HBM3", 123_456_789_012)
    assert (first.utilisation_percent, first.memory_used_bytes) == (37, 1_520_809_984)
    assert (second.energy_mj, second.utilisation_percent) == (None, None)  # what a GPU does not report is not zero
    assert shape.opened == 0


def test_machine_without_gpus_says_that_its_time_is_allocation_time() -> None:
    shape = NvmlShape()
    shape.data["gpus"] = []

    seen = telemetry.read(shape)

    assert seen.absent == "the driver sees no GPU"
    assert seen.to_json()["gpu_time"] == "allocation time; no GPU is seen here"


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_machine_without_driver_says_so() -> None:
    seen = telemetry.read()

    assert seen.gpus == ()
    assert seen.absent is not None
    assert "driver" in seen.absent
    with pytest.raises(NoEvidence, match="driver"):
        NvmlEvidence().collect(bytes(32))


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="this machine has no GPU")
def test_real_gpu_is_read() -> None:
    seen = telemetry.read()

    assert all(gpu.uuid.startswith("GPU-") and gpu.memory_total_bytes for gpu in seen.gpus)


def test_evidence_is_every_gpus_report_under_one_nonce() -> None:
    nonce = b"\x07" * 32

    gpus = NvmlEvidence(NvmlShape()).collect(nonce)

    assert [gpu.report for gpu in gpus] == [
        bytes.fromhex("11e001ff") + nonce,
        bytes.fromhex("11e001fe") + nonce,
    ]
    assert gpus[0].chain_pem.startswith(b"-----BEGIN CERTIFICATE-----")


def test_gpu_without_confidential_mode_gives_no_evidence() -> None:
    with pytest.raises(NoEvidence, match="confidential mode"):
        NvmlEvidence(NvmlShape(confidential=False)).collect(bytes(32))


def test_size_in_the_report_bounds_what_is_taken_of_the_buffer() -> None:
    shape = NvmlShape()
    (first, _) = NvmlEvidence(shape).collect(b"\x07" * 32)

    assert len(first.report) == 36
    assert pynvml.NVML_CC_GPU_ATTESTATION_REPORT_SIZE > 36


def test_development_gpus_report_under_the_nonce(tmp_path: Path) -> None:
    DevelopmentAuthority.create().save(tmp_path / "authority")
    source = DevelopmentEvidence.load(tmp_path / "authority", [1, 2])

    gpus = source.collect(b"\x09" * 32)

    assert [gpu.report[4:36] for gpu in gpus] == [b"\x09" * 32] * 2
    assert gpus[0].chain_pem != gpus[1].chain_pem
    with pytest.raises(BadInput, match="development authority"):
        DevelopmentEvidence.load(tmp_path / "absent", [1])
