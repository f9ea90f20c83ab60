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
from pytest_accel.inputs.dataset_elements import Array, Reader, Rows, batch_of_one
from pytest_accel.inputs.synthetic import synthetic

if TYPE_CHECKING:
    from pytest_accel.facts.records import Signature
    from pytest_accel.worker.accelerator import Arrays


@dataclass(frozen=True, eq=False)
class Batch:
    """One call's data.

    ``inputs`` hold exactly ``batch_size`` rows, of which the first ``rows`` are real and the rest repeat
    them. ``labels`` have ``rows`` entries, or are None.
    """

    inputs: Arrays
    labels: Array | None
    rows: int


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
        if spec.shape and spec.shape[0] not in (None, batch_size):
            raise DatasetError(
                f"input '{spec.name}' is compiled for batches of {spec.shape[0]}, and batch_size is {batch_size}: "
                f"use batch_size={spec.shape[0]} or recompile"
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
        self, passes: Callable[[], Iterator[Any]], reader: Reader, batch_size: int, *, made_up: bool = False
    ) -> None:
        self.made_up = made_up
        self._passes = passes
        self._reader = reader
        self._batch_size = batch_size
        self._known: tuple[str, int] | None = None

    def __iter__(self) -> Iterator[Batch]:
        content = _Content()
        for rows in _rebatch(self._checked(content), self._batch_size):
            inputs = {
                name: value if name in rows.constants else _padded(value, self._batch_size)
                for name, value in rows.inputs.items()
            }
            yield Batch(inputs, rows.labels, rows.count)
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
        """Return the same rows, so many at a time."""
        other = Dataset(self._passes, self._reader, size, made_up=self.made_up)
        other._known = self._known
        return other

    def _checked(self, content: _Content) -> Iterator[Rows]:
        first: Rows | None = None
        for element in self._passes():
            rows = self._reader.read(element, first_row=content.rows)
            first = first or rows
            if (rows.labels is None) != (first.labels is None):
                raise DatasetError(f"some batches have labels and some have none, from row {content.rows} on")
            for name in rows.constants:
                if not np.array_equal(rows.inputs[name], first.inputs[name]):
                    raise DatasetError(f"input '{name}' has no batch dimension and changes at row {content.rows}")
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


def _rebatch(elements: Iterable[Rows], size: int) -> Iterator[Rows]:
    """Yield the same rows, ``size`` at a time; the last batch holds what is left."""
    held: list[Rows] = []
    count = 0
    for rows in elements:
        start = 0
        while start < rows.count:
            part = rows.part(start, start + size - count)
            held.append(part)
            count += part.count
            start += part.count
            if count == size:
                yield _joined(held)
                held, count = [], 0
    if held:
        yield _joined(held)


def _joined(parts: list[Rows]) -> Rows:
    first = parts[0]
    if len(parts) == 1:
        return first
    inputs = {
        name: value if name in first.constants else _concatenated([part.inputs[name] for part in parts], name)
        for name, value in first.inputs.items()
    }
    labels = [part.labels for part in parts if part.labels is not None]
    joined = _concatenated(labels, "labels") if labels else None
    return Rows(inputs, joined, sum(part.count for part in parts), first.constants)


def _concatenated(arrays: list[Array], name: str) -> Array:
    shapes = sorted({array.shape[1:] for array in arrays})
    if len(shapes) > 1:
        raise DatasetError(
            f"'{name}' has rows of shape {shapes[0]} and of shape {shapes[1]}, which cannot share a batch: "
            f"bring them to one shape, or use batch_size=1"
        )
    return np.concatenate(arrays)


def _padded(array: Array, size: int) -> Array:
    """Repeat real rows up to ``size``: zeros could take another path through the model, or divide by zero."""
    return array if len(array) == size else array[np.arange(size) % len(array)]


class _Content:
    """The running digest of rows: each input is a stream of its own, so that batch borders leave no trace."""

    def __init__(self) -> None:
        self.rows = 0
        self._streams: dict[str, Any] = {}
        self._layouts: dict[str, str] = {}

    def add(self, rows: Rows) -> None:
        for name, value in rows.inputs.items():
            if not (name in rows.constants and self.rows):
                self._update(f"input {name}", value, value.shape if name in rows.constants else value.shape[1:])
        if rows.labels is not None:
            self._update("labels", rows.labels, rows.labels.shape[1:])
        self.rows += rows.count

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
