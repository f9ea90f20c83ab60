from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_accel.measuring.last_place import OF_ZEROS, UNITS, LastPlace

RNG = np.random.default_rng(0)
#: PROBABILITIES is what a sigmoid gives where there is nothing to find.
PROBABILITIES = 1 / (1 + np.exp(-RNG.normal(-15.0, 1.0, 1000)))
#: ROUNDED is the same, computed in FP32 as 0.5 plus something.
ROUNDED = (np.float32(0.5) + (PROBABILITIES - 0.5).astype(np.float32)).astype(np.float64)


def rounding(candidate: Any, reference: Any) -> float:
    place = LastPlace()
    place.add(np.asarray(candidate, np.float64), np.asarray(reference, np.float64))
    return place.rounding


@pytest.mark.parametrize(("candidate", "reference"), [(PROBABILITIES, ROUNDED), (ROUNDED, PROBABILITIES)])
def test_what_is_left_of_larger_values_is_on_their_grid(candidate: Any, reference: Any) -> None:
    allowed = rounding(candidate, reference)
    assert float(np.abs(ROUNDED - PROBABILITIES).max()) <= allowed < 1e-6


def test_an_output_that_lives_next_to_zero_has_no_grid() -> None:
    small = (RNG.normal(size=1000) * 1e-6).astype(np.float32).astype(np.float64)
    assert rounding(small * 1.1, small) == 0.0
    assert rounding(np.zeros(1000), small) == 0.0, "zeros of the candidate are on every grid, and prove nothing"


@pytest.mark.parametrize("values", [np.eye(3), np.arange(9) / 256, np.array([0.1, 0.7], np.float16), [1e-6]])
def test_integers_and_coarse_precisions_are_no_rounding(values: Any) -> None:
    assert rounding(values, values) == 0.0


def test_a_reference_of_zeros_is_allowed_what_a_sigmoid_loses() -> None:
    assert rounding(PROBABILITIES, np.zeros(1000)) == UNITS * 2.0**OF_ZEROS


def test_every_value_counts_whenever_it_comes() -> None:
    place = LastPlace()
    place.add(ROUNDED, ROUNDED)
    assert place.rounding > 0.0
    place.add(PROBABILITIES, PROBABILITIES)
    assert place.rounding == 0.0
