from __future__ import annotations

from typing import Any

import pytest

from pytest_accel.facts.records import RunRecord
from pytest_accel.report.bencher import bencher
from pytest_accel.report.overview import Overview
from tests.formats import refused_by, strictly
from tests.unit import facts
from tests.unit.report.test_openmetrics import whole
from tests.unit.report.test_overview import RATIO, record

SCHEMA = "bencher_metric_format"
CHECK = "resnet50 test_resnet50.py::test_resnet50[gpu-trt-int8-b8]"


def measures(run: RunRecord, check: str = CHECK) -> dict[str, Any]:
    found: dict[str, Any] = strictly(bencher(Overview.of([run])))[check]
    return found


def test_percentiles_have_their_bounds() -> None:
    measurement = facts.measurement(latencies_ns=[1_000_000 * (1 + n % 100) for n in range(1000)])
    found = measures(facts.run(facts.record(measurement=measurement)))
    p90 = found["latency-p90-ms"]
    assert p90["value"] == 90.0
    assert p90["lower_value"] < 90.0 < p90["upper_value"]
    assert [name for name in found if name.startswith("latency-")] == [
        f"latency-{name}-ms" for name in ("p50", "p90", "p95", "p99", "p999")
    ]


def test_measures_whose_unit_bencher_knows_have_its_names() -> None:
    found = measures(facts.run(facts.record(measurement=facts.measurement(wall_s=8.0))))
    assert found["throughput"]["value"] == 100.0
    assert found["build-time"] == {"value": 60.0}
    assert found["file-size"] == {"value": 97_800_000.0}


def test_accuracy_memory_and_the_ratio_are_there() -> None:
    found = measures(facts.run(facts.record(measurement=facts.measurement(host_memory_mb=1.0), ratio=RATIO)))
    assert found["top1-accuracy-ratio"]["value"] == pytest.approx(11 / 12)
    assert found["host-memory-bytes"] == {"value": 2**20}
    assert found["relative-time-ratio"] == {"value": 1.25, "lower_value": 1.1, "upper_value": 1.4}


def test_a_check_that_found_out_nothing_is_no_benchmark() -> None:
    nothing = record("refused", measurement=None, artefact=None, accuracy=None, placement=None)
    assert strictly(bencher(Overview.of([facts.run(nothing)]))) == {}


def test_the_documented_format_is_kept() -> None:
    text = bencher(Overview.of([whole()]))
    assert len(strictly(text)) == 5
    assert refused_by(SCHEMA, text) == []
    assert refused_by(SCHEMA, '{"a": {"b": {"lower_value": 1}}}') == ["$.a.b: 'value' is a required property"]
