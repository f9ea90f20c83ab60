"""Draw how the latencies of each variant are spread, beside their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel import stats
from pytest_accel.report.figures import latency_bounds
from pytest_accel.report.model_table import Row, Table, limits
from pytest_accel.report.plots.axes import LogAxis, PercentileAxis, Tick

if TYPE_CHECKING:
    from pytest_accel.facts.records import Measurement

#: POINTS is the number of points of a curve.
POINTS = 80


class Mark(NamedTuple):
    """A mark is a percentile with its bounds, in pixels. An unknown bound is at the percentile itself."""

    x: float
    y: float
    low: float
    high: float


class Limit(NamedTuple):
    """A limit is a bound on latency at a percentile, in pixels: the curve has to pass below it.

    The label, at ``label_y``, is on the side where the curve is not.
    """

    x: float
    y: float
    label_y: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A curve shows the latencies of one variant by percentile. ``text`` is for those who do not see the plot."""

    row: Row
    path: str
    marks: tuple[Mark, ...]
    limits: tuple[Limit, ...]
    text: str


@dataclass(frozen=True)
class Curves:
    """The curves of a model's variants are beside each other, all in one scale of milliseconds."""

    width: float
    height: float
    left: float
    bottom: float
    ticks: list[Tick]
    percentiles: list[Tick]
    curves: tuple[Curve, ...]


def curves(table: Table, confidence: float) -> Curves | None:
    """Draw the latency curves of a model; None where nothing was measured."""
    rows = [row for row in table.rows if _latencies_ms(row)]
    if not rows:
        return None
    width, height, left, top, bottom = 292.0, 184.0, 40.0, 22.0, 152.0
    shown = [value for row in rows for value in (*_latencies_ms(row), *row.record.budgets.latency_limits_ms.values())]
    y = LogAxis.over(shown, bottom, top)
    x = PercentileAxis(max(_nines(len(_latencies_ms(row))) for row in rows), left, width - 22.0)
    return Curves(
        width=width,
        height=height,
        left=left,
        bottom=bottom,
        ticks=y.ticks,
        percentiles=x.ticks,
        curves=tuple(_curve(row, x, y, confidence) for row in rows),
    )


def _nines(calls: int) -> float:
    """Say how many nines so many calls reach; the slowest call is at the end."""
    return math.log10(max(calls, 2)) + 0.15


def _latencies_ms(row: Row) -> list[float]:
    measurement: Measurement | None = row.record.measurement
    # A clock that stood still gives latencies of 0, which have no place on a logarithmic axis.
    return [] if measurement is None else [max(nanoseconds, 1) / 1e6 for nanoseconds in measurement.latencies_ns]


def _curve(row: Row, x: PercentileAxis, y: LogAxis, confidence: float) -> Curve:
    assert row.record.measurement is not None
    latencies_ms = sorted(_latencies_ms(row))
    nines = _nines(len(latencies_ms))
    shares = [1.0 - 10.0 ** -(nines * step / POINTS) for step in range(POINTS + 1)]
    corners = [f"{x.at(p)},{y.at(stats.nearest_rank(latencies_ms, p))}" for p in shares]
    bounds = list(latency_bounds(row.record.measurement, confidence))
    percentiles = ", ".join(f"p{percentile} {bound.estimate:.4g} ms" for percentile, bound in bounds)
    limits_text = limits(row.record.budgets)
    return Curve(
        row=row,
        path="M" + " L".join(corners),
        marks=tuple(_mark(percentile, bound, x, y) for percentile, bound in bounds),
        limits=tuple(_limits(row, latencies_ms, x, y)),
        text=f"{row.record.variant.id}: {percentiles}{f'; limits {limits_text}' if limits_text else ''}",
    )


def _mark(percentile: int, bound: stats.QuantileBound, x: PercentileAxis, y: LogAxis) -> Mark:
    return Mark(
        x=x.at(percentile / 100),
        y=y.at(bound.estimate),
        low=y.at(bound.estimate if bound.lower is None else bound.lower),
        high=y.at(bound.estimate if bound.upper is None else bound.upper),
    )


def _limits(row: Row, latencies_ms: Sequence[float], x: PercentileAxis, y: LogAxis) -> Iterator[Limit]:
    for p, limit_ms in row.record.budgets.latency_limits_ms.items():
        at = y.at(limit_ms)
        broken = stats.nearest_rank(latencies_ms, p) > limit_ms
        yield Limit(x.at(p), at, at + 13.0 if broken else at - 5.0, f"≤ {limit_ms:g}")
