from __future__ import annotations

import msgspec
import pytest

from pytest_accel.facts.records import Accuracy, ComparedBaseline, Conditions, Provenance, Ratio, TestRecord
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.store.history_entry import Bounds, HistoryEntry, Scores, entry_of, is_kept
from tests.unit import facts

BEGAN = "2026-11-23T17:00:00+00:00"
RATIO = Ratio(estimate=1.05, lower=1.03, upper=1.07, confidence=0.95, launches=4, smallest_caught=0.02)


def measured(**changed: object) -> TestRecord:
    shuffled = [1_000_000 * (1 + n * 37 % 100) for n in range(100)]
    found = facts.measurement(host_memory_mb=900.0, latencies_ns=shuffled)
    return facts.record(**{"measurement": found, **changed})


def of_kind(kind: VerdictKind) -> tuple[Verdict, ...]:
    return (Verdict(kind=kind, question="measurement", summary="A sentence."),)


def test_an_entry_has_what_was_measured_and_where_that_was() -> None:
    provenance = Provenance(commit="0123456789abcdef", dirty=True, branch="main", job="https://ci/7")
    baseline = ComparedBaseline(saved="2026-11-20", artefact_key="k0", commit="fedcba")
    entry = entry_of(measured(ratio=RATIO, beside=baseline, provenance=provenance), began=BEGAN, confidence=0.9)
    assert (entry.when, entry.model, entry.variant) == (BEGAN, "resnet50", "gpu-trt-int8-b8")
    assert entry.test == "test_resnet50.py::test_resnet50[gpu-trt-int8-b8]"
    assert (entry.fingerprint, entry.verdict, entry.confidence) == (facts.T4.fingerprint, "pass", 0.9)
    assert entry.provenance == provenance
    assert (entry.p50_ms.estimate, entry.p99_ms.estimate) == (50, 99)
    assert entry.p50_ms.lower is not None
    assert entry.p50_ms.upper is not None
    assert entry.p50_ms.lower < 50 < entry.p50_ms.upper
    assert entry.p99_ms.upper is None, "100 calls are too few"
    assert entry.throughput == pytest.approx(800 / 5.05)
    assert (entry.ratio, entry.beside) == (Bounds(estimate=1.05, lower=1.03, upper=1.07), baseline)
    assert entry.accuracy == Scores(top1=0.916666666666, agreement=1.0)
    assert (entry.host_memory_mb, entry.device_memory_mb) == (900, 512)
    assert (entry.artefact, entry.artefact_mb, entry.compile_s) == ("k1", 97.8, 60)


def test_the_change_of_accuracy_is_to_be_seen() -> None:
    accuracy = Accuracy(samples=9, dataset_digest="", labelled=True, agreement=None, top1=0.7, reference_top1=0.8)
    entry = entry_of(measured(accuracy=accuracy), began=BEGAN, confidence=0.95)
    assert entry.accuracy == Scores(top1=0.7, reference_top1=0.8)
    assert entry_of(measured(accuracy=None), began=BEGAN, confidence=0.95).accuracy is None


def test_other_versions_have_another_digest() -> None:
    one, same, other = (
        entry_of(measured(versions=versions), began=BEGAN, confidence=0.95).versions
        for versions in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {"a": "1", "b": "3"})
    )
    assert one == same != other


def test_a_check_that_was_taken_over_has_the_entry_of_the_interrupted_run() -> None:
    interrupted = entry_of(measured(), began=BEGAN, confidence=0.95)
    assert entry_of(measured(resumed=BEGAN), began="2026-11-24T08:00:00+00:00", confidence=0.95) == interrupted


@pytest.mark.parametrize("kind", ["pass", "regressed", "sla-breach", "inaccurate", "inconclusive", "no-baseline"])
def test_every_measurement_is_kept_whatever_it_has_shown(kind: VerdictKind) -> None:
    assert is_kept(measured(verdicts=of_kind(kind)))


@pytest.mark.parametrize(
    "record",
    [
        facts.record(measurement=None),
        facts.compiled(),
        measured(verdicts=of_kind("not-measured")),
        measured(measurement=facts.measurement(conditions=Conditions(in_process=True))),
    ],
    ids=["left out", "only compiled", "implausible", "in the process of pytest"],
)
def test_what_was_not_measured_is_not_kept(record: TestRecord) -> None:
    assert not is_kept(record)


def test_a_clock_that_stood_still_can_be_kept() -> None:
    still = measured(measurement=facts.measurement(latencies_ns=[0] * 100))
    assert entry_of(still, began=BEGAN, confidence=0.95).p50_ms.estimate > 0


@pytest.mark.parametrize(
    "when", ["yesterday", "2026-11-23T17:00:00", "2026-11-23T17:00:00+01:00", "2026-11-23/17:00:00+00:00"]
)
def test_a_moment_is_written_in_one_way(when: str) -> None:
    plain = msgspec.to_builtins(entry_of(measured(), began=BEGAN, confidence=0.95))
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**plain, "when": when}, HistoryEntry)
