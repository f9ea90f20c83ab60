from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel import verdict
from pytest_accel.check.check import LOOKS, Check
from pytest_accel.check.failed import CheckFailed, require_passed
from pytest_accel.facts.records import Artefact, Budgets, Ratio
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.inputs.registry import Registry
from pytest_accel.measuring.latency import planned_calls
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.testing import FakeAccelerator
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.unit import facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_accel.facts.records import TestRecord
    from pytest_accel.worker.accelerator import Arrays
    from tests.unit.conftest import Workshop

P99 = Budgets(p99_ms=5)
PLANNED = planned_calls(P99, 0.95, LOOKS)
RATIO = Ratio(estimate=1.3, lower=1.2, upper=1.4, confidence=0.95, launches=3, smallest_caught=0.1)


class Forgetful(FakeAccelerator):
    """Gives other outputs once it has been warmed up and validated."""

    def infer(self, staged: Any) -> Arrays:
        outputs = super().infer(staged)
        late = self._calls["infer"] >= 500
        return {name: array + late for name, array in outputs.items()}


@contextmanager
def check(workshop: Workshop, budgets: Budgets = P99, *, script: Any = None, **options: Any) -> Iterator[Check]:
    plan = workshop.plan(**options)
    candidate = compile_candidate(workshop.session, workshop.model(**(script or {})), plan.variant)
    with candidate.load() as loaded:
        yield Check(loaded, plan=plan, budgets=budgets, test="test_it.py::test_it[fake]")


def checked(workshop: Workshop, budgets: Budgets = P99, *, script: Any = None, **options: Any) -> TestRecord:
    with check(workshop, budgets, script=script, **options) as it:
        return it.run(None, None)


def calls(record: TestRecord) -> int:
    assert record.measurement is not None
    return len(record.measurement.latencies_ns)


def test_a_decided_measurement_is_not_extended(workshop: Workshop) -> None:
    assert calls(checked(workshop)) == PLANNED
    assert workshop.count("measure") == 1


def test_an_undecided_one_is_extended_once_by_what_could_decide_it(workshop: Workshop) -> None:
    script = {"latency_ms": [*[1.0] * 119, 9.0]}  # too often over the limit for one extension to decide
    record = checked(workshop, script=script)
    assert workshop.count("measure") == LOOKS == 2
    assert PLANNED < calls(record) <= 2 * PLANNED
    first = facts.measurement(latencies_ns=record.measurement.latencies_ns[:PLANNED])  # type: ignore[union-attr]
    assert calls(record) == PLANNED + verdict.further_calls(first, P99, confidence=0.95, looks=LOOKS)


def test_one_that_would_need_more_than_as_much_again_is_left_undecided(workshop: Workshop) -> None:
    script = {"latency_ms": [*[1.0] * 59, 9.0]}
    assert calls(checked(workshop, script=script)) == PLANNED
    assert workshop.count("measure") == 1


@pytest.mark.parametrize(("precision", "is_beyond"), [("fp32", True), ("fp16", False)])
def test_the_peak_is_that_of_the_precision_that_was_observed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, precision: str, is_beyond: bool
) -> None:
    device = {"peak_flops": 1e15, "peaks": {"fp32": 1e10, "fp16": 1e12}}  # a call of 1 ms does 1e8
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(device))
    observed = {"fp32": {"float32": 2}, "fp16": {"float16": 2}}[precision]
    record = checked(workshop, script={"flops": 1e8, "precisions": observed}, precision=precision)
    (answer,) = (each for each in record.verdicts if each.question == "measurement")
    assert ("beyond the device's peak of 0.01 TFLOP/s" in answer.summary) == is_beyond
    assert (answer.kind == "not-measured") == is_beyond


def test_the_first_inference_comes_before_all_others(workshop: Workshop) -> None:
    record = checked(workshop, Budgets(), script={"cold_calls": 1, "cold_factor": 70})
    assert record.measurement is not None
    assert record.measurement.phases.first_inference_ms == 70


def test_operations_are_counted_for_one_item(workshop: Workshop) -> None:
    record = checked(workshop, Budgets(), script={"flops": 800.0}, batch_size=8)
    assert record.measurement is not None
    assert record.measurement.flops_per_item == 100


def test_timed_outputs_that_are_not_the_validated_ones_are_no_measurement(workshop: Workshop) -> None:
    workshop.registry = Registry({"fake": f"{__name__}:{Forgetful.__name__}"})
    workshop.start_again()
    assert checked(workshop, Budgets()).kind == "not-measured"


def test_the_record_tells_what_was_under_test(workshop: Workshop) -> None:
    record = checked(workshop, batch_size=2)
    assert (record.test, record.model, record.variant.id) == ("test_it.py::test_it[fake]", "model", "fake-b2")
    assert record.versions.keys() >= {"fake-sdk", "python", "numpy", "pytest-accel"}
    assert record.hardware.identity["model"] == "Fake 1000"
    assert isinstance(record.artefact, Artefact)
    assert (record.duet, record.ratio) == (None, None)


