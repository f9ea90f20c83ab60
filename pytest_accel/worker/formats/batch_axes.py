"""Which axis of a model's inputs and outputs is the batch, if any: what the signature tells.

The batch is usually the first dimension. Not in a state of ``[layers, batch, hidden]``, not where time comes first, and
not in an input that belongs to a whole call. The signature knows by the names of its free dimensions, else by which
dimensions are free, else by their sizes. `pytest_accel.session.batch_layout` checks this by running the model.

A dimension is its size, its name, or None where it is free and has no name.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from pytest_accel.worker.accelerator import Tensor

#: Dims is the shape of an input or output, with the names of free dimensions.
Dims = Sequence[Union[int, str, None]]
#: Axes says which axis is the batch, for each input or output; None for one that has no batch.
Axes = List[Optional[int]]

#: _BATCH finds the names that exporters give to the batch.
_BATCH = re.compile(r"\w*batch\w*|n|b|bs", re.IGNORECASE)
#: _LENGTH finds the names of dimensions that are free for another reason: time, and the height and width of images.
_LENGTH = re.compile(r"\w*(seq|len|time|step|frame|token|height|width)\w*|[tslhw]", re.IGNORECASE)
#: _SIGNATURE is the file beside a converted model with the signature that it had before.
_SIGNATURE = "signature.json"
#: _AXES is the file beside a compiled model with the axes that were fixed.
_AXES = "batch_axes.json"


class Ends(NamedTuple):
    """The shapes of all inputs and all outputs of a model, in its order."""

    inputs: Sequence[Dims]
    outputs: Sequence[Dims]


def axes_of(ends: Ends, batch_size: int) -> Tuple[Axes, Axes]:
    """Return the axes of the inputs and those of the outputs, for a model that is to take ``batch_size`` items."""
    if _is_free(ends):
        symbol = _symbol(ends)
        beside = {dim for dims in (*ends.inputs, *ends.outputs) if symbol in dims for dim in dims if dim != symbol}
        inputs = [_free_axis(dims, symbol, beside) for dims in ends.inputs]
        return inputs, [_free_axis_of_output(dims, symbol) for dims in ends.outputs]
    fixed = _fixed_batch(ends, batch_size)
    if fixed is not None:
        inputs, outputs = ([0 if dims and dims[0] == fixed else None for dims in side] for side in ends)
        return inputs, outputs
    inputs, outputs = ([_axis_by_size(dims, batch_size) for dims in side] for side in ends)
    return inputs, outputs


def unfit(ends: Ends, names: Sequence[str], batch_size: int) -> str:
    """Return why the model cannot take ``batch_size`` items in a call, and what to ask for. It is empty where it can.

    ``names`` are those of the inputs.
    """
    axes, _ = axes_of(ends, batch_size)
    for name, dims, axis in zip(names, ends.inputs, axes):
        size = None if axis is None else dims[axis]
        if isinstance(size, int) and size != batch_size:
            return (
                f"input {name!r} was exported for batches of {size}: ask for batch_size={size}, or export the model "
                "with a dynamic batch"
            )
    first = next(((name, dims, axis) for name, dims, axis in zip(names, ends.inputs, axes) if dims), None)
    if batch_size == 1 or first is None or first[2] is not None or _is_free(ends):
        return ""
    return (
        f"input {first[0]!r} has the shape {list(first[1])} and no dimension of {batch_size}: ask for batch_size=1, or "
        "export the model with a dynamic batch"
    )


def ends_of(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Ends:
    """Return the shapes of tensors, which do not tell the names of free dimensions."""
    return Ends([tensor.shape for tensor in inputs], [tensor.shape for tensor in outputs])


def with_axes(
    sides: Tuple[Sequence[Tensor], Sequence[Tensor]], axes: Tuple[Axes, Axes]
) -> Tuple[List[Tensor], List[Tensor]]:
    """Return inputs and outputs with these axes of the batch."""
    inputs, outputs = (
        [Tensor(tensor.name, tensor.dtype, tensor.shape, axis) for tensor, axis in zip(side, of_side)]
        for side, of_side in zip(sides, axes)
    )
    return inputs, outputs


def keep_signature(ends: Ends, folder: str) -> None:
    """Keep the signature beside a converted model that tells less: without names, or for a fixed batch."""
    _write(os.path.join(folder, _SIGNATURE), ends._asdict())


def kept_signature(model: str, ends: Ends) -> Ends:
    """Return the signature that a conversion kept beside the file ``model``; ``ends`` where there is none."""
    kept = _read(os.path.join(os.path.dirname(model), _SIGNATURE))
    if kept is None:
        return ends
    before = Ends(**kept)
    return before if tuple(map(len, before)) == tuple(map(len, ends)) else ends


def keep_axes(axes: Tuple[Axes, Axes], folder: str) -> None:
    """Keep the axes beside an artefact, which does not tell them once its batch is fixed."""
    _write(os.path.join(folder, _AXES), {"inputs": axes[0], "outputs": axes[1]})


def kept_axes(artefact: str, ends: Ends) -> Tuple[Axes, Axes]:
    """Return the axes of an artefact. One of an older release has the batch first."""
    kept = _read(os.path.join(artefact, _AXES))
    if kept is None or (len(kept["inputs"]), len(kept["outputs"])) != tuple(map(len, ends)):
        return [0 if dims else None for dims in ends.inputs], [0 if dims else None for dims in ends.outputs]
    return kept["inputs"], kept["outputs"]


def _is_free(ends: Ends) -> bool:
    """Return whether the batch of the model is a free dimension."""
    if any(_is_name(dim, _BATCH) for dims in ends.inputs for dim in dims):
        return True
    return any(dims and not isinstance(dims[0], int) and _first_free(dims) is not None for dims in ends.inputs)


def _symbol(ends: Ends) -> Optional[str]:
    """Return the name of the batch, None where it has none."""
    names = [dim for dims in ends.inputs for dim in dims if isinstance(dim, str)]
    usual = [name for name in names if _BATCH.fullmatch(name)]
    first = [dims[0] for dims in ends.inputs if dims and isinstance(dims[0], str)]
    return next(iter((*usual, *(name for name in first if not _LENGTH.fullmatch(name)))), None)


def _free_axis(dims: Dims, symbol: Optional[str], beside: Any) -> Optional[int]:
    """Return the axis of the batch where that is a free dimension, of which ``symbol`` is the name if it has one.

    ``beside`` holds the names that stand beside it, which are of something else.
    """
    for place, dim in enumerate(dims):
        if _is_name(dim, _BATCH):
            return place
    if symbol is not None and symbol in dims:
        return list(dims).index(symbol)
    axis = _first_free(dims)
    return None if axis is None or (isinstance(dims[axis], str) and dims[axis] in beside) else axis


def _free_axis_of_output(dims: Dims, symbol: Optional[str]) -> Optional[int]:
    """Return the same of an output. Another name is that of another number, such as of boxes that were found."""
    return next((axis for axis, dim in enumerate(dims) if dim in (None, symbol) or _is_name(dim, _BATCH)), None)


def _first_free(dims: Dims) -> Optional[int]:
    """Return the first free dimension that is not named after a length."""
    return next(
        (axis for axis, dim in enumerate(dims) if not isinstance(dim, int) and not _is_name(dim, _LENGTH)), None
    )


def _fixed_batch(ends: Ends, batch_size: int) -> Optional[int]:
    """Return the size that a fixed batch must have: all inputs begin with it, and so does an output."""
    sizes = {dims[0] for dims in ends.inputs if dims}
    if len(sizes) != 1 or any(_first_free(dims) is not None for dims in ends.inputs):
        return None
    (size,) = sizes
    alike = [dims for dims in ends.outputs if dims and dims[0] == size]
    if not isinstance(size, int) or not alike:
        return None
    # Steps come first in what is (steps, batch, features) at both ends.
    steps_first = all(len(dims) == 3 and dims[1] == batch_size for dims in (*filter(len, ends.inputs), *alike))
    return None if steps_first and size != batch_size else size


def _axis_by_size(dims: Dims, batch_size: int) -> Optional[int]:
    """Return the axis that can be a batch of this size, where nothing else tells: the first one, else a free one."""
    if dims and dims[0] == batch_size:
        return 0
    free = _first_free(dims)
    if free is not None:
        return free
    return list(dims).index(batch_size) if batch_size in dims else None


def _is_name(dim: Union[int, str, None], pattern: "re.Pattern[str]") -> bool:
    return isinstance(dim, str) and pattern.fullmatch(dim) is not None


def _write(path: str, facts: Dict[str, Any]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(facts, file)


def _read(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            facts: Dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return facts
