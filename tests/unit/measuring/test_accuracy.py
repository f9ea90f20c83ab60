from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from pytest_accel.facts.errors import DatasetError
from pytest_accel.inputs.calibration import choose
from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.inputs.registry import Registry
from pytest_accel.measuring.accuracy import evaluate
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.reference import Reference
from pytest_accel.testing import FAKE, FakeAccelerator
from tests.unit.measuring.ranged import Ranged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_accel.facts.records import Accuracy
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.worker.accelerator import Arrays, Tensor
    from tests.unit.conftest import Workshop

INPUTS = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")
LABELS = INPUTS[:, :3].argmax(axis=1)
ROUGH_INT8: dict[str, Any] = {"identity": True, "by_precision": {"int8": {"output_noise": 2.0}}}


def evaluated(candidate: Candidate, data: Any = (INPUTS, LABELS)) -> Accuracy:
    with candidate.load() as loaded:
        dataset = open_dataset(data, loaded.signature, batch_size=candidate.variant.batch_size)
        return evaluate(loaded, dataset, None)


def test_every_sample_is_compared_once_and_padding_never(workshop: Workshop) -> None:
    accuracy = evaluated(workshop.compile(workshop.model(identity=True), batch_size=2))
    assert (accuracy.samples, accuracy.top1, accuracy.agreement) == (5, 1.0, 1.0)


def test_the_reference_keeps_its_own_precision(workshop: Workshop) -> None:
    accuracy = evaluated(workshop.compile(workshop.model(**ROUGH_INT8), precision="int8"))
    assert accuracy.reference_top1 == 1.0
    assert accuracy.top1 is not None
    assert accuracy.top1 < 1.0
    assert accuracy.flips_lost == round(5 * (1 - accuracy.top1))


def test_progress_is_told_in_samples(workshop: Workshop) -> None:
    evaluated(workshop.compile(batch_size=2))
    assert workshop.told[-1] == "checking the accuracy of model on fake-b2: 5 of 5 samples"


class Remembering(FakeAccelerator):
    """Counts its calls, and gives away how many there were."""

    calls = 0

    def infer(self, staged: Any) -> Arrays:
        self.calls += 1
        return {name: output + np.float32(self.calls) for name, output in super().infer(staged).items()}


def test_a_model_whose_answers_depend_on_earlier_calls_is_told(workshop: Workshop) -> None:
    workshop.registry = Registry({"fake": f"{__name__}:{Remembering.__name__}"})
    workshop.start_again()
    accuracy = evaluated(workshop.compile())
    assert "not deterministic" in accuracy.unrepeatable
    assert (accuracy.varying, accuracy.agreement, accuracy.top1) == (("y",), None, None)
    assert accuracy.outputs, "the figures are there"


