from __future__ import annotations

from itertools import pairwise

import pytest

from pytest_accel.facts.records import Budgets
from pytest_accel.report.plots.axes import LogAxis
from pytest_accel.report.plots.curves import curves
from tests.unit import facts
from tests.unit.report.test_model_table import table
from tests.unit.report.test_overview import record


def curve_points(path: str) -> list[tuple[float, float]]:
    pairs = [corner.strip("ML ").split(",") for corner in path.split(" ")]
    return [(float(x), float(y)) for x, y in pairs]


def test_a_curve_rises_to_the_slowest_call() -> None:
    plot = curves(table(record()), 0.95)
    assert plot is not None
    points = curve_points(plot.curves[0].path)
    assert all(x <= x_next and y >= y_next for (x, y), (x_next, y_next) in pairwise(points))
    axis = LogAxis.over([1.0, 100.0], plot.bottom, 22.0)  # the limit of 7 ms lies within
    assert (points[0][1], points[-1][1]) == (axis.at(1.0), axis.at(100.0))


def test_the_dots_are_the_percentiles_with_their_bounds() -> None:
    plot = curves(table(record()), 0.95)
    assert plot is not None
    axis = LogAxis.over([1.0, 100.0], plot.bottom, 22.0)
    assert [mark.y for mark in plot.curves[0].marks] == [axis.at(50.0), axis.at(99.0)]
    assert all(mark.high <= mark.y <= mark.low for mark in plot.curves[0].marks)


@pytest.mark.parametrize(("limit_ms", "below"), [(7, True), (99.5, False)])
def test_a_limit_is_a_bar_at_its_percentile_labelled_away_from_the_curve(limit_ms: float, below: bool) -> None:
    plot = curves(table(record(budgets=Budgets(p99_ms=limit_ms))), 0.95)
    assert plot is not None
    (limit,) = plot.curves[0].limits
    assert limit.x == plot.curves[0].marks[1].x
    assert limit.text == f"≤ {limit_ms:g}"
    assert (limit.label_y > limit.y) == below


def test_variants_share_one_scale() -> None:
    slow = facts.measurement(latencies_ns=[5_000_000_000] * 10)
    plot = curves(table(record(), record(accelerator="slow", measurement=slow)), 0.95)
    assert plot is not None
    quick, slow_curve = plot.curves
    assert max(y for _, y in curve_points(slow_curve.path)) < min(y for _, y in curve_points(quick.path))


def test_a_clock_that_stood_still_can_be_drawn() -> None:
    assert curves(table(record(measurement=facts.measurement(latencies_ns=[0, 0]))), 0.95) is not None
