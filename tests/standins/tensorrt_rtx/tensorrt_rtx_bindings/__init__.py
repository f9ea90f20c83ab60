"""TensorRT for RTX on the host, as release 1.7.1 has it: TensorRT's interface of release 11, and what differs from it.

Written from NVIDIA's module, whose compiler needs no stand-in: this one is for what needs a GPU. An engine is built for
the compute capability that was named, and refused on another one. Its kernels are compiled when a context is made, or
taken from a runtime cache, which notes the process that compiled each. A cache of another GPU is not taken. Unless
kernels are wanted eagerly, the first call of a shape is computed by another kernel, which rounds differently. The list
of layers is a message of the log. It goes on top of the stand-in for TensorRT 11.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import tensorrt
from cuda import _runtime as cuda
from tensorrt import (
    BuilderFlag,
    DataType,
    Dims,
    EngineInspector,
    ErrorCode,
    IHostMemory,
    ILogger,
    INetworkDefinition,
    IOptimizationProfile,
    IOutputAllocator,
    IProgressMonitor,
    LayerInformationFormat,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ParserError,
    PreviewFeature,
    ProfilingVerbosity,
    TensorIOMode,
    TensorLocation,
    TilingOptimizationLevel,
)
from tensorrt._names import PybindEnum

__all__ = [
    "Builder",
    "BuilderFlag",
    "ComputeCapability",
    "DataType",
    "Dims",
    "DynamicShapesKernelSpecializationStrategy",
    "EngineInspector",
    "ErrorCode",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IOutputAllocator",
    "IProgressMonitor",
    "IRuntimeCache",
    "IRuntimeConfig",
    "LayerInformationFormat",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "PreviewFeature",
    "ProfilingVerbosity",
    "Runtime",
    "TensorIOMode",
    "TensorLocation",
    "TilingOptimizationLevel",
    "__version__",
]

__version__ = "1.7.1.116"

ComputeCapability = PybindEnum(
    "ComputeCapability",
    {"NONE": 0, "CURRENT": 1, "SM75": 75, "SM80": 80, "SM86": 86, "SM89": 89, "SM120": 120, "SM121": 121},
)
DynamicShapesKernelSpecializationStrategy = PybindEnum(
    "DynamicShapesKernelSpecializationStrategy", {"LAZY": 0, "EAGER": 1, "NONE": 2}
)
_HERE = "SM{}{}".format(*cuda.CAPABILITY)
#: What the list calls the kinds of layers, and the types of their tensors.
_KINDS = {"CaskConvolution": "correlation", "gemm": "gemm"}
_MOVES = {"Reformat": "Cast", "Shuffle": "Resh", "NoOp": "Gath"}
_STUB = "__myelin_CASK_STUB"


class OnnxParser(tensorrt.OnnxParser):  # type: ignore[misc]
    """Reads models. Of the operators that TensorRT knows, this one has no implementation here."""

    def _knows(self, node: Any) -> bool:
        return node.op_type != "NonZero" and bool(super()._knows(node))


class IBuilderConfig(tensorrt.IBuilderConfig):  # type: ignore[misc]
    """How to build, and for which GPU."""

    num_compute_capabilities = 0
    _target = ComputeCapability.NONE

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        assert isinstance(compute_capability, ComputeCapability)
        self._target = compute_capability
        return index < self.num_compute_capabilities

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        raise AssertionError("a timing cache makes the builder ask for a GPU, and does nothing else")


class Builder(tensorrt.Builder):  # type: ignore[misc]
    """Builds engines, wherever it is."""

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._logger)

    def build_serialized_network(self, network: INetworkDefinition, config: Any) -> IHostMemory | None:
        plan = super().build_serialized_network(network, config)
        if plan is None:
            return None
        header, _, model = plan.partition(b"\n")
        facts = json.loads(header)
        self._logger.log(ILogger.VERBOSE, "Layers:\n" + "\n".join(map(_listed, facts["layers"])) + "\n\nI/O Tensors:\n")
        facts["target"] = _HERE if config._target is ComputeCapability.CURRENT else config._target.name
        return IHostMemory(json.dumps(facts).encode() + b"\n" + model)


def _listed(layer: dict[str, Any]) -> str:
    """A layer as the log has it. What multiplies gives FP32 where it takes INT8."""
    kind = _KINDS.get(layer["LayerType"], "kgen")
    does = _MOVES.get(layer["LayerType"], "Mul")
    goes_in, comes_out = ([tensor["DataType"] for tensor in layer[side]] for side in ("Inputs", "Outputs"))
    if kind != "kgen":
        comes_out = ["Float" if word == "Int8" else word for word in comes_out]
    nodes = [f"[ONNX Layer: {name}]" for name in layer["Name"].split(" + ")]
    return (
        f"Name: {f'__myl_{does}' if kind == 'kgen' else 'product'}_myl0_3, LayerType: {kind}, "
        f"Inputs: {_tensors(goes_in[:1])}, Constants: {_tensors(goes_in[1:])}, Outputs: {_tensors(comes_out)}, "
        f"TacticName: {_STUB}, StreamId: 0, Metadata: {chr(0x1E).join(nodes)}"
    )


def _tensors(words: Sequence[str]) -> str:
    listed = ", ".join(
        f"{{ Name: x, Dimensions: [1,2], Strides: [2,1], StrideOrder: [1,0], Datatype: {word}, Format: (Linear) Row "
        "major linear format }"
        for word in words
    )
    return f"[ {listed}]" if listed else "[]"


class Runtime(tensorrt.Runtime):  # type: ignore[misc]
    """Loads plans that were built for this GPU."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        loaded = super().deserialize_cuda_engine(serialized_engine)
        if loaded is None:
            return None
        if (target := loaded._facts["target"]) != _HERE:
            words = f"Engine was built for {target} and cannot run on {_HERE}"
            self._logger.log(ILogger.ERROR, f"IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error ({words})")
            return None
        return ICudaEngine(loaded._facts, loaded._model, self._logger)


