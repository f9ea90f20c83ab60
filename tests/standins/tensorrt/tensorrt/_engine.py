"""From a plan to answers: runtime, engine, context, inspector."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from cuda import _runtime as cuda

from tensorrt import _model
from tensorrt._names import (
    FLAVOUR,
    HABITS,
    DataType,
    Dims,
    ILogger,
    TensorIOMode,
    TensorLocation,
    __version__,
    own_part_of,
)

_OTHER_VERSION = {
    "8.6": "6: The engine plan file is not compatible with this version of TensorRT, expecting library version "
    "{here} got {there}, please rebuild.",
    "10": "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion stdVersionRead == "
    "kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current Version: {here}, Serialized Engine "
    "Version: {there})",
}


class Runtime:
    """Loads plans."""

    def __init__(self, logger: ILogger) -> None:
        own_part_of(logger, "ILogger")
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        header, _, model = bytes(serialized_engine).partition(b"\n")
        try:
            facts = json.loads(header)
        except ValueError:
            self._logger.log(ILogger.ERROR, "1: [stdArchiveReader.cpp] Error Code 1: Serialization (magicTagRead)")
            return None
        if facts["version"] != __version__:
            words = _OTHER_VERSION.get(FLAVOUR, _OTHER_VERSION["10"])
            self._logger.log(ILogger.ERROR, words.format(here=__version__, there=facts["version"]))
            return None
        return ICudaEngine(facts, onnx.load_from_string(model), self._logger)


class ICudaEngine:
    """An engine that is loaded."""

    def __init__(self, facts: dict[str, Any], model: Any, logger: ILogger) -> None:
        self._facts, self._model, self._logger = facts, model, logger
        self._inputs = _model.input_shapes(model)
        self._outputs = [value.name for value in model.graph.output]
        self._types = _model.dtypes(model)
        self._contexts: weakref.WeakSet[IExecutionContext] = weakref.WeakSet()

    @property
    def num_io_tensors(self) -> int:
        return len(self._inputs) + len(self._outputs)

    def get_tensor_name(self, index: int) -> str:
        names: list[str] = [*self._inputs, *self._outputs]
        return names[index]

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return DataType[_model.TYPES[_model.on_device(self._types[name]).name]]

    def get_tensor_location(self, name: str) -> Any:
        return TensorLocation.DEVICE

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self._inputs:
            return Dims(self._inputs[name])
        (sizes,) = (value.type.tensor_type.shape.dim for value in self._model.graph.output if value.name == name)
        return Dims(size.dim_value or -1 for size in sizes)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        return [Dims(shape) for shape in self._facts["profiles"][profile_index][name]]

    def create_execution_context(self) -> IExecutionContext | None:
        """The first one has profile 0. Others have it too where profiles are shared, as they always are from 10 on."""
        taken = any(context.active_optimization_profile == 0 for context in self._contexts)
        context = IExecutionContext(self, -1 if taken and not self._facts["shares_profiles"] else 0)
        self._contexts.add(context)
        return context

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)

    if FLAVOUR != "11":

        @property
        def device_memory_size(self) -> int:
            return 2**20

    if FLAVOUR != "8.6":

        @property
        def device_memory_size_v2(self) -> int:
            return 2**20


class IExecutionContext:
    """An engine at work on one call at a time: two at once compute in the same memory, so that both are garbage."""

    def __init__(self, engine: ICudaEngine, profile: int) -> None:
        self._engine = engine
        self.active_optimization_profile = profile
        self._in_call = threading.Lock()
        #: The stream of calls that are not done yet, and their number.
        self._stream, self._under_way = 0, 0
        self._is_garbage = False
        self._allocators: dict[str, Any] = {}
        self._session = _model.session(engine._model)
        self._shapes = {name: shape for name, shape in engine._inputs.items() if -1 not in shape}
        self._addresses: dict[str, int] = {}
        self._output_shapes: dict[str, Dims] = {}

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        if self.active_optimization_profile < 0 and -1 in self._engine._inputs[name]:
            words = "Parameter check failed, condition: optimizationProfile >= 0. No optimization profile is set"
            self._engine._logger.log(ILogger.ERROR, f"IExecutionContext::setInputShape: Error Code 3: ({words}.)")
            return False
        smallest, largest = self._limits(name)
        fits = len(shape) == len(smallest)
        if not fits or not all(low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)):
            words = f"Supplied dims {list(shape)} for input {name} are not within {smallest} and {largest}"
            self._engine._logger.log(ILogger.ERROR, f"IExecutionContext::setInputShape: Error Code 3: ({words}.)")
            return False
        self._shapes[name] = list(shape)
        self._output_shapes = {}
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self._engine._inputs:
            return Dims(self._shapes.get(name, self._engine._inputs[name]))
        if self._shapes.keys() != self._engine._inputs.keys():
            return self._engine.get_tensor_shape(name)
        if not self._output_shapes:
            of_zeros, of_ones = (self._outputs_of(value) for value in (0, 1))
            self._output_shapes = {
                each: Dims(a if a == b else -1 for a, b in zip(of_zeros[each].shape, of_ones[each].shape, strict=True))
                for each in self._engine._outputs
            }
        return self._output_shapes[name]

    def get_max_output_size(self, name: str) -> int:
        """What ones give: of nothing else do the models here have more elements that are not zero."""
        return -1 if self._shapes.keys() != self._engine._inputs.keys() else int(self._outputs_of(1)[name].nbytes)

    def set_output_allocator(self, name: str, output_allocator: IOutputAllocator) -> bool:
        own_part_of(output_allocator, "IOutputAllocator")
        self._allocators[name] = output_allocator
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        missing = {*self._engine._inputs, *self._engine._outputs} - self._addresses.keys()
        if missing:
            return self._refuse(f"Address is not set for tensor {min(missing)}.")
        if stream_handle in cuda.board.recorded and "no-graph" in HABITS:
            cuda.board.recorded[stream_handle] = None
            return self._refuse("operation not permitted when stream is capturing")
        alone = self._in_call.acquire(blocking=False)
        self._is_garbage |= not alone or bool(self._under_way and self._stream != stream_handle)
        try:
            return self._enqueue(stream_handle, dict(self._shapes))
        finally:
            if alone:
                self._in_call.release()

    def _enqueue(self, stream_handle: int, shapes: dict[str, list[int]]) -> bool:
        if self._allocators:  # TensorRT waits for the values on which a shape depends
            cuda.board.run(stream_handle)
            return self._write(self._computed(shapes))
        if stream_handle not in cuda.board.recorded:
            self._stream, self._under_way = stream_handle, self._under_way + 1
        cuda.board.enqueue(stream_handle, lambda: self._execute(shapes))
        return True

    def _execute(self, shapes: dict[str, list[int]]) -> None:
        self._write(self._computed(shapes))
        self._under_way = max(0, self._under_way - 1)

    def _computed(self, shapes: dict[str, list[int]]) -> dict[str, Any]:
        cuda.board.clock_ms += 1.0
        memory = [cuda.board.memory[self._addresses[name]] for name in shapes]
        inputs = _model.arrays_of(self._engine._model, shapes, memory)
        outputs = self._session.run(self._engine._outputs, inputs)
        return dict(zip(self._engine._outputs, outputs, strict=True))

    def _write(self, outputs: dict[str, Any]) -> bool:
        for name, output in outputs.items():
            output = output.astype(_model.on_device(output.dtype))
            if "nan" in HABITS or (self._is_garbage and output.dtype.kind == "f"):
                output = np.full_like(output, np.nan)
            address = self._allocated(name, output)
            if not address:
                return self._refuse(f"Allocation of {output.nbytes} bytes for output {name} failed.")
            cuda.board.memory[address][: output.nbytes] = output.tobytes()
        self._is_garbage = self._is_garbage and self._under_way > 1
        return True

    def _allocated(self, name: str, output: Any) -> int:
        """The memory for an output: its address, or what its allocator gives, which is told the shape too."""
        allocator = self._allocators.get(name)
        address: int = self._addresses[name]
        if allocator is None:
            return address
        size = max(output.nbytes, 1)  # always positive, even for an empty tensor
        if FLAVOUR == "8.6":
            address = allocator.reallocate_output(name, address, size, 256)
        else:
            address = allocator.reallocate_output_async(name, address, size, 256, 0)
        allocator.notify_shape(name, Dims(output.shape))
        return address

    def _outputs_of(self, value: int) -> dict[str, Any]:
        """The outputs of inputs that all have this value."""
        inputs = {name: np.full(shape, value, self._engine._types[name]) for name, shape in self._shapes.items()}
        return dict(zip(self._engine._outputs, self._session.run(self._engine._outputs, inputs), strict=True))

    def _refuse(self, words: str) -> bool:
        self._engine._logger.log(ILogger.ERROR, f"IExecutionContext::enqueueV3: Error Code 3: API Usage ({words})")
        return False

    def _limits(self, name: str) -> tuple[list[int], list[int]]:
        if -1 not in self._engine._inputs[name]:
            return self._engine._inputs[name], self._engine._inputs[name]
        smallest, _, largest = self._engine._facts["profiles"][0][name]
        return smallest, largest


class EngineInspector:
    """Tells what an engine is made of."""

    execution_context: IExecutionContext | None = None

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        layers = self._engine._facts["layers"]
        if "names-only" in HABITS:
            layers = [layer["Name"] for layer in layers]
        if FLAVOUR != "11":
            return json.dumps({"Layers": layers, "Bindings": [*self._engine._inputs, *self._engine._outputs]})
        inputs, outputs = ([(name, mode) for name in names] for names, mode in self._by_mode())
        tensors = [{"Name": name, "IOMode": mode, "Location": "Device"} for name, mode in [*inputs, *outputs]]
        return json.dumps({"Layers": layers, "I/O Tensors": tensors})

    def _by_mode(self) -> list[tuple[list[str], str]]:
        return [(list(self._engine._inputs), "Input"), (self._engine._outputs, "Output")]


class IOutputAllocator:
    """The base of what an application allocates an output with whose shape depends on values.

    TensorRT 8 has its methods, which raise. Later releases only look for those of the application.
    """

    def __init__(self) -> None:
        self._made = True

    if FLAVOUR == "8.6":

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            raise RuntimeError('Tried to call pure virtual function "IOutputAllocator::reallocate_output"')

        def notify_shape(self, tensor_name: str, shape: Dims) -> None:
            raise RuntimeError('Tried to call pure virtual function "IOutputAllocator::notify_shape"')
