"""Draw how long a variant took over time: its runs with their intervals, and the levels between change points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel.report.plots.axes import LogAxis, Tick

if TYPE_CHECKING:
    from pytest_accel.report.history_series import Point, Series

#: MOST_DRAWN is the number of runs that a plot has room for, the latest ones.
MOST_DRAWN = 200
#: WIDEST_STEP is the most pixels from one run to the next.
WIDEST_STEP = 36.0
#: LABEL_PX is about the width of a label such as "+5.8 %", in pixels.
LABEL_PX = 50.0


class Run(NamedTuple):
    """A run with its interval, in pixels. An end that is not known is at the run itself."""

    x: float
    y: float
    lower: float
    upper: float
    text: str


class Level(NamedTuple):
    """The mean of the runs between two change points, in pixels."""

    start: float
    end: float
    y: float


class ChangeLine(NamedTuple):
    """A change point, at a pixel between two runs. Its label is empty where there is no room for one."""

    x: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """A timeline has the runs of one series. ``text`` is for those who do not see the plot."""

    series: Series
    width: float
    height: float
    left: float
    right: float
    bottom: float
    ticks: list[Tick]
    runs: tuple[Run, ...]
    levels: tuple[Level, ...]
    changes: tuple[ChangeLine, ...]
    text: str

    @property
    def days(self) -> tuple[str, str]:
        """The days of the first and the last run that is drawn."""
        points = self.series.points
        return points[-len(self.runs)].entry.when[:10], points[-1].entry.when[:10]


def timeline(series: Series) -> Timeline | None:
    """Draw a series; None where a single run is known, of which the table has the numbers."""
    if len(series.points) < 2:
        return None
    width, height, left, top, bottom = 720.0, 210.0, 56.0, 20.0, 180.0
    skipped = max(0, len(series.points) - MOST_DRAWN)
    points = series.points[skipped:]
    step = min(WIDEST_STEP, (width - left - 24.0) / len(points))
    x = [round(left + step * (at + 0.5), 1) for at in range(len(points))]
    y = LogAxis.over((value for point in points for value in _known(point)), bottom, top)
    changes = [change._replace(at=change.at - skipped) for change in series.changes if change.at > skipped]
    change_lines = [ChangeLine(round(x[change.at] - step / 2, 1), f"{change.percent:+g} %") for change in changes]
    return Timeline(
        series=series,
        width=width,
        height=height,
        left=left,
        right=round(left + step * len(points), 1),
        bottom=bottom,
        ticks=y.ticks,
        runs=tuple(_run(point, at, y, series) for point, at in zip(points, x, strict=True)),
        levels=tuple(_levels(points, [change.at for change in changes], x, step, y)),
        changes=tuple(_with_room(change_lines)),
        text="; ".join((f"{series.name}: {len(points)} runs", *map(str, series.changes))),
    )


def _with_room(lines: Sequence[ChangeLine]) -> Iterator[ChangeLine]:
    """Leave out the labels that would stand in others."""
    taken = float("-inf")
    for line in lines:
        if line.x < taken:
            yield line._replace(text="")
        else:
            taken = line.x + LABEL_PX
            yield line


def _known(point: Point) -> Iterator[float]:
    yield from (value for value in (point.lower, point.value, point.upper) if value is not None)


def _run(point: Point, x: float, y: LogAxis, series: Series) -> Run:
    value = f"×{point.value:.3f}" if series.measure == "ratio" else f"{point.value:.4g} ms"
    words = (point.entry.when[:10], str(point.entry.provenance), value, point.entry.verdict)
    return Run(
        x=x,
        y=y.at(point.value),
        lower=y.at(point.value if point.lower is None else point.lower),
        upper=y.at(point.value if point.upper is None else point.upper),
        text=", ".join(filter(None, words)),
    )


def _levels(
    points: Sequence[Point], cuts: Sequence[int], x: Sequence[float], step: float, y: LogAxis
) -> Iterator[Level]:
    for begin, end in pairwise([0, *cuts, len(points)]):
        mean = exp(fmean(log(point.value) for point in points[begin:end]))
        yield Level(round(x[begin] - step / 2, 1), round(x[end - 1] + step / 2, 1), y.at(mean))
