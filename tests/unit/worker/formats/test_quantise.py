from __future__ import annotations

import re

import numpy as np
import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.formats import quantise

BATCHES = [{"x": np.full(2, value)} for value in (1.0, 2.0)]


def test_calibration_data_is_required() -> None:
    with pytest.raises(Refused, match="pass calibration="):
        quantise.require([])
    quantise.require(BATCHES)


@pytest.mark.parametrize("inputs", [{"y"}, {"x", "y"}, set()])
def test_every_batch_has_exactly_the_models_inputs(inputs: set[str]) -> None:
    quantise.check_inputs({"x"}, BATCHES)
    with pytest.raises(Refused, match=re.escape(f"takes the inputs {sorted(inputs)}, got ['x']")):
        quantise.check_inputs(inputs, BATCHES)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_range_is_learnt_from_what_is_not_finite(value: float) -> None:
    with pytest.raises(Refused, match="input 'x' holds NaN or infinite values"):
        quantise.check_inputs({"x"}, [*BATCHES, {"x": np.full(2, value)}])


def test_onnx_runtime_reads_batch_after_batch_until_none_and_progress_is_told() -> None:
    told: list[tuple[float | None, str]] = []
    reader = quantise._Reader(BATCHES, lambda share, doing: told.append((share, doing)))
    assert [reader.get_next() for _ in range(4)] == [*BATCHES, None, None]
    assert told == [
        (0.0, "calibrating with batch 1 of 2"),
        (0.5, "calibrating with batch 2 of 2"),
        (None, "quantising"),
    ]
