from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.inputs.registry import Registry
from pytest_accel.session.batch_layout import DRAWS, REMEMBERS, BatchLayout, find_layout
from pytest_accel.session.reference import Reference
from pytest_accel.testing import FakeAccelerator
from pytest_accel.worker.accelerator import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_accel.worker.accelerator import Arrays, Tensor
    from tests.unit.conftest import Workshop

INPUTS = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")


class Varied(FakeAccelerator):
    """Gives outputs of all kinds beside its rows."""

    def infer(self, staged: Any) -> Arrays:
        (rows,) = super().infer(staged).values()
        return {
            "y": rows,
            "time major": np.stack([rows, rows]),
            "mean": rows.mean(),
            "boxes": np.ones((50, 3), np.float32) * rows.sum(),
            "found": rows[rows > 0],
            "centred": rows - rows.mean(axis=0),
        }


class FixedBatch(Varied):
    """Is compiled for one batch size, and only for the one that its model was exported for."""

    exported_for = 1

    def load(self, artefact: str, options: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        if options["batch_size"] != self.exported_for:
            raise Refused(f"exported for batches of {self.exported_for}")
        (x,), outputs = super().load(artefact, options)
        return [type(x)(x.name, x.dtype, (self.exported_for, *x.shape[1:]))], outputs


class OnlyOne(FakeAccelerator):
    """Calls its batch free, and fails with more than one sample."""

    def infer(self, staged: Any) -> Arrays:
        if len(staged["x"]) > 1:
            raise ValueError("cannot reshape")
        return super().infer(staged)


class Drawing(FakeAccelerator):
    """Adds noise that nobody can repeat."""

    def infer(self, staged: Any) -> Arrays:
        noise = np.frombuffer(os.urandom(2), np.uint16)[0]
        return {name: output + np.float32(noise) for name, output in super().infer(staged).items()}


class Remembering(FakeAccelerator):
    """Adds the largest input that it has ever seen."""

    largest = 0.0

    def load(self, artefact: str, options: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        self.largest = 0.0
        return super().load(artefact, options)

    def infer(self, staged: Any) -> Arrays:
        self.largest = max(self.largest, float(staged["x"].max()))
        return {name: output + np.float32(self.largest) for name, output in super().infer(staged).items()}


def laid_out(
    workshop: Workshop, accelerator: type[FakeAccelerator], inputs: Any = INPUTS, **options: Any
) -> BatchLayout:
    workshop.registry = Registry({"fake": f"{__name__}:{accelerator.__name__}"})
    workshop.start_again()
    candidate = workshop.compile(**options)
    signature = Reference.of(candidate).signature
    return find_layout(candidate, open_dataset(inputs, signature, batch_size=candidate.variant.batch_size))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_the_batch_is_the_axis_that_grows_with_it(workshop: Workshop, batch_size: int) -> None:
    layout = laid_out(workshop, Varied, batch_size=batch_size)
    assert layout.axes == {"y": 0, "time major": 1, "mean": None, "boxes": None, "found": None, "centred": 0}
    assert not layout.any_company, "the company of a sample changes what is centred"
    assert not layout.in_rows


def test_rows_that_no_company_changes_can_be_computed_in_any_batch(workshop: Workshop) -> None:
    assert laid_out(workshop, FakeAccelerator) == BatchLayout(axes={"y": 0}, any_company=True)


def test_rows_of_data_that_cannot_share_a_call_are_repeated(workshop: Workshop) -> None:
    workshop.registry = Registry({"fake": f"{__name__}:{Varied.__name__}"})
    workshop.start_again()
    ragged = [{"name": "x", "dtype": "float32", "shape": [None, None]}]
    candidate = workshop.compile(workshop.model(inputs=ragged))
    data = [np.ones((1, length), np.float32) for length in (3, 4, 5)]
    layout = find_layout(candidate, open_dataset(data, Reference.of(candidate).signature, batch_size=1))
    assert (layout.axes["y"], layout.axes["mean"]) == (0, None)


def test_a_model_of_one_batch_size_is_taken_at_its_word(workshop: Workshop) -> None:
    layout = laid_out(workshop, FixedBatch)
    assert layout.axes == {**dict.fromkeys(layout.axes), "y": 0}, "the only one that its signature tells"
    assert not layout.any_company


def test_so_is_one_that_fails_with_another(workshop: Workshop) -> None:
    assert laid_out(workshop, OnlyOne) == BatchLayout(axes={"y": 0}, any_company=False)


def test_a_large_model_is_not_compiled_again_to_find_out(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_accel.session.batch_layout.LARGEST_MB", 0.0)
    monkeypatch.setattr("pytest_accel.session.batch_layout.takes_any_batch", lambda _: False)
    layout = laid_out(workshop, FakeAccelerator)
    assert (layout, workshop.count("compile")) == (BatchLayout(axes={"y": 0}, any_company=False), 1)


@pytest.mark.parametrize(("accelerator", "why"), [(Drawing, DRAWS), (Remembering, REMEMBERS)])
def test_a_model_that_answers_differently_the_second_time_is_told(
    workshop: Workshop, accelerator: type[FakeAccelerator], why: str
) -> None:
    layout = laid_out(workshop, accelerator)
    assert (layout.unrepeatable, layout.varying, layout.axes, layout.in_rows) == (why, ("y",), {"y": 0}, False)


class Sampling(Drawing):
    """Gives what it has drawn, and what it has drawn it around."""

    def infer(self, staged: Any) -> Arrays:
        return {"mean": staged["x"], **super().infer(staged)}


def test_of_several_outputs_those_that_vary_are_named(workshop: Workshop) -> None:
    assert laid_out(workshop, Sampling).varying == ("y",)


def test_nan_is_an_answer_that_can_be_repeated(workshop: Workshop) -> None:
    inputs = INPUTS.copy()
    inputs[0, 0] = np.nan
    assert laid_out(workshop, FakeAccelerator, inputs) == BatchLayout(axes={"y": 0}, any_company=True)
