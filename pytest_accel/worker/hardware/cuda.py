"""CUDA as far as running an engine takes it: the device in use, page-locked and device memory, streams and graphs.

It goes through cuda-python, whose calls return a tuple with the error first and raise nothing; here a failure raises.
`pytest_accel.worker.hardware.gpu_peak` says what a device could do at most.
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Tuple, Union

import numpy as np

from pytest_accel.worker.accelerator import Missing, Refused
from pytest_accel.worker.vendor_errors import explained

#: _TOO_OLD is the error where the libraries are of a later CUDA than the driver.
_TOO_OLD = "cudaErrorInsufficientDriver"
#: _MISSING has the kind of absence, and what can be done about it, by the name of the first call's error.
_MISSING = {
    "cudaErrorNoDevice": (
        "no-hardware",
        "let this process see a GPU: CUDA_VISIBLE_DEVICES hides what it does not name",
    ),
    _TOO_OLD: (
        "driver-mismatch",
        "install a driver that is as new as the CUDA libraries, or newer",
    ),
    "cudaErrorSystemDriverMismatch": (
        "driver-mismatch",
        "load the kernel module of the same version as libcuda.so.1: restart the machine after a driver update",
    ),
    "cudaErrorCompatNotSupportedOnDevice": (
        "driver-mismatch",
        "take the CUDA compatibility package off LD_LIBRARY_PATH: this device does not allow for it",
    ),
    "cudaErrorDevicesUnavailable": ("busy", "wait for the other process, or set the device's compute mode to DEFAULT"),
}


class CudaError(RuntimeError):
    """A call to CUDA failed. ``name`` is CUDA's name of the error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class CudaDevice:
    """The GPU that this process uses, described by CUDA; ``clock_hz`` is the highest clock."""

    name: str
    uuid: str
    compute_capability: Tuple[int, int]
    sm_count: int
    clock_hz: float
    memory_mb: int

    def identity(self) -> Dict[str, Union[str, int, float, bool, None]]:
        """Return the flat facts that distinguish this device from others."""
        return {
            "gpu": self.name,
            "gpu_uuid": self.uuid,
            "compute_capability": "{}.{}".format(*self.compute_capability),
            "sm_count": self.sm_count,
            "gpu_clock_mhz": round(self.clock_hz / 1e6),
            "gpu_memory_mb": self.memory_mb,
        }


class Cuda:
    """The CUDA runtime. Raises `ImportError` where cuda-python is not installed."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError:  # before 12.8
            from cuda import cudart as runtime
        self.api: Any = runtime

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function and return what it gives beside the error: nothing, a value, or a list of values.

        Raises `Refused` where memory does not suffice, because a smaller request may help, and `CudaError` otherwise.
        """
        error, *values = getattr(self.api, function)(*arguments)
        if error != self.api.cudaError_t.cudaSuccess:
            _, words = self.api.cudaGetErrorString(error)
            message = explained(f"{function} failed", f"{error.name}: {words.decode()}")
            if error == self.api.cudaError_t.cudaErrorMemoryAllocation:
                raise Refused(message)
            raise CudaError(error.name, message)
        return values[0] if len(values) == 1 else values

    def missing(self, for_older_driver: str = "") -> Optional[Missing]:
        """Return why no device can be used, None when one can. ``for_older_driver`` is what an older driver takes."""
        try:
            self.call("cudaGetDeviceCount")
            self.call("cudaFree", 0)  # the first call that needs the device itself
        except CudaError as error:
            kind, action = _MISSING.get(error.name, ("no-driver", "run nvidia-smi, which tells more"))
            if error.name == _TOO_OLD and for_older_driver:
                action = f"{action}, or {for_older_driver}"
            return Missing(kind, str(error), action)
        except RuntimeError as error:  # cuda-python before 12.8, which cannot load libcuda.so.1
            return Missing("no-driver", f"CUDA cannot be used: {error}", "install the NVIDIA driver's libcuda.so.1")
        return None

    def device(self) -> CudaDevice:
        """Return the device that the calls of this thread go to."""
        number = self.call("cudaGetDevice")
        facts = self.call("cudaGetDeviceProperties", number)
        # Not a field of the properties: CUDA 13 took it out of them.
        clock_khz = self.call("cudaDeviceGetAttribute", self.api.cudaDeviceAttr.cudaDevAttrClockRate, number)
        return CudaDevice(
            name=facts.name.decode().rstrip("\0"),
            uuid=f"GPU-{_uuid(bytes(facts.uuid.bytes))}",
            compute_capability=(facts.major, facts.minor),
            sm_count=facts.multiProcessorCount,
            clock_hz=1e3 * clock_khz,
            memory_mb=facts.totalGlobalMem // 2**20,
        )

    def versions(self) -> Dict[str, str]:
        """Return the newest CUDA that the driver knows, and the version of the runtime."""
        return {
            "cuda-driver": _version(self.call("cudaDriverGetVersion")),
            "cuda-runtime": _version(self.call("cudaRuntimeGetVersion")),
        }


