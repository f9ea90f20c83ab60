from __future__ import annotations

from pytest_accel.facts.records import Budgets, Ratio
from pytest_accel.report.junit import properties
from tests.unit import facts

RATIO = Ratio(estimate=1.25, lower=1.1, upper=1.4, confidence=0.95, launches=3, smallest_caught=0.1)


def test_every_fact_is_one_plain_number_or_word() -> None:
    found = dict(properties(facts.record(measurement=facts.measurement(wall_s=8.0), ratio=RATIO)))
    assert found == {
        "accel.model": "resnet50",
        "accel.variant": "gpu-trt-int8-b8",
        "accel.verdict": "pass",
        "accel.fingerprint": "g4dn.xlarge-tesla-t4-2c-16g-aea327",
        "accel.p50_ms": 50,
        "accel.p99_ms": 99,
        "accel.throughput_per_s": 100,
        "accel.top1": 0.916667,
        "accel.agreement": 1,
        "accel.ratio": 1.25,
        "accel.ratio.lower": 1.1,
        "accel.ratio.upper": 1.4,
        "accel.limit.p99_ms": 7,
        "accel.measured.p99_ms": 99,
    }


def test_the_machine_is_named_where_it_is_another_one() -> None:
    assert dict(properties(facts.record(host="me@gpu-box")))["accel.host"] == "me@gpu-box"


def test_every_budget_that_was_given_has_its_limit_and_what_was_measured() -> None:
    given = Budgets(p999_ms=7, min_throughput=50, max_accuracy_drop=0.01, max_regression=0.05, max_memory_mb=100)
    record = facts.record(measurement=facts.measurement(wall_s=8.0), ratio=RATIO, budgets=given)
    found = {name.removeprefix("accel."): value for name, value in properties(record)}
    assert {name: value for name, value in found.items() if name.startswith(("limit.", "measured."))} == {
        "limit.p999_ms": 7,
        "measured.p999_ms": 100,
        "limit.min_throughput": 50,
        "measured.min_throughput": 100,
        "limit.max_accuracy_drop": 0.01,
        "measured.max_accuracy_drop": 0,
        "limit.max_regression": 0.05,
        "measured.max_regression": 0.25,
        "limit.max_memory_mb": 100,
        "measured.max_memory_mb": 512,
    }


def test_what_was_not_found_out_is_left_out() -> None:
    assert [name for name, _ in properties(facts.record(accuracy=None))] == [
        "accel.model",
        "accel.variant",
        "accel.verdict",
        "accel.fingerprint",
        "accel.limit.p99_ms",
    ]


def test_what_was_compiled_and_not_run_has_names_of_its_own() -> None:
    found = dict(properties(facts.compiled()))
    assert {name: found[name] for name in found if name.startswith(("accel.comp", "accel.art", "accel.pred"))} == {
        "accel.compiled_for": "sm75",
        "accel.compile_s": 60.0,
        "accel.artefact_mb": 97.8,
        "accel.predicted.top1": 0.916667,
        "accel.predicted.agreement": 1,
    }
    assert "accel.top1" not in found
