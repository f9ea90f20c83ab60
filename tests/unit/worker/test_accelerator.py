from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.testing import FakeAccelerator, fake_model
from pytest_accel.worker import serve, wire
from pytest_accel.worker.accelerator import Accelerator, Observed, Present, Source, require_loaded, share_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_accel.worker.accelerator import Arrays, CompileJob, Progress, Tensor

OPTIONS = {"precision": "fp32", "batch_size": 1}
Received = list[tuple[Any, ...]]


class Compiles(Accelerator):
    """What an accelerator has to have beside its way to compile."""

    name = "compiles"

    def __init__(self) -> None:
        self.received: Received = []

    def probe(self) -> Present:
        return Present("device", {"model": "1"})

    def versions(self) -> dict[str, str]:
        return {}

    def load(self, artefact: str, options: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        return [], []

    def stage(self, inputs: Arrays) -> Any:
        return inputs

    def infer(self, staged: Any) -> Arrays:
        return {}


class WithAJob(Compiles):
    def compile_job(self, job: CompileJob) -> None:
        job.progress(0.5, "half")
        self.received.append((job.source, job.artefact, job.options, *job.calibration))


class WithParameters(Compiles):
    def compile(
        self,
        source: Source,
        artefact: str,
        options: Mapping[str, Any],
        progress: Progress,
        calibration: Sequence[Arrays] = (),
    ) -> None:
        progress(0.5, "half")
        self.received.append((source, artefact, options, *calibration))


class FakeWithParameters(FakeAccelerator):
    """What others have made of an accelerator of ours, which compiles by a job."""

    def compile(
        self,
        source: Source,
        artefact: str,
        options: Mapping[str, Any],
        progress: Progress,
        calibration: Sequence[Arrays] = (),
    ) -> None:
        progress(None, "about to compile")
        super().compile(source, artefact, options, progress, calibration)


def compiled(accelerator: Accelerator, source: Source, artefact: Path) -> list[Any]:
    """The progress that a worker reports; fails where it reports anything but a success in the end."""
    reported: list[Any] = []
    request = {
        "op": "compile",
        "params": {
            "source": vars(source),
            "artefact": str(artefact),
            "options": OPTIONS,
            "calibration": [wire.pack_all({"x": np.ones(2, np.float32)})],
        },
    }
    reply = serve.answer(serve.Operations(accelerator), request, lambda share, doing: reported.append((share, doing)))
    assert "result" in reply, reply
    return reported


@pytest.mark.parametrize("kind", [WithAJob, WithParameters])
def test_a_worker_compiles_with_either_way_to_say_it(kind: type[Compiles], tmp_path: Path) -> None:
    accelerator, source = kind(), Source("model", "path")
    assert compiled(accelerator, source, tmp_path) == [(0.5, "half")]
    ((got, artefact, options, calibration),) = accelerator.received
    assert (got, artefact, options) == (source, str(tmp_path), OPTIONS)
    np.testing.assert_array_equal(calibration["x"], [1, 1])


def test_an_override_with_parameters_can_call_the_one_above_it(tmp_path: Path) -> None:
    source = Source("fake", str(fake_model(tmp_path / "model.fake.json")))
    reported = compiled(FakeWithParameters(), source, tmp_path / "artefact")
    assert reported == [(None, "about to compile"), (0.0, "compiling"), (1.0, "compiled")]
    assert (tmp_path / "artefact/model.fake.json").exists()


def test_an_accelerator_that_cannot_compile_is_told_what_is_lacking(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="Compiles overrides neither compile nor compile_job"):
        Compiles().compile(Source("model", "path"), str(tmp_path), OPTIONS, print)


def test_precisions_are_counted_whatever_the_device() -> None:
    operators = {"a": "gpu:float32", "b": "gpu:int8", "c": "cpu:float32"}
    assert Observed.of(operators, 0.5) == Observed(0.5, {"float32": 2, "int8": 1}, operators)


@pytest.mark.parametrize(
    ("operators", "share"),
    [({"a": "gpu:float32", "b": "gpu-other:float32"}, 0.5), ({"a": "cpu:float32"}, 0.0), ({}, None)],
)
def test_the_share_on_a_device_is_by_its_whole_name(operators: dict[str, str], share: float | None) -> None:
    assert share_on("gpu", operators) == share


def test_what_is_not_loaded_is_named() -> None:
    assert require_loaded(0) == 0
    with pytest.raises(RuntimeError, match="nothing is loaded: load an artefact first"):
        require_loaded(None)
