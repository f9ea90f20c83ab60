from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_accel.report.plots.axes import LinearAxis, LogAxis, PercentileAxis

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
