from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Signature, TensorSpec
from pytest_accel.inputs.calibration import choose
from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.inputs.registry import Registry
from pytest_accel.inputs.variants import expand_marker
from pytest_accel.measuring import divergence as divergences
from pytest_accel.measuring.divergence import Divergence, first_divergence
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.reference import Reference
from pytest_accel.testing import FAKE
from pytest_accel.worker.accelerator import Intermediate
from tests.unit.measuring.ranged import Ranged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_accel.inputs.datasets import Dataset
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.worker.accelerator import Arrays, Tensor
    from tests.unit.conftest import Workshop

FOUR_AT_ONCE = TensorSpec(name="x", dtype="float32", shape=(4, 4))
INPUTS = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")


class Glass(Ranged):
    """Has three tensors. In FP16 the last is NaN; in INT8 the second is off, and the last cut to the range learnt."""

    shows_intermediates: ClassVar[bool] = True

    def load(self, artefact: str, options: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        self._precision = options["precision"]
        return super().load(artefact, options)

    def intermediates(self, inputs: Arrays) -> list[Intermediate]:
        x = inputs["x"]
        shifted = x * np.float32(1.1 if self._precision == "int8" else 1.0)
        last = np.clip(x, -self.largest, self.largest) if self._precision != "fp16" else x * np.float32("nan")
        own = [Intermediate("only here", "cast", "Cast", x)] if self._precision == "int8" else []
        return [
            *own,
            Intermediate("x", "x", "input", x),
            Intermediate("shifted", "bias", "Add", shifted),
            Intermediate("cut", "relu", "Relu", last),
        ]


class Crooked(Glass):
    """Has a wrong kernel: its second tensor is off by so little that it would not count in another precision."""

    name = "crooked"
    references: ClassVar[Mapping[str, str]] = {"fake": "fake"}

    def intermediates(self, inputs: Arrays) -> list[Intermediate]:
        x, shifted, cut = super().intermediates(inputs)
        return [x, dataclasses.replace(shifted, value=shifted.value * np.float32(1.005)), cut]


@pytest.fixture
def glass(workshop: Workshop) -> Workshop:
    workshop.registry = Registry({"fake": f"{__name__}:{Glass.__name__}"})
    workshop.start_again()
    return workshop


def diverging(candidate: Candidate, signature: Signature, dataset: Dataset) -> Divergence | None:
    with candidate.load() as loaded:
        loaded.signature = signature
        return first_divergence(loaded, dataset)


def found(
    workshop: Workshop, precision: str, data: Any = INPUTS, calibration: NDArray[np.float32] | None = None
) -> Divergence | None:
    model, variant = workshop.model(), workshop.variant(precision=precision, batch_size=4)
    dynamic = Reference(workshop.session, model, variant).signature
    chosen = None if calibration is None else choose(calibration, dynamic, batch_size=4)
    candidate = compile_candidate(workshop.session, model, variant, chosen)
    fixed = Signature(inputs=(FOUR_AT_ONCE,), outputs=dynamic.outputs)
    dataset = open_dataset(data, fixed, batch_size=4)
    return diverging(candidate, fixed, dataset)


def test_what_a_well_calibrated_model_has_to_pay_too_is_no_divergence(glass: Workshop) -> None:
    assert found(glass, "int8", calibration=-INPUTS) is None


def test_the_first_tensor_that_differs_is_told_with_its_operator(glass: Workshop) -> None:
    divergence = found(glass, "int8", calibration=INPUTS * np.float32(0.1))
    assert divergence is not None
    assert (divergence.tensor, divergence.operator, divergence.kind) == ("cut", "relu", "Relu")
    assert (divergence.position, divergence.compared) == (3, 3), "a tensor that FP32 does not have is not compared"
    assert divergence.control_error == 0.0
    assert divergence.error > 0.5


def test_it_is_told_in_a_sentence() -> None:
    divergence = Divergence(
        tensor="cut", operator="relu", kind="Relu", error=0.123, control_error=0.004, position=3, compared=9
    )
    assert divergence.sentence == (
        "First divergence: 'cut', given by 'relu' (Relu), is 0.12 away from FP32 (normalised L2), "
        "with good calibration data 0.004. It is number 3 of 9 tensors."
    )


def test_without_calibration_a_fixed_limit_and_made_up_inputs_will_do(glass: Workshop) -> None:
    divergence = found(glass, "fp16", None)
    assert divergence is not None
    assert (divergence.tensor, divergence.error, divergence.control_error) == ("cut", float("inf"), None)


def fp32_on_crooked(workshop: Workshop, reference: str) -> Divergence | None:
    """Where the crooked accelerator differs in FP32 from another that is called fake."""
    workshop.registry = Registry({"fake": reference, "crooked": f"{__name__}:{Crooked.__name__}"})
    workshop.start_again()
    (plan,) = expand_marker(("crooked",), {"batch_size": 4}, workshop.registry)
    candidate = compile_candidate(workshop.session, workshop.model(), plan.variant)
    signature = Signature(inputs=(FOUR_AT_ONCE,), outputs=())
    dataset = open_dataset(INPUTS, signature, batch_size=4)
    return diverging(candidate, signature, dataset)


def test_fp32_itself_is_held_against_the_reference(workshop: Workshop) -> None:
    divergence = fp32_on_crooked(workshop, f"{__name__}:{Glass.__name__}")
    assert divergence is not None
    assert (divergence.tensor, divergence.operator, divergence.beside) == ("shifted", "bias", "FP32 on fake")
    assert divergence.error == pytest.approx(0.005, rel=0.01)
    assert "is 0.005 away from FP32 on fake (normalised L2)." in divergence.sentence


class Renaming(Glass):
    """Another compiler, which calls everything differently."""

    def intermediates(self, inputs: Arrays) -> list[Intermediate]:
        return [dataclasses.replace(each, tensor=f"{each.tensor}-anew") for each in super().intermediates(inputs)]


def test_two_models_without_a_tensor_in_common_are_not_the_same(workshop: Workshop) -> None:
    with pytest.raises(UsageError, match="the model has no tensor whose name FP32's has too: nothing is compared"):
        fp32_on_crooked(workshop, f"{__name__}:{Renaming.__name__}")


def test_a_reference_that_shows_nothing_is_named(workshop: Workshop) -> None:
    with pytest.raises(UsageError, match=r"fake cannot show .*: ask for it of another precision, or .* an \.onnx file"):
        fp32_on_crooked(workshop, FAKE)


def test_only_the_first_batch_is_run(glass: Workshop) -> None:
    later = np.concatenate([INPUTS[:4], INPUTS[:4] * np.float32(100)])
    assert found(glass, "int8", later, calibration=INPUTS[:4]) is None


@pytest.mark.parametrize(
    ("precision", "data", "message"),
    [
        ("fp32", INPUTS, "compares with FP32 on fake, which fake-fp32-b4 is"),
        ("int8", None, "needs inputs: made-up ones"),
    ],
)
def test_what_cannot_be_compared_is_said(glass: Workshop, precision: str, data: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        found(glass, precision, data, calibration=INPUTS if precision == "int8" else None)


def test_an_accelerator_that_shows_nothing_is_named(workshop: Workshop) -> None:
    with pytest.raises(UsageError, match="fake cannot show the tensors inside a model"):
        found(workshop, "int8")


@pytest.mark.parametrize(
    ("value", "expected", "distance"),
    [
        ([1.0, np.nan, -np.inf], [1.0, np.nan, -np.inf], 0.0),
        ([1.0, np.nan], [1.0, 2.0], np.inf),
        ([1.0, np.inf], [1.0, -np.inf], np.inf),
        ([2.0**-25, 2.0**-24], [2.0**-25, 2.0**-25], 0.0),
        ([1.0, 2.0], [1.0, 1.0], np.sqrt(0.5)),
    ],
    ids=["masks", "broken", "another infinity", "rounding", "an error"],
)
def test_tensors_are_compared_as_outputs_are(value: list[float], expected: list[float], distance: float) -> None:
    assert divergences._distance(np.array(value, np.float32), np.array(expected, np.float32)) == pytest.approx(distance)
