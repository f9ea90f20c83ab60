from __future__ import annotations

import random
from math import log

import pytest

from pytest_accel.report.change_points import MOST_VALUES, change_points


def noise(seed: int, count: int, *, deviation: float = 0.01, level: float = 1.0) -> list[float]:
    """Logarithms of ratios around a level."""
    draw = random.Random(seed)
    return [log(level) + draw.gauss(0.0, deviation) for _ in range(count)]


def test_a_step_is_found_where_it_is() -> None:
    assert change_points([*noise(1, 20), *noise(2, 8, level=1.05)]) == [20]


def test_a_step_that_was_taken_back_is_two() -> None:
    assert change_points([*noise(1, 10), *noise(2, 10, level=1.05), *noise(3, 10)]) == [10, 20]


def test_a_creep_is_several_steps() -> None:
    creep = [log(1.008**nth) + each for nth, each in enumerate(noise(4, 40))]
    found = change_points(creep)
    assert len(found) >= 3
    assert found == sorted(found)


def test_one_slow_run_is_no_new_level() -> None:
    assert change_points([0.0] * 10 + [log(1.5)] + [0.0] * 10) == []
    assert change_points([0.0] * 10 + [log(1.5)]) == []


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 1.0, 1.0], [0.0] * 50], ids=len)
def test_few_values_and_equal_values_have_no_change(values: list[float]) -> None:
    assert change_points(values) == []


def test_a_change_that_is_exact_is_told_from_one_percent_on() -> None:
    assert change_points([0.0] * 200 + [0.009] * 200) == []
    assert change_points([0.0] * 200 + [0.011] * 200) == [200]


def test_series_without_a_change_have_none() -> None:
    found = sum(bool(change_points(noise(seed, 12))) for seed in range(300))
    assert found == 0
    found = sum(bool(change_points(noise(seed, 12, deviation=0.03))) for seed in range(300))
    assert found <= 9, "three times as much noise as is expected"


def test_the_latest_of_very_many_values_are_searched() -> None:
    assert change_points([1.0] * 50 + [0.0] * MOST_VALUES) == []
    assert change_points([0.0] * MOST_VALUES + [0.1] * 50) == [MOST_VALUES]
