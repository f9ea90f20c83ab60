"""Write runs for github-action-benchmark, as its tool ``customSmallerIsBetter`` reads them.

The format is that of https://github.com/benchmark-action/github-action-benchmark: a list of numbers, each with a name
and a unit. All have to be better when they are smaller, so that a throughput is told as the time of an item, and a
share of right answers as that of wrong ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel.report import quantities
from pytest_accel.report.check_names import names
from pytest_accel.report.quantities import Figure, Quantity, figures_of

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from pytest_accel.report.overview import Overview


class Chart(NamedTuple):
    """How a quantity is drawn. ``convert`` makes of it what is better when it is smaller."""

    title: str
    unit: str
    convert: Callable[[float], float]


def _itself(number: float) -> float:
    return number


def _milliseconds(seconds: float) -> float:
    return 1e3 * seconds


def _milliseconds_each(per_second: float) -> float:
    return 1e3 / per_second


def _megabytes(size_bytes: float) -> float:
    return size_bytes / 1e6


def _percent_missing(share: float) -> float:
    return 100 * (1 - share)


#: CHARTS are the quantities of which it is known whether less is better, but for changes: those have a sign, and an
#: alert divides.
CHARTS: Mapping[Quantity, Chart] = {
    quantities.LATENCY: Chart("latency", "ms", _milliseconds),
    quantities.THROUGHPUT: Chart("time per item", "ms", _milliseconds_each),
    quantities.HOST_MEMORY: Chart("host memory", "MB", _megabytes),
    quantities.DEVICE_MEMORY: Chart("device memory", "MB", _megabytes),
    quantities.LOAD: Chart("loading", "s", _itself),
    quantities.COMPILE: Chart("compiling", "s", _itself),
    quantities.ARTEFACT_SIZE: Chart("artefact size", "MB", _megabytes),
    quantities.ON_DEVICE: Chart("operators not on the device", "%", _percent_missing),
    quantities.TOP1: Chart("wrong answers", "%", _percent_missing),
    quantities.AGREEMENT: Chart("answers unlike the reference's", "%", _percent_missing),
    quantities.OUTPUT_ERROR: Chart("output error", "normalised L2", _itself),
    quantities.RELATIVE_TIME: Chart("time relative to the baseline or opponent", "times", _itself),
    quantities.TIME_SINCE_ANCHOR: Chart("time relative to the anchor", "times", _itself),
    quantities.PREDICTED_TOP1: Chart("predicted wrong answers", "%", _percent_missing),
    quantities.PREDICTED_AGREEMENT: Chart("predicted answers unlike the reference's", "%", _percent_missing),
}


def github_benchmark(overview: Overview) -> str:
    """Write an entry for each number of each check that has a chart."""
    records = [record for run in overview.runs for record in run.tests]
    entries = [
        _entry(name, figure, record)
        for name, record in zip(names(records), records, strict=True)
        for figure in figures_of(record, overview.confidence)
        if figure.quantity in CHARTS
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def _entry(check: str, figure: Figure, record: TestRecord) -> dict[str, str | float]:
    chart = CHARTS[figure.quantity]
    percentile = "" if figure.percentile is None else f" p{figure.percentile:g}"
    return {
        "name": f"{check}: {chart.title}{percentile}",
        "unit": chart.unit,
        "value": float(f"{chart.convert(figure.value):.12g}"),
        **({"range": _range(figure, chart)} if (figure.lower, figure.upper) != (None, None) else {}),
        "extra": "\n".join(_extra(record)),
    }


def _range(figure: Figure, chart: Chart) -> str:
    """Say between which bounds the number is, or beyond which one."""
    lower, upper = (None if bound is None else chart.convert(bound) for bound in (figure.lower, figure.upper))
    if figure.quantity == quantities.THROUGHPUT:
        lower, upper = upper, lower
    if lower is None:
        return f"at most {upper:.6g}"
    return f"at least {lower:.6g}" if upper is None else f"{lower:.6g} to {upper:.6g}"


def _extra(record: TestRecord) -> Iterator[str]:
    yield f"verdict: {record.kind}"
    yield f"machine: {record.hardware.fingerprint}"
    if record.opponent:
        yield f"opponent: {record.opponent}"
