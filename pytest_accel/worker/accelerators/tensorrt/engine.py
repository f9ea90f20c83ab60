"""A loaded TensorRT engine: its tensors, and the lanes in which its calls run side by side.

A call ends when the outputs are visible to the host. `pytest_accel.worker.accelerators.tensorrt.lane` is what one call
needs to itself. `pytest_accel.worker.accelerators.tensorrt.builder` builds engines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence

from pytest_accel.worker.accelerator import Arrays, Observed, Refused, Tensor
from pytest_accel.worker.accelerators.tensorrt.element_types import DTYPES, as_int32
from pytest_accel.worker.accelerators.tensorrt.inspector import observed
from pytest_accel.worker.accelerators.tensorrt.lane import Lane, Shape, Shared, Staged
from pytest_accel.worker.accelerators.tensorrt.log import done
from pytest_accel.worker.lanes import Lanes

if TYPE_CHECKING:
    from pytest_accel.worker.hardware.cuda import Cuda


class Engine:
    """A plan on the device. Several threads may call it at once; each has lanes of its own.

    ``int64_inputs`` are inputs of the model that TensorRT 8 takes in INT32 only. ``new_context`` makes the execution
    context of each lane. With ``cuda_graph`` calls repeat a recorded CUDA graph. Raises `Refused` with the logger's
    words when TensorRT does not take the plan, or with what to change in the model when a tensor cannot be served.
    """

    def __init__(
        self,
        plan: bytes,
        *,
        int64_inputs: Sequence[str],
        cuda: Cuda,
        logger: Any,
        new_context: Callable[[Any], Any],
        cuda_graph: bool,
    ) -> None:
        tensorrt = logger.tensorrt
        self._cuda, self._logger = cuda, logger
        logger.errors.clear()
        self._runtime = tensorrt.Runtime(logger)
        self._engine = done(self._runtime.deserialize_cuda_engine(plan), "load this engine", logger)
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        self._narrowed = {
            name for name in names if name in int64_inputs and self._engine.get_tensor_dtype(name).name == "INT32"
        }
        tensors = [self._tensor(name) for name in names]
        is_input = {name: self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT for name in names}
        self.inputs = [tensor for tensor in tensors if is_input[tensor.name]]
        self.outputs = [tensor for tensor in tensors if not is_input[tensor.name]]
        largest = {tensor.name: self._largest(tensor) for tensor in self.inputs}
        shared = Shared(
            self._engine,
            new_context,
            self.inputs,
            self.outputs,
            largest,
            cuda=cuda,
            logger=logger,
            cuda_graph=cuda_graph,
        )
        self._lanes: Lanes[Lane] = Lanes(lambda: Lane(shared))
        self._lanes.give_back(self._lanes.take())  # an engine for which there is no room is refused here
        self._plan_size = len(plan)
        self._last: Optional[Staged] = None

    def stage(self, inputs: Arrays) -> Staged:
        """Bring one batch to where the device copies it from. No call is under way."""
        staged = Staged(
            self._cuda,
            {name: as_int32(name, array) if name in self._narrowed else array for name, array in inputs.items()},
        )
        for lane in self._lanes:
            lane.blank()
        return staged

    def begin(self, staged: Staged) -> Lane:
        """Begin the call of one batch in a lane, and return the lane."""
        lane = self._lanes.take()
        try:
            lane.begin(staged)
        except BaseException:
            self._lanes.give_back(lane)
            raise
        self._last = staged
        return lane

    def finish(self, lane: Lane) -> Arrays:
        """Return the outputs of a call that was begun, which this thread's next call overwrites."""
        self._lanes.give_back(lane)
        return lane.finish()

    def copies_ms(self) -> Dict[str, float]:
        """Return what a typical call spends on copying by the device's clock, empty before the first call."""
        if self._last is None:
            return {}
        lane = self._lanes.take()
        try:
            return lane.copies_ms(self._last)
        finally:
            self._lanes.give_back(lane)

    def placement(self) -> Observed:
        """Return the layers with the precisions that the engine's inspector gives."""
        return observed(self.information())

    def information(self) -> str:
        """Return the JSON of the engine's inspector."""
        inspector, lane = self._engine.create_engine_inspector(), self._lanes.take()
        inspector.execution_context = lane.context
        self._lanes.give_back(lane)
        return str(inspector.get_engine_information(self._logger.tensorrt.LayerInformationFormat.JSON))

    def device_memory_mb(self) -> float:
        """Return the memory held on the device: the plan, which is nearly all weights, and the lanes."""
        return (self._plan_size + sum(lane.size for lane in self._lanes)) / 2**20

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