class DeviceMemory:
    """``size`` bytes on the device, freed with this object."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = int(cuda.call("cudaMalloc", max(size, 1)))
        _free_with(self, cuda, "cudaFree")


class PinnedMemory:
    """``size`` bytes of page-locked host memory, which the device copies directly. They are freed with this object."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = int(cuda.call("cudaMallocHost", max(size, 1)))
        _free_with(self, cuda, "cudaFreeHost")

    def as_array(self, shape: Tuple[int, ...], dtype: str) -> np.ndarray:
        """Return the first bytes as an array. It must not outlive this object."""
        buffer = (ctypes.c_ubyte * max(self.size, 1)).from_address(self.address)
        return np.ndarray(shape, dtype, memoryview(buffer).cast("B"))


class Event:
    """A moment in a stream by the device's clock. It is known after the stream has been synchronised."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle = cuda.call("cudaEventCreate")
        weakref.finalize(self, cuda.api.cudaEventDestroy, self.handle).atexit = False

    def ms_since(self, earlier: Event) -> float:
        """Return the milliseconds since ``earlier``, to half a microsecond."""
        return float(self._cuda.call("cudaEventElapsedTime", earlier.handle, self.handle))


class Graph:
    """Work that was recorded in a stream, and is put into a stream again as a whole."""

    def __init__(self, cuda: Cuda, recorded: Any) -> None:
        self._cuda = cuda
        self._executable = cuda.call("cudaGraphInstantiate", recorded, 0)
        weakref.finalize(self, cuda.api.cudaGraphExecDestroy, self._executable).atexit = False
        cuda.call("cudaGraphDestroy", recorded)

    def launch(self, stream: Stream) -> None:
        """Put the work into ``stream``."""
        self._cuda.call("cudaGraphLaunch", self._executable, stream.queue)


class Stream:
    """A queue of work on the device. Nothing in it is done before `synchronize` returns."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        # Non-blocking: the default stream would make TensorRT wait for the whole device.
        self.queue = cuda.call("cudaStreamCreateWithFlags", cuda.api.cudaStreamNonBlocking)
        self.handle = int(self.queue)
        weakref.finalize(self, cuda.api.cudaStreamDestroy, self.queue).atexit = False

    def upload(self, source: PinnedMemory, target: DeviceMemory, size: int) -> None:
        """Copy ``size`` bytes to the device."""
        kind = self._cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._cuda.call("cudaMemcpyAsync", target.address, source.address, size, kind, self.queue)

    def download(self, source: DeviceMemory, target: PinnedMemory, size: int) -> None:
        """Copy ``size`` bytes to the host."""
        kind = self._cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._cuda.call("cudaMemcpyAsync", target.address, source.address, size, kind, self.queue)

    def mark(self, event: Event) -> None:
        """Let the device record the time when it reaches this place of the queue."""
        self._cuda.call("cudaEventRecord", event.handle, self.queue)

    def record(self, enqueue: Callable[[], None], option: str) -> Graph:
        """Return what ``enqueue`` puts into this stream, which is not done meanwhile.

        Raises `Refused`, which names the ``option``, where work of it cannot be recorded.
        """
        mode = self._cuda.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self.queue, mode)
        try:
            enqueue()
        except Refused as refused:
            self._cuda.api.cudaStreamEndCapture(self.queue)  # which fails too, and tells less
            raise Refused(f"{option}: this cannot be recorded as a CUDA graph: {refused}; leave {option} out") from None
        return Graph(self._cuda, self._cuda.call("cudaStreamEndCapture", self.queue))

    def synchronize(self) -> None:
        """Wait until all work is done. Raises `CudaError` for whatever went wrong in it."""
        self._cuda.call("cudaStreamSynchronize", self.queue)


def _free_with(memory: Union[DeviceMemory, PinnedMemory], cuda: Cuda, function: str) -> None:
    # Not at the process's exit, when CUDA may be gone already.
    weakref.finalize(memory, getattr(cuda.api, function), memory.address).atexit = False


def _uuid(raw: bytes) -> str:
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _version(number: int) -> str:
    """CUDA counts 12.4 as 12040."""
    return f"{number // 1000}.{number % 1000 // 10}"
