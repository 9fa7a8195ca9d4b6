"""NVML's functions over a file that was made by hand, not recorded from a GPU: it has the shape of NVML's answers (real
ctypes structures of pynvml, real exceptions), so the mapping is tested where there is no GPU. The calls themselves are
tested only on a machine that has one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pynvml

FILE = Path(__file__).parents[1] / "vectors" / "agent" / "nvml_shape_made_by_hand.json"


class NvmlShape:
    """`confidential=False`: GPUs that give no report."""

    def __init__(self, *, confidential: bool = True) -> None:
        self.data: dict[str, Any] = orjson.loads(FILE.read_bytes())
        self.confidential = confidential
        self.opened = 0

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.data["gpus"])

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return self.data["gpus"][index]

    def nvmlSystemGetDriverVersion(self) -> str:
        return str(self.data["driver"])

    def nvmlSystemGetConfComputeState(self) -> Any:
        return pynvml.c_nvmlConfComputeSystemState_t(**self.data["cc_state"])

    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        return str(handle["uuid"])

    def nvmlDeviceGetName(self, handle: Any) -> bytes:
        return str(handle["name"]).encode()  # bytes, as older bindings give

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        return pynvml.c_nvmlMemory_t(**handle["memory"])

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:
        return SimpleNamespace(**self._known(handle["utilisation"]))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        return int(self._known(handle["energy_mj"]))

    def nvmlDeviceGetConfComputeGpuAttestationReport(self, handle: Any, nonce: bytes) -> Any:
        if not self.confidential:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        report = bytes.fromhex(handle["report_hex"]) + nonce
        answer = pynvml.c_nvmlConfComputeGpuAttestationReport_t(attestationReportSize=len(report))
        answer.attestationReport[: len(report)] = list(report)
        return answer

    def nvmlDeviceGetConfComputeGpuCertificate(self, handle: Any) -> Any:
        chain = handle["chain_pem"].encode()
        answer = pynvml.c_nvmlConfComputeGpuCertificate_t(attestationCertChainSize=len(chain))
        answer.attestationCertChain[: len(chain)] = list(chain)
        return answer

    @staticmethod
    def _known(value: Any) -> Any:
        if value is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value
