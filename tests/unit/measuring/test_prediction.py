from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import DatasetError, UnfitInput
from pytest_accel.inputs.calibration import choose
from pytest_accel.inputs.registry import Registry
from pytest_accel.measuring.prediction import Prediction, predict_accuracy
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.reference import Reference
from pytest_accel.testing import FakeAccelerator, fake_model
from pytest_accel.worker.accelerator import Missing, Source
from tests.unit.measuring.ranged import Ranged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.conftest import Workshop


class OnDevice(FakeAccelerator):
    """Leaves the reference to the fake runtime."""

    name = "device"
    references: ClassVar[Mapping[str, str]] = {"fake": "runtime"}


class Runtime(FakeAccelerator):
    name = "runtime"
    references: ClassVar[Mapping[str, str]] = {"fake": "runtime"}


class AbsentRuntime(Runtime):
    def probe(self) -> Missing:
        return Missing("no-sdk", "it is not installed", "install it")


ROWS = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)


def predicted(workshop: Workshop, data: Any, runtime: str = "Runtime", **script: Any) -> Prediction:
    """Predict for a model of the reference's weights, by a file with this script."""
    registry = Registry({"fake": f"{__name__}:OnDevice", "runtime": f"{__name__}:{runtime}"})
    workshop.registry = registry
    workshop.start_again()
    candidate = workshop.compile()
    compiled = fake_model(workshop.folder / "quantised.fake.json", **script)
    return predict_accuracy(candidate, Source("fake", str(compiled)), data, None, input_shapes={})


def test_the_file_that_was_compiled_is_held_against_the_candidates_reference(workshop: Workshop) -> None:
    exact = predicted(workshop, ROWS)
    assert (exact.runtime, exact.why_not) == ("runtime", "")
    assert exact.accuracy is not None
    assert exact.accuracy.outputs[0].normalised_l2 == 0.0
    noisy = predicted(workshop, ROWS, output_noise=0.5)
    assert noisy.accuracy is not None
    assert noisy.accuracy.outputs[0].normalised_l2 > 0.1
    assert noisy.accuracy.samples == 8


@pytest.mark.parametrize(
    ("runtime", "script", "why_not"),
    [
        ("AbsentRuntime", {}, "the reference of fake models runs on runtime, which is not here: it is not installed"),
        ("Runtime", {"failures": {"compile": {"how": "refused", "message": "no FP8 here"}}}, "no FP8 here"),
        ("Runtime", {"failures": {"load": {"how": "refused", "message": "no such kernel"}}}, "no such kernel"),
        ("Runtime", {"failures": {"infer": {"how": "refused", "message": "index 9"}}}, "made-up inputs (index 9"),
    ],
    ids=["absent", "compiles not", "loads not", "takes no made-up inputs"],
)
def test_where_no_runtime_takes_the_file_nothing_is_predicted(
    workshop: Workshop, runtime: str, script: dict[str, Any], why_not: str
) -> None:
    found = predicted(workshop, None, runtime, **script)
    assert (found.accuracy, why_not in found.why_not) == (None, True), found.why_not


def test_data_of_the_test_that_do_not_fit_are_its_own_fault(workshop: Workshop) -> None:
    with pytest.raises(UnfitInput, match="index 9"):
        predicted(workshop, ROWS, failures={"infer": {"how": "refused", "message": "index 9"}})


def test_samples_that_the_model_was_calibrated_with_are_no_evidence_here_either(workshop: Workshop) -> None:
    workshop.registry = Registry({"fake": f"{Ranged.__module__}:{Ranged.__name__}"})
    workshop.start_again()
    model, variant = workshop.model(), workshop.variant(precision="int8")
    signature = Reference(workshop.session, model, variant).signature
    chosen = choose(ROWS[:4], signature, batch_size=1, samples=4, may_overlap=False)
    candidate = compile_candidate(workshop.session, model, variant, chosen)
    compiled = Source("fake", str(fake_model(workshop.folder / "quantised.fake.json")))
    with pytest.raises(DatasetError, match="calibrat"):
        predict_accuracy(candidate, compiled, ROWS, None, input_shapes={})
    accuracy = predict_accuracy(candidate, compiled, ROWS[4:], None, input_shapes={}).accuracy
    assert accuracy is not None
    assert (accuracy.calibration_samples, accuracy.control) == (4, ())
