"""Describe one check in sentences: each verdict, and the measurement and limits that they all depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.report.figures import duration
from pytest_accel.verdict import disturbances

if TYPE_CHECKING:
    from pytest_accel.facts.records import Budgets, Measurement, TestRecord


def answers(record: TestRecord) -> Iterator[str]:
    """Give each verdict with its question and details, then the measurement, the budgets and the changes."""
    for verdict in record.verdicts:
        yield " ".join((f"{verdict.kind} ({verdict.question}): {verdict.summary}", *verdict.details))
    if record.measurement is not None:
        yield from _measurement(record.measurement)
    yield from _budgets(record.budgets)
    if record.changes:
        yield f"Changed from {record.opponent or 'the baseline'}: {'; '.join(record.changes)}."


def _measurement(measurement: Measurement) -> Iterator[str]:
    phases = measurement.phases
    compiled = "from the cache, compiled in" if phases.compile_cached else "compiled in"
    yield (
        f"{measurement.load_shape}, {len(measurement.latencies_ns)} calls; {compiled} "
        f"{duration(phases.compile_s)}, loaded in {duration(phases.load_s)}, first inference "
        f"{phases.first_inference_ms:.4g} ms, {phases.warm_up_calls} calls to warm up."
    )
    if disturbed := disturbances(measurement):
        yield f"Disturbed: {'; '.join(disturbed)}."


def _budgets(budgets: Budgets) -> Iterator[str]:
    limits = {name: limit for name, limit in msgspec.structs.asdict(budgets).items() if limit is not None}
    if limits:
        yield f"Budgets: {', '.join(f'{name}={limit:g}' for name, limit in limits.items())}."
