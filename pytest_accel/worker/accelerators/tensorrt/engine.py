"""A loaded TensorRT engine: the tensors, the buffers, and one call after another.

A call ends when the outputs are visible to the host. Inputs go from page-locked memory to the device, the engine runs,
and outputs come back. All of it is in one stream, and the call waits for the stream.
`pytest_accel.worker.accelerators.tensorrt.builder` builds engines.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Observed, Refused, Tensor
from pytest_accel.worker.accelerators.tensorrt.element_types import DTYPES, as_int32
from pytest_accel.worker.accelerators.tensorrt.inspector import observed
from pytest_accel.worker.accelerators.tensorrt.log import done
from pytest_accel.worker.hardware.cuda import Cuda, DeviceMemory, PinnedMemory, Stream

Shape = Tuple[int, ...]

#: _CALLS_BY_THE_DEVICES_CLOCK is the number of calls, measured by the device's clock, of which the time of copying is
#: the median.
_CALLS_BY_THE_DEVICES_CLOCK = 11


class Staged:
    """One batch of inputs in page-locked host memory, from where the device copies it directly."""

    def __init__(self, cuda: Cuda, inputs: Arrays) -> None:
        self.memory = {name: PinnedMemory(cuda, array.nbytes) for name, array in inputs.items()}
        self.shapes: Dict[str, Shape] = {name: array.shape for name, array in inputs.items()}
        for name, array in inputs.items():
            self.memory[name].as_array(array.shape, array.dtype.name)[...] = array


class Engine:
    """A plan on the device, with buffers for the largest shapes that it takes. It runs one call at a time.

    ``int64_inputs`` are inputs of the model that TensorRT 8 takes in INT32 only. ``new_context`` makes an execution
    context of a loaded engine. Raises `Refused` with the logger's words when TensorRT does not take the plan, or with
    what to change in the model when a tensor cannot be served.
    """

    def __init__(
        self,
        plan: bytes,
        *,
        int64_inputs: Sequence[str],
        cuda: Cuda,
        logger: Any,
        new_context: Callable[[Any], Any],
    ) -> None:
        tensorrt = logger.tensorrt
        self._cuda, self._logger = cuda, logger
        logger.errors.clear()
        self._runtime = tensorrt.Runtime(logger)
        self._engine = done(self._runtime.deserialize_cuda_engine(plan), "load this engine", logger)
        self._context = done(new_context(self._engine), "make room to run this engine", logger)
        self._stream = Stream(cuda)
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        self._narrowed = {
            name for name in names if name in int64_inputs and self._engine.get_tensor_dtype(name).name == "INT32"
        }
        tensors = [self._tensor(name) for name in names]
        is_input = {name: self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT for name in names}
        self.inputs = [tensor for tensor in tensors if is_input[tensor.name]]
        self.outputs = [tensor for tensor in tensors if not is_input[tensor.name]]
        self._set_shapes({tensor.name: self._largest(tensor) for tensor in self.inputs})
        self._device = {tensor.name: DeviceMemory(cuda, self._size(tensor)) for tensor in tensors}
        self._answers = {tensor.name: PinnedMemory(cuda, self._size(tensor)) for tensor in self.outputs}
        self._views = self._seen()
        for name, memory in self._device.items():
            done(self._context.set_tensor_address(name, memory.address), f"use a buffer for {name!r}", logger)
        self._plan_size = len(plan)
        self._last: Optional[Staged] = None

    def stage(self, inputs: Arrays) -> Staged:
        """Bring one batch to where the device copies it from."""
        staged = Staged(
            self._cuda,
            {name: as_int32(name, array) if name in self._narrowed else array for name, array in inputs.items()},
        )
        for memory in self._answers.values():  # to NaN or -1: a call that ends before its outputs are there shows
            memory.as_array((memory.size,), "uint8").fill(0xFF)
        return staged

    def infer(self, staged: Staged) -> Arrays:
        """Run one batch and return its outputs, which the next call overwrites."""
        if staged.shapes != self._shapes:
            self._set_shapes(staged.shapes)
            self._views = self._seen()
        self._last = staged
        self._upload(staged)
        self._execute()
        self._download()
        self._stream.synchronize()
        return dict(self._views)

    def copies_ms(self) -> Dict[str, float]:
        """Return what a typical call spends on copying by the device's clock. A few more calls measure it."""
        if self._last is None:
            return {}
        there, back = [], []
        for _ in range(_CALLS_BY_THE_DEVICES_CLOCK):
            begin = self._stream.mark()
            self._upload(self._last)
            uploaded = self._stream.mark()
            self._execute()
            executed = self._stream.mark()
            self._download()
            end = self._stream.mark()
            self._stream.synchronize()
            there.append(uploaded.ms_since(begin))
            back.append(end.ms_since(executed))
        return {"copying to the GPU": median(there), "copying back": median(back)}

    def synchronize(self) -> None:
        """Wait until the stream has no work."""
        self._stream.synchronize()

    def placement(self) -> Observed:
        """Return the layers with the precisions that the engine's inspector gives."""
        return observed(self.information())

    def information(self) -> str:
        """Return the JSON of the engine's inspector."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        return str(inspector.get_engine_information(self._logger.tensorrt.LayerInformationFormat.JSON))

    def device_memory_mb(self) -> float:
        """Return the memory held on the device: the plan, which is nearly all weights, scratch memory and tensors."""
        # TensorRT 8 has only the one without a number, 11 only the other.
        modern = hasattr(self._engine, "device_memory_size_v2")
        scratch: int = self._engine.device_memory_size_v2 if modern else self._engine.device_memory_size
        tensors = sum(memory.size for memory in self._device.values())
        return (self._plan_size + scratch + tensors) / 2**20

    def _upload(self, staged: Staged) -> None:
        for name, pinned in staged.memory.items():
            self._stream.upload(pinned, self._device[name], pinned.size)

    def _execute(self) -> None:
        done(self._context.execute_async_v3(stream_handle=self._stream.handle), "run this engine", self._logger)

    def _download(self) -> None:
        for name, view in self._views.items():
            self._stream.download(self._device[name], self._answers[name], view.nbytes)

    def _tensor(self, name: str) -> Tensor:
        dtype = self._engine.get_tensor_dtype(name).name
        if dtype not in DTYPES:
            raise Refused(f"{name!r} is {dtype}, which NumPy does not have: cast it to FLOAT in the model")
        if self._engine.get_tensor_location(name) == self._logger.tensorrt.TensorLocation.HOST:
            raise Refused(f"{name!r} is a shape, which TensorRT reads on the host: make it a constant in the model")
        shape = tuple(None if size < 0 else size for size in self._engine.get_tensor_shape(name))
        return Tensor(name, "int64" if name in self._narrowed else DTYPES[dtype], shape)

    def _largest(self, tensor: Tensor) -> Shape:
        if None not in tensor.shape:
            return tuple(self._engine.get_tensor_shape(tensor.name))
        _, _, largest = self._engine.get_tensor_profile_shape(tensor.name, 0)
        return tuple(largest)

    def _set_shapes(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes: Dict[str, Shape] = {}  # a refusal may come after others were taken
        for name, shape in shapes.items():
            taken = self._context.set_input_shape(name, shape)
            done(taken, f"take {name!r} with the shape {list(shape)}; profile= sets the batches it takes", self._logger)
        self._shapes = dict(shapes)

    def _size(self, tensor: Tensor) -> int:
        """Return the bytes of a tensor for the shapes that were set."""
        shape = tuple(self._context.get_tensor_shape(tensor.name))
        if min(shape, default=1) < 0:
            raise Refused(
                f"the shape of {tensor.name!r} depends on the values of the inputs: cut the model off before, where "
                "shapes are fixed"
            )
        return int(math.prod(shape) * np.dtype(tensor.dtype).itemsize)

    def _seen(self) -> Dict[str, np.ndarray]:
        """Return the host memory of the outputs as arrays of the shapes that were set."""
        return {
            tensor.name: self._answers[tensor.name].as_array(
                tuple(self._context.get_tensor_shape(tensor.name)), tensor.dtype
            )
            for tensor in self.outputs
        }
