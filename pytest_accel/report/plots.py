"""What is drawn on the page, in pixels: where each line, dot and label goes. The template turns it into SVG.

A plot is only made where it says something that the table does not: how the latencies are spread beside their limits,
how sure each ratio is, and what speed costs in accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel import stats
from pytest_accel.report.axes import LinearAxis, LogAxis, PercentileAxis, Tick
from pytest_accel.report.figures import latency_bounds, score_of
from pytest_accel.report.overview import Row, Table, limits
from pytest_accel.verdict import interval
from pytest_accel.verdict.gate import DEFAULT_MAX_REGRESSION, WIDEST

if TYPE_CHECKING:
    from pytest_accel.facts.records import Measurement

#: Points of a curve of percentiles.
POINTS = 80


class Mark(NamedTuple):
    """A dot with the bounds of what it stands for, if known, and what to read out."""

    x: float
    y: float
    low: float
    high: float


class Limit(NamedTuple):
    """A latency limit, at the percentile that it holds for: a bar that the curve has to pass below.

    Its ``label`` keeps out of the curve's way.
    """

    x: float
    y: float
    label: float
    text: str


@dataclass(frozen=True)
class Curve:
    """The latencies of one variant, by percentile."""

    row: Row
    path: str
    marks: tuple[Mark, ...]
    limits: tuple[Limit, ...]
    said: str


@dataclass(frozen=True)
class Curves:
    """The variants of a model beside each other, all in one scale of milliseconds."""

    width: float
    height: float
    left: float
    bottom: float
    ticks: list[Tick]
    percentiles: list[Tick]
    curves: tuple[Curve, ...]


class Whisker(NamedTuple):
    """A ratio with its interval, and where its limit is. An open end is one that the launches were too few for."""

    row: Row
    y: float
    at: float
    lower: float
    upper: float
    limit: float
    open_below: bool
    open_above: bool
    said: str


@dataclass(frozen=True)
class Forest:
    """The ratios to the baseline of a model's variants, one below the other."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    one: float
    ticks: list[Tick]
    whiskers: tuple[Whisker, ...]


class Point(NamedTuple):
    """A variant by what it answers right and how fast."""

    row: Row
    number: int
    x: float
    y: float
    label: float
    said: str


@dataclass(frozen=True)
class Scatter:
    """Throughput against accuracy."""

    width: float
    height: float
    left: float
    bottom: float
    across: str
    across_ticks: list[Tick]
    ticks: list[Tick]
    points: tuple[Point, ...]


def curves(table: Table, confidence: float) -> Curves | None:
    """The latency curves of a model; None where nothing was measured."""
    rows = [row for row in table.rows if _latencies_ms(row)]
    if not rows:
        return None
    width, height, left, top, bottom = 292.0, 184.0, 40.0, 22.0, 152.0
    shown = [value for row in rows for value in (*_latencies_ms(row), *row.record.budgets.latency_limits_ms.values())]
    y = LogAxis.over(shown, bottom, top)
    nines = max(_nines(len(_latencies_ms(row))) for row in rows)
    across = PercentileAxis(nines, left, width - 22.0)
    drawn = tuple(_curve(row, y, across, confidence) for row in rows)
    return Curves(
        width=width,
        height=height,
        left=left,
        bottom=bottom,
        ticks=y.ticks,
        percentiles=across.ticks,
        curves=drawn,
    )


def forest(table: Table) -> Forest | None:
    """The ratios of a model; None where nothing was compared."""
    rows = [row for row in table.rows if row.record.ratio is not None]
    if not rows:
        return None
    # A name takes about 7 pixels a character.
    left = 28.0 + 7.2 * max(len(row.record.variant.id) for row in rows)
    step, width = 26.0, left + 640.0
    values = [1.0, *(value for row in rows for value in _finite(row))]
    x = LogAxis.over(values, left, width - 210.0)
    height = step * len(rows) + 34.0
    whiskers = tuple(_whisker(row, x, step * (at + 0.5) + 4.0) for at, row in enumerate(rows))
    bottom = height - 28.0
    return Forest(
        width=width,
        height=height,
        left=left,
        right=x.end,
        bottom=bottom,
        one=x.at(1.0),
        ticks=x.ticks,
        whiskers=whiskers,
    )


