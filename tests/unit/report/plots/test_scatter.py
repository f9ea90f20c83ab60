from __future__ import annotations

import math
from typing import Any

import pytest

from pytest_accel.facts.records import TestRecord
from pytest_accel.report.plots.scatter import LABEL_PX, scatter
from tests.unit import facts
from tests.unit.report.test_model_table import table
from tests.unit.report.test_overview import record
from tests.unit.report.test_terminal import accuracy


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
    assert (plot.accuracy, better.text) == ("top-1, %", "b: 90.00%, 800/s")


def test_labels_of_points_that_lie_together_do_not() -> None:
    plot = scatter(table(scored("a", 0.8), scored("b", 0.8), scored("c", 0.9)))
    assert plot is not None
    assert len({point.label_x for point in plot.points}) == 3


def test_labels_one_below_the_other_stay_beside_their_points() -> None:
    walls_s = {"a": 10.0, "b": 9.1, "far": 1.0}
    records = [
        scored(name, 0.9 if name == "far" else 0.8, measurement=facts.measurement(wall_s=wall_s))
        for name, wall_s in walls_s.items()
    ]
    plot = scatter(table(*records))
    assert plot is not None
    lower, upper, _ = plot.points
    assert LABEL_PX <= lower.y - upper.y < 11.0
    assert lower.label_x == upper.label_x


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
