"""List the numbers that a check found out, for files that other programs read.

All are in base units: seconds, bytes, shares of one. What such a file calls them is told by its own module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_accel.report.figures import percentile_bounds
from pytest_accel.verdict import throughput_bounds

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Measurement, TestRecord

#: PERCENTILES are those of latency that other programs get: every one that can have a limit.
PERCENTILES = (50, 90, 95, 99, 99.9)
#: BYTES_OF_MEMORY_MB are the bytes in a megabyte of memory, and BYTES_OF_FILE_MB those in one of a file.
BYTES_OF_MEMORY_MB, BYTES_OF_FILE_MB = 2**20, 10**6
#: LARGEST is beyond all that can be measured, and no unit of a file makes an infinite number of less.
LARGEST = 1e300


class Quantity(NamedTuple):
    """What a number is about. ``unit`` is empty where nobody knows it, as that of a user's metric."""

    name: str
    unit: Literal["seconds", "bytes", "ratio", "items_per_second", ""]
    meaning: str


class Figure(NamedTuple):
    """A number that a check found out, with its bounds where it has some. Latencies have a percentile."""

    quantity: Quantity
    value: float
    lower: float | None = None
    upper: float | None = None
    percentile: float | None = None

    @property
    def can_be_written(self) -> bool:
        """Whether the number and its bounds are ones that JSON has, in every unit."""
        numbers = (abs(number) for number in (self.value, self.lower, self.upper) if number)
        return all(1 / LARGEST < number < LARGEST for number in numbers)


LATENCY = Quantity("latency", "seconds", "Time of a call: this percentage of the calls took no longer.")
THROUGHPUT = Quantity("throughput", "items_per_second", "Items over the time of the whole measurement.")
HOST_MEMORY = Quantity("host_memory", "bytes", "Peak memory of the process that ran the model.")
DEVICE_MEMORY = Quantity("device_memory", "bytes", "Peak memory that the model held on the device.")
LOAD = Quantity("load", "seconds", "Time that loading the compiled model took.")
COMPILE = Quantity("compile", "seconds", "Time that compiling took, in this run or in an earlier one.")
ARTEFACT_SIZE = Quantity("artefact_size", "bytes", "Size of the compiled model.")
ON_DEVICE = Quantity("on_device", "ratio", "Share of the operators that run on the accelerator.")
TOP1 = Quantity("top1_accuracy", "ratio", "Share of the samples that were answered right.")
TOP1_CHANGE = Quantity(
    "top1_accuracy_change", "ratio", "Top-1 accuracy less that of the reference. The bounds are for unseen data."
)
AGREEMENT = Quantity("agreement", "ratio", "Share of the answers that are those of the reference.")
METRIC = Quantity("metric", "", "The metric of the user.")
METRIC_CHANGE = Quantity("metric_change", "", "The metric of the user less that of the reference.")
OUTPUT_ERROR = Quantity("output_error", "ratio", "Normalised L2 distance from the reference, of the worst output.")
RELATIVE_TIME = Quantity("relative_time", "ratio", "Time of a call over that of the baseline, or of the opponent.")
TIME_SINCE_ANCHOR = Quantity("time_since_anchor", "ratio", "Time of a call over that of the anchor.")
PREDICTED_TOP1 = Quantity("predicted_top1_accuracy", "ratio", "Top-1 accuracy that another runtime computed.")
PREDICTED_AGREEMENT = Quantity("predicted_agreement", "ratio", "Agreement that another runtime computed.")


def figures_of(record: TestRecord, confidence: float) -> Iterator[Figure]:
    """Give every number that a check found out. Bounds are at ``confidence``, each on its own."""
    return (figure for figure in _figures(record, confidence) if figure.can_be_written)


def _figures(record: TestRecord, confidence: float) -> Iterator[Figure]:
    if record.measurement is not None:
        yield from _speed(record.measurement, confidence)
        yield from _resources(record.measurement)
    if record.artefact is not None:
        yield Figure(COMPILE, record.artefact.compile_s)
        yield Figure(ARTEFACT_SIZE, record.artefact.size_mb * BYTES_OF_FILE_MB)
    if record.placement is not None and record.placement.on_device is not None:
        yield Figure(ON_DEVICE, record.placement.on_device)
    if record.accuracy is not None:
        yield from _accuracy(record.accuracy)
    if record.prediction is not None:
        yield from _answers(record.prediction, PREDICTED_TOP1, PREDICTED_AGREEMENT)
    if record.ratio is not None:
        yield Figure(RELATIVE_TIME, record.ratio.estimate, record.ratio.lower, record.ratio.upper)
    if record.creep is not None and (ratio := record.creep.ratio) is not None:
        yield Figure(TIME_SINCE_ANCHOR, ratio.estimate, ratio.lower, ratio.upper)


def _speed(measurement: Measurement, confidence: float) -> Iterator[Figure]:
    bounds = percentile_bounds(measurement, confidence, PERCENTILES)
    for percentile, bound in zip(PERCENTILES, bounds, strict=True):
        yield Figure(LATENCY, bound.estimate / 1e3, _seconds(bound.lower), _seconds(bound.upper), percentile)
    yield Figure(THROUGHPUT, measurement.throughput, *throughput_bounds(measurement, confidence))


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _resources(measurement: Measurement) -> Iterator[Figure]:
    for quantity, memory_mb in (
        (HOST_MEMORY, measurement.host_memory_mb),
        (DEVICE_MEMORY, measurement.device_memory_mb),
    ):
        if memory_mb is not None:
            yield Figure(quantity, memory_mb * BYTES_OF_MEMORY_MB)
    yield Figure(LOAD, measurement.phases.load_s)


def _accuracy(accuracy: Accuracy) -> Iterator[Figure]:
    yield from _answers(accuracy, TOP1, AGREEMENT)
    if accuracy.top1 is not None and accuracy.reference_top1 is not None:
        least, most = accuracy.drop_interval or (None, None)
        bounds = (None if drop is None else -drop for drop in (most, least))
        yield Figure(TOP1_CHANGE, accuracy.top1 - accuracy.reference_top1, *bounds)
    if accuracy.metric is not None:
        yield Figure(METRIC, accuracy.metric)
    if accuracy.metric is not None and accuracy.reference_metric is not None:
        yield Figure(METRIC_CHANGE, accuracy.metric - accuracy.reference_metric)
    if accuracy.outputs:
        yield Figure(OUTPUT_ERROR, max(errors.normalised_l2 for errors in accuracy.outputs))


def _answers(accuracy: Accuracy, top1: Quantity, agreement: Quantity) -> Iterator[Figure]:
    if accuracy.top1 is not None:
        yield Figure(top1, accuracy.top1)
    if accuracy.agreement is not None:
        yield Figure(agreement, accuracy.agreement)
