from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.facts.errors import UnfitInput
from pytest_accel.facts.records import Signature, TensorSpec
from pytest_accel.session.candidate import renamed

if TYPE_CHECKING:
    from tests.unit.conftest import Workshop


def test_it_runs_in_a_worker_that_ends_with_the_block(workshop: Workshop) -> None:
    candidate = workshop.compile(workshop.model(load_s=0.25))
    with candidate.load() as loaded:
        assert [spec.name for spec in loaded.signature.inputs] == ["x"]
        assert loaded.load_s == 0.25
        assert loaded.client.worker.alive
    assert not loaded.client.worker.alive


def test_its_worker_ends_with_a_failure_too(workshop: Workshop) -> None:
    candidate = workshop.compile()
    with pytest.raises(ZeroDivisionError), candidate.load() as loaded:
        raise ZeroDivisionError
    assert not loaded.client.worker.alive


def signature(*names: str) -> Signature:
    return Signature(inputs=tuple(TensorSpec(name=name, dtype="float32", shape=(1,)) for name in names), outputs=())


def test_inputs_are_renamed_by_their_place_where_the_names_are_others() -> None:
    batches = [{"a": np.zeros(1), "b": np.ones(1)}]
    assert renamed(batches, signature("x", "y")) == [{"x": 0, "y": 1}]


def test_inputs_of_the_same_names_keep_them_in_any_order() -> None:
    batches = [{"a": np.zeros(1), "b": np.ones(1)}]
    assert renamed(batches, signature("b", "a")) == batches


def test_inputs_of_another_number_do_not_fit() -> None:
    with pytest.raises(UnfitInput, match=r"takes the inputs \['x'\], got \['a', 'b'\]"):
        renamed([{"a": np.zeros(1), "b": np.ones(1)}], signature("x"))