def scatter(table: Table) -> Scatter | None:
    """Throughput against accuracy of a model's variants; None where accuracy is the same for all, or unknown."""
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
        at = (x.at(value), y.at(throughput))
        said = f"{row.record.variant.id}: {score.value}{score.unit}, {throughput:,.4g}/s"
        points.append(Point(row, 1 + table.rows.index(row), *at, _free(at, points), said))
    return Scatter(
        width=width,
        height=height,
        left=left,
        bottom=bottom,
        across=names.pop(),
        across_ticks=x.ticks,
        ticks=y.ticks,
        points=tuple(points),
    )


def _nines(calls: int) -> float:
    """How deep into the tail so many calls reach; the slowest one stands at the end."""
    return math.log10(max(calls, 2)) + 0.15


def _latencies_ms(row: Row) -> list[float]:
    measurement: Measurement | None = row.record.measurement
    # A clock that stood still makes a record without a place on a logarithmic axis.
    return [] if measurement is None else [max(nanoseconds, 1) / 1e6 for nanoseconds in measurement.latencies_ns]


def _curve(row: Row, y: LogAxis, across: PercentileAxis, confidence: float) -> Curve:
    assert row.record.measurement is not None
    ordered = sorted(_latencies_ms(row))
    nines = _nines(len(ordered))
    shares = [1.0 - 10.0 ** -(nines * step / POINTS) for step in range(POINTS + 1)]
    corners = [f"{across.at(p)},{y.at(stats.nearest_rank(ordered, p))}" for p in shares]
    bounds = list(latency_bounds(row.record.measurement, confidence))
    marks = tuple(
        Mark(
            x=across.at(percentile / 100),
            y=y.at(bound.estimate),
            low=y.at(bound.estimate if bound.lower is None else bound.lower),
            high=y.at(bound.estimate if bound.upper is None else bound.upper),
        )
        for percentile, bound in bounds
    )
    said = ", ".join(f"p{percentile} {bound.estimate:.4g} ms" for percentile, bound in bounds)
    kept = limits(row.record.budgets)
    return Curve(
        row=row,
        path="M" + " L".join(corners),
        marks=marks,
        limits=tuple(_limits(row, ordered, y, across)),
        said=f"{row.record.variant.id}: {said}{f'; limits {kept}' if kept else ''}",
    )


def _limits(row: Row, ordered: Sequence[float], y: LogAxis, across: PercentileAxis) -> Iterator[Limit]:
    for p, limit in row.record.budgets.latency_limits_ms.items():
        at = y.at(limit)
        yield Limit(across.at(p), at, at + 13.0 if stats.nearest_rank(ordered, p) > limit else at - 5.0, f"≤ {limit:g}")


def _limit_of(row: Row) -> float:
    given = row.record.budgets.max_regression
    return 1.0 + (DEFAULT_MAX_REGRESSION if given is None else given)


def _finite(row: Row) -> Iterator[float]:
    ratio = row.record.ratio
    assert ratio is not None
    yield from (value for value in (ratio.lower, ratio.estimate, ratio.upper) if 1.0 / WIDEST < value < WIDEST)
    yield _limit_of(row)


def _whisker(row: Row, x: LogAxis, y: float) -> Whisker:
    ratio = row.record.ratio
    assert ratio is not None
    # The row may have failed for another reason.
    kinds = [verdict.kind for verdict in row.record.verdicts if verdict.question == "regression"]
    return Whisker(
        row=row,
        y=y,
        at=x.at(ratio.estimate),
        lower=x.at(ratio.lower),
        upper=x.at(ratio.upper),
        limit=x.at(_limit_of(row)),
        open_below=ratio.lower <= 1.0 / WIDEST,
        open_above=ratio.upper >= WIDEST,
        said=" ".join((f"×{ratio.estimate:.3f} {interval(ratio)}", *kinds)),
    )


def _free(at: tuple[float, float], others: Sequence[Point]) -> float:
    """Where a point's label starts, to the right of the labels that are there already."""
    taken = [other.label for other in others if abs(other.x - at[0]) < 40.0 and abs(other.y - at[1]) < 11.0]
    return max([at[0] + 9.0, *(start + 18.0 for start in taken)])
