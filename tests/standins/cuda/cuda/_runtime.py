"""The runtime API: what both of its names show."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import standin_card

__all__ = [
    "cudaDeviceAttr",
    "cudaDeviceGetAttribute",
    "cudaDriverGetVersion",
    "cudaError_t",
    "cudaEventCreate",
    "cudaEventDestroy",
    "cudaEventElapsedTime",
    "cudaEventRecord",
    "cudaFree",
    "cudaFreeHost",
    "cudaGetDevice",
    "cudaGetDeviceCount",
    "cudaGetDeviceProperties",
    "cudaGetErrorString",
    "cudaGraphDestroy",
    "cudaGraphExecDestroy",
    "cudaGraphInstantiate",
    "cudaGraphLaunch",
    "cudaMalloc",
    "cudaMallocHost",
    "cudaMemcpyAsync",
    "cudaMemcpyKind",
    "cudaRuntimeGetVersion",
    "cudaStreamBeginCapture",
    "cudaStreamCaptureMode",
    "cudaStreamCreateWithFlags",
    "cudaStreamDestroy",
    "cudaStreamEndCapture",
    "cudaStreamNonBlocking",
    "cudaStreamSynchronize",
]

HABITS = frozenset(os.environ.get("STANDIN_MISBEHAVES", "").split(","))
UUID = bytes.fromhex("5a1c3e708d2b4f6e9c41d07b2e9f6a13")
#: Name, memory in bytes, multiprocessors, highest clock, compute capability.
NAME, MEMORY, SM_COUNT, CLOCK_KHZ, CAPABILITY = {
    "T4": (b"Tesla T4", 16_106_127_360, 40, 1_590_000, (7, 5)),
    "A10G": (b"NVIDIA A10G", 23_609_475_072, 80, 1_710_000, (8, 6)),
    "H200": (b"NVIDIA H200", 150_754_820_096, 132, 1_980_000, (9, 0)),
}[os.environ.get("STANDIN_GPU", "T4")]
#: With the habit ``loses-device``: how often a stream can be waited for until the device fails.
CALLS_UNTIL_LOST = 60

#: What a copy takes by the device's clock, which nothing but work advances.
BYTES_PER_MS = 12e6

cudaStreamNonBlocking = 1  # noqa: N816 - CUDA's names, here and below


class cudaError_t(IntEnum):  # noqa: N801
    cudaSuccess = 0  # noqa: N815
    cudaErrorInvalidValue = 1  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorInsufficientDriver = 35  # noqa: N815
    cudaErrorDevicesUnavailable = 46  # noqa: N815
    cudaErrorNoDevice = 100  # noqa: N815
    cudaErrorECCUncorrectable = 214  # noqa: N815
    cudaErrorNotReady = 600  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815
    cudaErrorSystemDriverMismatch = 803  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815


class cudaMemcpyKind(IntEnum):  # noqa: N801
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class cudaStreamCaptureMode(IntEnum):  # noqa: N801
    cudaStreamCaptureModeGlobal = 0  # noqa: N815
    cudaStreamCaptureModeThreadLocal = 1  # noqa: N815
    cudaStreamCaptureModeRelaxed = 2  # noqa: N815


class cudaDeviceAttr(IntEnum):  # noqa: N801
    cudaDevAttrClockRate = 13  # noqa: N815


SUCCESS = cudaError_t.cudaSuccess
_WORDS = {
    cudaError_t.cudaSuccess: b"no error",
    cudaError_t.cudaErrorInvalidValue: b"invalid argument",
    cudaError_t.cudaErrorMemoryAllocation: b"out of memory",
    cudaError_t.cudaErrorInsufficientDriver: b"CUDA driver version is insufficient for CUDA runtime version",
    cudaError_t.cudaErrorDevicesUnavailable: b"CUDA-capable device(s) is/are busy or unavailable",
    cudaError_t.cudaErrorNoDevice: b"no CUDA-capable device is detected",
    cudaError_t.cudaErrorECCUncorrectable: b"uncorrectable ECC error encountered",
    cudaError_t.cudaErrorNotReady: b"device not ready",
    cudaError_t.cudaErrorIllegalAddress: b"an illegal memory access was encountered",
    cudaError_t.cudaErrorSystemDriverMismatch: b"system has unsupported display driver / cuda driver combination",
    cudaError_t.cudaErrorStreamCaptureUnsupported: b"operation not permitted when stream is capturing",
    cudaError_t.cudaErrorStreamCaptureInvalidated: b"operation failed due to a previous error during capture",
}
_FIRST_ERRORS = {
    "hidden-device": cudaError_t.cudaErrorNoDevice,
    "insufficient-driver": cudaError_t.cudaErrorInsufficientDriver,
    "other-module": cudaError_t.cudaErrorSystemDriverMismatch,
    "taken-device": cudaError_t.cudaErrorDevicesUnavailable,
}


class Board:
    """The device's state."""

    def __init__(self) -> None:
        self.clock_ms = 0.0
        self.memory: dict[int, bytearray] = {}
        self.pinned: dict[int, Any] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        #: What a stream was asked for while it is recorded; None once something could not be.
        self.recorded: dict[int, list[Callable[[], None]] | None] = {}
        #: With the habit ``returns-early``: what the last wait has left undone, until the next call of another kind.
        self.late: list[Callable[[], None]] = []
        self.free = 1024 if "small-memory" in HABITS else MEMORY
        self.left = CALLS_UNTIL_LOST if "loses-device" in HABITS else -1
        self._handles = itertools.count(0x5566_0000_1000, 0x1000)
        self._addresses = itertools.count(0x7F00_0000_0000, 0x1_0000_0000)

    def allocate(self, size: int) -> int:
        address = next(self._addresses)
        self.memory[address] = bytearray(size)
        self.free -= size
        return address

    def open_stream(self) -> Any:
        handle = next(self._handles)
        self.streams[handle] = []
        return _Stream(handle)

    def enqueue(self, handle: int, step: Callable[[], None]) -> None:
        """Put work into a stream, or into what is recorded of it."""
        if handle not in self.recorded:
            self.streams[handle].append(step)
        elif (recorded := self.recorded[handle]) is not None:
            recorded.append(step)

    def run(self, handle: int) -> cudaError_t:
        """Do what a stream was asked for."""
        if handle in self.recorded:
            self.recorded[handle] = None
            return cudaError_t.cudaErrorStreamCaptureUnsupported
        if self.left == 0:
            return cudaError_t.cudaErrorECCUncorrectable
        self.left -= 1
        work, self.streams[handle] = self.streams[handle], []
        if "returns-early" in HABITS:
            work, self.late = [], [*self.late, *work]
        for step in work:
            try:
                step()
            except KeyError:
                return cudaError_t.cudaErrorIllegalAddress
        return SUCCESS

    def catch_up(self) -> None:
        """Time has passed: do what is late."""
        work, self.late = self.late, []
        for step in work:
            step()


