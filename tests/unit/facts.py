"""Complete facts about one made-up check, for tests that change a single one of them."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import msgspec

from pytest_accel.facts.acceptance import Acceptance, CheckResult, Outcome
from pytest_accel.facts.fingerprint import fingerprint_of
from pytest_accel.facts.records import (
    Accuracy,
    Artefact,
    Budgets,
    Duet,
    DuetLaunch,
    Hardware,
    Measurement,
    Phases,
    Placement,
    RunRecord,
    TestRecord,
    Variant,
)
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.store.baseline import Baseline, CompiledBaseline, make_baseline, make_compiled_baseline

TODAY = datetime.date(2026, 11, 23)


def hardware(**identity: Any) -> Hardware:
    """A machine of this kind, with the fingerprint that it has."""
    facts = {"device": "Tesla T4", "cores": 2, "memory_gb": 16, **identity}
    return Hardware(fingerprint=fingerprint_of(facts), identity=facts)


T4 = hardware(instance_type="g4dn.xlarge")
INT8 = Variant(
    accelerator="gpu-trt",
    options={"precision": "int8", "batch_size": 8, "workspace_share": 0.123456789},
    named=("precision", "batch_size"),
)


def measurement(**changed: Any) -> Measurement:
    facts: dict[str, Any] = {
        "load_shape": "single_stream",
        "latencies_ns": [1_000_000 * n for n in range(1, 101)],
        "items_per_call": 8,
        "wall_s": 5.05,
        "phases": Phases(
            compile_s=60.0,
            compile_cached=False,
            load_s=1.5,
            first_inference_ms=40.0,
            warm_up_calls=20,
            warm_up_s=2.0,
            steady=True,
        ),
        "lag1_autocorrelation": 0.123456789,
        "device_memory_mb": 512.0,
    }
    return Measurement(**{**facts, **changed})


def duet(pacemaker: str = "yardstick", digest: str = "y1") -> Duet:
    launch = DuetLaunch(
        candidate_p50_ms=50.123456789, pacemaker_p50_ms=10.0, log_pace=1.6118, pairs=30, started_first="pacemaker"
    )
    return Duet(pacemaker=pacemaker, pacemaker_digest=digest, launches=(launch,))


def record(**changed: Any) -> TestRecord:
    facts: dict[str, Any] = {
        "test": "test_resnet50.py::test_resnet50[gpu-trt-int8-b8]",
        "model": "resnet50",
        "variant": INT8,
        "budgets": Budgets(p99_ms=7),
        "hardware": T4,
        "versions": {"tensorrt": "10.9.0", "driver": "570.1"},
        "verdicts": (Verdict(kind="pass", question="sla", summary="p99 holds"),),
        "artefact": Artefact(key="k1", size_mb=97.8, model_digest="d1", compile_s=60.0),
        "placement": Placement(
            on_device=0.98,
            precisions={"int8": 2, "float32": 1},
            operators={"a": "gpu:int8", "b": "gpu:int8", "c": "cpu:float32"},
        ),
        "accuracy": Accuracy(
            samples=12,
            dataset_digest="s1",
            labelled=True,
            agreement=1.0,
            top1=0.916666666666,
            right=base64.b64encode(bytes([0b11111111, 0b11100000])).decode(),
        ),
    }
    return TestRecord(**{**facts, **changed})


def compiled(**changed: Any) -> TestRecord:
    """A check of a run that only compiles."""
    facts: dict[str, Any] = {
        "verdicts": (Verdict(kind="compiled", question="measurement", summary="Nothing was run."),),
        "accuracy": None,
        "compiled_for": "sm75",
        "prediction": record().accuracy,
    }
    return record(**{**facts, **changed})


def compiled_baseline(*, today: datetime.date = TODAY, **changed: Any) -> CompiledBaseline:
    return make_compiled_baseline(compiled(**changed), today=today)


def run(*tests: TestRecord, **changed: Any) -> RunRecord:
    facts: dict[str, Any] = {
        "schema": 1,
        "version": "1.2.3",
        "started": "2026-11-23T17:00:00+00:00",
        "duration_s": 252.5,
        "tests": tests,
        "absent": {},
    }
    return RunRecord(**{**facts, **changed})


def baseline(*, duets: tuple[Duet, ...] = (duet(),), today: datetime.date = TODAY, **changed: Any) -> Baseline:
    return make_baseline(record(**changed), [measurement()], duets, today=today)


def acceptance(*outcomes: Outcome, **changes: Any) -> Acceptance:
    """An acceptance on a T4 with checks that ended like this."""
    results = tuple(
        CheckResult(check=f"check-{nth}", outcome=outcome, reason="", seconds=1.0)
        for nth, outcome in enumerate(outcomes)
    )
    made = Acceptance(
        accelerator="gpu-trt",
        date="2026-11-29",
        checks=len(results),
        results=results,
        hardware=T4,
        versions={"numpy": "2.3", "tensorrt": "10.9.0"},
    )
    return msgspec.structs.replace(made, **changes)
