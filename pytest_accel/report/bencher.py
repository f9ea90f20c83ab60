"""Write runs in Bencher's Metric Format (BMF), with bounds.

The format is that of https://bencher.dev/docs/reference/bencher-metric-format: a benchmark's measures by their names.
It has no units, so the names have them, but for those measures whose unit Bencher itself knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_accel.report.check_names import names
from pytest_accel.report.quantities import ARTEFACT_SIZE, COMPILE, THROUGHPUT, Figure, Quantity, figures_of

if TYPE_CHECKING:
    from pytest_accel.report.overview import Overview

#: BUILT_IN are the measures that Bencher has itself: operations per second, seconds, and bytes.
BUILT_IN: Mapping[Quantity, str] = {THROUGHPUT: "throughput", COMPILE: "build-time", ARTEFACT_SIZE: "file-size"}


def bencher(overview: Overview) -> str:
    """Write the numbers of each check. One that found out nothing is left out."""
    records = [record for run in overview.runs for record in run.tests]
    benchmarks = {
        name: {_measure(figure): _metric(figure) for figure in figures_of(record, overview.confidence)}
        for name, record in zip(names(records), records, strict=True)
    }
    return json.dumps({name: measures for name, measures in benchmarks.items() if measures}, indent=1) + "\n"


def _measure(figure: Figure) -> str:
    """Name what was measured: a slug of Bencher's."""
    quantity = figure.quantity
    if quantity in BUILT_IN:
        return BUILT_IN[quantity]
    if figure.percentile is not None:
        percentile = f"{figure.percentile:g}".replace(".", "")
        return f"{quantity.name}-p{percentile}-ms"
    return "-".join(filter(None, (quantity.name, quantity.unit))).replace("_", "-")


def _metric(figure: Figure) -> dict[str, float]:
    # Of all that is measured, latencies alone are shorter than what people read in seconds.
    factor = 1e3 if figure.percentile is not None else 1
    numbers = {"value": figure.value, "lower_value": figure.lower, "upper_value": figure.upper}
    return {name: float(f"{factor * number:.12g}") for name, number in numbers.items() if number is not None}