class _Stream:
    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __int__(self) -> int:
        return self._handle


board = Board()


def cudaGetDeviceCount() -> tuple[cudaError_t, int | None]:  # noqa: N802
    if "no-libcuda" in HABITS:  # the one that 12.6 raises
        raise RuntimeError("Failed to dlopen libcuda.so.1")
    for habit, error in _FIRST_ERRORS.items():
        if habit in HABITS:
            return error, None
    return SUCCESS, 1


def cudaGetDevice() -> tuple[cudaError_t, int]:  # noqa: N802
    return SUCCESS, 0


def cudaGetDeviceProperties(device: int) -> tuple[cudaError_t, Any]:  # noqa: N802
    facts = SimpleNamespace(
        name=NAME,
        uuid=SimpleNamespace(bytes=UUID),
        major=CAPABILITY[0],
        minor=CAPABILITY[1],
        multiProcessorCount=SM_COUNT,
        totalGlobalMem=MEMORY,
    )
    return SUCCESS, facts


def cudaDeviceGetAttribute(attr: cudaDeviceAttr, device: int) -> tuple[cudaError_t, int]:  # noqa: N802
    return SUCCESS, {cudaDeviceAttr.cudaDevAttrClockRate: CLOCK_KHZ}[attr]


def cudaDriverGetVersion() -> tuple[cudaError_t, int]:  # noqa: N802
    return SUCCESS, 13000


def cudaRuntimeGetVersion() -> tuple[cudaError_t, int]:  # noqa: N802
    return SUCCESS, 12060 if os.environ.get("STANDIN_CUDA_PYTHON") == "12.6" else 13050


def cudaGetErrorString(error: cudaError_t) -> tuple[cudaError_t, bytes]:  # noqa: N802
    return SUCCESS, _WORDS[error]


def _refuses() -> bool:
    """A GPU in the mode for one process, unless MPS is there, refuses a second one."""
    has_mps = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"), "control").exists()
    return "exclusive" in HABITS and not has_mps and standin_card.is_in_use()


