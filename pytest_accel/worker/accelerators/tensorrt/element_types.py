"""The element types of TensorRT's tensors in NumPy, and values brought into the type that TensorRT takes.

TensorRT 8 has no INT64: it takes INT32 for an input that is INT64 in the model.
"""

from __future__ import annotations

from typing import Any, List, Sequence

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Refused

#: DTYPES has NumPy's names of TensorRT's element types. NumPy does not have BF16, FP8, INT4 and FP4.
DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}


def as_int32(name: str, values: np.ndarray) -> np.ndarray:
    """Return INT64 values in INT32. Raises `Refused` where they do not fit."""
    narrowed = values.astype(np.int32)
    if not np.array_equal(narrowed, values):
        raise Refused(f"input {name!r} has values beyond INT32, and this TensorRT has no INT64")
    return narrowed


def as_taken(network: Any, batches: Sequence[Arrays]) -> List[Arrays]:
    """Return calibration batches in the types that the inputs of a parsed network have.

    TensorRT reads their memory as it is. INT64 would be read as INT32: half of the batch, with a zero behind each
    value. Raises `Refused` where values do not fit.
    """
    taken = {tensor.name: tensor.dtype.name for tensor in map(network.get_input, range(network.num_inputs))}
    return [{name: _as_type(name, array, taken.get(name, "")) for name, array in batch.items()} for batch in batches]


def _as_type(name: str, values: np.ndarray, taken: str) -> np.ndarray:
    if taken == "INT32" and values.dtype == np.int64:
        return as_int32(name, values)
    return values.astype(DTYPES.get(taken, values.dtype), copy=False)
