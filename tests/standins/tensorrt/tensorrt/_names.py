"""The enums, the logger and the other plain types of a release."""

from __future__ import annotations

import os
from enum import Enum
from typing import Any

FLAVOUR = os.environ.get("STANDIN_TENSORRT", "10")
__version__ = {"8.6": "8.6.1", "10": "10.9.0.34", "11": "11.4.0.106"}[FLAVOUR]
HABITS = frozenset(os.environ.get("STANDIN_MISBEHAVES", "").split(","))


class PybindEnum(Enum):
    """An enum as pybind11 makes it: an int on request, but no int."""

    def __int__(self) -> int:
        return int(self.value)


def _enum(name: str, **values: int) -> Any:
    return PybindEnum(name, values)  # type: ignore[call-arg]


BuilderFlag = {
    "8.6": _enum("BuilderFlag", FP16=0, INT8=1, DISABLE_TIMING_CACHE=6, TF32=7, SPARSE_WEIGHTS=8),
    "10": _enum("BuilderFlag", FP16=0, INT8=1, DISABLE_TIMING_CACHE=5, TF32=6, SPARSE_WEIGHTS=7),
    "11": _enum("BuilderFlag", DISABLE_TIMING_CACHE=5, TF32=6, SPARSE_WEIGHTS=7),
}[FLAVOUR]
PreviewFeature = {
    "8.6": _enum("PreviewFeature", PROFILE_SHARING_0806=2),
    "10": _enum("PreviewFeature", PROFILE_SHARING_0806=0, ALIASED_PLUGIN_IO_10_03=1),
    "11": _enum("PreviewFeature", ALIASED_PLUGIN_IO_10_03=0),
}[FLAVOUR]
HardwareCompatibilityLevel = _enum("HardwareCompatibilityLevel", NONE=0, AMPERE_PLUS=1)
TilingOptimizationLevel = _enum("TilingOptimizationLevel", NONE=0, FAST=1, MODERATE=2, FULL=3)
NetworkDefinitionCreationFlag = {
    "8.6": _enum("NetworkDefinitionCreationFlag", EXPLICIT_BATCH=0),
    "10": _enum("NetworkDefinitionCreationFlag", EXPLICIT_BATCH=0, STRONGLY_TYPED=1),
    "11": _enum("NetworkDefinitionCreationFlag", STRONGLY_TYPED=0),
}[FLAVOUR]
DataType = _enum(
    "DataType",
    FLOAT=0,
    HALF=1,
    INT8=2,
    INT32=3,
    BOOL=4,
    UINT8=5,
    **({} if FLAVOUR == "8.6" else {"BF16": 7, "INT64": 8}),
)
ErrorCode = _enum(
    "ErrorCode",
    SUCCESS=0,
    INTERNAL_ERROR=1,
    MODEL_DESERIALIZE_FAILED=3,
    INVALID_GRAPH=5,
    INVALID_NODE=6,
    UNSUPPORTED_NODE=8,
)
LayerInformationFormat = _enum("LayerInformationFormat", ONELINE=0, JSON=1)
MemoryPoolType = _enum("MemoryPoolType", WORKSPACE=0)
ProfilingVerbosity = _enum("ProfilingVerbosity", LAYER_NAMES_ONLY=0, NONE=1, DETAILED=2)
TensorIOMode = _enum("TensorIOMode", NONE=0, INPUT=1, OUTPUT=2)
TensorLocation = _enum("TensorLocation", DEVICE=0, HOST=1)
Severity = _enum("Severity", INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)


class Dims(tuple[int, ...]):
    """A shape; -1 is dynamic."""

    __slots__ = ()


class ILogger:
    """The base of an application's logger."""

    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def __init__(self) -> None:
        self._made = True

    def log(self, severity: Any, msg: str) -> None:
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')


def own_part_of(made: Any, base: str) -> None:
    """Refuse an object of the application's that has not called its base's ``__init__``, as pybind11 does."""
    if not getattr(made, "_made", False):
        raise TypeError(f"tensorrt_bindings.tensorrt.{base}.__init__() must be called when overriding __init__")