def test_every_question_is_answered_accuracy_before_speed(workshop: Workshop) -> None:
    budgets = Budgets(p99_ms=5, min_on_device=0.5, max_artefact_mb=5)
    asked = [each.question for each in checked(workshop, budgets).verdicts]
    assert [question for question in dict.fromkeys(asked) if question != "measurement"] == [
        "placement",
        "accuracy",
        "sla",
        "resources",
        "regression",
    ]


@pytest.mark.parametrize(
    ("options", "kinds"), [({}, {"pass"}), ({"precision": "fp32"}, {"not-measured"}), ({"precision": "int8"}, {"pass"})]
)
def test_a_model_that_is_quantised_itself_is_held_to_that_unless_another_precision_is_named(
    workshop: Workshop, options: dict[str, Any], kinds: set[str]
) -> None:
    script = {"precisions": {"int8": 3}, "graph_precisions": ["float32", "int8"], "output_noise": 0.05}
    with check(workshop, script=script, **options) as it:
        record = it.run(None, None)
    assert {each.kind for each in record.verdicts if each.question == "placement"} == kinds
    (limit,) = [each.summary for each in record.verdicts if each.question == "accuracy"]
    assert "limit for int8" in limit, "the reference is no finer than the model"


@pytest.mark.parametrize(("own", "kinds"), [(None, {"sla-breach"}), (5.0, {"pass"})])
def test_the_projects_defaults_hold_where_the_test_says_nothing(
    workshop: Workshop, own: float | None, kinds: set[str]
) -> None:
    workshop.start_again(budgets={"max_artefact_mb": 1e-6})
    record = checked(workshop, Budgets(max_artefact_mb=own))
    assert {each.kind for each in record.verdicts if each.question == "resources"} == kinds


def test_parts_alone_judge_nothing_and_measure_as_often_as_told(workshop: Workshop) -> None:
    inputs = np.ones((6, 4), np.float32)
    with check(workshop, batch_size=2) as it:
        assert len(it.measure(None, 7).latencies_ns) == 7
        assert len(it.measure(None, None).latencies_ns) == PLANNED
        assert it.evaluate(inputs, None).samples == 6


def test_offline_is_asked_for_as_such(workshop: Workshop) -> None:
    record = checked(workshop, Budgets(), load_shape="offline", batch_size=4)
    assert record.measurement is not None
    assert (record.measurement.load_shape, record.measurement.items_per_call) == ("offline", 4)


def failure(record: TestRecord, strict: bool = False) -> str:
    with pytest.raises(CheckFailed) as raised:
        require_passed(record, strict=strict)
    assert raised.value.record is record
    return str(raised.value)


def test_a_failure_says_what_why_and_how_to_see_it_again() -> None:
    slow = Verdict(kind="sla-breach", question="sla", summary="p99 >= 9 ms.", details=("Slow calls came in clusters.",))
    fine = Verdict(kind="pass", question="accuracy", summary="All is right.")
    unsure = Verdict(kind="inconclusive", question="regression", summary="Not known.")
    assert failure(facts.record(verdicts=(fine, slow, unsure))).splitlines() == [
        "sla-breach: resnet50[gpu-trt-int8-b8] p99 >= 9 ms.",
        "  Slow calls came in clusters.",
        "Reproduce: pytest 'test_resnet50.py::test_resnet50[gpu-trt-int8-b8]' --accelerator=gpu-trt",
    ]


def test_a_failure_marks_what_only_a_strict_run_fails_on() -> None:
    unsure = Verdict(kind="inconclusive", question="sla", summary="Not known.")
    first, *_ = failure(facts.record(verdicts=(unsure,)), strict=True).splitlines()
    assert first == "inconclusive: resnet50[gpu-trt-int8-b8] Not known. (fails under --accel-strict)"


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ({"changes": ("option xla: False -> True",)}, ["Changed since the baseline:", "  option xla: False -> True"]),
        ({"host": "me@gpu-box"}, ["Measured on me@gpu-box."]),
        ({"ratio": RATIO}, ["Nothing that is recorded has changed since the baseline."]),
        ({}, []),
    ],
    ids=["changed", "on a host", "the same", "no baseline"],
)
def test_a_failure_tells_what_changed_since_the_baseline(changed: dict[str, Any], lines: list[str]) -> None:
    slow = Verdict(kind="regressed", question="regression", summary="1.3 times.")
    assert failure(facts.record(verdicts=(slow,), **changed)).splitlines()[1:-1] == lines


def test_a_record_without_any_verdict_does_not_pass() -> None:
    failure(facts.record(verdicts=()))


def test_a_record_that_passes_is_let_through() -> None:
    require_passed(facts.record(), strict=False)
