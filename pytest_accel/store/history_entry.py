"""An entry of the history: what one check of one run has measured, and where that was. It is a line of a file.

Where these files lie, and how histories are joined, is in `history`.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from pytest_accel.facts.fact import Fact, NotNegative, Positive
from pytest_accel.facts.fingerprint import digest_of
from pytest_accel.facts.records import ComparedBaseline, Provenance
from pytest_accel.facts.verdicts import VerdictKind
from pytest_accel.stats import quantile_bound

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Measurement, Ratio, TestRecord

#: SCHEMA is the format of a line.
SCHEMA = 1


class Bounds(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A number with its bounds; one that too few calls were made for is None."""

    estimate: Positive
    lower: Positive | None = None
    upper: Positive | None = None


class Scores(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The accuracy of a check beside that of its reference. What is not known is None, as in `Accuracy`."""

    top1: float | None = None
    reference_top1: float | None = None
    agreement: float | None = None
    metric_name: str = ""
    metric: float | None = None
    reference_metric: float | None = None


class HistoryEntry(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One check of one run.

    ``when`` is the start of the run in UTC, like ``2026-11-23T17:00:00+00:00``. ``ratio`` is to the baseline
    ``beside``, or to ``opponent``; one of its bounds is 1e6, or one part in 1e6, where it is not known.
    ``artefact`` is the key of what was compiled, and ``versions`` a digest of the versions under test.
    """

    schema: int
    when: str
    test: str
    model: str
    variant: str
    fingerprint: str
    verdict: VerdictKind
    confidence: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    p50_ms: Bounds
    p99_ms: Bounds
    throughput: Positive
    artefact: str
    artefact_mb: NotNegative
    compile_s: NotNegative
    versions: str
    provenance: Provenance = Provenance()
    ratio: Bounds | None = None
    beside: ComparedBaseline | None = None
    opponent: str = ""
    accuracy: Scores | None = None
    host_memory_mb: NotNegative | None = None
    device_memory_mb: NotNegative | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what was read and is no moment as we write it."""
        moment = datetime.datetime.fromisoformat(self.when)
        if moment.utcoffset() != datetime.timedelta(0) or moment.isoformat(timespec="seconds") != self.when:
            raise ValueError(f"when is {self.when!r}, and has to be like 2026-11-23T17:00:00+00:00")


def is_kept(record: TestRecord) -> bool:
    """Say whether a check belongs into the history: a model has run, and its times are those of the model.

    What was only compiled has no times. In the process of pytest, or where they are implausible, times say nothing.
    """
    measured = record.measurement is not None and record.artefact is not None
    return measured and record.kind != "not-measured" and not _in_process(record.measurement)


def _in_process(measurement: Measurement | None) -> bool:
    return measurement is not None and measurement.conditions.in_process


def entry_of(record: TestRecord, *, began: str, confidence: float) -> HistoryEntry:
    """Return the entry of a check that `is_kept`, of the run that ``began`` then.

    One that was taken over from an interrupted run has the same entry that that run has made.
    """
    measurement, artefact = record.measurement, record.artefact
    assert measurement is not None
    assert artefact is not None
    return HistoryEntry(
        schema=SCHEMA,
        when=record.resumed or began,
        test=record.test,
        model=record.model,
        variant=record.variant.id,
        fingerprint=record.hardware.fingerprint,
        provenance=record.provenance,
        verdict=record.kind,
        confidence=confidence,
        p50_ms=_latency(measurement, 0.5, confidence),
        p99_ms=_latency(measurement, 0.99, confidence),
        throughput=measurement.throughput,
        ratio=_ratio(record.ratio),
        beside=record.beside,
        opponent=record.opponent,
        accuracy=_scores(record.accuracy),
        artefact=artefact.key,
        artefact_mb=artefact.size_mb,
        compile_s=artefact.compile_s,
        host_memory_mb=measurement.host_memory_mb,
        device_memory_mb=measurement.device_memory_mb,
        versions=digest_of(record.versions),
    )


def _latency(measurement: Measurement, p: float, confidence: float) -> Bounds:
    # A clock that stood still gives latencies of 0, of which there is no ratio and no logarithm.
    bound = quantile_bound([max(latency, 1) / 1e6 for latency in measurement.latencies_ns], p, confidence)
    return Bounds(estimate=bound.estimate, lower=bound.lower, upper=bound.upper)


def _ratio(ratio: Ratio | None) -> Bounds | None:
    return None if ratio is None else Bounds(estimate=ratio.estimate, lower=ratio.lower, upper=ratio.upper)


def _scores(accuracy: Accuracy | None) -> Scores | None:
    if accuracy is None:
        return None
    return Scores(**{name: getattr(accuracy, name) for name in Scores.__struct_fields__})
