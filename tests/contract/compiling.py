"""What the accelerators that compile from ONNX and TensorFlow have in common beyond the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed, UnfitInput
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Source
from tests.contract.test_cpu import YARDSTICK_MULTIPLY_ADDS
from tests.models.slower_network import CHANNELS, write_network

if TYPE_CHECKING:
    from pytest_accel.facts.fact import OptionValue
    from pytest_accel.facts.records import Placement
    from pytest_accel.processes.client import Loaded, WorkerClient
    from pytest_accel.worker.accelerator import Arrays
    from tests.models.zoo import Examples, Zoo

ROOT = Path(__file__).parents[2]
#: By hand: a multiply-add is two; height x width x channels out x kernel x channels in.
CONVOLUTION_FLOPS = 2 * 16 * 16 * (16 * 3 * 3 * 3 + 32 * 8)
#: The tensors of the convolution; INT8 merges the first one with the ReLU behind it.
NAMED_INSIDE = {"image", "convolved", "positive", "mixed", "pooled", "scores", "norm"}
#: What the accelerators call a convolution.
CONVOLUTIONS = {"cpu-ort": "Conv", "cpu-openvino": "Convolution"}
NO_ONNX_OPERATOR = """
import sys, tensorflow
class Model(tensorflow.Module):
    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 4, 4], name="x")])
    def serve(self, x):
        return {"y": tensorflow.linalg.sqrtm(x)}
