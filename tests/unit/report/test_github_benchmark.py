from __future__ import annotations

from typing import Any

import pytest

from pytest_accel.facts.records import RunRecord
from pytest_accel.report.github_benchmark import CHARTS, github_benchmark
from pytest_accel.report.overview import Overview
from pytest_accel.report.quantities import METRIC, METRIC_CHANGE, TOP1_CHANGE
from tests.formats import refused_by, strictly
from tests.unit import facts
from tests.unit.report.test_openmetrics import whole
from tests.unit.report.test_overview import RATIO
from tests.unit.report.test_quantities import QUANTITIES

SCHEMA = "github_action_benchmark"
CHECK = "resnet50 test_resnet50.py::test_resnet50[gpu-trt-int8-b8]"


def charts(run: RunRecord) -> dict[str, dict[str, Any]]:
    entries = strictly(github_benchmark(Overview.of([run])))
    return {entry["name"].removeprefix(f"{CHECK}: "): entry for entry in entries}


def test_a_latency_has_its_unit_and_says_between_which_bounds_it_is() -> None:
    measurement = facts.measurement(latencies_ns=[1_000_000 * (1 + n % 100) for n in range(1000)])
    found = charts(facts.run(facts.record(measurement=measurement)))
    p99 = found["latency p99"]
    assert (p99["value"], p99["unit"]) == (99.0, "ms")
    low, high = map(float, p99["range"].split(" to "))
    assert low <= 99 <= high
    assert found["latency p99.9"]["range"].startswith("at least ")


def test_all_is_better_when_it_is_smaller() -> None:
    slow, fast = (charts(facts.run(facts.record(measurement=facts.measurement(wall_s=s)))) for s in (8.0, 4.0))
    assert slow["time per item"]["value"] == 10.0
    assert fast["time per item"]["value"] == 5.0
    assert slow["wrong answers"]["value"] == pytest.approx(100 / 12)
    assert slow["wrong answers"]["unit"] == "%"
    low, high = map(float, slow["time per item"]["range"].split(" to "))
    assert low < 10 < high
    assert set(QUANTITIES) - set(CHARTS) == {METRIC, METRIC_CHANGE, TOP1_CHANGE}, "nobody knows which way is better"


def test_verdict_machine_and_opponent_are_told_beside_the_number() -> None:
    found = charts(facts.run(facts.record(ratio=RATIO, opponent="../main")))
    ratio = found["time relative to the baseline or opponent"]
    assert ratio["extra"] == f"verdict: pass\nmachine: {facts.T4.fingerprint}\nopponent: ../main"
    assert ratio["range"] == "1.1 to 1.4"


def test_the_documented_format_is_kept() -> None:
    text = github_benchmark(Overview.of([whole()]))
    entries = strictly(text)
    assert len({entry["name"] for entry in entries}) == len(entries) > 20
    assert refused_by(SCHEMA, text) == []
    assert refused_by(SCHEMA, '[{"name": "a", "value": 1}]') == ["$[0]: 'unit' is a required property"]