class Averaged(FakeAccelerator):
    """Gives the mean over the batch too, which is off by one in INT8 at the last sample."""

    off = 0.0

    def load(self, artefact: str, options: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        self.off = float(options["precision"] == "int8")
        return super().load(artefact, options)

    def infer(self, staged: Any) -> Arrays:
        off = self.off * np.array_equal(staged["x"][0], INPUTS[-1])
        return {**super().infer(staged), "mean": np.asarray(staged["x"].mean() + off, np.float32)}


@pytest.mark.parametrize("batch_size", [1, 2])
def test_an_output_of_the_whole_call_is_compared_in_every_call(workshop: Workshop, batch_size: int) -> None:
    workshop.registry = Registry({"fake": f"{__name__}:{Averaged.__name__}"})
    workshop.start_again()
    for precision, off in (("fp32", 0.0), ("int8", 1.0)):
        accuracy = evaluated(workshop.compile(precision=precision, batch_size=batch_size))
        assert accuracy.by_call == ("mean",)
        assert {errors.name: errors.max_abs for errors in accuracy.outputs} == {"y": 0.0, "mean": pytest.approx(off)}


def test_data_that_grow_after_the_reference_are_told(workshop: Workshop) -> None:
    batches = [INPUTS]
    candidate = workshop.compile()
    dataset = open_dataset(lambda: iter(batches), Reference.of(candidate).signature, batch_size=1)
    Reference.of(candidate).outputs(dataset)
    batches.append(INPUTS)
    with candidate.load() as loaded, pytest.raises(DatasetError, match="the dataset changed from one pass to the next"):
        evaluate(loaded, dataset, None)


class Calibrated(Ranged):
    """Cuts off what lies outside the range learnt."""

    def infer(self, staged: Any) -> Arrays:
        return super().infer({name: np.clip(array, -self.largest, self.largest) for name, array in staged.items()})


SLIGHTLY_OFF_INT8: dict[str, Any] = {"identity": True, "by_precision": {"int8": {"output_noise": 0.01}}}


def calibrated_with(workshop: Workshop, inputs: NDArray[np.float32]) -> Candidate:
    workshop.registry = Registry({"fake": f"{__name__}:{Calibrated.__name__}"})
    workshop.start_again()
    model, variant = workshop.model(**SLIGHTLY_OFF_INT8), workshop.variant(precision="int8")
    calibration = choose(inputs, Reference(workshop.session, model, variant).signature, batch_size=1)
    return compile_candidate(workshop.session, model, variant, calibration)


def test_good_calibration_data_err_like_the_evaluation_data_themselves(workshop: Workshop) -> None:
    accuracy = evaluated(calibrated_with(workshop, -INPUTS))
    assert accuracy.calibration_samples == 5
    assert accuracy.error_ratio == pytest.approx(1.0)


def test_a_range_that_is_too_small_errs_many_times_more_although_no_answer_changes(workshop: Workshop) -> None:
    clear = np.eye(3, 4, dtype=np.float32)
    accuracy = evaluated(calibrated_with(workshop, clear * np.float32(0.5)), (clear, np.arange(3)))
    assert accuracy.flips_lost == 0
    assert accuracy.error_ratio is not None
    assert accuracy.error_ratio > 5


def test_the_control_is_made_once_for_a_variant_and_a_dataset(workshop: Workshop) -> None:
    candidate = calibrated_with(workshop, -INPUTS)
    evaluated(candidate)
    workshop.asked.clear()
    again = evaluated(candidate)
    assert again.control
    assert workshop.count("compile") == 0
    assert workshop.count("predict") == 5, "the candidate alone"
    evaluated(candidate, (INPUTS + 1, LABELS))
    assert workshop.count("compile") == 1


def test_made_up_inputs_are_no_control(workshop: Workshop) -> None:
    accuracy = evaluated(calibrated_with(workshop, INPUTS), None)
    assert (accuracy.control, accuracy.error_ratio, accuracy.calibration_samples) == ((), None, 5)


class Elsewhere(FakeAccelerator):
    """Has its references run by the fake accelerator, which is the framework here."""

    name = "elsewhere"


ROUGH_EVERYWHERE: dict[str, Any] = {"identity": True, "by_precision": {"fp16": {"output_noise": 0.1}}}


@pytest.mark.parametrize(("precision", "controls"), [("fp16", 1), ("fp32", 0)])
def test_another_precision_is_held_against_the_same_one_in_the_framework(
    workshop: Workshop, precision: str, controls: int
) -> None:
    workshop.registry = Registry({"fake": FAKE, "elsewhere": f"{__name__}:{Elsewhere.__name__}"})
    workshop.start_again()
    variant = msgspec.structs.replace(workshop.variant(precision=precision), accelerator="elsewhere")
    candidate = compile_candidate(workshop.session, workshop.model(**ROUGH_EVERYWHERE), variant)
    for compiled in (2 + controls, 0):
        workshop.asked.clear()
        accuracy = evaluated(candidate)
        assert workshop.count("compile") <= compiled
        assert len(accuracy.control) == controls
    assert accuracy.error_ratio == (pytest.approx(1.0, abs=0.5) if controls else None)


def test_what_was_not_calibrated_needs_no_control(workshop: Workshop) -> None:
    accuracy = evaluated(workshop.compile(precision="int8"))
    assert (accuracy.control, accuracy.calibration_samples) == ((), None)
    assert workshop.count("compile") == 2, "candidate and reference"


def test_the_interval_for_unseen_samples_has_the_confidence_of_the_project(workshop: Workshop) -> None:
    widths = []
    for confidence in (0.8, 0.99):
        workshop.start_again(confidence=confidence)
        interval = evaluated(workshop.compile(workshop.model(**ROUGH_INT8), precision="int8")).drop_interval
        assert interval is not None
        widths.append(interval[1] - interval[0])
    assert widths[0] < widths[1]
