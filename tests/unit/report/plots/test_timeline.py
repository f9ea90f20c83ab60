from __future__ import annotations

from typing import Any

from pytest_accel.report.plots.timeline import MOST_DRAWN, Timeline, timeline
from pytest_accel.store.history_entry import Bounds
from pytest_accel.verdict.gate import WIDEST
from tests.unit.report.test_history_series import Runs


def drawn(*ratios: float | Bounds, **changed: Any) -> Timeline:
    runs = Runs()
    for nth, ratio in enumerate(ratios):
        runs.add(f"B{nth}", ratio, "A", **changed)
    (series,) = runs.series()
    plot = timeline(series)
    assert plot is not None
    return plot


def test_runs_stand_in_their_order_with_their_intervals() -> None:
    plot = drawn(1.0, 1.1, 0.9)
    first, slow, fast = plot.runs
    assert plot.left < first.x < slow.x < fast.x < plot.right <= plot.width
    assert slow.y < first.y < fast.y
    assert all(run.upper < run.y < run.lower for run in plot.runs)
    assert (slow.text, plot.days) == ("2026-11-01, 01aaaaaaaa, ×1.100, pass", ("2026-11-01", "2026-11-01"))


def test_a_bound_that_is_not_known_is_not_drawn() -> None:
    plot = drawn(Bounds(estimate=1.0, lower=1 / WIDEST, upper=WIDEST), 1.0)
    assert plot.runs[0].lower == plot.runs[0].y == plot.runs[0].upper
    assert len(plot.ticks) <= 10, "the axis does not reach that far"


def test_levels_meet_at_the_change_points() -> None:
    plot = drawn(*[1.0] * 8, *[1.05] * 8)
    before, after = plot.levels
    (change,) = plot.changes
    assert before.start == plot.left
    assert before.end == change.x == after.start
    assert after.end == plot.right
    assert (before.y, after.y) == (plot.runs[0].y, plot.runs[-1].y)
    assert plot.runs[7].x < change.x < plot.runs[8].x
    assert change.text == "+5 %"
    assert plot.text == "resnet50[gpu-trt-int8-b8]: 16 runs; from commit 08aaaaaaaa on 5 % slower"


def test_a_label_without_room_is_left_out() -> None:
    plot = drawn(*[1.0] * 60, *[1.2] * 4, *[1.0] * 60)
    assert [change.text for change in plot.changes] == ["+20 %", ""]


def test_the_latest_of_very_many_runs_are_drawn() -> None:
    plot = drawn(*[1.0] * 100, *[1.1] * 50, *[1.2] * 150)
    assert len(plot.runs) == MOST_DRAWN
    assert [change.text for change in plot.changes] == ["+9.1 %"]
    assert len(plot.levels) == 2
    assert plot.runs[-1].x < plot.right <= plot.width


def test_latency_has_its_unit() -> None:
    runs = Runs()
    for _ in range(2):
        runs.add("A")
    plot = timeline(runs.series()[0])
    assert plot is not None
    assert plot.runs[0].text.endswith(", 50 ms, pass")


def test_a_single_run_is_no_plot() -> None:
    runs = Runs()
    runs.add("A")
    assert timeline(runs.series()[0]) is None
