"""What a person reads in the terminal: the header, a line for each variant, and the notes below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_accel.report.figures import latency_bounds, score_of
from pytest_accel.verdict import interval

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from pytest_accel.facts.settings import Settings


#: Columns of the summary that every line has: verdict and name.
NAMED = 2


def header(settings: Settings) -> str:
    """One line for pytest's header."""
    wanted = ", ".join(settings.accelerators) if settings.accelerators else "all"
    parts = [f"accelerators: {wanted}", f"baselines: {_relative(settings)}"]
    parts.append(f"confidence: {100 * settings.confidence:.4g}%")
    parts += [word for word, said in (("strict", settings.strict), ("in process", settings.in_process)) if said]
    if settings.against is not None:
        parts.append(f"against {settings.against.text}")
    if settings.resume:
        parts.append("resuming")
    if settings.save:
        parts.append(f"saving baselines ({settings.save})")
    return "accel: " + "; ".join(parts)


def _relative(settings: Settings) -> str:
    try:
        return f"{settings.baseline_dir.relative_to(settings.rootdir)}"
    except ValueError:
        return str(settings.baseline_dir)


def summary(records: Sequence[TestRecord], confidence: float) -> list[str]:
    """A line for each variant, in columns: verdict, p50 and p99 with bounds, throughput, ratio, accuracy.

    One that was never compiled has the reason in place of all these.
    """
    rows = [_cells(record, confidence) for record in records]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for record, row in zip(records, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width]
        if record.artefact is None:
            cells[NAMED:] = [verdict.summary for verdict in record.verdicts[:1]]
        lines.append("  ".join(cells).rstrip())
    return lines


def _cells(record: TestRecord, confidence: float) -> list[str]:
    name = f"{record.model}[{record.variant.id}]"
    resumed = "(resumed)" if record.resumed else ""
    return [record.kind, name, *_latency(record, confidence), _ratio(record), _accuracy(record), resumed]


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
    return f"×{record.ratio.estimate:.3f} {interval(record.ratio)} of {record.opponent or 'baseline'}"


def _accuracy(record: TestRecord) -> str:
    score = score_of(record.accuracy)
    if score is None:
        return ""
    change = f" ({score.change}{' points' if score.unit else ''})" if score.change else ""
    return f"{score.name} {score.value}{score.unit}{change}"
