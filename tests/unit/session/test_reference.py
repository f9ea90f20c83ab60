from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Signature, TensorSpec
from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.inputs.registry import Registry
from pytest_accel.session.batch_layout import LARGE_BATCH
from pytest_accel.session.reference import Reference
from pytest_accel.testing import FakeAccelerator
from pytest_accel.worker.accelerator import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_accel.inputs.models import Model
    from pytest_accel.worker.accelerator import Arrays
    from tests.unit.conftest import Workshop

#: ASKED is the number of calls that the layout costs: the first sample, the second, the first again, and in company.
ASKED = 4
#: PREDICTIONS is the number of calls that five samples cost: the layout's, and then all of them in one call.
PREDICTIONS = ASKED + 1
INPUTS = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")


class Absent(FakeAccelerator):
    """Is not on this machine."""

    @classmethod
    def probe_hardware(cls) -> Missing | None:
        return Missing("no-sdk", "it is not installed", "pip install it")


class Dependent(FakeAccelerator):
    """Has its references run by `Absent`."""

    references: ClassVar[Mapping[str, str]] = {"fake": "absent"}


class Forgetful(FakeAccelerator):
    """Does not say who runs its references."""

    references: ClassVar[Mapping[str, str]] = {"saved_model": "cpu"}


class Centred(FakeAccelerator):
    """Takes the mean of a call's outputs off each of them, as a normalisation over the batch does."""

    def infer(self, staged: Any) -> Arrays:
        return {name: output - output.mean(axis=0) for name, output in super().infer(staged).items()}


class Summed(FakeAccelerator):
    """Gives one row for a whole call."""

    def infer(self, staged: Any) -> Arrays:
        return {name: output.sum(axis=0, keepdims=True) for name, output in super().infer(staged).items()}


def referred(workshop: Workshop, model: Model, inputs: np.ndarray = INPUTS, **options: Any) -> Arrays:
    variant = workshop.variant(**options)
    reference = Reference(workshop.session, model, variant)
    dataset = open_dataset(inputs, reference.signature, batch_size=variant.batch_size)
    calls = list(reference.outputs(dataset).calls(variant.batch_size))
    return {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}


def test_it_shares_what_a_sample_is_and_nothing_else(workshop: Workshop) -> None:
    variant = workshop.variant(precision="int8", batch_size=4, signature="tokens", cores=3)
    reference = Reference(workshop.session, workshop.model(), variant).variant
    assert {name: reference.options[name] for name in ("precision", "batch_size", "signature", "cores")} == {
        "precision": "fp32",
        "batch_size": 4,
        "signature": "tokens",
        "cores": 1,
    }


def test_its_signature_is_known_before_the_variant_is_compiled_and_then_remembered(workshop: Workshop) -> None:
    model = workshop.model(by_precision={"int8": {"failures": {"compile": {"how": "refused"}}}})
    expected = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 4)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(None, 3)),),
    )
    for _ in range(2):
        assert Reference(workshop.session, model, workshop.variant(precision="int8")).signature == expected
    assert workshop.count("load") == 1


def test_the_precisions_that_the_model_has_itself_are_asked_for_once(workshop: Workshop) -> None:
    model = workshop.model(graph_precisions=["float16", "int8"])
    for _ in range(2):
        reference = Reference(workshop.session, model, workshop.variant(precision="int8", batch_size=2))
        assert reference.precisions == ("float16", "int8")
    assert workshop.count("graph_precisions") == 1


def test_its_outputs_have_a_row_for_each_sample_and_the_order_of_the_model(workshop: Workshop) -> None:
    outputs = [{"name": f"y{at}", "dtype": "float32", "shape": [None, 1 + at]} for at in range(12)]
    rows = referred(workshop, workshop.model(outputs=outputs), batch_size=2)
    assert [(name, array.shape) for name, array in rows.items()] == [(f"y{at}", (5, 1 + at)) for at in range(12)]
    assert "computing the reference of model: 5 of 5 samples" in workshop.told


@pytest.mark.parametrize(
    ("script", "options", "inputs", "runs"),
    [
        ({}, {}, INPUTS, 0),
        ({}, {"precision": "int8"}, INPUTS, 0),
        ({}, {"batch_size": 2}, INPUTS, 0),
        ({}, {"signature": "other"}, INPUTS, 1),
        ({}, {}, INPUTS + 1, 1),
        ({"latency_ms": 2}, {}, INPUTS, 1),
    ],
    ids=["the same", "another precision", "another batch", "another signature", "other data", "another model"],
)
def test_its_outputs_are_computed_once_for_a_model_and_a_dataset(
    workshop: Workshop, script: dict[str, Any], options: dict[str, Any], inputs: np.ndarray, runs: int
) -> None:
    referred(workshop, workshop.model())
    workshop.start_again()
    workshop.asked.clear()
    referred(workshop, workshop.model(**script), inputs, **options)
    assert workshop.count("predict") == PREDICTIONS * runs


