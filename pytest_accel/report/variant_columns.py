"""Put the figures of variants in columns, for the table of a sweep and for the pages of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_accel.report.figures import latency_bounds, score_of
from pytest_accel.verdict import times

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord

#: SIGNIFICANT_DIGITS is the number of digits that the smallest number of a column shows.
SIGNIFICANT_DIGITS = 3
#: MOST_DECIMALS is the highest number of digits behind the decimal point.
MOST_DECIMALS = 4
#: COLUMNS are the names of the columns in their order.
COLUMNS = (
    "p50 ms",
    "p50 ≤",
    "p99 ms",
    "p99 ≤",
    "items/s",
    "metric",
    "top-1 %",
    "agreement %",
    "error",
    "change",
    "predicted",
    "ratio",
    "creep",
    "compile s",
    "size MB",
    "host MB",
    "device MB",
    "resumed",
    "run",
)

Cell = float | str


def variant_columns(records: Sequence[TestRecord], confidence: float) -> dict[str, list[str]]:
    """Give the figures of each record as text, by column, without the columns that no record fills."""
    rows = [_row(record, confidence) for record in records]
    columns = {name: _texts([row.get(name, "") for row in rows]) for name in COLUMNS}
    return {name: texts for name, texts in columns.items() if any(texts)}


def _row(record: TestRecord, confidence: float) -> dict[str, Cell]:
    """Give the figures of a variant that are known, by column."""
    measurement = record.measurement
    if measurement is None:
        return _artefact(record) | _prediction(record) | {"run": "not run"} if record.compiled_for else {}
    row: dict[str, Cell] = {"items/s": measurement.throughput, "resumed": "resumed" if record.resumed else ""}
    for percentile, bound in latency_bounds(measurement, confidence):
        row[f"p{percentile} ms"] = bound.estimate
        row[f"p{percentile} ≤"] = "" if bound.upper is None else bound.upper
    for where, memory_mb in (("host", measurement.host_memory_mb), ("device", measurement.device_memory_mb)):
        row[f"{where} MB"] = "" if memory_mb is None else memory_mb
    for column, compared in (("ratio", record), ("creep", record.creep)):
        if compared is not None and compared.ratio is not None:
            row[column] = times(compared.ratio)
    return row | _artefact(record) | _accuracy(record)


def _artefact(record: TestRecord) -> dict[str, Cell]:
    artefact = record.artefact
    return {} if artefact is None else {"compile s": artefact.compile_s, "size MB": artefact.size_mb}


def _prediction(record: TestRecord) -> dict[str, Cell]:
    """Give the accuracy that another runtime computed; it stands apart from those of devices."""
    score = score_of(record.prediction)
    if score is None:
        return {}
    change = f" ({score.change})" if score.change else ""
    return {"predicted": f"{score.name} {score.value}{score.unit}{change}"}


def _accuracy(record: TestRecord) -> dict[str, Cell]:
    """Give the measure of accuracy and its change from the reference's."""
    score = score_of(record.accuracy)
    if score is None:
        return {}
    column = "metric" if score.is_users_metric else f"{score.name} {score.unit}".rstrip()
    return {column: score.value, "change": score.change}


def _texts(cells: Sequence[Cell]) -> list[str]:
    """Write the cells of a column. All numbers have the same decimals, enough for the smallest one."""
    numbers = [abs(cell) for cell in cells if isinstance(cell, float) and cell and math.isfinite(cell)]
    decimals = SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(min(numbers))) if numbers else 0
    decimals = max(0, min(MOST_DECIMALS, decimals))
    return [f"{cell:,.{decimals}f}" if isinstance(cell, float) else cell for cell in cells]
