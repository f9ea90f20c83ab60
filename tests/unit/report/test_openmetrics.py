from __future__ import annotations

import re

import msgspec
import pytest

from pytest_accel.facts.records import RunRecord
from pytest_accel.facts.verdicts import VerdictKind
from pytest_accel.report.openmetrics import openmetrics
from pytest_accel.report.overview import Overview
from tests.formats import check_by_promtool, read_as_gitlab, read_openmetrics
from tests.unit import facts
from tests.unit.report.test_budgets import CREEP
from tests.unit.report.test_overview import RATIO, record
from tests.unit.report.test_quantities import QUANTITIES

NAMES = {
    "model": "resnet50",
    "variant": "gpu-trt-int8-b8",
    "accelerator": "gpu-trt",
    "fingerprint": facts.T4.fingerprint,
    "test": "test_resnet50.py::test_resnet50[gpu-trt-int8-b8]",
}
HOSTILE = 'a "quoted" \\ back\nslash # and more'


def text(*runs: RunRecord) -> str:
    return openmetrics(Overview.of(runs))


def whole() -> RunRecord:
    """Two runs of all that a check can know, with names that need escaping."""
    accuracy = facts.record().accuracy
    assert accuracy is not None
    known = msgspec.structs.replace(
        accuracy, reference_top1=0.95, drop_interval=(0.0, 0.1), metric_name=HOSTILE, metric=1.0, reference_metric=2.0
    )
    measurement = facts.measurement(host_memory_mb=100.0, latencies_ns=[1_000_000 + n % 97 for n in range(5000)])
    checks = [
        facts.record(measurement=measurement, accuracy=known, ratio=RATIO, model=HOSTILE, opponent=HOSTILE),
        facts.record(measurement=measurement, accuracy=known, ratio=RATIO, model=HOSTILE, opponent=HOSTILE),
        facts.record(measurement=measurement, ratio=RATIO, creep=CREEP),
        facts.compiled(),
        record("refused", measurement=None, artefact=None),
    ]
    return facts.run(*checks)


def test_a_latency_has_a_value_and_bounds_for_each_percentile() -> None:
    measurement = facts.measurement(latencies_ns=[1_000_000 * (1 + n % 100) for n in range(1000)])
    found = read_openmetrics(text(facts.run(facts.record(measurement=measurement))))
    p90 = frozenset({**NAMES, "percentile": "90"}.items())
    assert found["pytest_accel_latency_seconds"][p90] == pytest.approx(0.09)
    lower = found["pytest_accel_latency_lower_bound_seconds"][p90]
    assert lower < 0.09 < found["pytest_accel_latency_upper_bound_seconds"][p90]
    percentiles = {dict(labels)["percentile"] for labels in found["pytest_accel_latency_seconds"]}
    assert percentiles == {"50", "90", "95", "99", "99.9"}


def test_every_quantity_is_a_metric_with_its_unit_in_its_name() -> None:
    found = read_openmetrics(text(whole()))
    names = {"_".join(filter(None, ("pytest_accel", each.name, each.unit))) for each in QUANTITIES}
    assert names - found.keys() == {"pytest_accel_output_error_ratio"}, "no output is in these records"
    units = re.findall(r"^# UNIT (\S+) (\S+)$", text(whole()), re.MULTILINE)
    assert all(name.endswith(f"_{unit}") for name, unit in units)
    assert {unit for _, unit in units} == {"seconds", "bytes", "ratio", "items_per_second"}


@pytest.mark.parametrize(
    ("kind", "strict", "passed"),
    [
        ("pass", False, 1),
        ("improved", False, 1),
        ("regressed", False, 0),
        ("inconclusive", False, 1),
        ("inconclusive", True, 0),
        ("pruned", False, None),
    ],
)
def test_whether_it_passed_is_a_metric_and_the_verdict_a_label(
    kind: VerdictKind, strict: bool, passed: int | None
) -> None:
    found = read_openmetrics(text(facts.run(record(kind), strict=strict)))
    (labels,) = found["pytest_accel_verdict_info"]
    assert dict(labels)["verdict"] == kind
    assert list(found.get("pytest_accel_passed", {}).values()) == ([] if passed is None else [passed])


def test_a_comparison_with_an_opponent_is_a_series_of_its_own() -> None:
    found = read_openmetrics(text(facts.run(facts.record(ratio=RATIO, opponent="../main"), facts.record(ratio=RATIO))))
    opponents = [dict(labels).get("opponent") for labels in found["pytest_accel_relative_time_ratio"]]
    assert opponents == ["../main", None]


def test_several_machines_are_told_apart() -> None:
    runs = [facts.run(facts.record(hardware=facts.hardware(instance_type=name))) for name in ("a", "b")]
    assert len(read_openmetrics(text(*runs))["pytest_accel_passed"]) == 2


def test_a_run_without_checks_is_an_empty_file() -> None:
    assert text(facts.run()) == "# EOF\n"
    assert read_openmetrics(text(facts.run())) == {}


def test_names_come_back_as_they_were_but_for_the_sign_that_gitlab_takes_for_a_comment() -> None:
    (labels, *_) = read_openmetrics(text(whole()))["pytest_accel_metric"]
    assert dict(labels)["model"] == HOSTILE.replace("#", "%23")
    assert dict(labels)["metric"] == HOSTILE.replace("#", "%23")


def test_gitlab_reads_each_series_with_its_value() -> None:
    found = read_openmetrics(text(whole()))
    shown = read_as_gitlab(text(whole()))
    assert len(shown) == sum(len(values) for values in found.values())
    assert shown[next(name for name in shown if name.startswith("pytest_accel_metric{"))] == "1"


def test_promtool_takes_it_and_has_nothing_to_say_of_its_names() -> None:
    check_by_promtool(text(whole()))
