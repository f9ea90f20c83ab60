"""One element of a dataset, read by a model's signature: which array is which input, which are labels, and do they fit.

Here is the checking of shapes, dtypes, lengths and values. Batches, passes and digests are in `datasets`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pytest_accel.facts.errors import DatasetError
from pytest_accel.worker import wire

if TYPE_CHECKING:
    from pytest_accel.facts.records import TensorSpec
    from pytest_accel.worker.accelerator import Arrays

#: Array is an array of any dtype.
Array: TypeAlias = NDArray[Any]

LABEL_KEYS = ("labels", "y")


@dataclass(frozen=True, eq=False)
class Rows:
    """Some checked rows. ``axes`` names the axis of the batch of each input, None for one that belongs to every row."""

    inputs: Arrays
    labels: Array | None
    count: int
    axes: Mapping[str, int | None]

    def part(self, start: int, stop: int) -> Rows:
        """Return rows ``start`` to ``stop``, as far as there are any."""
        labels = None if self.labels is None else self.labels[start:stop]
        stop = min(stop, self.count)
        inputs = {
            name: value if (axis := self.axes[name]) is None else value[(*[slice(None)] * axis, slice(start, stop))]
            for name, value in self.inputs.items()
        }
        return Rows(inputs, labels, stop - start, self.axes)

    def padded(self, size: int) -> Arrays:
        """Return the inputs with rows repeated up to ``size``: zeros could take another path, or be divided by."""
        if self.count == size:
            return self.inputs
        rows = np.arange(size) % self.count
        return {
            name: value if (axis := self.axes[name]) is None else value.take(rows, axis)
            for name, value in self.inputs.items()
        }

    def joins(self, other: Rows) -> bool:
        """Return whether the rows of both can be those of one call."""
        return all(
            same(value, other.inputs[name])
            if (axis := self.axes[name]) is None
            else item_shape(value, axis) == item_shape(other.inputs[name], axis)
            for name, value in self.inputs.items()
        )


def item_shape(value: Array, axis: int) -> tuple[int, ...]:
    """Return the shape without the axis of the batch."""
    return (*value.shape[:axis], *value.shape[axis + 1 :])


def same(value: Array, other: Array) -> bool:
    """Return whether two arrays hold the same; NaN is NaN."""
    return np.array_equal(value, other, equal_nan=value.dtype.kind == "f")


class Reader:
    """Reads elements for a model with ``inputs``: what `pytest_accel.inputs.datasets` calls a batch of any size."""

    def __init__(self, inputs: tuple[TensorSpec, ...]) -> None:
        self._specs = {spec.name: spec for spec in inputs}
        self._axes = {spec.name: spec.batch_axis for spec in inputs}
        for spec in inputs:
            if spec.dtype in ("string", "object", "str", "bytes"):
                raise DatasetError(
                    f"input '{spec.name}' takes strings, which no accelerator does: "
                    f"export a signature that starts after the preprocessing"
                )
            if not wire.is_numeric(spec.dtype):
                raise DatasetError(f"input '{spec.name}' takes {spec.dtype}, which NumPy does not have: {wire.INSTEAD}")

    def is_element(self, data: Any) -> bool:
        """Return whether ``data`` is one element rather than an iterable of them.

        A tuple, a dict and an array are. So is a list of as many arrays as the model has inputs: for a model with
        several, one array alone could not be an element. One more thing in such a list is the labels, unless it could
        be a batch of its own.
        """
        if isinstance(data, list):
            *inputs, last = data if len(data) == len(self._specs) + 1 else (*data, None)
            all_given = len(inputs) == len(self._specs) and all(is_array(part) for part in inputs)
            return all_given and (last is None or not (self._is_batch(last) or self._are_of_one_sample(inputs)))
        return isinstance(data, (tuple, Mapping)) or is_array(data)

    def is_sample(self, element: Any) -> bool:
        """Return whether an element is a single sample: its inputs have one dimension less than the model's."""
        inputs, _ = self._split(element)
        return self._are_of_one_sample([inputs[name] for name in self._specs])

    def _are_of_one_sample(self, inputs: Sequence[Any]) -> bool:
        return any(
            np.ndim(array) == len(spec.shape) - 1 for array, spec in zip(inputs, self._specs.values(), strict=True)
        )

    def _is_batch(self, data: Any) -> bool:
        """Return whether ``data`` could be all inputs of a batch."""
        if not is_array(data):
            return isinstance(data, (tuple, Mapping)) or (isinstance(data, list) and any(map(is_array, data)))
        (only, *others) = self._specs.values()
        return not others and fits(np.shape(data), only)

    def read(self, element: Any) -> Rows:
        """Name, check and count the arrays of ``element``."""
        given, labels = self._split(element)
        inputs = {spec.name: _fitting(given[spec.name], spec) for spec in self._specs.values()}
        lengths = {
            f"input '{name}'": value.shape[axis]
            for name, value in inputs.items()
            if (axis := self._axes[name]) is not None
        }
        if labels is not None:
            labels = _readable_labels(labels)
            lengths["labels"] = len(labels)
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DatasetError(f"inputs and labels have different numbers of rows: {listed}")
        return Rows(inputs, labels, next(iter(lengths.values()), 1), self._axes)

    def _split(self, element: Any) -> tuple[Arrays, Array | None]:
        """Tell inputs and labels apart."""
        labels = None
        if isinstance(element, (tuple, list)) and self._is_labelled(element):
            *inputs, labels = element
            element = inputs if len(inputs) > 1 else inputs[0]
        elif isinstance(element, Mapping):
            found = [key for key in LABEL_KEYS if key in element and key not in self._specs]
            if len(found) > 1:
                raise DatasetError(f"the dataset has both {found[0]} and {found[1]}: keep one of them as the labels")
            labels = element[found[0]] if found else None
            element = {name: value for name, value in element.items() if name not in found}
        return self._named(element), None if labels is None else as_array(labels, "labels")

    def _is_labelled(self, element: Sequence[Any]) -> bool:
        """``(inputs, labels)``, or all inputs and the labels; two arrays are the inputs of a model with two."""
        if len(element) == 2:
            return len(self._specs) != 2 or not is_array(element[0])
        return len(element) == len(self._specs) + 1 and all(map(is_array, element))

    def _named(self, inputs: Any) -> Arrays:
        if isinstance(inputs, Mapping):
            return self._by_name(inputs)
        if isinstance(inputs, (tuple, list)):
            if len(inputs) != len(self._specs):
                raise DatasetError(
                    f"the dataset gives {len(inputs)} inputs and the model takes {len(self._specs)}: "
                    f"{', '.join(self._specs)}"
                )
            return {name: as_array(value, name) for name, value in zip(self._specs, inputs, strict=True)}
        if len(self._specs) != 1:
            raise DatasetError(
                f"the dataset gives one array and the model takes {len(self._specs)} inputs: "
                f"pass a dict with {', '.join(self._specs)}"
            )
        (name,) = self._specs
        return {name: as_array(inputs, name)}

    def _by_name(self, inputs: Mapping[Any, Any]) -> Arrays:
        if set(inputs) == {"x"} and len(self._specs) == 1:
            return {next(iter(self._specs)): as_array(inputs["x"], "x")}
        for name in inputs:
            if name not in self._specs:
                near = difflib.get_close_matches(str(name), self._specs, n=1, cutoff=0.4)
                hint = f"did you mean '{near[0]}'? " if near else ""
                raise DatasetError(f"the model has no input '{name}': {hint}It takes {', '.join(self._specs)}")
        missing = [name for name in self._specs if name not in inputs]
        if missing:
            raise DatasetError(f"the dataset lacks the input '{missing[0]}'; it has {', '.join(map(str, inputs))}")
        return {name: as_array(value, name) for name, value in inputs.items()}


