"""Inputs for a model that came without a dataset: distinct, non-zero, of the right dtype, and the same every time.

Zeros and constants would flatter a model: multiplications by zero are cheap on some hardware, and equal outputs hide
errors.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pytest_accel.facts.errors import DatasetError
from pytest_accel.inputs.dataset_elements import Array, fits, shown

if TYPE_CHECKING:
    from pytest_accel.facts.records import Signature, TensorSpec
    from pytest_accel.worker.accelerator import Arrays

#: WHOLE_VALUES is the lowest made-up value of a dtype, and how many values follow it.
WHOLE_VALUES = {"bool": (0, 2), "uint8": (1, 255)}
#: SMALL_INTEGERS is the same for every other integer dtype: in range for almost any vocabulary.
SMALL_INTEGERS = (1, 9)


def synthetic(
    signature: Signature,
    batch_size: int,
    *,
    batches: int = 4,
    seed: int = 0,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> list[Arrays]:
    """Made-up inputs: ``batches`` distinct, non-zero, reproducible ones.

    Floats are standard normal, bytes 1 to 255, other integers 1 to 9, booleans mixed. Raises `DatasetError` for a
    dynamic dimension that ``input_shapes`` (one item's shape, by input name) does not fill.
    """
    names = [spec.name for spec in signature.inputs]
    unknown = [name for name in input_shapes or () if name not in names]
    if unknown:
        raise DatasetError(f"input_shapes: the model has no input '{unknown[0]}'; it takes {', '.join(names)}")
    shapes = {spec.name: _full_shape(spec, batch_size, input_shapes or {}) for spec in signature.inputs}
    try:
        return [
            {spec.name: _made_up(spec, shapes[spec.name], batch, seed) for spec in signature.inputs}
            for batch in range(batches)
        ]
    except (MemoryError, OverflowError, ValueError) as error:
        sizes = ", ".join(f"'{name}' of shape {shape}" for name, shape in shapes.items())
        raise DatasetError(f"inputs cannot be made up, {sizes}: {error}; ask for a smaller batch_size") from None


def describe_made_up(signature: Signature) -> str:
    """Return a sentence about the values that were made up for a model, and what to do where they do not fit it."""
    ranges = {spec.name: range_of(spec.dtype) for spec in signature.inputs if np.dtype(spec.dtype).kind in "iu"}
    whole = ", ".join(f"{name!r} of {low} to {low + values - 1}" for name, (low, values) in ranges.items())
    made_up = f"whole numbers: {whole}" if whole else "noise"
    return (
        f"The test gives no data, so the inputs are made up ({made_up}): pass a dataset with values that the model "
        f"takes, .check(dataset)"
    )


def range_of(dtype: str) -> tuple[int, int]:
    """Return the lowest made-up value of a whole type, and how many values follow each other from there."""
    return WHOLE_VALUES.get(dtype, SMALL_INTEGERS)


def _full_shape(spec: TensorSpec, batch_size: int, input_shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    if not spec.shape:
        return ()
    item = tuple(input_shapes.get(spec.name, spec.item_shape))
    sizes = tuple(size for size in item if size is not None)
    if len(sizes) < len(item):
        raise DatasetError(
            f"input '{spec.name}' has the dynamic shape {shown(spec)}: pass a dataset or say how large one "
            f"item of the made-up inputs is, as in input_shapes={{'{spec.name}': {tuple(size or 16 for size in item)}}}"
        )
    axis = spec.batch_axis
    shape = sizes if axis is None else (*sizes[:axis], batch_size, *sizes[axis:])
    if not fits(shape, spec):
        given = shown(msgspec.structs.replace(spec, shape=shape))
        raise DatasetError(f"input_shapes: '{spec.name}' has the shape {shown(spec)}, not {given}")
    return shape


def _made_up(spec: TensorSpec, shape: tuple[int, ...], batch: int, seed: int) -> Array:
    """Return one input of one batch. Whole numbers shift by one from batch to batch: even a single one is distinct."""
    own = zlib.crc32(spec.name.encode())  # two inputs of one shape differ
    if _kind(spec.name, spec.dtype) == "f":
        return (
            np.random.default_rng((seed, own, batch)).standard_normal(shape or (1,)).reshape(shape).astype(spec.dtype)
        )
    low, values = range_of(spec.dtype)
    start = np.random.default_rng((seed, own)).permutation(math.prod(shape)).reshape(shape)
    return (low + (start + batch) % values).astype(spec.dtype)


def _kind(name: str, dtype: str) -> str:
    """NumPy's letter for floats, booleans, signed or unsigned integers."""
    try:
        kind = np.dtype(dtype).kind
    except TypeError:  # a dtype of an extension that this process has not loaded
        kind = "V"
    if kind not in "fbiu":
        raise DatasetError(f"input '{name}': cannot make up values of dtype {dtype}; pass a dataset")
    return kind
