"""TensorRT's Python API on the host, as release 8.6.1, 10.9.0 or 11.4.0 has it; ``STANDIN_TENSORRT`` says which.

Written from the modules of those releases: names, signatures, defaults, enums, and calls that say no with None or False
and tell why to a logger only. Where a release has no such name, neither has this. An engine is its ONNX model, and the
answers are ONNX Runtime's: in FP16 and INT8 where those were asked for, with ranges from the calibrator's batches in
device memory. It runs in the streams of the stand-in for cuda-python, so answers are there after synchronising only.

``STANDIN_MISBEHAVES`` is a comma-separated list of habits, of which these are TensorRT's: ``falls-back`` (a coarser
precision that was asked for is quietly not taken), ``casts`` (layers get a coarser one than was asked for), ``nan``,
``out-of-memory`` (building needs more than there is), ``slow-compile``, ``refuses-operator`` (Relu), ``names-only``
(the inspector has no details), ``no-builder`` (the builder finds no driver), ``no-graph`` (calls cannot be recorded),
``old-release`` (from before 8.5) and ``placeholder`` (a package of this name that is not TensorRT).
"""

from __future__ import annotations

from tensorrt._builder import (
    Builder,
    IBuilderConfig,
    IHostMemory,
    INetworkDefinition,
    IOptimizationProfile,
    ITimingCache,
    OnnxParser,
    ParserError,
)
from tensorrt._engine import EngineInspector, ICudaEngine, IExecutionContext, IOutputAllocator, Runtime
from tensorrt._names import (
    FLAVOUR,
    HABITS,
    BuilderFlag,
    DataType,
    Dims,
    ErrorCode,
    HardwareCompatibilityLevel,
    ILogger,
    LayerInformationFormat,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    PreviewFeature,
    ProfilingVerbosity,
    TensorIOMode,
    TensorLocation,
    __version__,
)

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "Dims",
    "EngineInspector",
    "ErrorCode",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IOutputAllocator",
    "ITimingCache",
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
    "__version__",
]

if "old-release" in HABITS:
    del IExecutionContext.execute_async_v3
if "placeholder" in HABITS:
    del OnnxParser
if FLAVOUR != "11":
    from tensorrt._builder import IInt8EntropyCalibrator2

    __all__ += ["IInt8EntropyCalibrator2"]
if FLAVOUR != "8.6":
    from tensorrt._builder import IProgressMonitor
    from tensorrt._names import TilingOptimizationLevel

    __all__ += ["IProgressMonitor", "TilingOptimizationLevel"]
