"""What every builder of TensorRT's engines shows without running one: that of a stand-in, and NVIDIA's own for RTX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from pytest_accel.facts.errors import CompileFailed
from tests.contract.compiling import images, onnx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_accel.processes.client import WorkerClient


class RefusesUnknownOperators:
    """A class of tests adds it to what makes the worker and the models."""

    complete: ClassVar[Callable[..., dict[str, Any]]]

    def test_an_unknown_operator_is_refused_by_name(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match=r"no operator 'NotAnOperator': replace it .*Plugin not found"):
            client.compile(onnx(models, "unknown_operator"), tmp_path / "artefact", self.complete())


class HasNoNonZero:
    """TensorRT for RTX, of a stand-in and NVIDIA's own."""

    complete: ClassVar[Callable[..., dict[str, Any]]]

    def test_an_output_whose_shape_nonzero_finds_is_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(CompileFailed, match="there is no operator 'NonZero': replace it in the model"):
            client.compile(onnx(models, "where_positive"), tmp_path / "artefact", self.complete())


class BuildsEngines(RefusesUnknownOperators):
    """Other refusals, and the progress of a build."""

    #: The outermost phase of a build, as the builder calls it.
    building: ClassVar[str] = "building engine"

    def test_int8_without_calibration_data_is_refused(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="INT8 needs calibration data: pass calibration="):
            client.compile(onnx(models, "convolution"), tmp_path / "artefact", self.complete(precision="int8"))

    def test_calibration_data_of_another_model_are_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        photos = [{"photo": batch["image"]} for batch in images(1)]
        with pytest.raises(CompileFailed, match=r"the model takes the inputs \['image'\], got \['photo'\]"):
            client.compile(onnx(models, "convolution"), tmp_path, self.complete(precision="int8"), calibration=photos)

    def test_calibrating_and_building_show_progress(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        told: list[tuple[float | None, str]] = []
        client.compile(
            onnx(models, "convolution"),
            tmp_path,
            self.complete(precision="int8"),
            lambda share, doing: told.append((share, doing)),
            images(4),
        )
        assert (0.5, "calibrating with batch 3 of 4") in told
        shares = [share or 0.0 for share, doing in told if doing == self.building]
        assert len(shares) > 2
        assert (shares[-1], shares) == (1.0, sorted(shares))
        assert not any(doing.startswith("timing") for _, doing in told), "a part of building is not told beside it"

    def test_sizes_that_are_dynamic_beside_the_batch_are_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        for profile in ("", "1:1:2"):
            with pytest.raises(CompileFailed, match=r"'x' has dynamic sizes beside its batch: \[.*\?\]; export"):
                client.compile(onnx(models, "seven_by_three"), tmp_path, self.complete(profile=profile))

    def test_a_profile_for_a_model_of_one_batch_is_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(CompileFailed, match="profile= is for a dynamic batch, which the model does not have"):
            client.compile(onnx(models, "fixed_batch"), tmp_path, self.complete(profile="1:8:8", batch_size=8))