def cudaMalloc(size: int) -> tuple[cudaError_t, int | None]:  # noqa: N802
    if _refuses():
        return cudaError_t.cudaErrorDevicesUnavailable, None
    if size > board.free or standin_card.is_taken():
        return cudaError_t.cudaErrorMemoryAllocation, None
    return SUCCESS, board.allocate(size)


def cudaFree(devPtr: int) -> tuple[cudaError_t]:  # noqa: N802, N803
    if _refuses():
        return (cudaError_t.cudaErrorDevicesUnavailable,)
    if devPtr:
        board.free += len(board.memory.pop(devPtr))
    return (SUCCESS,)


def cudaMallocHost(size: int) -> tuple[cudaError_t, int]:  # noqa: N802
    board.catch_up()
    memory = (ctypes.c_ubyte * size)()
    address = ctypes.addressof(memory)
    board.pinned[address] = memory
    return SUCCESS, address


def cudaFreeHost(ptr: int) -> tuple[cudaError_t]:  # noqa: N802
    del board.pinned[ptr]
    return (SUCCESS,)


def cudaMemcpyAsync(  # noqa: N802
    dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: _Stream
) -> tuple[cudaError_t]:
    board.catch_up()
    to_device = kind is cudaMemcpyKind.cudaMemcpyHostToDevice
    held = board.pinned[src if to_device else dst]  # pageable memory would make the copy synchronous

    def copy(_held: Any = held) -> None:
        board.clock_ms += count / BYTES_PER_MS
        if to_device:
            board.memory[dst][:count] = ctypes.string_at(src, count)
        else:
            ctypes.memmove(dst, bytes(board.memory[src][:count]), count)

    board.enqueue(int(stream), copy)
    return (SUCCESS,)


def cudaEventCreate() -> tuple[cudaError_t, Any]:  # noqa: N802
    return SUCCESS, SimpleNamespace(ms=None)


def cudaEventDestroy(event: Any) -> tuple[cudaError_t]:  # noqa: N802
    return (SUCCESS,)


def cudaEventRecord(event: Any, stream: _Stream) -> tuple[cudaError_t]:  # noqa: N802
    def note() -> None:
        event.ms = board.clock_ms

    board.enqueue(int(stream), note)
    return (SUCCESS,)


def cudaEventElapsedTime(start: Any, end: Any) -> tuple[cudaError_t, float | None]:  # noqa: N802
    if start.ms is None or end.ms is None:
        return cudaError_t.cudaErrorNotReady, None
    return SUCCESS, end.ms - start.ms


def cudaStreamCreateWithFlags(flags: int) -> tuple[cudaError_t, _Stream]:  # noqa: N802
    return SUCCESS, board.open_stream()


def cudaStreamDestroy(stream: _Stream) -> tuple[cudaError_t]:  # noqa: N802
    del board.streams[int(stream)]
    return (SUCCESS,)


def cudaStreamSynchronize(stream: _Stream) -> tuple[cudaError_t]:  # noqa: N802
    return (board.run(int(stream)),)


def cudaStreamBeginCapture(stream: _Stream, mode: cudaStreamCaptureMode) -> tuple[cudaError_t]:  # noqa: N802
    board.recorded[int(stream)] = []
    return (SUCCESS,)


def cudaStreamEndCapture(stream: _Stream) -> tuple[cudaError_t, Any]:  # noqa: N802
    recorded = board.recorded.pop(int(stream))
    if recorded is None:
        return cudaError_t.cudaErrorStreamCaptureInvalidated, None
    return SUCCESS, SimpleNamespace(steps=recorded)


def cudaGraphInstantiate(graph: Any, flags: int) -> tuple[cudaError_t, Any]:  # noqa: N802
    return SUCCESS, SimpleNamespace(steps=list(graph.steps))


def cudaGraphLaunch(graphExec: Any, stream: _Stream) -> tuple[cudaError_t]:  # noqa: N802, N803
    for step in graphExec.steps:
        board.enqueue(int(stream), step)
    return (SUCCESS,)


def cudaGraphDestroy(graph: Any) -> tuple[cudaError_t]:  # noqa: N802
    return (SUCCESS,)


def cudaGraphExecDestroy(graphExec: Any) -> tuple[cudaError_t]:  # noqa: N802, N803
    graphExec.steps.clear()
    return (SUCCESS,)
