"""What NVML, the driver's management library, says about the NVIDIA GPU that this process computes on.

It is asked for the identity, for why a GPU cannot be used, for what slows it down, and for the memory. One question may
fail alone, on an old driver or a small card, and has no answer then. Without ``nvidia-ml-py`` no question has one. NVML
ignores ``CUDA_VISIBLE_DEVICES`` and counts in the order of the bus, so `order_devices` makes CUDA count like that too.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple, Union

from pytest_accel.worker.accelerator import Missing, Present
from pytest_accel.worker.hardware import gpu_peak, sessions

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
#: _COUNTED_POLICIES has the causes that NVML counts in nanoseconds since the driver was loaded, by its names of them.
#: Power is left out, since many cards reach their limit whenever they work.
_COUNTED_POLICIES = {"THERMAL": "heat", "SYNC_BOOST": "slower GPUs of its boost group"}
#: _COUNTED_FIELDS has the same for the counters that newer drivers have in addition.
_COUNTED_FIELDS = {
    "SW_THERM_SLOWDOWN": "heat that the driver acted on",
    "HW_THERM_SLOWDOWN": "heat that the hardware acted on",
    "HW_POWER_BRAKE_SLOWDOWN": "the power brake of the machine",
}
#: _LIMITED_BY has the reasons of a clock below the highest that are told as facts of a measurement.
_LIMITED_BY = {
    "GpuIdle": "idleness",
    "ApplicationsClocksSetting": "fixed clocks",
    "SwPowerCap": "the power limit",
    **{name: "heat" if "Thermal" in name else words for name, words in _SLOWED_BY.items()},
}
#: _MPS is how the names of the processes of MPS begin, of which the kernel keeps 15 letters.
_MPS = "nvidia-cuda-mps"
#: _LAST_US is the number of microseconds before the first question in which another process may have computed.
_LAST_US = 1_000_000
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
    mode = _answer(pynvml, "nvmlDeviceGetComputeMode", _card(pynvml, handle))
    if mode == pynvml.NVML_COMPUTEMODE_PROHIBITED:
        return Missing("busy", "the GPU's compute mode prohibits computing", "allow it: nvidia-smi -c DEFAULT")
    if mode == pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS and not _has_mps(pynvml, handle):
        others = _other_processes(pynvml, handle)
        return Missing(
            "busy",
            "the GPU is for one process at a time (its compute mode), and a check needs several: one compiles, others "
            f"measure{', and ' + ', '.join(others) + ' has it' if others else ''}",
            "share the GPU: nvidia-smi -c DEFAULT, or start MPS: nvidia-cuda-mps-control -d",
        )
    return None


class Device:
    """The GPU that CUDA calls device 0 in this process, which may be a slice of a card (MIG).

    Clocks, heat and power are those of the card. Without NVML every answer is unknown.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._card: Any = None
        self._asked_us = 0
        try:
            import pynvml

            self._pynvml = pynvml
            handle = _handle(pynvml)
            self._card, self._handle = _card(pynvml, handle), handle
        except Exception:  # an old pynvml fails in ways of its own, and nothing depends on it
            self._pynvml = None

    def identity(self) -> Dict[str, Union[str, int, float, bool, None]]:
        """Return flat facts. What the driver does not know is left out."""
        memory, mig = self._ask("nvmlDeviceGetMemoryInfo"), self._ask_card("nvmlDeviceGetMigMode")
        limit_mw, capability = self._ask_card("nvmlDeviceGetPowerManagementLimit"), self.compute_capability()
        ecc = self._ask_card("nvmlDeviceGetEccMode")
        facts: Dict[str, Union[str, int, float, bool, None]] = {
            "gpu": _text(self._ask("nvmlDeviceGetName")),
            "gpu_uuid": _text(self._ask("nvmlDeviceGetUUID")),
            "compute_capability": None if capability is None else "{}.{}".format(*capability),
            "sm_count": self._sm_count(),
            "gpu_clock_mhz": self._clock_mhz("nvmlDeviceGetMaxClockInfo"),
            "gpu_memory_mb": None if memory is None else memory.total // 2**20,
            "gpu_power_limit_w": None if limit_mw is None else round(limit_mw / 1000),
            "gpu_mig": None if mig is None else bool(mig[0]),
            "gpu_ecc": None if ecc is None else bool(ecc[0]),
            **self._mps(),
        }
        return {name: value for name, value in facts.items() if value is not None}

    def present(self, identity: Mapping[str, Union[str, int, float, bool, None]]) -> Present:
        """Return the device with the SDK's ``identity``, and with NVML's facts unless they are of another card.

        ``identity`` has at least ``gpu``, the name.
        """
        facts, name = self.identity(), str(identity["gpu"])
        if "gpu_uuid" in facts and _bare(facts["gpu_uuid"]) == _bare(identity.get("gpu_uuid")):
            identity = {**identity, "gpu_uuid": facts["gpu_uuid"]}  # CUDA does not say that it is a slice
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
        found = self._ask_card("nvmlDeviceGetCudaComputeCapability")
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
        return "; ".join([*clauses, *(f"{other} computes on the GPU too" for other in self._busy_others())])

    def held_back_ns(self) -> Dict[str, int]:
        """Return for how many nanoseconds each cause has held the GPU back since the driver counts, where it does."""
        policies = {cause: self._violation_ns(name) for name, cause in _COUNTED_POLICIES.items()}
        fields = {cause: self._field_ns(name) for name, cause in _COUNTED_FIELDS.items()}
        return {cause: ns for cause, ns in (*policies.items(), *fields.items()) if ns is not None}

    def state(self) -> Dict[str, Union[str, int, float]]:
        """Return clocks, P-state, temperature, power and what limits the clock at this moment, as far as known."""
        drawn_mw, state = self._ask_card("nvmlDeviceGetPowerUsage"), self._ask_card("nvmlDeviceGetPerformanceState")
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
        drawn, limit = self._ask_card("nvmlDeviceGetPowerUsage"), self._ask_card("nvmlDeviceGetPowerManagementLimit")
        known = [
            *([f"{heat} °C"] if heat is not None else []),
            *([f"{clock} of {most} MHz"] if clock is not None and most is not None else []),
            *([f"{drawn / 1000:.0f} of {limit / 1000:.0f} W"] if drawn is not None and limit is not None else []),
        ]
        return f" ({', '.join(known)})" if known else ""

    def _temperature_c(self) -> Optional[int]:
        heat: Optional[int] = self._ask_card("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", arguments=(0,))
        return heat

    def _reasons(self) -> int:
        """Return the bits of what keeps the clock below its highest."""
        questions = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        return self._ask_card(*questions) or 0

    def _violation_ns(self, policy: str) -> Optional[int]:
        number = getattr(self._pynvml, f"NVML_PERF_POLICY_{policy}", None)
        found = None if number is None else self._ask_card("nvmlDeviceGetViolationStatus", arguments=(number,))
        return None if found is None else int(found.violationTime)

    def _field_ns(self, name: str) -> Optional[int]:
        number = getattr(self._pynvml, f"NVML_FI_DEV_CLOCKS_EVENT_REASON_{name}", None)
        found = None if number is None else self._ask_card("nvmlDeviceGetFieldValues", arguments=([number],))
        return None if found is None or found[0].nvmlReturn != 0 else int(found[0].value.ullVal)

    def _sm_count(self) -> Optional[int]:
        if self._card is not self._handle:
            of_slice = self._ask("nvmlDeviceGetAttributes")
            return None if of_slice is None else int(of_slice.multiprocessorCount)
        cores, capability = self._ask("nvmlDeviceGetNumGpuCores"), self.compute_capability()
        return None if cores is None else int(cores) // (64 if capability in _FEWER_CORES else 128)

    def _clock_mhz(self, question: str, kind: str = "SM", number: int = 1) -> Optional[int]:
        clock = getattr(self._pynvml, f"NVML_CLOCK_{kind}", number)
        return self._ask_card(question, arguments=(clock,))  # type: ignore[no-any-return]

    def _bit(self, name: str) -> int:
        older = getattr(self._pynvml, f"nvmlClocksThrottleReason{name}", 0)
        return int(getattr(self._pynvml, f"nvmlClocksEventReason{name}", older))

    def _mps(self) -> Dict[str, Union[bool, str]]:
        """Return whether processes share the GPU through MPS, and what share of it this one may have."""
        if self._handle is None or not _has_mps(self._pynvml, self._handle):
            return {}
        share = os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "")
        return {"gpu_mps": True, **({"gpu_mps_thread_percentage": share} if share else {})}

    def _busy_others(self) -> List[str]:
        """Return the other processes that have computed since this was asked before, or within the last second.

        A process that only holds memory slows nobody down. Where NVML does not tell, each one counts.
        """
        if self._handle is None:
            return []
        since_us, self._asked_us = self._asked_us, time.time_ns() // 1000
        others = _foreign(self._pynvml, self._handle)
        busy = _busy(self._pynvml, self._handle, since_us or self._asked_us - _LAST_US) if others else set()
        return [name for pid, name in others.items() if busy is None or pid in busy]

    def _ask(self, *questions: str, arguments: Tuple[Any, ...] = ()) -> Any:
        """Return the answer to the first question that library and driver know. The later ones are older names."""
        return self._asked(self._handle, questions, arguments)

    def _ask_card(self, *questions: str, arguments: Tuple[Any, ...] = ()) -> Any:
        """Return what `_ask` returns, of the whole card: a slice of it has no clocks of its own."""
        return self._asked(self._card, questions, arguments)

    def _asked(self, handle: Any, questions: Tuple[str, ...], arguments: Tuple[Any, ...]) -> Any:
        for question in questions if handle is not None else ():
            answer = _answer(self._pynvml, question, handle, *arguments)
            if answer is not None:
                return answer
        return None


