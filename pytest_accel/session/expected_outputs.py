"""The reference's outputs for a dataset, as a folder of the cache holds them: row by row, or call by call.

Rows serve every batch size. What cannot be split into samples is kept as each call gave it, padding included, and
serves calls of the same size alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from pytest_accel.facts.fact import Fact
from pytest_accel.inputs.dataset_elements import item_shape
from pytest_accel.session.batch_layout import BatchLayout

if TYPE_CHECKING:
    from pytest_accel.inputs.dataset_elements import Array
    from pytest_accel.worker.accelerator import Arrays

#: _CONTENTS is the file of the folder that says what its arrays are, which lie beside it by number.
_CONTENTS = "contents.json"


class Call(NamedTuple):
    """The outputs of one call of ``size`` samples, of which the first ``rows`` are real."""

    outputs: Arrays
    size: int
    rows: int


class _Contents(Fact, frozen=True, kw_only=True):
    """What a folder holds. ``shapes`` has a shape for each output and call, and is empty for rows.

    Of ``unsplit`` outputs it has turned out that they are no rows; then the folder holds no arrays.
    """

    layout: BatchLayout
    names: tuple[str, ...] = ()
    shapes: tuple[tuple[tuple[int, ...], ...], ...] = ()
    unsplit: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ExpectedOutputs:
    """The reference's outputs, memory-mapped. ``layout`` says how they belong to samples."""

    layout: BatchLayout
    unsplit: frozenset[str]
    _arrays: dict[str, Array]
    _shapes: dict[str, tuple[tuple[int, ...], ...]]

    @classmethod
    def read(cls, folder: Path) -> ExpectedOutputs:
        """Read what `write_rows` or `write_calls` has written."""
        contents = msgspec.json.decode((folder / _CONTENTS).read_bytes(), type=_Contents)
        arrays = {name: np.load(_file(folder, number), mmap_mode="r") for number, name in enumerate(contents.names)}
        shapes = dict(zip(contents.names, contents.shapes, strict=False))
        return cls(contents.layout, contents.unsplit, arrays, shapes)

    def calls(self, size: int) -> Iterator[Arrays]:
        """Yield the outputs of calls of ``size`` samples, one call after the other. Rows go on to the last sample."""
        return self._of_calls() if self._shapes else self._of_rows(size)

    def _of_rows(self, size: int) -> Iterator[Arrays]:
        for start in range(0, max(map(len, self._arrays.values()), default=0), size):
            yield {
                name: np.moveaxis(rows[start : start + size], 0, self.layout.axes[name] or 0)
                for name, rows in self._arrays.items()
            }

    def _of_calls(self) -> Iterator[Arrays]:
        ends = {
            name: np.cumsum([np.prod(shape, dtype=np.int64) for shape in shapes])
            for name, shapes in self._shapes.items()
        }
        for number in range(max(map(len, self._shapes.values()), default=0)):
            yield {
                name: values[ends[name][number] - size : ends[name][number]].reshape(shape)
                for name, values in self._arrays.items()
                for shape in [self._shapes[name][number]]
                for size in [int(np.prod(shape, dtype=np.int64))]
            }


def write_rows(folder: Path, layout: BatchLayout, calls: Iterable[Call]) -> None:
    """Write the real rows of all calls. It ends at the first output that cannot be split after all, and names it."""
    parts: dict[str, list[Array]] = {}
    for call in calls:
        for name, output in call.outputs.items():
            rows = parts.setdefault(name, [])
            if not _is_split(output, layout.axes.get(name), call.size, rows):
                _write(folder, _Contents(layout=layout, unsplit=frozenset([name])), ())
                return
            rows.append(np.moveaxis(output, layout.axes[name] or 0, 0)[: call.rows])
    _write(folder, _Contents(layout=layout, names=tuple(parts)), [np.concatenate(rows) for rows in parts.values()])


def write_calls(folder: Path, layout: BatchLayout, calls: Iterable[Call]) -> None:
    """Write the outputs of all calls as they are. The layout also says which of them have turned out not to be rows."""
    parts: dict[str, list[Array]] = {}
    unsplit: set[str] = set()
    for call in calls:
        for name, output in call.outputs.items():
            earlier = parts.setdefault(name, [])
            axis = layout.axes.get(name)
            rows = [] if axis is None else [np.moveaxis(part, axis, 0) for part in earlier[:1]]
            if not _is_split(output, axis, call.size, rows):
                unsplit.add(name)
                layout = layout.without(unsplit)
            earlier.append(output)
    shapes = tuple(tuple(output.shape for output in outputs) for outputs in parts.values())
    flat = [np.concatenate([output.reshape(-1) for output in outputs]) for outputs in parts.values()]
    _write(folder, _Contents(layout=layout, names=tuple(parts), shapes=shapes), flat)


def _is_split(output: Array, axis: int | None, size: int, earlier: list[Array]) -> bool:
    """Return whether an output has a row for each sample, like the rows before."""
    if axis is None or axis >= output.ndim or output.shape[axis] != size:
        return False
    return not earlier or item_shape(output, axis) == earlier[0].shape[1:]


def _write(folder: Path, contents: _Contents, arrays: Iterable[Array]) -> None:
    for number, array in enumerate(arrays):
        np.save(_file(folder, number), array)
    (folder / _CONTENTS).write_bytes(msgspec.json.encode(contents))


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:04}.npy"