model = Model()
tensorflow.saved_model.save(model, sys.argv[1], signatures={"serving_default": model.serve})
"""


class CompilingContract(AcceleratorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def models(cls, client: WorkerClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder of small ONNX models; the accelerator is known to be there, and ``onnx`` with it."""
        folder = tmp_path_factory.mktemp("models")
        subprocess.run([sys.executable, "-m", "tests.models.onnx_recipes", folder], cwd=ROOT, check=True)
        return folder

    def compiled(
        self,
        client: WorkerClient,
        source: Source,
        folder: Path,
        calibration: list[Arrays] | None = None,
        **options: OptionValue,
    ) -> Loaded:
        """Compile and load."""
        client.compile(source, folder, self.complete(**options), calibration=calibration or [])
        return client.load(folder, self.complete(**options))

    def refuses(self, client: WorkerClient, source: Source, folder: Path, why: str) -> None:
        """Compiling it as it is fails in words that match."""
        with pytest.raises(CompileFailed, match=why):
            client.compile(source, folder / "artefact", self.complete())

    def placed(self, client: WorkerClient, models: Path, folder: Path, **options: OptionValue) -> Placement:
        """Where the convolution runs, with calibration data at hand."""
        self.compiled(client, Source("onnx", str(models / "convolution.onnx")), folder, images(3), **options)
        return client.placement()[0]

    def test_int8_without_calibration_data_is_refused(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="INT8 needs calibration data: pass calibration="):
            client.compile(onnx(models, "convolution"), tmp_path / "artefact", self.complete(precision="int8"))

    def test_calibration_data_of_another_model_is_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        source, options = onnx(models, "convolution"), self.complete(precision="int8")
        photos = [{"photo": batch["image"]} for batch in images(1)]
        with pytest.raises(CompileFailed, match=r"the model takes the inputs \['image'\], got \['photo'\]"):
            client.compile(source, tmp_path / "artefact", options, calibration=photos)

    def test_calibrating_shows_progress(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        told: list[str] = []
        options = self.complete(precision="int8")
        client.compile(
            onnx(models, "convolution"), tmp_path, options, lambda _share, doing: told.append(doing), images(3)
        )
        calibrating = [doing for doing in told if doing.startswith("calibrating with")]
        assert len(set(calibrating)) >= 3, told

    def test_int8_convolves_in_int8_and_names_what_it_left(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        placement = self.placed(client, models, tmp_path, precision="int8")
        convolutions = [place for name, place in placement.operators.items() if name.startswith(("convolve", "mix"))]
        assert convolutions == ["cpu:int8", "cpu:int8"]
        assert "float32" in placement.precisions, "normalising has no INT8 kernel"

    def test_int8_answers_nearly_what_fp32_answers(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        source, inputs = onnx(models, "convolution"), images(1, seed=9)[0]
        answers = {}
        for precision in ("fp32", "int8"):
            self.compiled(client, source, tmp_path / precision, images(16), precision=precision)
            answers[precision] = client.predict(inputs)["norm"]
        error = np.abs(answers["int8"] - answers["fp32"]).max()
        assert 0 < error < 0.02, "the same model, but not the same arithmetic"

    def test_what_is_inside_has_the_same_names_in_every_precision(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        inputs, inside = images(1, seed=9)[0], {}
        for precision, calibration in (("fp32", images(1)), ("int8", images(16))):
            folder = tmp_path / precision
            self.compiled(client, onnx(models, "convolution"), folder, calibration, precision=precision)
            inside[precision] = client.intermediates(inputs)
        kinds = [each.kind for each in inside["fp32"]]
        assert kinds[:2] == ["input", CONVOLUTIONS[self.accelerator.name]]
        for precision, least in (("fp32", NAMED_INSIDE), ("int8", NAMED_INSIDE - {"convolved"})):
            assert {each.tensor for each in inside[precision]} >= least, "those of the source, in every accelerator"
        assert "Relu" in kinds[2:]
        exact = {each.tensor: each.value for each in inside["fp32"]}
        np.testing.assert_array_equal(exact["image"], inputs["image"])
        errors = {
            each.tensor: distance(each.value, exact[each.tensor]) for each in inside["int8"] if each.tensor in exact
        }
        assert len(errors) >= 5
        assert 0 < max(errors.values()) < 0.1

    def test_a_range_that_is_too_small_is_seen_where_it_cuts(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        inputs = images(1, seed=9)[0]
        small = [{"image": batch["image"] * np.float32(0.1)} for batch in images(16)]
        self.compiled(client, onnx(models, "convolution"), tmp_path, small, precision="int8")
        first = client.intermediates(inputs)[0]
        assert (first.tensor, first.kind) == ("image", "input")
        assert distance(first.value, inputs["image"]) > 0.3

    def test_fp32_is_fp32_alone(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        placement = self.placed(client, models, tmp_path)
        assert placement.precisions.keys() == {"float32"}
        assert placement.on_device == 1.0

    def test_operators_have_their_times_under_the_names_of_the_model(
        self, client: WorkerClient, tmp_path: Path
    ) -> None:
        source = Source("onnx", str(write_network(tmp_path / "network.onnx")))
        loaded = self.compiled(client, source, tmp_path / "artefact")
        client.stage([made_up(loaded, rows=1)])
        times = client.operator_times(4)
        assert times is not None
        convolutions = {time.name for time in times if time.ns > 0 and time.kind.startswith("Conv")}
        assert convolutions >= {f"conv_{number}" for number in range(len(CHANNELS))}

    def test_bytes_that_nobody_quantised_are_no_int8(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        self.compiled(client, onnx(models, "bytes_first"), tmp_path)
        assert client.placement()[0].precisions == {"float32": 1}, "the convolution alone"

    def test_a_model_that_was_quantised_before_is_seen_to_be_int8(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        self.compiled(client, onnx(models, "already_quantised"), tmp_path)
        assert client.placement()[0].precisions["int8"] >= 1, "whatever was asked for"

    def test_a_model_that_was_quantised_before_is_not_quantised_again(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        quantised, options = onnx(models, "already_quantised"), self.complete(precision="int8")
        with pytest.raises(CompileFailed, match=r"is quantised already, .*: leave precision='int8' out to measure it"):
            client.compile(quantised, tmp_path / "artefact", options, calibration=images(3))

    def test_a_model_for_images_of_any_size_is_placed_as_it_was_called(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        self.compiled(client, onnx(models, "any_size"), tmp_path)
        client.predict({"image": np.ones((1, 3, 9, 7), np.float32)})
        assert set(client.placement()[0].operators.values()) == {"cpu:float32"}

    def test_layers_have_the_same_names_in_every_compilation(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        one, other = (
            self.placed(client, models, tmp_path / folder, precision="int8").operators for folder in ("one", "other")
        )
        assert one == other, one.keys() ^ other.keys()

    def test_operations_are_counted(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        for precision, batch_size in (("fp32", 1), ("fp32", 2), ("int8", 1)):
            folder = tmp_path / f"{precision}-{batch_size}"
            source = onnx(models, "convolution")
            self.compiled(client, source, folder, images(2), precision=precision, batch_size=batch_size)
            assert client.placement()[1] == batch_size * CONVOLUTION_FLOPS

    def test_the_yardstick_is_the_one_that_tensorflow_has(self, client: WorkerClient, loaded: Loaded) -> None:
        assert client.placement()[1] == 2 * YARDSTICK_MULTIPLY_ADDS

    @pytest.mark.parametrize(
        ("model", "operator"), [("unknown_operator", "NotAnOperator"), ("foreign_operator", "Shiny")]
    )
    def test_an_unknown_operator_is_refused_by_name(
        self, client: WorkerClient, models: Path, tmp_path: Path, model: str, operator: str
    ) -> None:
        self.refuses(client, onnx(models, model), tmp_path, rf"no operator .*{operator}.*replace it in the model")

    @pytest.mark.parametrize(
        ("model", "advice"),
        [
            ("undefined_tensor", "it reads a tensor 'nowhere' that nothing gives: export it anew"),
            ("unfit_shapes", "its shapes do not fit each other: ask for the batch_size that it was exported for"),
            ("lost_weights", r"its weights are not in .*weights\.data: put that file beside the model"),
        ],
    )
    def test_a_file_that_cannot_be_a_model_is_refused_with_what_to_do(
        self, client: WorkerClient, models: Path, tmp_path: Path, model: str, advice: str
    ) -> None:
        self.refuses(client, onnx(models, model), tmp_path, advice)

    def test_inputs_that_an_operator_cannot_take_are_refused_with_its_name(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        self.compiled(client, onnx(models, "seven_by_three"), tmp_path)
        with pytest.raises(UnfitInput, match="Reshape 'y' cannot compute with these inputs: check their sizes"):
            client.predict({"x": np.ones((1, 4), np.float32)})
        assert client.predict({"x": np.ones((1, 21), np.float32)})["y"].shape == (7, 3)

    def test_a_type_that_numpy_does_not_have_is_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        self.refuses(
            client,
            onnx(models, "bfloat16_ends"),
            tmp_path,
            "'x' is .*, which NumPy does not have: export the model with a cast inside",
        )

    def test_an_empty_artefact_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="the file is not there, or may not be read: check the path"):
            client.load(tmp_path, self.complete())

    def test_calibration_data_of_another_shape_are_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        options = self.complete(precision="int8")
        wide = [{"image": np.ones((1, 4, 16, 16), np.float32)}]
        with pytest.raises(CompileFailed, match="an input has another shape: give it what the model's signature says"):
            client.compile(onnx(models, "convolution"), tmp_path / "artefact", options, calibration=wide)

    def test_a_model_for_another_batch_is_refused(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        self.refuses(
            client, onnx(models, "fixed_batch"), tmp_path, "'image' was exported for batches of 8: ask for batch_size=8"
        )
        loaded = self.compiled(client, onnx(models, "fixed_batch"), tmp_path / "eight", batch_size=8)
        assert loaded.signature.inputs[0].shape == (8, 3, 16, 16)

    def test_a_damaged_file_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        (tmp_path / "damaged.onnx").write_bytes(b"not a protocol buffer")
        self.refuses(
            client,
            Source("onnx", str(tmp_path / "damaged.onnx")),
            tmp_path,
            r"damaged\.onnx.*: the file is damaged or holds no model: export it",
        )

    def test_inputs_of_another_precision_are_refused(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        self.compiled(client, onnx(models, "convolution"), tmp_path)
        with pytest.raises(UnfitInput, match=r"'image' takes float32\[1, 3, 16, 16\], got float64"):
            client.predict({"image": images(1)[0]["image"].astype(np.float64)})

    @pytest.mark.parametrize("kind", ["saved_model", pytest.param("keras", marks=pytest.mark.slow)])
    def test_what_tensorflow_made_reads_the_digits_as_before(
        self, client: WorkerClient, tmp_path: Path, zoo: Zoo, digits_val: Examples, kind: str
    ) -> None:
        path = zoo.saved_model("digits_cnn") if kind == "saved_model" else zoo.keras_file("digits_cnn")
        digits, labels = digits_val
        loaded = self.compiled(client, Source(kind, str(path)), tmp_path, batch_size=len(labels))
        (scores,) = client.predict({loaded.signature.inputs[0].name: digits}).values()
        assert np.mean(scores.argmax(axis=1) == labels) == pytest.approx(zoo.accuracy("digits_cnn"), abs=0.003)

    @pytest.mark.parametrize("kind", ["saved_model", "keras"])
    def test_what_is_converted_first_answers_the_same(
        self, client: WorkerClient, tmp_path: Path, zoo: Zoo, digits_val: Examples, kind: str
    ) -> None:
        path = zoo.saved_model("digits_cnn") if kind == "saved_model" else zoo.keras_file("digits_cnn")
        source, digits = Source(kind, str(path)), digits_val[0][:8]
        converted = client.convert(source, tmp_path / "converted", self.complete(batch_size=8))
        answers = []
        for made in (source, Source(converted.kind, str(tmp_path / "converted" / converted.path))):
            loaded = self.compiled(client, made, tmp_path / made.kind, batch_size=8)
            answers.append(client.predict({loaded.signature.inputs[0].name: digits}))
        self.assert_same(*answers)

    @pytest.mark.slow
    def test_an_operator_that_only_tensorflow_has_is_refused_by_name(
        self, client: WorkerClient, tmp_path: Path, zoo: Zoo
    ) -> None:
        folder = tmp_path / "saved_model"
        subprocess.run([sys.executable, "-c", NO_ONNX_OPERATOR, folder], check=True, capture_output=True)
        self.refuses(
            client,
            Source("saved_model", str(folder)),
            tmp_path,
            r"operator for .*MatrixSquareRoot.*replace it in the model",
        )


def distance(value: np.ndarray, expected: np.ndarray) -> float:
    """Normalised L2."""
    return float(np.linalg.norm(value - expected) / np.linalg.norm(expected))


def onnx(models: Path, name: str) -> Source:
    return Source("onnx", str(models / f"{name}.onnx"))


def images(count: int, *, seed: int = 5, side: int = 16) -> list[Arrays]:
    random = np.random.default_rng(seed)
    return [{"image": random.normal(size=(1, 3, side, side)).astype(np.float32)} for _ in range(count)]
