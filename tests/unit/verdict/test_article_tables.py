"""The tables that this project grew from, as data: what was published must be judged as what it was.

The TensorRT rows timed the dispatch of each call and not its result. The Elastic Inference row was measured on another
accelerator than the one it names. All other rows are what they say.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from pytest_accel import verdict
from pytest_accel.facts.records import Measurement
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.worker.hardware import gpu_peak
from tests.unit import facts

TABLES: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "article_tables.json").read_text())
ROWS: dict[str, dict[str, Any]] = {row["row"]: row for row in TABLES["rows"]}
IMPOSSIBLE = [name for name in ROWS if name.startswith("trt_")]
POSSIBLE = [name for name in ROWS if name not in IMPOSSIBLE]

#: What each row of the T4 was said to compute in, and was observed to.
PRECISIONS = {"keras_gpu_8": "fp32", "trt_fp32_8": "fp32", "trt_fp16_8": "fp16", "trt_int8_8": "int8"}
T4 = gpu_peak.peaks((7, 5), sm_count=40, clock_hz=1.59e9)

SCATTER, WALL = "rates scatter by", "of the wall clock: most of the work was not timed"


def measured(row: dict[str, Any], *, wall_s: float | None = None) -> Measurement:
    """A measurement with the row's number of calls, its time, and the mean and deviation of its rates.

    Two rates suffice for that, a slow and a fast one. How many calls are slow follows from the images over the time,
    which is not the mean of the rates.
    """
    calls = TABLES["images"] // row["batch"]
    mean, sd, true_rate = row["rate_mean"], row["rate_sd"], TABLES["images"] / row["timed_s"]

    def rates(slow: float) -> tuple[float, float]:
        return mean - sd * sqrt((1 - slow) / slow), mean + sd * sqrt(slow / (1 - slow))

    def harmonic(slow: float) -> float:
        low, high = rates(slow)
        return 1 / (slow / low + (1 - slow) / high)

    fewest = 1 / (1 + (mean / sd) ** 2)  # with fewer, the slow rate would be none
    slow = root(lambda share: harmonic(share) - true_rate, fewest * (1 + 1e-9), 1 - 1e-9)
    low, high = rates(slow)
    slow_calls = round(slow * calls)
    latencies_ns = [round(1e9 * row["batch"] / rate) for rate in [low] * slow_calls + [high] * (calls - slow_calls)]
    return facts.measurement(
        latencies_ns=latencies_ns,
        items_per_call=row["batch"],
        wall_s=row["wall_s"] if wall_s is None else wall_s,
        flops_per_item=TABLES["flops_per_image"],
    )


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is zero."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return middle


def peak_of(name: str) -> float:
    """What the product itself computes for a T4 in the observed precision, and of another device what was published."""
    precision = PRECISIONS.get(name)
    if precision is None:
        return float(ROWS[name]["peak_flops"])
    observed = {"fp32": {"float32": 70}, "fp16": {"float16": 54, "float32": 16}, "int8": {"int8": 54, "float32": 16}}
    peak = verdict.peak_flops(max(T4.values()), T4, observed[precision], asked=precision)
    assert peak is not None
    assert peak == pytest.approx(ROWS[name]["peak_flops"], rel=0.01)
    return peak


def judged(name: str, **more: Any) -> Verdict:
    (answer,) = verdict.judge_measurement(measured(ROWS[name]), peak_flops=peak_of(name), **more)
    return answer


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_rebuilt_as_it_was_published(name: str) -> None:
    row, rebuilt = ROWS[name], measured(ROWS[name])
    rates = [1e9 * row["batch"] / latency for latency in rebuilt.latencies_ns]
    mean = sum(rates) / len(rates)
    assert sum(rebuilt.latencies_ns) / 1e9 == pytest.approx(row["timed_s"], rel=2e-3)
    assert mean == pytest.approx(row["rate_mean"], rel=2e-3)
    assert sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates)) == pytest.approx(row["rate_sd"], rel=2e-2)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_row_that_timed_the_dispatch_is_refused_on_each_of_its_traces(name: str) -> None:
    answer = judged(name)
    assert answer.kind == "not-measured"
    assert SCATTER in answer.summary
    assert WALL in answer.summary


@pytest.mark.parametrize("all_timed", [False, True])
def test_a_t4_in_fp32_cannot_do_what_was_published_even_if_all_of_its_time_had_been_timed(all_timed: bool) -> None:
    row = ROWS["trt_fp32_8"]
    published = measured(row, wall_s=row["timed_s"] if all_timed else None)
    (answer,) = verdict.judge_measurement(published, peak_flops=peak_of("trt_fp32_8"))
    assert "10.1 TFLOP/s is beyond the device's peak of 8.14 TFLOP/s" in answer.summary
    assert (WALL in answer.summary) != all_timed


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_the_mean_of_the_rates_is_far_from_the_rate(name: str) -> None:
    mean_over_true = ROWS[name]["rate_mean"] * ROWS[name]["timed_s"] / TABLES["images"]
    assert f"which is {mean_over_true:.2f} times the true rate" in judged(name).summary


@pytest.mark.parametrize("name", POSSIBLE)
def test_a_row_that_timed_the_result_is_accepted(name: str) -> None:
    answer = judged(name)
    assert (answer.kind, answer.question) == ("pass", "measurement"), answer.summary


def test_the_accelerator_that_was_measured_is_not_the_one_that_was_published() -> None:
    told = TABLES["elastic_inference"]
    handle = {"accelerator_type": told["attached"][told["predictor_accelerator_id"]]}
    answer = judged("ei_8", asked={"accelerator_type": told["published_as"]}, identity=handle)
    assert answer.kind == "not-measured"
    assert "accelerator_type='eia2.large' was asked for, and what was used says 'eia2.xlarge'" in answer.summary
    assert judged("ei_8", asked={"accelerator_type": "eia2.xlarge"}, identity=handle).kind == "pass"


@pytest.mark.parametrize(
    ("asked", "identity"),
    [
        ({"accelerator_type": None}, {"accelerator_type": "eia2.large"}),
        ({"instance_type": "ml.c5.large"}, {}),
        ({"instance_type": "ml.c5.large"}, {"instance_type": None}),
        ({"cores": 1}, {"cores": 4}),
    ],
)
def test_what_was_not_asked_for_or_is_not_told_is_no_other_device(
    asked: dict[str, Any], identity: dict[str, Any]
) -> None:
    assert judged("ei_8", asked=asked, identity=identity).kind == "pass"
