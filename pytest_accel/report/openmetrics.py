"""Write runs as OpenMetrics, for Prometheus, GitLab's metrics report and node exporter's textfile collector.

All metrics are gauges without a timestamp. The collector reads the older text format of Prometheus, which has no info
and no state set; to it the lines about units and the end are comments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel.report.check_names import labels
from pytest_accel.report.model_table import outcome_of
from pytest_accel.report.quantities import METRIC, METRIC_CHANGE, RELATIVE_TIME, Figure, Quantity, figures_of

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from pytest_accel.report.overview import Overview

_PREFIX = "pytest_accel"


class _Family(NamedTuple):
    """The metrics of one name."""

    name: str
    unit: str
    meaning: str

    def head(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.meaning}"
        yield f"# TYPE {self.name} gauge"
        if self.unit:
            yield f"# UNIT {self.name} {self.unit}"


PASSED = _Family(f"{_PREFIX}_passed", "", "1 where the check lets its test pass, 0 where it fails it.")
VERDICT = _Family(f"{_PREFIX}_verdict_info", "", "The verdict of a check is a label, the value is 1.")


class _Sample(NamedTuple):
    family: _Family
    labels: Mapping[str, str]
    value: float

    def __str__(self) -> str:
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in self.labels.items())
        return f"{self.family.name}{{{pairs}}} {self.value:.12g}"


def openmetrics(overview: Overview) -> str:
    """Write what the checks of the runs found out, and what became of them. The lines of a metric stand together."""
    families: dict[_Family, list[str]] = {}
    for sample in _samples(overview):
        families.setdefault(sample.family, []).append(str(sample))
    lines = [line for family, samples in families.items() for line in (*family.head(), *samples)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _samples(overview: Overview) -> Iterator[_Sample]:
    records = [(record, run.strict) for run in overview.runs for record in run.tests]
    for (record, strict), of_check in zip(records, labels([record for record, _ in records]), strict=True):
        outcome = outcome_of(record, strict=strict)
        if outcome != "left-out":
            yield _Sample(PASSED, of_check, outcome != "failed")
        yield _Sample(VERDICT, {**of_check, "verdict": record.kind}, 1)
        for figure in figures_of(record, overview.confidence):
            yield from _bounded(figure, {**of_check, **_own_labels(figure, record)})


def _own_labels(figure: Figure, record: TestRecord) -> dict[str, str]:
    """Give the labels that tell what a number is about, beside those of its check."""
    if figure.percentile is not None:
        return {"percentile": f"{figure.percentile:g}"}
    if figure.quantity in (METRIC, METRIC_CHANGE) and record.accuracy is not None:
        return {"metric": record.accuracy.metric_name}
    return {"opponent": record.opponent} if figure.quantity == RELATIVE_TIME and record.opponent else {}


def _bounded(figure: Figure, of_figure: Mapping[str, str]) -> Iterator[_Sample]:
    yield _Sample(_family(figure.quantity), of_figure, figure.value)
    for which, bound in (("lower", figure.lower), ("upper", figure.upper)):
        if bound is not None:
            yield _Sample(_family(figure.quantity, which), of_figure, bound)


def _family(quantity: Quantity, bound: str = "") -> _Family:
    bound_of = f"{bound.capitalize()} bound at the confidence of the run. " if bound else ""
    parts = (_PREFIX, quantity.name, f"{bound}_bound" if bound else "", quantity.unit)
    return _Family("_".join(filter(None, parts)), quantity.unit, bound_of + quantity.meaning)


def _escaped(text: str) -> str:
    # GitLab takes all behind a hash sign for a comment, within quotes too, and then reads no line of the file.
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n").replace("#", "%23")
