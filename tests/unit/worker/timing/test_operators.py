from __future__ import annotations

import pytest

from pytest_accel.worker.accelerator import OperatorTime
from pytest_accel.worker.timing.operators import Execution, Window, fastest_mean, make_calls, typical, typical_within


def test_what_is_listed_twice_in_a_call_counts_twice() -> None:
    calls = [[OperatorTime("", "Conv", 5.0), OperatorTime("a", "Relu", 1.0), OperatorTime("", "Conv", 2.0)]]
    assert typical(calls) == [OperatorTime("", "Conv", 7.0), OperatorTime("a", "Relu", 1.0)]


def test_of_many_calls_the_fastest_quarter_counts_for_each_operator() -> None:
    executions, calls = [], []
    for number, conv_ns in enumerate((104.0, 120.0, 100.0, 130.0, 5000.0, 140.0, 110.0, 105.0)):
        start = 10_000.0 * number
        relu_ns = 7.0 if conv_ns > 1000 else 9.0
        executions += [
            Execution("a", "Conv", 1, start, start + conv_ns),
            Execution("b", "Relu", 1, start + conv_ns, start + conv_ns + relu_ns),
        ]
        calls.append(Window(start, start + 9_000.0))
    assert typical_within(executions, calls) == [OperatorTime("a", "Conv", 102.0), OperatorTime("b", "Relu", 8.0)]


def test_what_lies_outside_of_the_calls_does_not_count() -> None:
    executions = [Execution("a", "Conv", 1, begin, begin + 5.0) for begin in (0.0, 100.0, 198.0)]
    assert typical_within(executions, [Window(90.0, 200.0)]) == [OperatorTime("a", "Conv", 5.0)]


def test_what_is_left_out_of_a_call_took_no_time_in_it() -> None:
    executions = [Execution("a", "Conv", 1, begin, begin + 5.0) for begin in (0.0, 10.0)]
    assert typical_within(executions, [Window(0.0, 50.0), Window(50.0, 90.0)]) == [OperatorTime("a", "Conv", 0.0)]


def test_an_operator_has_no_time_of_those_inside_it_but_of_those_beside_it() -> None:
    executions = [
        Execution("loop", "Loop", 1, 0.0, 100.0),
        Execution("branch", "If", 1, 10.0, 60.0),
        Execution("inner", "Conv", 1, 20.0, 50.0),
        Execution("other thread", "Conv", 2, 20.0, 80.0),
        Execution("inner", "Conv", 1, 70.0, 90.0),
        Execution("after", "Relu", 1, 100.0, 103.0),
    ]
    assert {each.name: each.ns for each in typical_within(executions, [Window(0.0, 200.0)])} == {
        "loop": 30.0,
        "branch": 20.0,
        "inner": 50.0,
        "other thread": 60.0,
        "after": 3.0,
    }


@pytest.mark.parametrize(
    ("values", "mean"), [([3.0], 3.0), ([4.0, 1.0], 1.0), ([9.0, 2.0, 4.0, 0.0], 1.0), ([7.0, 2.0, 9.0, 1.0, 8.0], 1.5)]
)
def test_the_faster_half_is_one_at_least(values: list[float], mean: float) -> None:
    assert fastest_mean(values, 0.5) == mean


def test_calls_take_the_staged_batches_in_turn() -> None:
    made: list[str] = []
    make_calls(made.append, ["a", "b"], 3)
    assert made == ["a", "b", "a"]
