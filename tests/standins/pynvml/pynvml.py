"""``pynvml`` of nvidia-ml-py 13.615, on a machine with one Tesla T4 that works hard.

The names, values and error texts are those of the release; the functions are the ones that we ask. The card's figures
are those of its data sheet. ``STANDIN_MISBEHAVES`` is a list of habits, of which these are NVML's: ``driver-missing``,
``driver-mismatch``, ``lost-device``, ``old-driver``, ``hot``, ``hot-between`` (only between two questions, so that
nothing but the counter tells), ``fixed-clocks``, ``exclusive``, ``prohibited``, ``shared``.
"""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

NVML_SUCCESS = 0
NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_DRIVER_NOT_LOADED = 9
NVML_ERROR_LIBRARY_NOT_FOUND = 12
NVML_ERROR_FUNCTION_NOT_FOUND = 13
NVML_ERROR_GPU_IS_LOST = 15
NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
NVML_CLOCK_SM = 1
NVML_CLOCK_MEM = 2
NVML_PERF_POLICY_THERMAL = 1
NVML_PERF_POLICY_SYNC_BOOST = 2
NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN = 269
NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN = 270
NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN = 271
NVML_TEMPERATURE_GPU = 0
NVML_COMPUTEMODE_DEFAULT = 0
NVML_COMPUTEMODE_PROHIBITED = 2
NVML_COMPUTEMODE_EXCLUSIVE_PROCESS = 3
nvmlClocksEventReasonGpuIdle = 1  # noqa: N816 - NVML's name
nvmlClocksEventReasonApplicationsClocksSetting = 2  # noqa: N816
nvmlClocksEventReasonSwPowerCap = 4  # noqa: N816
nvmlClocksEventReasonHwSlowdown = 8  # noqa: N816
nvmlClocksEventReasonSyncBoost = 16  # noqa: N816
nvmlClocksEventReasonSwThermalSlowdown = 32  # noqa: N816
nvmlClocksEventReasonHwThermalSlowdown = 64  # noqa: N816
nvmlClocksEventReasonHwPowerBrakeSlowdown = 128  # noqa: N816

UUID = "GPU-5a1c3e70-8d2b-4f6e-9c41-d07b2e9f6a13"
_WORDS = {
    NVML_ERROR_NOT_SUPPORTED: "Not Supported",
    NVML_ERROR_NOT_FOUND: "Not Found",
    NVML_ERROR_DRIVER_NOT_LOADED: "Driver Not Loaded",
    NVML_ERROR_LIBRARY_NOT_FOUND: "NVML Shared Library Not Found",
    NVML_ERROR_FUNCTION_NOT_FOUND: "Function Not Found",
    NVML_ERROR_GPU_IS_LOST: "GPU is lost",
    NVML_ERROR_LIB_RM_VERSION_MISMATCH: "RM has detected an NVML/RM version mismatch.",
}


