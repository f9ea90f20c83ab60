"""The objects that TensorRT calls while it builds: a calibrator that gives it batches, and a monitor of progress.

Both are of classes of the module ``tensorrt``, so they are made inside functions. The logger is in
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
