from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed, UnfitInput
from pytest_accel.processes.client import WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing, Present, Source
from pytest_accel.worker.accelerators.tensorrt.gpu_trt import GpuTrt
from tests.contract.building_engines import BuildsEngines, RefusesUnknownOperators
from tests.contract.compiling import CONVOLUTION_FLOPS, ROOT, images, onnx
from tests.contract.little_room import LittleRoom
from tests.contract.wheels import run
from tests.standins.nvidia_host import STANDINS, make_nvidia_host
from tests.standins.tensorrt_release import choose_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_accel.facts.fact import OptionValue, Scalar
    from pytest_accel.facts.records import Placement
    from pytest_accel.processes.client import Loaded
    from pytest_accel.worker.accelerator import Arrays
    from tests.models.zoo import Examples, Zoo


class StandIn(AcceleratorContract):
    """What each release of TensorRT shows; which names it has for that is its own affair."""

    accelerator = GpuTrt
    release: ClassVar[str]
    gpu: ClassVar[str] = "T4"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def machine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """A machine with this GPU and this release."""
        with pytest.MonkeyPatch.context() as patch:
            make_nvidia_host(patch, tmp_path_factory.mktemp("host"), "cuda", "tensorrt", "tensorflow_gpu")
            choose_release(patch, cls.release)
            patch.setenv("STANDIN_GPU", cls.gpu)
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def models(cls, client: WorkerClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder of small ONNX models."""
        folder = tmp_path_factory.mktemp("models")
        subprocess.run([sys.executable, "-m", "tests.models.onnx_recipes", folder], cwd=ROOT, check=True)
        return folder

    def compiled(self, client: WorkerClient, source: Source, folder: Path, **options: OptionValue) -> Loaded:
        """Compile and load, with calibration data at hand."""
        complete = self.complete(**options)
        client.compile(source, folder, complete, calibration=batches(3, size=int(str(complete["batch_size"]))))
        return client.load(folder, complete)

    def placed(self, client: WorkerClient, models: Path, folder: Path, **options: OptionValue) -> Placement:
        """Where two convolutions and what stands around them run."""
        self.compiled(client, onnx(models, "convolution"), folder, **options)
        return client.placement()[0]


class EachRelease(RefusesUnknownOperators, StandIn):
    #: Numbers among the builder's own options.
    numbers: ClassVar[Mapping[str, Scalar]] = {"builder_optimization_level": 5, "max_aux_streams": 2}

    def test_fp32_is_fp32_alone(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        placement = self.placed(client, models, tmp_path)
        assert placement.precisions == {"float32": 4}
        assert placement.operators["convolve + rectify"] == "gpu:float32"
        assert placement.on_device == 1.0

    def test_fp16_computes_in_fp16_and_answers_nearly_the_same(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        placement = self.placed(client, models, tmp_path, precision="fp16")
        assert placement.operators["convolve + rectify"] == placement.operators["mix"] == "gpu:float16"
        assert 0 < self.error(client, models, tmp_path, "fp16") < 1e-2

    def test_int8_convolves_in_int8_and_names_what_it_left(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        placement = self.placed(client, models, tmp_path, precision="int8")
        convolutions = [where for name, where in placement.operators.items() if name.startswith(("convolve", "mix"))]
        assert convolutions == ["gpu:int8", "gpu:int8"]
        assert placement.operators["normalise"] == "gpu:float32"
        assert 0 < self.error(client, models, tmp_path, "int8") < 0.05

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
    def test_operations_are_counted(self, client: WorkerClient, models: Path, tmp_path: Path, precision: str) -> None:
        self.compiled(client, onnx(models, "convolution"), tmp_path, precision=precision, batch_size=2)
        assert client.placement()[1] == 2 * CONVOLUTION_FLOPS

    def test_one_engine_takes_the_batches_of_its_profile(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        options = self.complete(profile="1:2:4", batch_size=2)
        loaded = self.compiled(client, onnx(models, "convolution"), tmp_path, profile="1:2:4", batch_size=2)
        assert loaded.signature.inputs[0].shape == (None, 3, 16, 16)
        both = batches(1, size=2)[0]["image"]
        together = client.predict({"image": both})["norm"]
        alone = np.concatenate([client.predict({"image": both[row : row + 1]})["norm"] for row in (0, 1)])
        np.testing.assert_allclose(together, alone, rtol=1e-5)
        with pytest.raises(UnfitInput, match=r"'image' with the shape \[5, 3, 16, 16\]; profile= sets the batches"):
            client.predict(batches(1, size=5)[0])
        assert client.load(tmp_path, options)
        assert client.placement()[1] == 2 * CONVOLUTION_FLOPS

    def test_int8_learns_for_an_engine_that_takes_several_batches(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        options: dict[str, OptionValue] = {"precision": "int8", "profile": "1:2:4", "batch_size": 2}
        assert self.placed(client, models, tmp_path, **options).precisions["int8"] == 2

    def test_a_timing_cache_is_read_and_kept(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        file = tmp_path / "times"
        for folder in ("first", "second"):
            self.compiled(client, onnx(models, "convolution"), tmp_path / folder, timing_cache=str(file))
        assert "mix" in json.loads(file.read_text())["kernels"]
        assert {path.name for path in tmp_path.iterdir()} == {"first", "second", "times"}

    def test_int64_inputs_stay_so_whatever_the_engine_has(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        client.compile(onnx(models, "indices"), tmp_path, self.complete())
        loaded = client.load(tmp_path, self.complete())
        assert loaded.signature.inputs[0].dtype == "int64"
        answer = client.predict({"ids": np.array([[7, 0, 2]])})["y"]
        np.testing.assert_array_equal(answer[0, :, 0], [28, 0, 8])

    def test_int8_learns_from_the_numbers_that_were_given(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        ids = {"ids": np.array([[0, 0, 9]])}  # whoever takes these for INT32 sees three zeros
        client.compile(onnx(models, "tokens"), tmp_path, self.complete(precision="int8"), calibration=[ids, ids])
        client.load(tmp_path, self.complete(precision="int8"))
        exact = np.array([0.01, 0.01, 8.0])[:, None] * np.linspace(-1, 1, 16).reshape(4, 4).sum(axis=0)
        np.testing.assert_allclose(client.predict(ids)["y"][0], exact, atol=0.3)

    @pytest.mark.parametrize("profile", ["", "1:2:4"])
    def test_contexts_side_by_side_share_a_profile(
        self, client: WorkerClient, models: Path, tmp_path: Path, profile: str
    ) -> None:
        loaded = self.compiled(client, onnx(models, "convolution"), tmp_path, profile=profile)
        staged = [made_up(loaded, rows=1, seed=seed) for seed in range(1, 4)]
        expected = [client.predict(inputs) for inputs in staged]
        client.stage(staged)
        for timed in (
            client.measure("multi_stream", calls=12, checks=12, concurrency=3),
            client.measure("offline", calls=12, checks=12),
        ):
            for checked in timed.checked:
                self.assert_same(checked.outputs, expected[checked.batch])

    def test_a_cuda_graph_repeats_the_same_kernels_for_each_shape(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        options: dict[str, OptionValue] = {"profile": "1:2:4", "batch_size": 2}
        self.compiled(client, onnx(models, "convolution"), tmp_path, **options)
        asked = [*batches(1, size=1), *batches(2, size=2), *batches(1, size=1)]
        expected = [client.predict(inputs) for inputs in asked]
        client.load(tmp_path, self.complete(**options, cuda_graph=True))
        for inputs, outputs in zip(asked, expected, strict=True):
            self.assert_same(client.predict(inputs), outputs)

    def test_outputs_whose_shape_depends_on_values_have_the_shape_of_their_call(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        loaded = self.compiled(client, onnx(models, "where_positive"), tmp_path)
        assert [(spec.name, spec.shape) for spec in loaded.signature.outputs] == [("y", (1, 4)), ("places", (2, None))]
        staged = [{"x": np.array([row], np.float32)} for row in ([1, -1, 2, -2], [-1, -1, -1, -1], [3, 4, 5, 6])]
        client.stage(staged)
        for timed in (
            client.measure("single_stream", calls=6, checks=6),
            client.measure("multi_stream", calls=6, checks=6, concurrency=2),
            client.measure("offline", calls=6, checks=6),
        ):
            found = [call.outputs["places"][1].tolist() for call in timed.checked]
            assert found == [[[0, 2], [], [0, 1, 2, 3]][call.batch] for call in timed.checked]

    def test_a_cuda_graph_of_outputs_whose_shape_depends_on_values_is_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        self.compiled(client, onnx(models, "where_positive"), tmp_path)
        with pytest.raises(CompileFailed, match="cuda_graph=True: the shape of 'places' depends on the values"):
            client.load(tmp_path, self.complete(cuda_graph=True))

    def test_the_builders_own_options_are_handed_on(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        self.compiled(client, onnx(models, "convolution"), tmp_path, extra={**self.numbers, "sparse_weights": True})
        built_with = built(tmp_path)
        assert {name: built_with[name] for name in self.numbers} == self.numbers
        assert "SPARSE_WEIGHTS" in built_with["flags"]

    def error(self, client: WorkerClient, models: Path, folder: Path, precision: str) -> float:
        """How far a precision's answers are from those in FP32, at most."""
        inputs, answers = images(1, seed=9)[0], {}
        for each in ("fp32", precision):
            self.compiled(client, onnx(models, "convolution"), folder / each, precision=each)
            answers[each] = client.predict(inputs)["norm"]
        return float(np.abs(answers[precision] - answers["fp32"]).max())


class TestTensorRt10(BuildsEngines, EachRelease):
    release = "10"

    def test_other_layers_may_compute_in_fp16_beside_int8(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        placement = self.placed(client, models, tmp_path, precision="int8", beside_int8="fp16")
        assert (placement.precisions["int8"], placement.operators["normalise"]) == (2, "gpu:float16")
        assert {"INT8", "FP16"} <= set(built(tmp_path)["flags"])

    def test_the_identity_is_that_of_the_handle(self, client: WorkerClient) -> None:
        found = client.probe()
        assert isinstance(found, Present)
        assert found.device == "Tesla T4"
        assert found.identity["gpu_uuid"] == "GPU-5a1c3e70-8d2b-4f6e-9c41-d07b2e9f6a13"
        assert (found.identity["sm_count"], found.identity["compute_capability"]) == (40, "7.5")
        assert found.identity["gpu_power_limit_w"] == 70, "which NVML adds"
        assert found.peak_flops == pytest.approx(130e12, rel=0.01), "NVIDIA's figure for INT8"
        assert found.peaks["fp32"] == pytest.approx(8.1e12, rel=0.01)

    def test_everything_that_an_engine_depends_on_has_its_version(self, client: WorkerClient) -> None:
        versions = client.versions()
        expected = {
            "tensorrt": "10.9.0.34",
            "cuda-driver": "13.0",
            "cuda-runtime": "13.5",
            "nvidia-driver": "580.126.09",
        }
        assert expected.items() <= versions.items()

    def test_it_tells_its_memory_and_what_copying_takes(self, client: WorkerClient, loaded: Loaded) -> None:
        client.stage([{"image": np.ones((1, 3, 128, 128), np.float32)}])
        timed = client.measure("single_stream", calls=2, checks=0)
        assert timed.device_memory_mb is not None
        assert timed.device_memory_mb > 1.0
        state = timed.conditions.device_state
        assert (state["sm_clock_mhz"], state["p_state"], state["temperature_c"], state["power_w"]) == (
            1590,
            "P0",
            61,
            68.7,
        )
        there_ms, back_ms = 3 * 128 * 128 * 4 / 12e6, 100 * 4 / 12e6
        assert timed.parts_ms == pytest.approx({"copying to the GPU": there_ms, "copying back": back_ms})

    def test_a_workspace_that_is_too_small_is_refused_with_what_to_do(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        self.compiled(client, onnx(models, "convolution"), tmp_path / "fits", workspace_mb=2)
        with pytest.raises(CompileFailed, match=r"no kernel computes .*convolve.*: raise workspace_mb"):
            self.compiled(client, onnx(models, "convolution"), tmp_path / "tight", workspace_mb=1)

    def test_a_timing_cache_of_another_release_is_refused_by_name(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "times").write_text(json.dumps({"version": "8.6.1", "kernels": {}}))
        with pytest.raises(CompileFailed, match=r"cannot use the timing cache .*/times: remove the file: .*mismatch"):
            self.compiled(client, onnx(models, "convolution"), tmp_path / "a", timing_cache=str(tmp_path / "times"))

    @pytest.mark.parametrize("fact", ["tensorrt", "gpu", "compute_capability"])
    def test_an_engine_from_elsewhere_is_refused(
        self, client: WorkerClient, artefact: Path, tmp_path: Path, fact: str
    ) -> None:
        facts = json.loads((artefact / "facts.json").read_text())
        (tmp_path / "facts.json").write_text(json.dumps({**facts, fact: "another"}))
        (tmp_path / "model.engine").write_bytes((artefact / "model.engine").read_bytes())
        with pytest.raises(CompileFailed, match=rf"built for {fact} another, and here is .*: compile it anew"):
            client.load(tmp_path, self.complete())

    def test_a_damaged_engine_is_refused_in_the_loggers_words(
        self, client: WorkerClient, artefact: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "facts.json").write_bytes((artefact / "facts.json").read_bytes())
        (tmp_path / "model.engine").write_bytes(b"not a plan")
        with pytest.raises(CompileFailed, match=r"TensorRT cannot load this engine: .*magicTagRead"):
            client.load(tmp_path, self.complete())

    def test_an_empty_artefact_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="holds no engine of gpu-trt: compile the model anew"):
            client.load(tmp_path, self.complete())

    def test_tf32_is_refused_on_a_gpu_without_it(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match=r"compute capability 7\.5 and TF32 begins with 8\.0; use fp32 or fp16"):
            self.placed(client, models, tmp_path, precision="tf32")

    @pytest.mark.parametrize("kind", ["saved_model", "keras"])
    def test_what_tensorflow_made_reads_the_digits_as_before(
        self, client: WorkerClient, tmp_path: Path, zoo: Zoo, digits_val: Examples, kind: str
    ) -> None:
        path = zoo.saved_model("digits_cnn") if kind == "saved_model" else zoo.keras_file("digits_cnn")
        digits, labels = digits_val
        options = self.complete(batch_size=len(labels), profile="" if kind == "keras" else f"1:8:{len(labels)}")
        converted = client.convert(Source(kind, str(path)), tmp_path / "converted", options)
        source = Source(converted.kind, str(tmp_path / "converted" / converted.path))
        client.compile(source, tmp_path / "artefact", options)
        loaded = client.load(tmp_path / "artefact", options)
        (scores,) = client.predict({loaded.signature.inputs[0].name: digits}).values()
        assert np.mean(scores.argmax(axis=1) == labels) == pytest.approx(zoo.accuracy("digits_cnn"), abs=0.003)


class OtherRelease(EachRelease):
    batch_sizes = (1,)
    # Converters say so, whatever TensorRT there is, and TensorFlow takes seconds for it.
    test_an_absent_source_is_refused_by_name = None  # type: ignore[assignment]


class TestTensorRt8(OtherRelease):
    release = "8.6"

    def test_an_option_that_this_release_has_not_is_refused_by_name(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(CompileFailed, match=r"8\.6\.1 has no 'tiling_optimization_level=fast': leave"):
            self.compiled(client, onnx(models, "convolution"), tmp_path, extra={"tiling_optimization_level": "fast"})

    def test_a_number_beyond_int32_is_refused(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        client.compile(onnx(models, "indices"), tmp_path, self.complete())
        client.load(tmp_path, self.complete())
        with pytest.raises(UnfitInput, match="'ids' has values beyond INT32, and this TensorRT has no INT64"):
            client.predict({"ids": np.array([[7, 0, 2**32]])})

    def test_calibration_data_beyond_int32_are_refused(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        ids = {"ids": np.array([[7, 0, 2**32]])}
        with pytest.raises(CompileFailed, match="'ids' has values beyond INT32, and this TensorRT has no INT64"):
            client.compile(onnx(models, "tokens"), tmp_path, self.complete(precision="int8"), calibration=[ids])


class TestTensorRt11(OtherRelease):
    release = "11"
    gpu = "A10G"

    def test_what_nvml_says_of_another_gpu_is_left_out(self, client: WorkerClient) -> None:
        found = client.probe()
        assert isinstance(found, Present)
        assert (found.device, found.identity["gpu"]) == ("NVIDIA A10G", "NVIDIA A10G")
        assert "gpu_power_limit_w" not in found.identity, "which is a T4's here"
        assert found.peak_flops == pytest.approx(280e12, rel=0.01)

    def test_no_other_precision_beside_int8_is_to_be_had(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(CompileFailed, match=r"beside_int8='fp16': TensorRT 11\.4\.0\.106 computes in the types"):
            self.placed(client, models, tmp_path, precision="int8", beside_int8="fp16")

    def test_tf32_is_had_when_asked_for(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        placement = self.placed(client, models, tmp_path, precision="tf32")
        assert placement.operators["mix"] == "gpu:tf32"


@pytest.mark.parametrize("mps", [False, True])
def test_a_gpu_for_one_process_is_told_before_the_second_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mps: bool
) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "pipes").mkdir()
    make_nvidia_host(monkeypatch, tmp_path / "host", "cuda", "tensorrt", misbehaves="exclusive")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "pipes"))
    if mps:
        (tmp_path / "pipes" / "control").touch()
    reference, options = f"{GpuTrt.__module__}:GpuTrt", StandIn.complete()
    with (
        Worker("gpu-trt", reference, log_dir=tmp_path) as compiling,
        Worker("gpu-trt", reference, log_dir=tmp_path) as measuring,
    ):
        first, second = (WorkerClient(worker, StandIn.deadlines) for worker in (compiling, measuring))
        found = first.probe()
        if isinstance(found, Missing):
            assert (found.kind, mps) == ("busy", False)
            assert "a check needs several: one compiles, others measure" in found.reason
            return
        first.compile(first.yardstick(tmp_path / "model"), tmp_path / "artefact", options)
        assert second.predict(made_up(second.load(tmp_path / "artefact", options), rows=1))


def test_heat_between_two_questions_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_nvidia_host(monkeypatch, tmp_path, "cuda", "tensorrt", misbehaves="hot-between")
    options = StandIn.complete()
    with Worker("gpu-trt", f"{GpuTrt.__module__}:GpuTrt", log_dir=tmp_path) as worker:
        client = WorkerClient(worker, StandIn.deadlines)
        client.compile(client.yardstick(tmp_path / "model"), tmp_path / "artefact", options)
        client.stage([made_up(client.load(tmp_path / "artefact", options), rows=1)])
        timed = client.measure("single_stream", calls=3, checks=0)
        assert "the device was held back by heat for" in timed.conditions.throttled
        assert "the device was held back by heat for" in client.time_block(calls=3, settle=1).throttled


def test_outputs_that_are_not_there_yet_are_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_nvidia_host(monkeypatch, tmp_path, "cuda", "tensorrt", misbehaves="returns-early")
    options = StandIn.complete()
    with Worker("gpu-trt", f"{GpuTrt.__module__}:GpuTrt", log_dir=tmp_path) as worker:
        client = WorkerClient(worker, StandIn.deadlines)
        client.compile(client.yardstick(tmp_path / "model"), tmp_path / "artefact", options)
        loaded = client.load(tmp_path / "artefact", options)
        assert np.isnan(client.predict(made_up(loaded, rows=1))["scores"]).all()


def built(artefact: Path) -> dict[str, Any]:
    """How the stand-in built the engine of an artefact."""
    made: dict[str, Any] = json.loads((artefact / "model.engine").read_bytes().partition(b"\n")[0])["built_with"]
    return made


def batches(count: int, *, size: int) -> list[Arrays]:
    """Images in batches."""
    return [
        {"image": np.concatenate([image["image"] for image in images(size, seed=seed)])} for seed in range(1, count + 1)
    ]


def test_calls_that_cannot_be_recorded_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_nvidia_host(monkeypatch, tmp_path, "cuda", "tensorrt", misbehaves="no-graph")
    options = StandIn.complete(cuda_graph=True)
    with Worker("gpu-trt", f"{GpuTrt.__module__}:GpuTrt", log_dir=tmp_path) as worker:
        client = WorkerClient(worker, StandIn.deadlines)
        client.compile(client.yardstick(tmp_path / "model"), tmp_path / "artefact", options)
        loaded = client.load(tmp_path / "artefact", options)
        with pytest.raises(UnfitInput, match=r"be recorded as a CUDA graph: .* is capturing.*; leave cuda_graph"):
            client.predict(made_up(loaded, rows=1))


def test_a_model_of_more_than_two_gigabytes_is_parsed_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_nvidia_host(monkeypatch, tmp_path, "cuda", "tensorrt")
    options, answers = StandIn.complete(), []
    for kind in (GpuTrt, LittleRoom):
        with Worker("gpu-trt", f"{kind.__module__}:{kind.__name__}", log_dir=tmp_path) as worker:
            client = WorkerClient(worker, StandIn.deadlines)
            client.compile(client.yardstick(tmp_path / "model"), tmp_path / kind.__name__, options)
            answers.append(client.predict(made_up(client.load(tmp_path / kind.__name__, options), rows=1))["scores"])
    np.testing.assert_array_equal(answers[0], answers[1])


IN_FLIGHT = """
import sys
import numpy as np
from cuda import _runtime as cuda
from pytest_accel.worker.accelerators.tensorrt.gpu_trt import GpuTrt
from pytest_accel.worker.timing import single_calls
options = {name: option.default for name, option in GpuTrt.options().items()}
accelerator, seen = GpuTrt(), []
source = accelerator.yardstick(sys.argv[1])
accelerator.compile(source, sys.argv[1], options, lambda *_: None)
inputs, _ = accelerator.load(sys.argv[1], options)
staged = [accelerator.stage({each.name: np.ones(each.shape, each.dtype) for each in inputs}) for _ in range(2)]
wait = cuda.board.run
cuda.board.run = lambda handle: (seen.append(sum(map(bool, cuda.board.streams.values()))), wait(handle))[1]
getattr(single_calls, sys.argv[2])(accelerator, staged, 6, 0)
print(*seen)
"""


@pytest.mark.parametrize(("shape", "at_each_wait"), [("single_stream", [1] * 6), ("offline", [2, 1, *[2] * 5, 1])])
def test_offline_has_work_in_a_second_stream_while_it_waits_for_the_first(
    tmp_path: Path, shape: str, at_each_wait: list[int]
) -> None:
    path = [STANDINS / sdk for sdk in ("tensorrt", "cuda", "pynvml")]
    seen = run("-c", IN_FLIGHT, str(tmp_path), shape, path=path, STANDIN_MISBEHAVES="")
    assert [int(streams) for streams in seen.split()] == at_each_wait
