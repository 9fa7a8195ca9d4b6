"""What the GPUs say about themselves, through NVML: side fields for plausibility, never for billing.

NVML runs on the provider's machine and can be forged there; utilisation is the share of a sample period with at least
one kernel, however small. The energy counter is the cheap cross-check: an hour of allotted time with no energy spent is
an hour somebody should look at. A machine without GPU or driver says so: its GPU time is allocation time only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import pynvml

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU now. None: this GPU or driver does not report it."""

    index: int
    uuid: str  # derived from public ids of the chip: a name, not a proof
    name: str
    energy_mj: int | None  # since the driver was loaded
    utilisation_percent: int | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None


@dataclass(frozen=True, slots=True)
class Telemetry:
    """All GPUs of this machine. `absent` says why there are none; None: there are."""

    gpus: tuple[Gpu, ...]
    driver: str | None
    confidential: str  # "on", "off", "devtools", "unknown"
    absent: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As shown in the node's status; says in words what the GPU time of this machine means."""
        basis = "allocation time; no GPU is seen here" if self.absent else "allocation time; NVML beside it"
        return {**asdict(self), "gpu_time": basis}


class NvmlMissing(Exception):
    """There is no usable NVML; the text says why."""


@contextmanager
def nvml(library: Any = pynvml) -> Iterator[Any]:
    """NVML, started and shut down again. Raises NvmlMissing."""
    try:
        library.nvmlInit()
    except pynvml.NVMLError as e:
        raise NvmlMissing(f"no GPU driver: {e}") from e
    try:
        yield library
    finally:
        library.nvmlShutdown()


def read(library: Any = pynvml) -> Telemetry:
    """The telemetry of this machine, now. `library` has NVML's functions under pynvml's names."""
    try:
        with nvml(library) as opened:
            n_gpus = opened.nvmlDeviceGetCount()
            gpus = tuple(_gpu(opened, index) for index in range(n_gpus))
            driver = _text(opened.nvmlSystemGetDriverVersion())
            absent = None if gpus else "the driver sees no GPU"
            return Telemetry(gpus, driver, _confidential(opened), absent)
    except NvmlMissing as e:
        return Telemetry((), None, "unknown", str(e))


def _gpu(library: Any, index: int) -> Gpu:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    memory = _supported(lambda: library.nvmlDeviceGetMemoryInfo(handle))
    rates = _supported(lambda: library.nvmlDeviceGetUtilizationRates(handle))
    return Gpu(
        index=index,
        uuid=_text(library.nvmlDeviceGetUUID(handle)),
        name=_text(library.nvmlDeviceGetName(handle)),
        energy_mj=_supported(lambda: int(library.nvmlDeviceGetTotalEnergyConsumption(handle))),
        utilisation_percent=None if rates is None else int(rates.gpu),
        memory_used_bytes=None if memory is None else int(memory.used),
        memory_total_bytes=None if memory is None else int(memory.total),
    )


def _confidential(library: Any) -> str:
    state = _supported(library.nvmlSystemGetConfComputeState)
    if state is None:
        return "unknown"
    if state.devToolsMode == pynvml.NVML_CC_SYSTEM_DEVTOOLS_MODE_ON:
        return "devtools"
    return "on" if state.ccFeature == pynvml.NVML_CC_SYSTEM_FEATURE_ENABLED else "off"


def _supported(call: Callable[[], T]) -> T | None:
    """None when this GPU or driver does not know the call: in confidential mode some counters are off."""
    try:
        return call()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NoPermission):
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