class IRuntimeCache:
    """Kernels by name, with the number of the process that compiled each."""

    def __init__(self) -> None:
        self._kernels: dict[str, int] = {}

    def serialize(self) -> IHostMemory:
        return IHostMemory(json.dumps({"gpu": _HERE, "kernels": self._kernels}).encode())

    def deserialize(self, blob: bytes) -> bool:
        try:
            stored = json.loads(blob)
        except ValueError:
            return False
        if stored["gpu"] == _HERE:
            self._kernels.update(stored["kernels"])
        return bool(stored["gpu"] == _HERE)


class IRuntimeConfig:
    """How to run."""

    dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def __init__(self) -> None:
        self._cache = IRuntimeCache()

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self._cache = cache
        return True


class ICudaEngine(tensorrt.ICudaEngine):  # type: ignore[misc]
    """An engine whose kernels are not compiled yet."""

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config: IRuntimeConfig | None = None) -> IExecutionContext:
        return IExecutionContext(self, runtime_config or IRuntimeConfig())


class IExecutionContext(tensorrt.IExecutionContext):  # type: ignore[misc]
    """An engine at work, with its kernels."""

    def __init__(self, engine: ICudaEngine, runtime_config: IRuntimeConfig) -> None:
        super().__init__(engine, 0)
        for layer in engine._facts["layers"]:
            runtime_config._cache._kernels.setdefault(layer["Name"], os.getpid())
        strategy = runtime_config.dynamic_shapes_kernel_specialization_strategy
        self._lazy = strategy is DynamicShapesKernelSpecializationStrategy.LAZY
        self._seen: list[dict[str, list[int]]] = []

    def _execute(self, shapes: dict[str, list[int]]) -> None:
        super()._execute(shapes)
        if self._lazy and shapes not in self._seen:
            for name in self._engine._outputs:
                memory = cuda.board.memory[self._addresses[name]]
                memory[0] ^= 1  # the last bit of a number
        self._seen.append(shapes)
