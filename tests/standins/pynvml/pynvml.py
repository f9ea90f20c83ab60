"""``pynvml`` of nvidia-ml-py 13.615, on a machine with one Tesla T4 that works hard.

The names, values and error texts are those of the release; the functions are the ones that we ask. The card's figures
are those of its data sheet. ``STANDIN_MISBEHAVES`` is a list of habits, of which these are NVML's: ``driver-missing``,
``driver-mismatch``, ``lost-device``, ``old-driver``, ``ecc-off``, ``hot``, ``hot-between`` (only between two
questions, so that nothing but the counter tells), ``fixed-clocks``, ``exclusive``, ``prohibited``, ``shared`` (process
``STANDIN_NEIGHBOUR``, or the first one of the machine, computes too), ``idle-neighbour`` (it only holds memory) and
``mig`` (an A100 in two slices of different sizes, which have no clocks of their own).
"""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

NVML_SUCCESS = 0
NVML_ERROR_INVALID_ARGUMENT = 2
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
#: Name, memory and multiprocessors of the slices by their handles.
SLICES = {
    "MIG-0e1f5a2b-3c4d-5e6f-8a9b-1c2d3e4f5a6b": ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 5_100_273_664, 14),
    "MIG-7b6a5948-3726-5150-9483-726150493827": ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 20_937_965_568, 42),
}
_WORDS = {
    NVML_ERROR_INVALID_ARGUMENT: "Invalid Argument",
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
    if uuid != UUID and not (_does("mig") and uuid in SLICES):
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return uuid


def nvmlDeviceGetName(handle: str) -> str:  # noqa: N802
    if handle in SLICES:
        return SLICES[handle][0]
    return "NVIDIA A100-SXM4-40GB" if _does("mig") else "Tesla T4"


def _whole(handle: str) -> None:
    """What only a whole card can be asked."""
    if handle in SLICES:
        raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)


def nvmlDeviceGetMaxMigDeviceCount(device: str) -> int:  # noqa: N802
    return 7 if _does("mig") else 0


def nvmlDeviceGetMigDeviceHandleByIndex(device: str, index: int) -> str:  # noqa: N802
    if not _does("mig") or index == 0:  # the first was taken away again
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return list(SLICES)[index - 1]


def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(migDevice: str) -> str:  # noqa: N802, N803
    if migDevice not in SLICES:
        raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
    return UUID


def nvmlDeviceGetAttributes(device: str) -> Any:  # noqa: N802
    if device not in SLICES:
        raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
    return SimpleNamespace(multiprocessorCount=SLICES[device][2], memorySizeMB=SLICES[device][1] // 2**20)


def nvmlDeviceGetUUID(handle: str) -> str:  # noqa: N802
    return handle


def nvmlDeviceGetCudaComputeCapability(handle: str) -> tuple[int, int]:  # noqa: N802
    _whole(handle)
    return (8, 0) if _does("mig") else (7, 5)


def nvmlDeviceGetNumGpuCores(device: str) -> int:  # noqa: N802
    if _does("old-driver"):
        raise NVMLError(NVML_ERROR_FUNCTION_NOT_FOUND)
    return 6912 if _does("mig") else 2560


def nvmlDeviceGetMemoryInfo(handle: str, version: int | None = None) -> Any:  # noqa: N802
    if handle in SLICES:
        return SimpleNamespace(total=SLICES[handle][1], free=SLICES[handle][1], used=0)
    return SimpleNamespace(total=16106127360, free=15728640000, used=377487360)


def nvmlDeviceGetMigMode(device: str) -> list[int]:  # noqa: N802
    _whole(device)
    if not _does("mig"):
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return [1, 1]


def nvmlDeviceGetEccMode(handle: str) -> list[int]:  # noqa: N802
    """The mode now and after the next start; a GeForce has none."""
    _whole(handle)
    if _does("old-driver"):
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return [0 if _does("ecc-off") else 1, 1]


def nvmlDeviceGetPowerManagementLimit(handle: str) -> int:  # noqa: N802
    _whole(handle)
    return 70000


def nvmlDeviceGetPowerUsage(handle: str) -> int:  # noqa: N802
    _whole(handle)
    return 68730


def nvmlDeviceGetMaxClockInfo(handle: str, type: int) -> int:  # noqa: A002, N802 - NVML's own name
    _whole(handle)
    return 1590


def nvmlDeviceGetClockInfo(handle: str, type: int) -> int:  # noqa: A002, N802
    _whole(handle)
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
    _whole(handle)
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
    """One that a container cannot see, the neighbour where there is one, and this process."""
    others = [2**22 + 1, *([_neighbour()] if _does("shared") or _does("idle-neighbour") else [])]
    return [
        *(SimpleNamespace(pid=pid, usedGpuMemory=2**30) for pid in others),
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=377487360),
    ]


def nvmlDeviceGetMPSComputeRunningProcesses(handle: str) -> list[Any]:  # noqa: N802
    return []


def nvmlDeviceGetProcessUtilization(handle: str, timeStamp: int) -> list[Any]:  # noqa: N802, N803
    """The neighbour computes, or NVML has no samples and says so with an error; of a slice it never tells."""
    if handle in SLICES:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    if not _does("shared"):
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    this_second_us = time.time_ns() // 1000
    assert this_second_us - timeStamp < 60e6, "older samples are of other measurements"
    return [SimpleNamespace(pid=_neighbour(), timeStamp=this_second_us, smUtil=97, memUtil=8, encUtil=0, decUtil=0)]


def _neighbour() -> int:
    return int(os.environ.get("STANDIN_NEIGHBOUR", "1"))
