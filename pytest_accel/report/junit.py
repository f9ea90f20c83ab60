"""Give the properties of a JUnit report: one number or word for each fact, so that CI servers can chart them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_accel import stats
from pytest_accel.report.budgets import budgets

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, TestRecord


def properties(record: TestRecord) -> Iterator[tuple[str, str | float | int]]:
    """Give the name and value of every property of one check.

    The values are plain, because pytest-xdist sends nothing else from a worker to its controller.
    """
    yield "accel.model", record.model
    yield "accel.variant", record.variant.id
    yield "accel.verdict", record.kind
    yield "accel.fingerprint", record.hardware.fingerprint
    if record.host:
        yield "accel.host", record.host
    if record.compiled_for:
        yield from _compiled(record)
    if record.measurement is not None:
        milliseconds = sorted(nanoseconds / 1e6 for nanoseconds in record.measurement.latencies_ns)
        for percentile in (50, 99):
            yield f"accel.p{percentile}_ms", round(stats.nearest_rank(milliseconds, percentile / 100), 6)
        yield "accel.throughput_per_s", round(record.measurement.throughput, 6)
    yield from _accuracy("accel", record.accuracy)
    if record.ratio is not None:
        yield "accel.ratio", round(record.ratio.estimate, 6)
        yield "accel.ratio.lower", round(record.ratio.lower, 6)
        yield "accel.ratio.upper", round(record.ratio.upper, 6)
    for budget in budgets(record):
        yield f"accel.limit.{budget.name}", round(budget.limit, 6)
        if budget.measured is not None:
            yield f"accel.measured.{budget.name}", round(budget.measured, 6)


def _compiled(record: TestRecord) -> Iterator[tuple[str, str | float | int]]:
    """Give what is known of a model that was compiled and not run. An accuracy has a name of its own: nobody saw it."""
    yield "accel.compiled_for", record.compiled_for
    if record.artefact is not None:
        yield "accel.compile_s", round(record.artefact.compile_s, 6)
        yield "accel.artefact_mb", round(record.artefact.size_mb, 6)
    yield from _accuracy("accel.predicted", record.prediction)


def _accuracy(prefix: str, accuracy: Accuracy | None) -> Iterator[tuple[str, float]]:
    for name in ("top1", "agreement", "metric") if accuracy is not None else ():
        value = getattr(accuracy, name)
        if value is not None:
            yield f"{prefix}.{name}", round(value, 6)