def test_its_samples_are_computed_many_at_a_time(workshop: Workshop) -> None:
    inputs = np.arange(280, dtype=np.float32).reshape(70, 4)
    rows = referred(
        workshop, workshop.model(identity=True, outputs=[{"name": "y", "dtype": "float32", "shape": [None, 4]}]), inputs
    )
    assert np.array_equal(rows["y"], inputs)
    assert workshop.count("predict") == ASKED + len(range(0, 70, LARGE_BATCH))


@pytest.mark.parametrize("accelerator", [Centred, Summed])
def test_samples_that_influence_each_other_are_computed_as_the_variant_has_them(
    workshop: Workshop, accelerator: type[FakeAccelerator]
) -> None:
    workshop.registry = Registry({"fake": f"{__name__}:{accelerator.__name__}"})
    workshop.start_again()
    rows = referred(workshop, workshop.model())
    alone = [referred(workshop, workshop.model(), INPUTS[at : at + 1])["y"] for at in range(len(INPUTS))]
    assert np.array_equal(rows["y"], np.concatenate(alone))


class Kept(FakeAccelerator):
    """Gives what it was given."""

    def infer(self, staged: Any) -> Arrays:
        return {"y": staged["x"]}


class Counting(FakeAccelerator):
    """Gives a number for a whole call."""

    def infer(self, staged: Any) -> Arrays:
        return {**super().infer(staged), "sum": np.float32(staged["x"].sum()) * np.ones((), np.float32)}


def test_what_is_of_a_whole_call_is_computed_for_each_batch_size(workshop: Workshop) -> None:
    workshop.registry = Registry({"fake": f"{__name__}:{Counting.__name__}"})
    workshop.start_again()
    for size in (1, 2):
        variant = workshop.variant(batch_size=size)
        reference = Reference(workshop.session, workshop.model(), variant)
        dataset = open_dataset(INPUTS, reference.signature, batch_size=size)
        outputs = reference.outputs(dataset)
        sums = [batch.inputs["x"].sum() for batch in dataset]
        assert [float(call["sum"]) for call in outputs.calls(size)] == pytest.approx(sums)
        assert outputs.layout.axes == {"y": 0, "sum": None}


def test_rows_of_another_shape_in_each_call_are_kept_call_by_call(workshop: Workshop) -> None:
    shapes: dict[str, Any] = {"inputs": [{"name": "x", "dtype": "float32", "shape": [None, None]}]}
    workshop.registry = Registry({"fake": f"{__name__}:{Kept.__name__}"})
    workshop.start_again()
    reference = Reference(workshop.session, workshop.model(**shapes), workshop.variant())
    data = [np.full((1, length), length, np.float32) for length in (3, 3, 5)]
    outputs = reference.outputs(open_dataset(data, reference.signature, batch_size=1))
    assert [call["y"].tolist() for call in outputs.calls(1)] == [part.tolist() for part in data]
    assert outputs.layout.axes == {"y": None}


def test_its_signature_has_a_free_batch_wherever_that_is(workshop: Workshop) -> None:
    state = {"name": "state", "dtype": "float32", "shape": [2, 1, 4], "batch_axis": 1}
    gain = {"name": "gain", "dtype": "float32", "shape": []}
    reference = Reference(workshop.session, workshop.model(inputs=[state, gain]), workshop.variant())
    assert [(spec.shape, spec.batch_axis) for spec in reference.signature.inputs] == [((2, None, 4), 1), ((), None)]


def test_a_call_of_large_inputs_has_fewer_samples(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_accel.session.batch_layout.LARGE_BATCH_BYTES", 2 * INPUTS[0].nbytes)
    referred(workshop, workshop.model())
    assert workshop.count("predict") == ASKED + 3


@pytest.mark.parametrize(
    ("accelerator", "message"),
    [
        (Dependent, r"reference of fake models runs on absent, which is not here: it is not installed; pip install it"),
        (Forgetful, r"fake names no accelerator that runs the reference of fake models: add it to .* `references`"),
    ],
)
def test_without_an_accelerator_to_run_it_it_is_said_what_is_missing(
    workshop: Workshop, accelerator: type[FakeAccelerator], message: str
) -> None:
    absent = {"absent": f"{__name__}:{Absent.__name__}"}
    workshop.registry = Registry({"fake": f"{__name__}:{accelerator.__name__}", **absent})
    workshop.start_again()
    with pytest.raises(UsageError, match=message):
        referred(workshop, workshop.model())
