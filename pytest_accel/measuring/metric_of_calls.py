"""The user's metric, asked about all outputs at once, or call by call where they cannot be put together.

Outputs that have a row for each sample are joined over the calls. Others are stacked, if they have one shape: then
there is an entry for each call. Where shapes differ from call to call the metric is asked about each call, and the
mean over the samples counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pytest_accel.facts.errors import DatasetError

if TYPE_CHECKING:
    from pytest_accel.inputs.dataset_elements import Array

#: Metric is a user's function of all outputs (an array, or a dict by name where there are several) and the labels;
#: higher is better.
Metric: TypeAlias = Callable[[Any, Any], float]


class MetricOfCalls:
    """A metric with all that it will be asked about. ``axes`` has the axis of the batch by output, None for none."""

    def __init__(self, metric: Metric, axes: Mapping[str, int | None]) -> None:
        self._metric = metric
        self._name = str(getattr(metric, "__name__", type(metric).__name__))
        self._axes = axes
        self._sides: tuple[list[dict[str, Array]], list[dict[str, Array]]] = ([], [])
        self._labels: list[Array] = []
        self._rows: list[int] = []

    def add(self, pairs: Mapping[str, tuple[Array, Array]], labels: Array | None, rows: int) -> None:
        """Add one call: each output of the candidate and of the reference, and the labels of its samples."""
        for number, side in enumerate(self._sides):
            side.append({name: pair[number] for name, pair in pairs.items()})
        self._labels += [] if labels is None else [labels]
        self._rows.append(rows)

    def facts(self) -> dict[str, Any]:
        """Return the fields of `Accuracy` that the metric gives. Raises `DatasetError` where it gives no number."""
        labels = joined_labels(self._labels) if self._labels else None
        whole = [outputs for side in self._sides if (outputs := self._whole(side)) is not None]
        by_call = len(whole) < len(self._sides) or bool(self._labels and labels is None)
        values = (
            [self._mean(side) for side in self._sides] if by_call else [self._asked(side, labels) for side in whole]
        )
        return {
            "metric_name": self._name,
            "metric": values[0],
            "reference_metric": values[1],
            "metric_by_call": by_call,
        }

    def _whole(self, side: Sequence[dict[str, Array]]) -> dict[str, Array] | None:
        """Return each output of all calls in one array, None where the shapes do not allow it."""
        try:
            return {name: self._joined(name, [call[name] for call in side]) for name in side[0]}
        except ValueError:
            return None

    def _joined(self, name: str, parts: list[Array]) -> Array:
        axis = self._axes.get(name, 0)
        return np.stack(parts) if axis is None else np.concatenate(parts, axis)

    def _mean(self, side: Sequence[dict[str, Array]]) -> float:
        labels: Sequence[Array | None] = self._labels or [None] * len(side)
        values = [self._asked(outputs, own) for outputs, own in zip(side, labels, strict=True)]
        return float(np.average(values, weights=self._rows))

    def _asked(self, outputs: dict[str, Array], labels: Array | None) -> float:
        value = float(self._metric(next(iter(outputs.values())) if len(outputs) == 1 else outputs, labels))
        if not math.isfinite(value):
            raise DatasetError(f"The metric {self._name!r} gave {value}; it has to give a finite number.")
        return value


def joined_labels(labels: Sequence[Array]) -> Array | None:
    """Return the labels of all calls in one array, None where their shapes differ from call to call."""
    if len({part.shape[1:] for part in labels}) > 1:
        return None
    return np.concatenate(labels)