class NVMLError(Exception):
    """Its value is NVML's code."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return _WORDS[self.value]


def _does(habit: str) -> bool:
    return habit in os.environ.get("STANDIN_MISBEHAVES", "").split(",")


def nvmlInit() -> None:  # noqa: N802
    if _does("driver-missing"):
        raise NVMLError(NVML_ERROR_DRIVER_NOT_LOADED)
    if _does("driver-mismatch"):
        raise NVMLError(NVML_ERROR_LIB_RM_VERSION_MISMATCH)


def nvmlSystemGetDriverVersion() -> str:  # noqa: N802
    return "580.126.09"


def nvmlDeviceGetHandleByIndex(index: int) -> str:  # noqa: N802
    if _does("lost-device"):
        raise NVMLError(NVML_ERROR_GPU_IS_LOST)
    if index != 0:
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return UUID


def nvmlDeviceGetHandleByUUID(uuid: str) -> str:  # noqa: N802
    if uuid != UUID:
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return UUID


def nvmlDeviceGetName(handle: str) -> str:  # noqa: N802
    return "Tesla T4"


def nvmlDeviceGetUUID(handle: str) -> str:  # noqa: N802
    return handle


def nvmlDeviceGetCudaComputeCapability(handle: str) -> tuple[int, int]:  # noqa: N802
    return 7, 5


def nvmlDeviceGetNumGpuCores(device: str) -> int:  # noqa: N802
    if _does("old-driver"):
        raise NVMLError(NVML_ERROR_FUNCTION_NOT_FOUND)
    return 2560


def nvmlDeviceGetMemoryInfo(handle: str, version: int | None = None) -> Any:  # noqa: N802
    return SimpleNamespace(total=16106127360, free=15728640000, used=377487360)


def nvmlDeviceGetMigMode(device: str) -> list[int]:  # noqa: N802
    raise NVMLError(NVML_ERROR_NOT_SUPPORTED)


def nvmlDeviceGetPowerManagementLimit(handle: str) -> int:  # noqa: N802
    return 70000


def nvmlDeviceGetPowerUsage(handle: str) -> int:  # noqa: N802
    return 68730


def nvmlDeviceGetMaxClockInfo(handle: str, type: int) -> int:  # noqa: A002, N802 - NVML's own name
    return 1590


def nvmlDeviceGetClockInfo(handle: str, type: int) -> int:  # noqa: A002, N802
    if type == NVML_CLOCK_MEM:
        return 5000
    return 645 if _does("hot") else 1590


def nvmlDeviceGetPerformanceState(handle: str) -> int:  # noqa: N802
    return 0


def nvmlDeviceGetViolationStatus(device: str, perfPolicyType: int) -> Any:  # noqa: N802, N803
    """It counts all the time for which the card is hot, which is half of it where it is so in between."""
    share = 1.0 if _does("hot") else 0.5 if _does("hot-between") else 0.0
    counted = share * time.monotonic_ns() if perfPolicyType == NVML_PERF_POLICY_THERMAL else 0
    return SimpleNamespace(referenceTime=time.time_ns() // 1000, violationTime=int(counted))


def nvmlDeviceGetFieldValues(handle: str, fieldIds: list[int]) -> list[Any]:  # noqa: N802, N803
    """A T4's driver has no value for the newer fields."""
    nothing = SimpleNamespace(ullVal=0)
    return [SimpleNamespace(fieldId=each, nvmlReturn=NVML_ERROR_NOT_SUPPORTED, value=nothing) for each in fieldIds]


def nvmlDeviceGetTemperatureV(handle: str, sensor: int, version: int = 16777228) -> int:  # noqa: N802
    if _does("old-driver"):
        raise NVMLError(NVML_ERROR_FUNCTION_NOT_FOUND)
    return 94 if _does("hot") else 61


def nvmlDeviceGetTemperature(handle: str, sensor: int) -> int:  # noqa: N802
    return 94 if _does("hot") else 61


def nvmlDeviceGetCurrentClocksEventReasons(handle: str) -> int:  # noqa: N802
    hot = nvmlClocksEventReasonSwThermalSlowdown if _does("hot") else 0
    fixed = nvmlClocksEventReasonApplicationsClocksSetting if _does("fixed-clocks") else 0
    return nvmlClocksEventReasonSwPowerCap | hot | fixed


def nvmlDeviceGetComputeMode(handle: str) -> int:  # noqa: N802
    if _does("prohibited"):
        return NVML_COMPUTEMODE_PROHIBITED
    return NVML_COMPUTEMODE_EXCLUSIVE_PROCESS if _does("exclusive") else NVML_COMPUTEMODE_DEFAULT


def nvmlDeviceGetComputeRunningProcesses(handle: str) -> list[Any]:  # noqa: N802
    """One that a container cannot see, the first one of the machine where the card is shared, and this process."""
    others = [2**22 + 1, *([1] if _does("shared") else [])]
    return [
        *(SimpleNamespace(pid=pid, usedGpuMemory=2**30) for pid in others),
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=377487360),
    ]
