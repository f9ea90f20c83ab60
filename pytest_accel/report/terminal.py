"""Write the line in pytest's header, and the summary's line for each variant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_accel.report import columns
from pytest_accel.report.figures import duration, latency_bounds, score_of
from pytest_accel.verdict import times

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Artefact, TestRecord
    from pytest_accel.facts.settings import Settings


def header(settings: Settings) -> str:
    """Give the line for pytest's header, which says what holds for this run."""
    wanted = ", ".join(settings.accelerators) if settings.accelerators else "all"
    parts = [f"accelerators: {wanted}", f"baselines: {settings.shown(settings.baseline_dir)}"]
    parts.append(f"confidence: {100 * settings.confidence:.4g}%")
    if settings.hosts:
        parts.append(f"hosts: {', '.join(f'{name} on {host.ssh}' for name, host in settings.hosts.items())}")
    if settings.strict:
        parts.append("strict")
    if settings.compile_only:
        parts.append("compile only")
    if settings.in_process:
        parts.append("in process")
    if settings.against is not None:
        parts.append(f"against {settings.against.text}")
    if settings.resume:
        parts.append("resuming")
    if settings.compare:
        parts.append(f"compared with {settings.compare}")
    if settings.save:
        parts.append(f"saving baselines ({settings.save})")
    return "accel: " + "; ".join(parts)


def summary(records: Sequence[TestRecord], confidence: float) -> list[str]:
    """Give a line for each variant, in columns: verdict, host, p50 and p99 with bounds, throughput, ratio, accuracy.

    A variant that was not compiled has the reason in place of its figures. One that was compiled and not run has what
    its artefact tells.
    """
    rows = columns.pad([_cells(record, confidence) for record in records])
    return [columns.join([*cells, *_reason(record)]) for record, cells in zip(records, rows, strict=True)]


def _reason(record: TestRecord) -> list[str]:
    """Say why a variant was not compiled. The reason stands in the place of its figures."""
    return [verdict.summary for verdict in record.verdicts[:1]] if record.artefact is None else []


def _cells(record: TestRecord, confidence: float) -> list[str]:
    head = [record.kind, f"{record.model}[{record.variant.id}]", f"on {record.host}" if record.host else ""]
    if record.artefact is None:
        return head
    if record.compiled_for:
        return [*head, *_compiled(record, record.artefact)]
    resumed = "(resumed)" if record.resumed else ""
    ratios = (_ratio(record), _creep(record))
    return [*head, *_latency(record, confidence), *ratios, _accuracy(record.accuracy), resumed]


def _compiled(record: TestRecord, artefact: Artefact) -> Iterator[str]:
    yield f"compiled in {duration(artefact.compile_s)}"
    yield f"{artefact.size_mb:.3g} MB"
    yield f"predicted {_accuracy(record.prediction)}" if record.prediction is not None else ""
    yield "not run"


def _latency(record: TestRecord, confidence: float) -> Iterator[str]:
    if record.measurement is None:
        yield from ("", "", "")
        return
    for percentile, bound in latency_bounds(record.measurement, confidence):
        upper = f" (≤ {bound.upper:.4g})" if bound.upper is not None else ""
        yield f"p{percentile} {bound.estimate:.4g} ms{upper}"
    yield f"{record.measurement.throughput:.4g}/s"


def _ratio(record: TestRecord) -> str:
    if record.ratio is None:
        return ""
    beside = record.beside.name if record.beside is not None else ""
    return f"{times(record.ratio)} of {record.opponent or beside or 'baseline'}"


def _creep(record: TestRecord) -> str:
    if record.creep is None or record.creep.ratio is None:
        return ""
    return f"{times(record.creep.ratio)} since {record.creep.anchor.name}"


def _accuracy(accuracy: Accuracy | None) -> str:
    score = score_of(accuracy)
    if score is None:
        return ""
    change = f" ({score.change}{' points' if score.unit else ''})" if score.change else ""
    return f"{score.name} {score.value}{score.unit}{change}"