def _handle(pynvml: Any) -> Any:
    """Return the handle of what CUDA calls device 0: a card, or a slice of one. Raises NVMLError."""
    pynvml.nvmlInit()
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if not first.isdigit():
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    card = pynvml.nvmlDeviceGetHandleByIndex(int(first))
    return _first_slice(pynvml, card) or card


def _first_slice(pynvml: Any, card: Any) -> Any:
    """Return the first slice of a card in MIG mode, the only one that CUDA uses of it; None without that mode."""
    mode = _answer(pynvml, "nvmlDeviceGetMigMode", card)
    if not mode or not mode[0]:
        return None
    slices = (
        _answer(pynvml, "nvmlDeviceGetMigDeviceHandleByIndex", card, index)
        for index in range(_answer(pynvml, "nvmlDeviceGetMaxMigDeviceCount", card) or 0)
    )
    return next((found for found in slices if found is not None), None)


def _card(pynvml: Any, handle: Any) -> Any:
    """Return the handle of the card that a slice is part of, and a card's own."""
    return _answer(pynvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle) or handle


def _has_mps(pynvml: Any, handle: Any) -> bool:
    """Return whether MPS shares the GPU among processes. Its server starts with the first of them."""
    pipes = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return os.path.exists(os.path.join(pipes, "control")) or any(
        _name(process.pid).startswith(_MPS) for process in _running(pynvml, handle)
    )


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
    """Return the processes outside this terminal session that hold the GPU, by number and name."""
    return list(_foreign(pynvml, handle).values())


