"""Evaluation data, in whichever form a test has them, as checked batches of the compiled size.

A dataset is one of

* ``(inputs, labels)``, or the inputs alone. Inputs are an array; for a model with several inputs a dict by input name,
  or a tuple or list in the signature's order. A list will do for ``(inputs, labels)`` too, and the labels may follow
  several inputs directly: ``[ids, mask, labels]``.
* an iterable of such batches, of any size, or of single samples: a list, an object with ``__iter__``, a function that
  returns a fresh iterator. It is streamed, one batch in memory. A one-shot iterator (a generator object) cannot be read
  again, so its batches are kept in memory; pass the generator function itself to avoid that.
* a ``tf.data.Dataset``, or a PyTorch ``DataLoader``
* an object with ``__len__`` and ``__getitem__`` that gives these by number, such as a PyTorch ``TensorDataset``
* the path of an ``.npz`` file, with arrays named after the inputs (``x`` will do for a model with one input) and,
  optionally, ``labels`` or ``y``. A dict of arrays is read by the same rule.
* None: made-up inputs, see `pytest_accel.inputs.synthetic.synthetic`.

Nothing is converted: values that a model was not made for are an error that names the fix, never a silent cast. What
the labels mean and how outputs are judged is `pytest_accel.measuring.output_comparison`'s.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_accel.facts.errors import DatasetError
from pytest_accel.inputs.dataset_elements import Array, Reader, Rows, batch_of_one, item_shape, same
from pytest_accel.inputs.synthetic import synthetic

if TYPE_CHECKING:
    from pytest_accel.facts.records import Signature
    from pytest_accel.worker.accelerator import Arrays


#: _ALONE is the way out for rows that cannot share a call.
_ALONE = "use batch_size=1"


@dataclass(frozen=True, eq=False)
class Batch:
    """One call's data.

    ``inputs`` hold exactly ``size`` rows, of which the first ``rows`` are ``real`` and the rest repeat
    them. ``labels`` have ``rows`` entries, or are None.
    """

    inputs: Arrays
    real: Rows
    size: int

    @property
    def labels(self) -> Array | None:
        """The labels of the real rows."""
        return self.real.labels

    @property
    def rows(self) -> int:
        """The number of real rows."""
        return self.real.count


def open_dataset(
    data: Any,
    signature: Signature,
    *,
    batch_size: int,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Dataset:
    """Read ``data`` for a model with ``signature``, ``batch_size`` items a call.

    ``input_shapes`` fills dynamic dimensions of made-up inputs: one item's shape by input name. Raises `DatasetError`,
    here for what can be seen at once and during iteration for the rest.
    """
    for spec in signature.inputs:
        size = None if spec.batch_axis is None else spec.shape[spec.batch_axis]
        if size not in (None, batch_size):
            raise DatasetError(
                f"input '{spec.name}' is compiled for batches of {size}, and batch_size is {batch_size}: "
                f"use batch_size={size} or recompile"
            )
    reader = Reader(signature.inputs)
    if data is None:
        made_up = synthetic(signature, batch_size, input_shapes=input_shapes)
        return Dataset(lambda: iter(made_up), reader, batch_size, made_up=True)
    return Dataset(_passes(data, reader), reader, batch_size)


class Dataset:
    """Checked batches of one size; every pass gives the same ones. ``made_up`` says that they are no real data.

    Iterating raises `DatasetError` at the first row that does not fit, and at the end of a pass that differed from the
    first one: outputs of two passes are compared row by row.
    """

    def __init__(
        self,
        passes: Callable[[], Iterator[Any]],
        reader: Reader,
        batch_size: int,
        *,
        made_up: bool = False,
        ends_early: bool = False,
    ) -> None:
        self.made_up = made_up
        self._ends_early = ends_early
        self._passes = passes
        self._reader = reader
        self._batch_size = batch_size
        self._known: tuple[str, int] | None = None

    def __iter__(self) -> Iterator[Batch]:
        content = _Content()
        for rows in _rebatch(self._checked(content), self._batch_size, self._ends_early):
            yield Batch(rows.padded(self._batch_size), rows, self._batch_size)
        found = (content.hexdigest(), content.rows)
        if not content.rows:
            raise DatasetError("the dataset has no rows: give it some; a filter or a split may have left none")
        if self._known is not None and self._known != found:
            raise DatasetError(
                f"the dataset changed from one pass to the next ({self._known[1]} rows, then {content.rows}): "
                f"fix its order and contents, for example with shuffle(..., reshuffle_each_iteration=False), or a "
                f"DataLoader's with shuffle=False"
            )
        self._known = found

    def in_batches_of(self, size: int) -> Dataset:
        """Return the same rows, so many at a time. A batch ends early before rows that cannot share it."""
        other = Dataset(self._passes, self._reader, size, made_up=self.made_up, ends_early=True)
        other._known = self._known
        return other

    def _checked(self, content: _Content) -> Iterator[Rows]:
        first: Rows | None = None
        for element in self._passes():
            rows = self._reader.read(element)
            first = first or rows
            if (rows.labels is None) != (first.labels is None):
                raise DatasetError(f"some batches have labels and some have none, from row {content.rows} on")
            content.add(rows)
            yield rows

    @property
    def digest(self) -> str:
        """The sha256 of rows and labels in order, however they were batched. Costs a pass until one was made."""
        return self._known_content()[0]

    @property
    def samples(self) -> int:
        """The number of rows. Costs a pass until one was made."""
        return self._known_content()[1]

    def _known_content(self) -> tuple[str, int]:
        if self._known is None:
            for _ in self:
                pass
        assert self._known is not None  # a full pass either sets it or raises
        return self._known


def _rebatch(elements: Iterable[Rows], size: int, ends_early: bool) -> Iterator[Rows]:
    """Yield the same rows, ``size`` at a time; the last batch holds what is left.

    With ``ends_early`` a batch also ends before rows that cannot share it.
    """
    held: list[Rows] = []
    count = 0
    for rows in elements:
        if held and ends_early and not held[0].joins(rows):
            yield joined(held)
            held, count = [], 0
        start = 0
        while start < rows.count:
            part = rows.part(start, start + size - count)
            held.append(part)
            count += part.count
            start += part.count
            if count == size:
                yield joined(held)
                held, count = [], 0
    if held:
        yield joined(held)


def joined(parts: list[Rows]) -> Rows:
    """Return the rows of all parts. Raises `DatasetError` where they cannot share a call."""
    first = parts[0]
    if len(parts) == 1:
        return first
    inputs = {name: _concatenated([part.inputs[name] for part in parts], name, first.axes[name]) for name in first.axes}
    labels = [part.labels for part in parts if part.labels is not None]
    all_labels = _concatenated(labels, "labels", 0) if labels else None
    return Rows(inputs, all_labels, sum(part.count for part in parts), first.axes)


def _concatenated(arrays: list[Array], name: str, axis: int | None) -> Array:
    if axis is None:
        if all(same(array, arrays[0]) for array in arrays):
            return arrays[0]
        raise DatasetError(
            f"'{name}' has no batch dimension, and rows with different values of it cannot share a call: {_ALONE}"
        )
    shapes = sorted({item_shape(array, axis) for array in arrays})
    if len(shapes) > 1:
        raise DatasetError(
            f"'{name}' has rows of shape {shapes[0]} and of shape {shapes[1]}, which cannot share a batch: "
            f"bring them to one shape, or {_ALONE}"
        )
    return np.concatenate(arrays, axis)


class _Content:
    """The running digest of rows: each input is a stream of its own, so that batch borders leave no trace."""

    def __init__(self) -> None:
        self.rows = 0
        self._streams: dict[str, Any] = {}
        self._layouts: dict[str, str] = {}
        self._constants: dict[str, Array] = {}

    def add(self, rows: Rows) -> None:
        for name, value in rows.inputs.items():
            axis = rows.axes[name]
            if axis is None:
                self._add_constant(f"input {name}", value)
            else:
                self._update(f"input {name}", np.moveaxis(value, axis, 0), item_shape(value, axis))
        if rows.labels is not None:
            self._update("labels", rows.labels, rows.labels.shape[1:])
        self.rows += rows.count

    def _add_constant(self, name: str, value: Array) -> None:
        """Add what belongs to a whole call, unless it is what it was before."""
        before = self._constants.get(name)
        if before is not None and same(before, value):
            return
        if before is not None:
            self._streams[name].update(f"from row {self.rows}".encode())
        self._constants[name] = value
        self._update(name, value, value.shape)

    def _update(self, name: str, value: Array, shape: tuple[int, ...]) -> None:
        stream = self._streams.setdefault(name, hashlib.sha256())
        layout = f"{value.dtype.name}{shape}"
        if self._layouts.get(name) != layout:
            stream.update(layout.encode())
            self._layouts[name] = layout
        stream.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))

    def hexdigest(self) -> str:
        whole = hashlib.sha256(str(self.rows).encode())
        for name in sorted(self._streams):
            whole.update(f"{name}\0{self._streams[name].hexdigest()}\0".encode())
        return whole.hexdigest()


def _passes(data: Any, reader: Reader) -> Callable[[], Iterator[Any]]:
    """Return a function that starts one pass over the elements of ``data``."""
    if isinstance(data, (str, os.PathLike)):
        element = _npz(Path(data))
        return lambda: iter([element])
    if hasattr(data, "as_numpy_iterator"):
        return lambda: _as_batches(data.as_numpy_iterator(), reader)
    if isinstance(data, Iterator):
        kept = list(data)
        return lambda: _as_batches(kept, reader)
    if isinstance(data, Iterable) or reader.is_element(data):
        return lambda: _one_pass(data, reader)
    if callable(data):
        return lambda: _one_pass(_returned(data), reader)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return lambda: _as_batches((data[number] for number in range(len(data))), reader)
    raise DatasetError(
        f"cannot read a dataset from {type(data).__name__}: pass (inputs, labels), an iterable of such batches, "
        f"a function that returns one, a tf.data.Dataset, a DataLoader or the path of an .npz file"
    )


def _returned(function: Callable[[], Any]) -> Any:
    data = function()
    if not isinstance(data, Iterable):
        name = getattr(function, "__qualname__", type(function).__name__)
        raise DatasetError(
            f"the dataset function {name} returned {type(data).__name__}: it has to return (inputs, labels), or an "
            "iterable of such batches; with `yield` in it, it does"
        )
    return data


def _one_pass(data: Any, reader: Reader) -> Iterator[Any]:
    return iter([data]) if reader.is_element(data) else _as_batches(data, reader)


def _as_batches(elements: Iterable[Any], reader: Reader) -> Iterator[Any]:
    """Yield the same elements. Where the first is a single sample, each becomes a batch of one."""
    samples: bool | None = None
    for element in elements:
        samples = reader.is_sample(element) if samples is None else samples
        yield batch_of_one(element) if samples else element


def _npz(path: Path) -> Arrays:
    if path.suffix != ".npz":
        raise DatasetError(f"{path}: a dataset file has to be an .npz (np.savez(path, x=inputs, y=labels))")
    if not path.exists():
        raise DatasetError(f"{path.absolute()}: no such file; paths are relative to where pytest runs")
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no regular file")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # of NumPy, zipfile and zlib, which have many for bad bytes
        words = str(error) or type(error).__name__
        raise DatasetError(
            f"{path}: not a readable .npz file: {words}. Write it with np.savez, without objects"
        ) from None
