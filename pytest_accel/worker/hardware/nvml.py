"""What NVML, the driver's management library, says about the NVIDIA GPU that this process computes on.

It is asked for the identity, for why a GPU cannot be used, for what slows it down, and for the memory. One question may
fail alone, on an old driver or a small card, and has no answer then. Without ``nvidia-ml-py`` no question has one. NVML
ignores ``CUDA_VISIBLE_DEVICES`` and counts in the order of the bus, so `order_devices` makes CUDA count like that too.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import Missing, Present
from pytest_accel.worker.hardware import gpu_peak

#: _FEWER_CORES has the compute capabilities whose streaming multiprocessors have 64 CUDA cores; all others have 128.
_FEWER_CORES = frozenset(((6, 0), (7, 0), (7, 2), (7, 5), (8, 0)))
#: TF32_FROM is the compute capability that TF32 begins with.
TF32_FROM = (8, 0)
#: NO_TF32 says why TF32 is refused on a GPU of an earlier compute capability.
NO_TF32 = "precision='tf32': this GPU has compute capability {}.{} and TF32 begins with 8.0; use fp32 or fp16"
#: _SLOWED_BY has the reasons of a lower clock that are not part of normal use. An idle card, fixed clocks and the power
#: limit, which many cards reach whenever they work, are left out.
_SLOWED_BY = {
    "HwSlowdown": "the hardware slowed down",
    "SyncBoost": "it waits for slower GPUs of its boost group",
    "SwThermalSlowdown": "heat",
    "HwThermalSlowdown": "heat that the hardware acted on",
    "HwPowerBrakeSlowdown": "the power brake of the machine",
}
#: _COUNTED has, for each cause that NVML counts, its performance policies and the fields of newer drivers. Power is
#: left out, since many cards reach their limit whenever they work.
_COUNTED = {
    "heat": (("THERMAL",), ("SW_THERM_SLOWDOWN", "HW_THERM_SLOWDOWN")),
    "the power brake of the machine": ((), ("HW_POWER_BRAKE_SLOWDOWN",)),
    "slower GPUs of its boost group": (("SYNC_BOOST",), ()),
}
#: _LIMITED_BY has the reasons of a clock below the highest that are told as facts of a measurement.
_LIMITED_BY = {
    "GpuIdle": "idleness",
    "ApplicationsClocksSetting": "fixed clocks",
    "SwPowerCap": "the power limit",
    **{name: "heat" if "Thermal" in name else words for name, words in _SLOWED_BY.items()},
}
_ADVICE = {
    "DRIVER_NOT_LOADED": ("no-driver", "load it with `modprobe nvidia`, and see dmesg when that fails"),
    "LIBRARY_NOT_FOUND": ("no-driver", "install the user-space part of the NVIDIA driver of the same version"),
    "LIB_RM_VERSION_MISMATCH": (
        "driver-mismatch",
        "the driver was upgraded while its old module runs: reboot, or reload the module; in a container use the "
        "host's libraries",
    ),
    "GPU_IS_LOST": ("no-hardware", "it has fallen off the bus: see dmesg for Xid messages, then reboot"),
}


def order_devices() -> None:
    """Make CUDA count devices as NVML does. It has an effect only before the process first uses CUDA."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def missing() -> Optional[Missing]:
    """Return why the GPU cannot be used, None when NVML knows no reason."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return Missing(
            "no-hardware", "CUDA_VISIBLE_DEVICES hides every GPU", "unset it, or name one: CUDA_VISIBLE_DEVICES=0"
        )
    try:
        import pynvml
    except ImportError:
        return None
    try:
        handle = _handle(pynvml)
    except pynvml.NVMLError as error:
        for code, (kind, action) in _ADVICE.items():
            if error.value == getattr(pynvml, f"NVML_ERROR_{code}"):
                return Missing(kind, f"the NVIDIA driver's NVML says: {error}", action)
        return None
    mode, others = _answer(pynvml, "nvmlDeviceGetComputeMode", handle), _other_processes(pynvml, handle)
    if mode == pynvml.NVML_COMPUTEMODE_PROHIBITED:
        return Missing("busy", "the GPU's compute mode prohibits computing", "allow it: nvidia-smi -c DEFAULT")
    if mode == pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS and others:
        return Missing(
            "busy",
            f"the GPU is for one process at a time (its compute mode), and {', '.join(others)} has it",
            "end that process, or share the GPU: nvidia-smi -c DEFAULT",
        )
    return None


class Device:
    """The GPU that CUDA calls device 0 in this process. Without NVML every answer is unknown."""

    def __init__(self) -> None:
        self._handle: Any = None
        try:
            import pynvml

            self._pynvml = pynvml
            self._handle = _handle(pynvml)
        except Exception:  # an old pynvml fails in ways of its own, and nothing depends on it
            self._pynvml = None

    def identity(self) -> Dict[str, Union[str, int, float, bool, None]]:
        """Return flat facts. What the driver does not know is left out."""
        memory, mig = self._ask("nvmlDeviceGetMemoryInfo"), self._ask("nvmlDeviceGetMigMode")
        limit_mw, capability = self._ask("nvmlDeviceGetPowerManagementLimit"), self.compute_capability()
        facts: Dict[str, Union[str, int, float, bool, None]] = {
            "gpu": _text(self._ask("nvmlDeviceGetName")),
            "gpu_uuid": _text(self._ask("nvmlDeviceGetUUID")),
            "compute_capability": None if capability is None else "{}.{}".format(*capability),
            "sm_count": self._sm_count(),
            "gpu_clock_mhz": self._clock_mhz("nvmlDeviceGetMaxClockInfo"),
            "gpu_memory_mb": None if memory is None else memory.total // 2**20,
            "gpu_power_limit_w": None if limit_mw is None else round(limit_mw / 1000),
            "gpu_mig": None if mig is None else bool(mig[0]),
        }
        return {name: value for name, value in facts.items() if value is not None}

    def present(self, identity: Mapping[str, Union[str, int, float, bool, None]]) -> Present:
        """Return the device with the SDK's ``identity``, and with NVML's facts unless they are of another card.

        ``identity`` has at least ``gpu``, the name.
        """
        facts, name = self.identity(), str(identity["gpu"])
        if any(facts.get(key, identity[key]) != identity[key] for key in ("gpu", "gpu_uuid") if key in identity):
            return Present(name, dict(identity))
        peaks = self.peaks()
        return Present(name, {**facts, **identity}, max(peaks.values(), default=None), peaks)

    def driver_version(self) -> str:
        """Return the version of the driver, "unknown" when NVML does not know it."""
        answer = None if self._handle is None else _answer(self._pynvml, "nvmlSystemGetDriverVersion")
        return _text(answer) or "unknown"

    def compute_capability(self) -> Optional[Tuple[int, int]]:
        """Return the compute capability, such as (8, 0)."""
        found = self._ask("nvmlDeviceGetCudaComputeCapability")
        return None if found is None else (found[0], found[1])

    def peaks(self) -> Dict[str, float]:
        """Return the most operations per second by precision, empty when they are not known."""
        capability, count = self.compute_capability(), self._sm_count()
        clock_mhz = self._clock_mhz("nvmlDeviceGetMaxClockInfo")
        if capability is None or not count or not clock_mhz:
            return {}
        return gpu_peak.peaks(capability, count, clock_mhz * 1e6)

    def throttled(self) -> str:
        """Return what slows the GPU down at this moment, clauses joined by semicolons; empty when nothing is known."""
        reasons = self._reasons()
        slowed = [words for name, words in _SLOWED_BY.items() if reasons & self._bit(name)]
        clauses = [f"the GPU ran slower because of {' and '.join(slowed)}{self._state()}"] if slowed else []
        others = _other_processes(self._pynvml, self._handle) if self._handle is not None else []
        return "; ".join([*clauses, *(f"{other} computes on the GPU too" for other in others)])

    def held_back_ns(self) -> Dict[str, int]:
        """Return for how many nanoseconds each cause has held the GPU back since the driver counts, where it does."""
        counted = {}
        for cause, (policies, fields) in _COUNTED.items():
            counts = [*map(self._violation_ns, policies), *map(self._field_ns, fields)]
            known = [ns for ns in counts if ns is not None]
            if known:
                counted[cause] = max(known)
        return counted

    def state(self) -> Dict[str, Union[str, int, float]]:
        """Return clocks, P-state, temperature, power and what limits the clock at this moment, as far as known."""
        drawn_mw, state = self._ask("nvmlDeviceGetPowerUsage"), self._ask("nvmlDeviceGetPerformanceState")
        reasons = self._reasons()
        limits = dict.fromkeys(words for name, words in _LIMITED_BY.items() if reasons & self._bit(name))
        facts: Dict[str, Union[str, int, float, None]] = {
            "sm_clock_mhz": self._clock_mhz("nvmlDeviceGetClockInfo"),
            "memory_clock_mhz": self._clock_mhz("nvmlDeviceGetClockInfo", "MEM", 2),
            "p_state": None if state is None else f"P{state}",
            "temperature_c": self._temperature_c(),
            "power_w": None if drawn_mw is None else round(drawn_mw / 1000, 1),
            "clock_limited_by": ", ".join(limits) or None,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def memory_mb(self) -> Optional[float]:
        """Return the memory that this process holds on the GPU with that of CUDA; None inside most containers."""
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses") or ()
        held = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
        return held[0] / 2**20 if held and held[0] is not None else None

    def _state(self) -> str:
        """Return temperature, clocks and power in brackets, as far as they are known."""
        heat = self._temperature_c()
        clock, most = self._clock_mhz("nvmlDeviceGetClockInfo"), self._clock_mhz("nvmlDeviceGetMaxClockInfo")
        drawn, limit = self._ask("nvmlDeviceGetPowerUsage"), self._ask("nvmlDeviceGetPowerManagementLimit")
        known = [
            *([f"{heat} °C"] if heat is not None else []),
            *([f"{clock} of {most} MHz"] if clock is not None and most is not None else []),
            *([f"{drawn / 1000:.0f} of {limit / 1000:.0f} W"] if drawn is not None and limit is not None else []),
        ]
        return f" ({', '.join(known)})" if known else ""

    def _temperature_c(self) -> Optional[int]:
        heat: Optional[int] = self._ask("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", arguments=(0,))
        return heat

    def _reasons(self) -> int:
        """Return the bits of what keeps the clock below its highest."""
        return self._ask("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons") or 0

    def _violation_ns(self, policy: str) -> Optional[int]:
        number = getattr(self._pynvml, f"NVML_PERF_POLICY_{policy}", None)
        found = None if number is None else self._ask("nvmlDeviceGetViolationStatus", arguments=(number,))
        return None if found is None else int(found.violationTime)

    def _field_ns(self, name: str) -> Optional[int]:
        number = getattr(self._pynvml, f"NVML_FI_DEV_CLOCKS_EVENT_REASON_{name}", None)
        found = None if number is None else self._ask("nvmlDeviceGetFieldValues", arguments=([number],))
        return None if found is None or found[0].nvmlReturn != 0 else int(found[0].value.ullVal)

    def _sm_count(self) -> Optional[int]:
        cores, capability = self._ask("nvmlDeviceGetNumGpuCores"), self.compute_capability()
        return None if cores is None else int(cores) // (64 if capability in _FEWER_CORES else 128)

    def _clock_mhz(self, question: str, kind: str = "SM", number: int = 1) -> Optional[int]:
        clock = getattr(self._pynvml, f"NVML_CLOCK_{kind}", number)
        return self._ask(question, arguments=(clock,))  # type: ignore[no-any-return]

    def _bit(self, name: str) -> int:
        older = getattr(self._pynvml, f"nvmlClocksThrottleReason{name}", 0)
        return int(getattr(self._pynvml, f"nvmlClocksEventReason{name}", older))

    def _ask(self, *questions: str, arguments: Tuple[Any, ...] = ()) -> Any:
        """Return the answer to the first question that library and driver know. The later ones are older names."""
        for question in questions if self._handle is not None else ():
            answer = _answer(self._pynvml, question, self._handle, *arguments)
            if answer is not None:
                return answer
        return None


def _handle(pynvml: Any) -> Any:
    """Return the handle of what CUDA calls device 0. Raises NVMLError."""
    pynvml.nvmlInit()
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(first))
    return pynvml.nvmlDeviceGetHandleByUUID(first)


def _answer(pynvml: Any, question: str, *arguments: Any) -> Any:
    """Return what NVML answers, None where this library or this device cannot."""
    asked = getattr(pynvml, question, None)
    if asked is None:
        return None
    try:
        return asked(*arguments)
    except pynvml.NVMLError:
        return None


def _other_processes(pynvml: Any, handle: Any) -> List[str]:
    """Return the processes outside this terminal session that compute on the GPU, by number and name.

    All workers of one run, also under pytest-xdist, belong to one session. A process that cannot be seen from inside a
    container may be one of them, and is left out.
    """
    found = []
    for process in _answer(pynvml, "nvmlDeviceGetComputeRunningProcesses", handle) or ():
        try:
            foreign = os.getsid(process.pid) != os.getsid(0)
            with open(f"/proc/{process.pid}/comm", encoding="utf-8", errors="replace") as name:
                named = f"process {process.pid} ({name.read().strip()})"
        except OSError:
            continue
        if foreign:
            found.append(named)
    return found


def _text(value: Union[str, bytes, None]) -> Optional[str]:
    """Return text, also where an older release answers in bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
