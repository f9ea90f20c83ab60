"""Every kind of model in one run, one after the other: what one leaves behind in a process may disturb the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.acceptance.checks.precision import checked
from pytest_accel.acceptance.finding import Finding, NotApplicable

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject

#: ORDER is the order of the kinds: those of TensorFlow come first, which takes a GPU's memory where it may.
ORDER = ("saved_model", "keras", "onnx", "torch")
_EXAMPLE = "convolution"


def check_model_kinds(subject: Subject) -> Finding:
    """Hold where one small network passes a check in each kind of model that the accelerator takes."""
    kinds = [kind for kind in ORDER if kind in subject.kinds]
    if len(kinds) < 2:
        raise NotApplicable(f"it takes one kind of model here: {', '.join(kinds) or 'none of the examples'}")
    found = [
        checked(subject, subject.example(_EXAMPLE, kind), f"{_EXAMPLE}_{kind}", precision=subject.precisions[0])
        for kind in kinds
    ]
    undecided = [finding for finding in found if finding.outcome != "held"]
    return undecided[0] if undecided else Finding(f"{', '.join(kinds)} pass, in this order")
