"""Give the properties of a JUnit report: one number or word for each fact, so that CI servers can chart them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_accel import stats

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord


def properties(record: TestRecord) -> Iterator[tuple[str, str | float | int]]:
    """Give the name and value of every property of one check.

    The values are plain, because pytest-xdist sends nothing else from a worker to its controller.
    """
    yield "accel.model", record.model
    yield "accel.variant", record.variant.id
    yield "accel.verdict", record.kind
    yield "accel.fingerprint", record.hardware.fingerprint
    if record.measurement is not None:
        milliseconds = sorted(nanoseconds / 1e6 for nanoseconds in record.measurement.latencies_ns)
        for percentile in (50, 99):
            yield f"accel.p{percentile}_ms", round(stats.nearest_rank(milliseconds, percentile / 100), 6)
        yield "accel.throughput_per_s", round(record.measurement.throughput, 6)
    if record.accuracy is not None:
        for name in ("top1", "agreement", "metric"):
            value = getattr(record.accuracy, name)
            if value is not None:
                yield f"accel.{name}", round(value, 6)
    if record.ratio is not None:
        yield "accel.ratio", round(record.ratio.estimate, 6)
