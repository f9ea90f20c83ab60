"""One lane of an engine: an execution context with a stream, device memory and page-locked memory of its own.

Inputs go from page-locked memory to the device, the engine runs, and outputs come back, all of it in one stream. Lanes
share the engine, which is nearly all weights. They share nothing else, because two calls in one context would compute
in the same memory. `pytest_accel.worker.accelerators.tensorrt.engine` says which call gets which lane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Any, Callable, Dict, List, Mapping, Tuple

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Refused, Tensor
from pytest_accel.worker.accelerators.tensorrt.callbacks import output_allocator
from pytest_accel.worker.accelerators.tensorrt.log import done
from pytest_accel.worker.hardware.cuda import Cuda, DeviceMemory, Event, Graph, PinnedMemory, Stream

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


@dataclass(frozen=True)
class Shared:
    """What the lanes of an engine have in common.

    ``new_context`` makes an execution context of the engine. ``largest`` has the largest shape of each input.
    """

    engine: Any
    new_context: Callable[[Any], Any]
    inputs: List[Tensor]
    outputs: List[Tensor]
    largest: Mapping[str, Shape]
    cuda: Cuda
    logger: Any
    cuda_graph: bool


class Lane:
    """Room for one call of an engine at a time, with memory for the largest shapes. Raises `Refused` without room."""

    def __init__(self, shared: Shared) -> None:
        self._shared, cuda = shared, shared.cuda
        self.context = done(shared.new_context(shared.engine), "make room to run this engine", shared.logger)
        self._stream = Stream(cuda)
        self._set_shapes(shared.largest)
        tensors = (*shared.inputs, *shared.outputs)
        self._device = {tensor.name: DeviceMemory(cuda, self._size(tensor)) for tensor in tensors}
        self._answers = {tensor.name: PinnedMemory(cuda, self._device[tensor.name].size) for tensor in shared.outputs}
        for name, memory in self._device.items():
            taken = self.context.set_tensor_address(name, memory.address)
            done(taken, f"use a buffer for {name!r}", shared.logger)
        #: The outputs whose shape a call tells itself, because it depends on the values of the inputs.
        self._free = self._of_free_shape()
        self._views = self._seen()
        self._graphs: Dict[Tuple[Tuple[str, Shape], ...], Graph] = {}

    def begin(self, staged: Staged) -> None:
        """Put all the work of one call into the stream."""
        if staged.shapes != self._shapes:
            self._set_shapes(staged.shapes)
            self._views = self._seen()
        self._upload(staged)
        self._run()
        self._download()

    def finish(self) -> Arrays:
        """Wait for the call, and return its outputs in the memory of this lane."""
        self._stream.synchronize()
        return dict(self._views)

    def blank(self) -> None:
        """Fill the outputs with NaN, or -1, so that a call that ends before they are there shows."""
        for memory in self._answers.values():
            memory.as_array((memory.size,), "uint8").fill(0xFF)

    def copies_ms(self, staged: Staged) -> Dict[str, float]:
        """Return what a typical call spends on copying by the device's clock. A few more calls measure it."""
        began, uploaded, executed, ended = (Event(self._shared.cuda) for _ in range(4))
        there, back = [], []
        for _ in range(_CALLS_BY_THE_DEVICES_CLOCK):
            self._stream.mark(began)
            self._upload(staged)
            self._stream.mark(uploaded)
            self._run()
            self._stream.mark(executed)
            self._download()
            self._stream.mark(ended)
            self._stream.synchronize()
            there.append(uploaded.ms_since(began))
            back.append(ended.ms_since(executed))
        return {"copying to the GPU": median(there), "copying back": median(back)}

    @property
    def size(self) -> int:
        """The bytes that this lane holds on the device: scratch memory and tensors."""
        engine = self._shared.engine
        # TensorRT 8 has only the one without a number, 11 only the other.
        modern = hasattr(engine, "device_memory_size_v2")
        scratch: int = engine.device_memory_size_v2 if modern else engine.device_memory_size
        return scratch + sum(memory.size for memory in self._device.values())

    def _upload(self, staged: Staged) -> None:
        for name, pinned in staged.memory.items():
            self._stream.upload(pinned, self._device[name], pinned.size)

    def _run(self) -> None:
        if self._shared.cuda_graph:
            self._recorded().launch(self._stream)
        else:
            self._execute()

    def _execute(self) -> None:
        taken = self.context.execute_async_v3(stream_handle=self._stream.handle)
        done(taken, "run this engine", self._shared.logger)
        if self._free:
            self._views = self._seen()

    def _recorded(self) -> Graph:
        """Return the CUDA graph of the engine for the shapes that were set."""
        shapes = tuple(self._shapes.items())
        if shapes not in self._graphs:
            self._execute()  # not recorded: TensorRT does once what new shapes need
            self._stream.synchronize()
            self._graphs[shapes] = self._stream.record(self._execute, "cuda_graph=True")
        return self._graphs[shapes]

    def _download(self) -> None:
        for name, view in self._views.items():
            self._stream.download(self._device[name], self._answers[name], view.nbytes)

    def _set_shapes(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes: Dict[str, Shape] = {}  # a refusal may come after others were taken
        for name, shape in shapes.items():
            taken = self.context.set_input_shape(name, shape)
            what = f"take {name!r} with the shape {list(shape)}; profile= sets the batches it takes"
            done(taken, what, self._shared.logger)
        self._shapes = dict(shapes)

    def _size(self, tensor: Tensor) -> int:
        """Return the bytes of a tensor for the shapes that were set, the most that it can have where it is free."""
        shape = self._shape(tensor.name)
        if min(shape, default=1) >= 0:
            return int(math.prod(shape) * np.dtype(tensor.dtype).itemsize)
        bound = int(self.context.get_max_output_size(tensor.name))
        if bound <= 0:
            raise Refused(
                f"the shape of {tensor.name!r} depends on the values of the inputs, and TensorRT knows no bound of its "
                "size: cut the model off before, where shapes are fixed"
            )
        return bound

    def _of_free_shape(self) -> Dict[str, Any]:
        names = [tensor.name for tensor in self._shared.outputs if min(self._shape(tensor.name), default=1) < 0]
        if names and self._shared.cuda_graph:
            raise Refused(
                f"cuda_graph=True: the shape of {names[0]!r} depends on the values of the inputs, and a graph repeats "
                "work of one shape; leave cuda_graph out"
            )
        free = {name: output_allocator(self._device[name], self._shared.logger.tensorrt) for name in names}
        for name, allocator in free.items():
            taken = self.context.set_output_allocator(name, allocator)
            done(taken, f"give {name!r} a shape that depends on values", self._shared.logger)
        return free

    def _shape_of(self, name: str) -> Shape:
        return self._free[name].shape if name in self._free else self._shape(name)

    def _shape(self, name: str) -> Shape:
        return tuple(self.context.get_tensor_shape(name))

    def _seen(self) -> Dict[str, np.ndarray]:
        """Return the host memory of the outputs as arrays: of the shapes that were set, or that the last call told."""
        return {
            tensor.name: self._answers[tensor.name].as_array(self._shape_of(tensor.name), tensor.dtype)
            for tensor in self._shared.outputs
        }
