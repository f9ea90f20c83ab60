"""Models that are more than one image in and one row of scores out, each beside its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.acceptance.checks.precision import checked
from pytest_accel.acceptance.finding import Finding

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject

#: BATCH_SIZES are the batches of the model whose batch is free.
BATCH_SIZES = (1, 3)


def check_example(subject: Subject, name: str) -> Finding:
    """Hold where an example network passes a check."""
    return checked(subject, subject.example(name), name, precision=subject.precisions[0])


def check_dynamic_batch(subject: Subject) -> Finding:
    """Hold where a model with a free batch passes a check in several batches."""
    path = subject.example("two_inputs")
    found = [
        checked(subject, path, "two_inputs", precision=subject.precisions[0], batch_size=size) for size in BATCH_SIZES
    ]
    undecided = [finding for finding in found if finding.outcome != "held"]
    if undecided:
        return undecided[0]
    numbers = {f"p50_of_{size}_ms": finding.numbers["p50_ms"] for size, finding in zip(BATCH_SIZES, found, strict=True)}
    return Finding(f"batches of {' and '.join(map(str, BATCH_SIZES))} pass", numbers)
