"""Draw what speed costs in accuracy: the throughput of a model's variants against their accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel.report.figures import score_of
from pytest_accel.report.plots.axes import LinearAxis, LogAxis, Tick

if TYPE_CHECKING:
    from pytest_accel.report.model_table import Row, Table

#: LABEL_PX is the height of a label's digits, in pixels.
LABEL_PX = 9.0


class Point(NamedTuple):
    """A point is a variant at its accuracy and throughput, in pixels. ``number`` is that of its row in the table."""

    row: Row
    number: int
    x: float
    y: float
    label_x: float
    text: str


@dataclass(frozen=True)
class Scatter:
    """A scatter plot has throughput against accuracy. ``accuracy`` is the name of the measure, with its unit."""

    width: float
    height: float
    left: float
    bottom: float
    accuracy: str
    accuracy_ticks: list[Tick]
    ticks: list[Tick]
    points: tuple[Point, ...]


def scatter(table: Table) -> Scatter | None:
    """Draw throughput against accuracy; None where the accuracy is unknown, or the same for all variants."""
    scored = [
        (row, score, row.record.measurement.throughput)
        for row in table.rows
        if row.record.measurement is not None and (score := score_of(row.record.accuracy)) is not None
    ]
    names = {f"{score.name}{f', {score.unit}' if score.unit else ''}" for _, score, _ in scored}
    values = [float(score.value) for _, score, _ in scored]
    if len(names) != 1 or len(set(values)) == 1 or not all(map(math.isfinite, values)):
        return None
    width, height, left, bottom = 720.0, 340.0, 64.0, 302.0
    y = LogAxis.over((throughput for _, _, throughput in scored), bottom, 12.0)
    x = LinearAxis(min(values), max(values), left + 16.0, width - 90.0)
    points: list[Point] = []
    for (row, score, throughput), value in zip(scored, values, strict=True):
        at_x, at_y = x.at(value), y.at(throughput)
        text = f"{row.record.variant.id}: {score.value}{score.unit}, {throughput:,.4g}/s"
        points.append(Point(row, 1 + table.rows.index(row), at_x, at_y, _label_x(at_x, at_y, points), text))
    return Scatter(
        width=width,
        height=height,
        left=left,
        bottom=bottom,
        accuracy=names.pop(),
        accuracy_ticks=x.ticks,
        ticks=y.ticks,
        points=tuple(points),
    )


def _label_x(x: float, y: float, others: Sequence[Point]) -> float:
    """Find where a point's label starts: to the right of the labels that are there already."""
    near = [other for other in others if abs(other.x - x) < 40.0 and abs(other.y - y) < LABEL_PX]
    taken = [other.label_x for other in near]
    return max([x + 9.0, *(start + 18.0 for start in taken)])
