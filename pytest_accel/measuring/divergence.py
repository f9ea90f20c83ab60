"""Where a compiled model starts to differ: its inner tensors beside those of the same compiler's FP32 model.

What is compiled in FP32 itself is held against the model's reference, where that shows its inner tensors: ONNX Runtime
does, of an ONNX model.

Errors grow from layer to layer, and a compiler may shift one on purpose to correct what comes later. So the tensors of
a model with calibrated ranges are also held against those of a control, which learns its ranges from the very inputs
that are looked at: what the control has to pay too is the price of the precision, and no divergence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.fact import Fact
from pytest_accel.inputs.calibration import choose_from
from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.measuring.output_comparison import errors_of, same_where_not_finite
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_accel.facts.records import Variant
    from pytest_accel.inputs.datasets import Dataset
    from pytest_accel.session.candidate import Candidate, LoadedModel
    from pytest_accel.worker.accelerator import Arrays, Intermediate

#: SAME_IN_FP32 is the normalised L2 distance up to which a tensor in FP32 counts as the same.
SAME_IN_FP32 = 1e-3
#: SAME is the normalised L2 distance up to which a tensor in a coarser precision counts as the same.
SAME = 0.02
#: MAX_RATIO is how many times the control's error a tensor's error may be without counting as a divergence.
MAX_RATIO = 2.0


class Divergence(Fact, frozen=True, kw_only=True):
    """The first tensor that differs, and the operator that gives it.

    ``error`` and ``control_error`` (None without a control) are normalised L2 distances from the model ``beside`` it.
    The tensor is number ``position`` of ``compared``, in the order of computation.
    """

    tensor: str
    operator: str
    kind: str
    error: float
    control_error: float | None
    position: int
    compared: int
    beside: str = "FP32"

    @property
    def sentence(self) -> str:
        """What a reader of a failure is told."""
        control = "" if self.control_error is None else f", with good calibration data {self.control_error:.2g}"
        return (
            f"First divergence: {self.tensor!r}, given by {self.operator!r} ({self.kind}), is {self.error:.2g} away "
            f"from {self.beside} (normalised L2){control}. It is number {self.position} of {self.compared} tensors."
        )


def first_divergence(loaded: LoadedModel, dataset: Dataset) -> Divergence | None:
    """Return the first inner tensor that differs from that of `_exact` for the first batch of data; None if none does.

    Raises `UsageError` where the accelerator cannot show its inner tensors, or where there is nothing to compare.
    """
    candidate = loaded.candidate
    session, model, variant = candidate.session, candidate.model, candidate.variant
    if not session.registry.find(variant.accelerator).shows_intermediates:
        raise UsageError(f"first_divergence: {variant.accelerator} cannot show the tensors inside a model")
    exact = _exact(candidate)
    if dataset.made_up and candidate.calibration is not None:
        raise UsageError(f"first_divergence of {variant.id} needs inputs: made-up ones lie outside of its ranges")
    inputs = next(iter(dataset)).inputs
    expected = {shown.tensor: shown.value for shown in _inside(compile_candidate(session, model, exact), inputs)}
    found = _first(
        _inside(candidate, inputs),
        expected,
        _control_errors(loaded, inputs, expected),
        same=SAME_IN_FP32 if variant.precision == "fp32" else SAME,
    )
    if found is None or exact.accelerator == variant.accelerator:
        return found
    return msgspec.structs.replace(found, beside=f"FP32 on {exact.accelerator}")


def _control_errors(loaded: LoadedModel, inputs: Arrays, expected: Arrays) -> dict[str, float] | None:
    """Return the errors of a control that has learnt its ranges from these very inputs; None without calibration."""
    candidate = loaded.candidate
    if candidate.calibration is None:
        return None
    batch_size = candidate.variant.batch_size
    learnt = choose_from(open_dataset(inputs, loaded.signature, batch_size=batch_size), batch_size=batch_size)
    control = compile_candidate(candidate.session, candidate.model, candidate.variant, learnt)
    return _errors(_inside(control, inputs), expected)


def _exact(candidate: Candidate) -> Variant:
    """Return what a variant is held against: the same compiler's FP32 model, and that itself against the reference."""
    variant = candidate.variant
    if variant.precision != "fp32":
        return msgspec.structs.replace(variant, options={**variant.options, "precision": "fp32"})
    reference = Reference.of(candidate).variant
    name = reference.accelerator
    if name == variant.accelerator:
        raise UsageError(f"first_divergence compares with FP32 on {name}, which {variant.id} is: ask for another one")
    if not candidate.session.registry.find(name).shows_intermediates:
        raise UsageError(
            f"first_divergence compares FP32 with the reference, and {name} cannot show the tensors inside a model: "
            "ask for it of another precision, or of the model as an .onnx file"
        )
    return reference


def describe_divergence(loaded: LoadedModel, dataset: Dataset) -> str:
    """Say where the first divergence is, for a failure; also where that cannot be known."""
    try:
        found = first_divergence(loaded, dataset)
    except UsageError as error:
        return str(error)
    return found.sentence if found else "First divergence: no tensor inside the model differs."


def _inside(candidate: Candidate, inputs: Arrays) -> list[Intermediate]:
    candidate.session.tell(f"looking into {candidate}")
    with candidate.load() as loaded:
        return loaded.intermediates(inputs)


def _first(
    shown: Iterable[Intermediate], expected: Arrays, control: dict[str, float] | None, *, same: float
) -> Divergence | None:
    compared = [tensor for tensor in shown if tensor.tensor in expected]
    if not compared:
        raise UsageError("first_divergence: the model has no tensor whose name FP32's has too: nothing is compared")
    errors = _errors(compared, expected)
    for position, tensor in enumerate(compared, start=1):
        error = errors[tensor.tensor]
        control_error = None if control is None else control.get(tensor.tensor)
        if error <= same or (control_error is not None and error <= MAX_RATIO * control_error):
            continue
        return Divergence(
            tensor=tensor.tensor,
            operator=tensor.operator,
            kind=tensor.kind,
            error=error,
            control_error=control_error,
            position=position,
            compared=len(compared),
        )
    return None


def _errors(shown: Iterable[Intermediate], expected: Arrays) -> dict[str, float]:
    return {
        tensor.tensor: _distance(tensor.value, expected[tensor.tensor]) for tensor in shown if tensor.tensor in expected
    }


def _distance(value: NDArray[Any], expected: NDArray[Any]) -> float:
    """Normalised L2; infinite where the two cannot be compared, and 0 where rounding explains all of it."""
    x, y = value.astype(np.float64), expected.astype(np.float64)
    if x.shape != y.shape or not same_where_not_finite(x, y):
        return float("inf")
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if errors_of("", x, y).is_rounding:
        return 0.0
    size = float(np.linalg.norm(y))
    return float(np.linalg.norm(x - y)) / size if size else float(np.any(x))