def as_array(data: Any, name: str) -> Array:
    """Return ``data`` as an array of the host; of a PyTorch tensor the values alone, wherever it is.

    Raises `DatasetError` for values that NumPy has no type or no shape for.
    """
    try:
        return np.asarray(data.detach().cpu() if hasattr(data, "detach") else data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DatasetError(
            f"'{name}' cannot be read as an array ({error}): give arrays of numbers of one shape, such as float32"
        ) from None


def batch_of_one(sample: Any) -> Any:
    """Return a sample as a batch: the same arrays with a first dimension of one."""
    if isinstance(sample, Mapping):
        return {name: batch_of_one(part) for name, part in sample.items()}
    if isinstance(sample, (tuple, list)):
        return tuple(map(batch_of_one, sample))
    return None if sample is None else as_array(sample, "sample")[np.newaxis]


def is_array(data: Any) -> bool:
    """Return whether NumPy can take ``data`` as an array without walking it: arrays, tensors, data frames."""
    return hasattr(data, "__array__")


def _fitting(array: Array, spec: TensorSpec) -> Array:
    """``array`` in the machine's byte order, after all checks of one input."""
    subject = f"input '{spec.name}'"
    if array.dtype.name != spec.dtype:
        if array.dtype.kind in "OSUT":
            raise DatasetError(f"{subject} expects {spec.dtype} and got strings or objects: encode them as numbers")
        raise DatasetError(
            f"{subject} expects {spec.dtype} and got {array.dtype.name}: convert it with array.astype(np.{spec.dtype})"
        )
    if not fits(array.shape, spec):
        raise DatasetError(f"{subject} expects the shape {shown(spec)} and got {array.shape}{_hint(array.shape, spec)}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    """Return whether ``shape`` is one that an input allows, whatever the number of rows."""
    anything = [None if axis == spec.batch_axis else size for axis, size in enumerate(spec.shape)]
    return _agree(shape, anything)


def shown(spec: TensorSpec) -> str:
    """Return the shape of an input for a message: ``(batch, 224, ?, 3)``."""
    sizes = ["?" if size is None else str(size) for size in spec.shape]
    if spec.batch_axis is not None:
        sizes[spec.batch_axis] = "batch"
    return f"({', '.join(sizes)})"


def _agree(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(size in (None, found) for found, size in zip(shape, wanted, strict=True))


def _hint(shape: tuple[int, ...], spec: TensorSpec) -> str:
    """Return what is wrong with a shape, where that is known."""
    if spec.batch_axis is None:
        each = _agree(shape[1:], spec.shape)
        return ": it has no batch, so pass a list with one such array for each call" if each else ""
    return ": the batch dimension is missing" if _agree(shape, spec.item_shape) else ""


def _readable_labels(labels: Array) -> Array:
    if labels.dtype.kind in "OSUT":
        raise DatasetError(
            "labels are strings or objects: pass class numbers, such as np.unique(..., return_inverse=True)"
        )
    if not labels.ndim:
        raise DatasetError("labels are a single number: pass one for each row")
    return labels[:, 0] if labels.shape[1:] == (1,) else labels
