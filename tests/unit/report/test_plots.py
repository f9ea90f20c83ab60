from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_accel.facts.records import Budgets, Ratio, TestRecord, Verdict
from pytest_accel.report.axes import LinearAxis, LogAxis, PercentileAxis
from pytest_accel.report.overview import Overview, Table
from pytest_accel.report.plots import curves, forest, scatter
from pytest_accel.verdict.gate import WIDEST
from tests.unit import facts
from tests.unit.report.test_overview import record
from tests.unit.report.test_terminal import accuracy


def table(*records: TestRecord) -> Table:
    (only,) = Overview.of([facts.run(*records)]).tables
    return only


def ratio(estimate: float, lower: float, upper: float) -> Ratio:
    return Ratio(estimate=estimate, lower=lower, upper=upper, confidence=0.95, launches=3, smallest_caught=0.1)


# Axes


positive = st.floats(1e-6, 1e9)


@given(st.lists(positive, min_size=1, max_size=20))
def test_a_logarithmic_axis_shows_every_value_in_order_and_names_some(values: list[float]) -> None:
    axis = LogAxis.over(values, 100.0, 10.0)
    pixels = [axis.at(value) for value in sorted(values)]
    assert pixels == sorted(pixels, reverse=True)
    assert all(10.0 < pixel < 100.0 for pixel in pixels)
    assert all(10.0 <= tick.at <= 100.0 for tick in axis.ticks)
    assert 1 <= len(axis.ticks) <= 20


def test_twice_as_much_is_as_far_away_everywhere() -> None:
    axis = LogAxis(1.0, 16.0, 0.0, 100.0)
    assert [axis.at(value) for value in (1, 2, 4, 8, 16, 99)] == [0, 25, 50, 75, 100, 100]


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.97, 1.08, ["0.975", "1", "1.025", "1.05", "1.075"]),
        (1.8, 9.5, ["2", "4", "6", "8"]),
        (0.9, 120, ["1", "2", "5", "10", "20", "50", "100"]),
        (1, 1e6, ["1", "10", "100", "1,000", "10,000", "100,000", "1e+06"]),
    ],
)
def test_round_values_are_named(low: float, high: float, texts: list[str]) -> None:
    assert [tick.text for tick in LogAxis(low, high, 0.0, 1.0).ticks] == texts


def test_a_linear_axis_is_even() -> None:
    axis = LinearAxis(94.0, 100.0, 0.0, 60.0)
    assert [(tick.at, tick.text) for tick in axis.ticks] == [(0, "94"), (20, "96"), (40, "98"), (60, "100")]


def test_each_further_nine_is_as_wide() -> None:
    axis = PercentileAxis(3.0, 0.0, 300.0)
    assert [axis.at(p) for p in (0, 0.9, 0.99, 0.999, 0.9999)] == [0, 100, 200, 300, 300]
    assert [tick.text for tick in axis.ticks] == ["p50", "p90", "p99", "p99.9"]


# Latencies


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
    assert (limit.label > limit.y) == below


def test_variants_share_one_scale() -> None:
    slow = facts.measurement(latencies_ns=[5_000_000_000] * 10)
    plot = curves(table(record(), record(accelerator="slow", measurement=slow)), 0.95)
    assert plot is not None
    quick, slow_curve = plot.curves
    assert max(y for _, y in curve_points(slow_curve.path)) < min(y for _, y in curve_points(quick.path))


def test_a_clock_that_stood_still_can_be_drawn() -> None:
    assert curves(table(record(measurement=facts.measurement(latencies_ns=[0, 0]))), 0.95) is not None


# Ratios


def test_ratios_are_drawn_with_interval_and_limit() -> None:
    plot = forest(table(record(ratio=ratio(1.2, 1.1, 1.3), budgets=Budgets(max_regression=0.02))))
    assert plot is not None
    (whisker,) = plot.whiskers
    assert plot.left < plot.one < whisker.limit < whisker.lower < whisker.at < whisker.upper < plot.right
    assert whisker.said == "×1.200 [1.100, 1.300]"
    assert not whisker.open_below
    assert not whisker.open_above


def test_an_interval_without_an_end_reaches_the_edge() -> None:
    plot = forest(table(record(ratio=ratio(1.0, 1 / WIDEST, WIDEST))))
    assert plot is not None
    (whisker,) = plot.whiskers
    assert (whisker.lower, whisker.upper) == (plot.left, plot.right)
    assert whisker.open_below
    assert whisker.open_above


def test_a_ratio_has_the_verdict_on_itself() -> None:
    verdicts = (
        Verdict(kind="sla-breach", question="sla", summary="Slow."),
        Verdict(kind="improved", question="regression", summary="Faster."),
    )
    plot = forest(table(record(ratio=ratio(0.8, 0.7, 0.9), verdicts=verdicts)))
    assert plot is not None
    assert plot.whiskers[0].said == "×0.800 [0.700, 0.900] improved"


def test_without_a_comparison_there_are_no_ratios() -> None:
    assert forest(table(record())) is None


# Throughput against accuracy


def scored(accelerator: str, top1: float, **changed: Any) -> TestRecord:
    return record(accelerator=accelerator, accuracy=accuracy(top1=top1, reference_top1=0.9), **changed)


def test_up_and_to_the_right_is_better() -> None:
    fast = facts.measurement(wall_s=1.0)
    plot = scatter(table(scored("a", 0.8), scored("b", 0.9, measurement=fast)))
    assert plot is not None
    worse, better = plot.points
    assert better.x > worse.x
    assert better.y < worse.y
    assert [point.number for point in plot.points] == [1, 2]
    assert (plot.across, better.said) == ("top-1, %", "b: 90.00%, 800/s")


def test_labels_of_points_that_lie_together_do_not() -> None:
    plot = scatter(table(scored("a", 0.8), scored("b", 0.8), scored("c", 0.9)))
    assert plot is not None
    assert len({point.label for point in plot.points}) == 3


@pytest.mark.parametrize(
    "records",
    [
        (scored("a", 0.9), scored("b", 0.9)),
        (scored("a", 0.9), record(accelerator="b", accuracy=accuracy(metric_name="f1", metric=1, reference_metric=1))),
        (record(), record(accelerator="b")),
        (
            record(accuracy=accuracy(metric_name="f1", metric=math.nan, reference_metric=1)),
            record(accelerator="b", accuracy=accuracy(metric_name="f1", metric=0.5, reference_metric=1)),
        ),
    ],
    ids=["the same for all", "different measures", "all agree", "no number"],
)
def test_where_accuracy_tells_no_two_apart_it_is_not_drawn(records: tuple[TestRecord, ...]) -> None:
    assert scatter(table(*records)) is None