def _foreign(pynvml: Any, handle: Any) -> Dict[int, str]:
    """Return number and name of the processes outside this terminal session that hold the GPU, by number.

    The server of MPS, which computes for others, is left out.
    """
    found = {}
    for pid in {process.pid for process in _running(pynvml, handle)}:
        name = _name(pid)
        if name and not name.startswith(_MPS) and sessions.is_foreign(pid):
            found[pid] = f"process {pid} ({name})"
    return found


def _running(pynvml: Any, handle: Any) -> List[Any]:
    """Return the processes that hold the GPU, also those that share it through MPS."""
    lists = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses")
    return [process for question in lists for process in _answer(pynvml, question, handle) or ()]


def _name(pid: int) -> str:
    """Return the name of a process, empty where it cannot be seen."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
            return name.read().strip()
    except OSError:
        return ""


def _busy(pynvml: Any, handle: Any, since_us: int) -> Optional[Set[int]]:
    """Return the processes that have computed since then, None where NVML does not tell that."""
    asked = getattr(pynvml, "nvmlDeviceGetProcessUtilization", None)
    try:
        return None if asked is None else {sample.pid for sample in asked(handle, since_us) if sample.smUtil > 0}
    except pynvml.NVMLError as error:  # the library raises one of success where there are no samples
        nobody = error.value in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND)
        return set() if nobody else None


def _bare(uuid: Any) -> str:
    """Return the number of a device without what kind of device it is."""
    return str(uuid).partition("-")[2]


def _text(value: Union[str, bytes, None]) -> Optional[str]:
    """Return text, also where an older release answers in bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
