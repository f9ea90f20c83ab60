from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from pytest_accel.facts.errors import UnfitInput, WorkerError
from pytest_accel.facts.progress import Silence
from pytest_accel.facts.records import Signature, TensorSpec
from pytest_accel.facts.settings import Settings
from pytest_accel.inputs.models import resolve
from pytest_accel.inputs.registry import Registry
from pytest_accel.inputs.variants import expand_marker
from pytest_accel.processes.client import WorkerClient
from pytest_accel.session.candidate import renamed
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.session import Session
from pytest_accel.testing import FAKE, FakeAccelerator, fake_model

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_released_model_is_loaded_again_when_it_is_next_used(workshop: Workshop) -> None:
    candidate = workshop.compile()
    with candidate.load() as loaded:
        first = loaded.client
        loaded.release()
        assert not first.worker.alive
        assert loaded.predict({"x": np.ones((1, 4), np.float32)}).keys() == {"y"}
        assert loaded.client is not first
    assert not loaded.client.worker.alive
    assert workshop.count("load") == 2


def test_the_worker_that_compiles_is_never_given_an_exclusive_device(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = workshop.compile()
    shared = workshop.session.shared_client("fake").worker
    with candidate.load_shared() as loaded:
        assert loaded.client.worker is shared
    monkeypatch.setattr(FakeAccelerator, "exclusive", True)
    with candidate.load_shared() as loaded:
        assert loaded.client.worker is not shared


class Outcome(NamedTuple):
    """What a device counted before and after a worker that made so many executions, and whether that is enough."""

    made: int
    counted: tuple[int, int]
    proven: bool


@pytest.mark.parametrize("outcome", [Outcome(3, (7, 10), True), Outcome(3, (7, 9), False), Outcome(0, (7, 7), True)])
def test_a_device_that_counts_at_the_end_of_a_process_is_asked_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    asked: list[str] = []
    counted = iter(outcome.counted)
    registry = Registry({"fake": FAKE})
    settings = Settings(rootdir=tmp_path, baseline_dir=tmp_path, cache_dir=tmp_path / "cache")
    session = Session(settings, registry, tell=Silence())
    monkeypatch.setattr(FakeAccelerator, "exclusive", True)

    def made(client: WorkerClient) -> int:
        asked.append("made")
        return outcome.made

    def count(client: WorkerClient) -> int:
        asked.append("counted")
        return next(counted)

    monkeypatch.setattr(WorkerClient, "executions_made", made)
    monkeypatch.setattr(WorkerClient, "executions_counted", count)
    path = fake_model(tmp_path / "model.fake.json")
    model = resolve(path, cache=session.cache, base=tmp_path, kinds=FakeAccelerator.file_kinds)
    (plan,) = expand_marker(("fake",), {}, registry)
    try:
        with compile_candidate(session, model, plan.variant).load() as loaded:
            worker = loaded.client.worker
            with nullcontext() if outcome.proven else pytest.raises(WorkerError, match="the device counted 2 exec"):
                assert loaded.placement()[0].on_device == 1.0
            assert worker.alive == (outcome.made == 0)
    finally:
        session.close()
    assert asked == ["counted", "made", "counted"][: 3 if outcome.made else 2]
