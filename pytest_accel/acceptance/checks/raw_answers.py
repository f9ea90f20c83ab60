"""The vendor's own words about the device and an artefact are kept, so that stand-ins can be held to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.acceptance.finding import Finding, NotApplicable
from pytest_accel.inputs.synthetic import synthetic

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject


def check_raw_answers(subject: Subject) -> Finding:
    """Hold where there is something to keep."""
    with subject.alone(), subject.compiled_yardstick().load() as loaded:
        loaded.predict(synthetic(loaded.signature, loaded.candidate.variant.batch_size)[0])
        subject.raw_answers.update(loaded.client.raw_answers())
    if not subject.raw_answers:
        raise NotApplicable("it has no interface of its vendor to ask")
    return Finding(f"kept: {', '.join(sorted(subject.raw_answers))}")
