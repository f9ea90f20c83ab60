"""Write the figures of a record for people: score, latency bounds, durations and colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel import stats
from pytest_accel.facts.verdicts import FAILING, NOT_RUN, UNDECIDED

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Measurement, TestRecord


#: SHOWN_PERCENTILES are the percentiles of latency that people are shown.
SHOWN_PERCENTILES = (50, 99)


def colour(record: TestRecord) -> str:
    """Give the colour of a record's verdict, as pytest's terminal writer names it."""
    if record.kind in FAILING:
        return "red"
    return "yellow" if record.kind in UNDECIDED | NOT_RUN else "green"


def machine_of(record: TestRecord) -> str:
    """Name the machine that a check was made on: its fingerprint, and how ssh reaches it where that is another one."""
    return f"{record.hardware.fingerprint} on {record.host}" if record.host else record.hardware.fingerprint


def latency_bounds(measurement: Measurement, confidence: float) -> Iterator[tuple[int, stats.QuantileBound]]:
    """Give the percentiles of latency that people are shown, p50 and p99, with their bounds in milliseconds."""
    return zip(SHOWN_PERCENTILES, percentile_bounds(measurement, confidence, SHOWN_PERCENTILES), strict=True)


def percentile_bounds(
    measurement: Measurement, confidence: float, percentiles: Sequence[float]
) -> Iterator[stats.QuantileBound]:
    """Give the bounds of some percentiles of latency, in milliseconds."""
    # In the order of the calls: the bound is wider where slow calls came in clusters.
    milliseconds = [nanoseconds / 1e6 for nanoseconds in measurement.latencies_ns]
    return (stats.quantile_bound(milliseconds, percentile / 100, confidence) for percentile in percentiles)


class Score(NamedTuple):
    """A score is a measure of accuracy as text. ``unit`` is "%" or empty.

    ``change`` is the difference to the reference's score; for "%" it is in points. ``is_users_metric`` is true for the
    metric that the user has written.
    """

    name: str
    value: str
    unit: str = ""
    change: str = ""
    is_users_metric: bool = False


def score_of(accuracy: Accuracy | None) -> Score | None:
    """Choose the first known measure of accuracy: the user's metric, top-1, agreement or the error."""
    if accuracy is None:
        return None
    if accuracy.metric is not None and accuracy.reference_metric is not None:
        change = accuracy.metric - accuracy.reference_metric
        return Score(accuracy.metric_name, f"{accuracy.metric:.4g}", change=f"{change:+.2g}", is_users_metric=True)
    if accuracy.top1 is not None and accuracy.reference_top1 is not None:
        points = 100 * (accuracy.top1 - accuracy.reference_top1)
        return Score("top-1", f"{100 * accuracy.top1:.2f}", "%", f"{points:+.2f}")
    if accuracy.agreement is not None:
        return Score("agreement", f"{100 * accuracy.agreement:.2f}", "%")
    if accuracy.outputs:
        return Score("error", f"{max(output.normalised_l2 for output in accuracy.outputs):.2g}")
    return None


def duration(seconds: float) -> str:
    """Write a time span as people say it: ``1 h 4 min``, ``3 min 12 s``, ``4.2 s``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
