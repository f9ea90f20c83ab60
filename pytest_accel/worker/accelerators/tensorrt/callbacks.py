"""The objects that TensorRT calls: a calibrator and a monitor of progress while it builds, and an allocator in a call.

They are of classes of the module ``tensorrt``, so they are made inside functions. The logger is in
`pytest_accel.worker.accelerators.tensorrt.log`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

from pytest_accel.worker.hardware.cuda import Cuda, DeviceMemory, PinnedMemory, Stream

if TYPE_CHECKING:
    import numpy as np

    from pytest_accel.worker.accelerator import Arrays, Progress


def calibrator(batches: Sequence[Arrays], progress: Progress, cuda: Cuda, tensorrt: Any) -> Any:
    """Return a calibrator. TensorRT asks it for batches in device memory, to learn the ranges of INT8 by entropy."""

    class Calibrator(tensorrt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.IInt8EntropyCalibrator2.__init__(self)  # pybind11 refuses an object whose own part was not made
            self._taken = 0
            self._stream = Stream(cuda)
            self._uploaded: Dict[str, Tuple[PinnedMemory, DeviceMemory]] = {}

        def get_batch_size(self) -> int:
            return len(next(iter(batches[0].values())))

        def get_batch(self, names: Sequence[str]) -> Optional[List[int]]:
            if self._taken == len(batches):
                return None
            progress(self._taken / len(batches), f"calibrating with batch {self._taken + 1} of {len(batches)}")
            self._uploaded = {name: self._upload(batches[self._taken][name]) for name in names}
            self._taken += 1
            self._stream.synchronize()
            return [self._uploaded[name][1].address for name in names]

        def read_calibration_cache(self) -> None:
            """Return no cache: the ranges are part of the engine, and the engine is kept."""

        def write_calibration_cache(self, cache: Any) -> None:
            """Drop the cache, because nothing reads it."""

        def _upload(self, array: np.ndarray) -> Tuple[PinnedMemory, DeviceMemory]:
            pinned, memory = PinnedMemory(cuda, array.nbytes), DeviceMemory(cuda, array.nbytes)
            pinned.as_array(array.shape, array.dtype.name)[...] = array
            self._stream.upload(pinned, memory, array.nbytes)
            return pinned, memory

    return Calibrator()


def monitor(progress: Progress, tensorrt: Any) -> Any:
    """Return a monitor that reports the progress of the outermost phases of a build."""

    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self._steps: Dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            if parent_phase is None:
                self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                progress((step + 1) / self._steps[phase_name], phase_name.lower())
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            if self._steps.pop(phase_name, None) is not None:
                progress(1.0, phase_name.lower())  # the last step may not be told

    return Monitor()


def output_allocator(held: DeviceMemory, tensorrt: Any) -> Any:
    """Return an allocator for an output whose shape depends on values. It gives TensorRT the memory that is held.

    ``shape`` is that of the last call. TensorRT tells it before it returns from ``execute_async_v3``.
    """

    class Allocator(tensorrt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.IOutputAllocator.__init__(self)
            self.shape: Tuple[int, ...] = ()

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            return held.address if size <= held.size else 0  # no address lets the call fail

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:  # from 10 on
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Sequence[int]) -> None:
            self.shape = tuple(shape)

    return Allocator()
