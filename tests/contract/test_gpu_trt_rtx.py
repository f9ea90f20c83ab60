"""``gpu-trt-rtx`` on a stand-in of a GPU. `tests.contract.test_real_tensorrt_rtx` runs NVIDIA's own compiler."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.processes.client import WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.worker.accelerator import Missing, Present, Target
from pytest_accel.worker.accelerators.tensorrt.gpu_trt_rtx import GpuTrtRtx
from tests.contract.building_engines import BuildsEngines, HasNoNonZero
from tests.contract.compiling import onnx
from tests.contract.test_gpu_trt import OtherRelease, batches
from tests.standins.nvidia_host import make_nvidia_host
from tests.standins.tensorrt_release import choose_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_accel.facts.fact import Scalar

REFERENCE = f"{GpuTrtRtx.__module__}:GpuTrtRtx"


def make_machine(patch: pytest.MonkeyPatch, folder: Path, gpu: str = "A10G") -> None:
    """A machine with this GPU and TensorRT for RTX."""
    make_nvidia_host(patch, folder, "cuda", "tensorrt_rtx", "tensorrt", "tensorflow_gpu")
    choose_release(patch, "11")
    patch.setenv("STANDIN_GPU", gpu)


class TestTensorRtRtx(BuildsEngines, HasNoNonZero, OtherRelease):
    accelerator = GpuTrtRtx
    numbers: ClassVar[Mapping[str, Scalar]] = {"l2_limit_for_tiling": 4096, "max_aux_streams": 2}
    # Its options have no timing cache and no CUDA graph, and its parser no NonZero.
    test_a_timing_cache_is_read_and_kept = None  # type: ignore[assignment]
    test_a_cuda_graph_repeats_the_same_kernels_for_each_shape = None  # type: ignore[assignment]
    test_outputs_whose_shape_depends_on_values_have_the_shape_of_their_call = None  # type: ignore[assignment]
    test_a_cuda_graph_of_outputs_whose_shape_depends_on_values_is_refused = None  # type: ignore[assignment]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def machine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            make_machine(patch, tmp_path_factory.mktemp("host"))
            yield

    def test_int8_convolves_in_int8_and_names_what_it_left(
        self, client: WorkerClient, models: Path, tmp_path: Path
    ) -> None:
        placement = self.placed(client, models, tmp_path, precision="int8")
        assert placement.operators["convolve"] == placement.operators["mix"] == "gpu:int8"
        assert placement.operators["normalise (Mul)"] == "gpu:float32"
        assert placement.precisions.keys() == {"int8", "float32"}

    def test_the_placement_is_that_of_the_compiler(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        placement = self.placed(client, models, tmp_path, precision="fp16")
        assert client.inspect(tmp_path, self.complete(precision="fp16")).placement == placement

    def test_tf32_is_not_told_from_fp32(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        placement = self.placed(client, models, tmp_path, precision="tf32")
        assert placement.operators["mix"] == "gpu:unknown"
        assert placement.precisions == {"unknown": 4}

    @pytest.mark.parametrize(("precision", "runnable"), [("fp32", False), ("fp16", True), ("int8", True)])
    def test_what_was_compiled_below_fp32_can_be_run_elsewhere(
        self, client: WorkerClient, models: Path, tmp_path: Path, precision: str, runnable: bool
    ) -> None:
        import onnxruntime

        self.compiled(client, onnx(models, "convolution"), tmp_path, precision=precision)
        model = client.inspect(tmp_path, self.complete(precision=precision)).model
        assert (model is not None) == runnable
        if model is not None:
            inputs = batches(1, size=1)[0]
            wanted = onnxruntime.SessionOptions()
            wanted.add_session_config_entry("session.disable_quant_qdq", "1")  # INT8 kernels may overflow
            (answer,) = onnxruntime.InferenceSession(model.path, wanted).run(["norm"], inputs)
            np.testing.assert_allclose(answer, client.predict(inputs)["norm"], rtol=1e-3, atol=1e-3)

    def test_the_target_is_the_gpu_that_is_here_unless_another_is_named(self, client: WorkerClient) -> None:
        here, elsewhere = client.target(self.complete()), client.target(self.complete(target="sm120"))
        assert isinstance(here, Target)
        assert isinstance(elsewhere, Target)
        assert (here.device, elsewhere.device) == ("sm86", "sm120")
        assert here.versions["tensorrt-rtx"] == "1.7.1.116"
        assert not {"nvidia-driver", "cuda-driver"} & here.versions.keys(), "which another machine has others of"

    @pytest.mark.parametrize(("target", "taken"), [("sm75", False), ("", True), ("sm120", True)])
    def test_tf32_is_refused_for_a_target_without_it(
        self, client: WorkerClient, models: Path, tmp_path: Path, target: str, taken: bool
    ) -> None:
        options = self.complete(precision="tf32", target=target)
        if taken:
            client.compile(onnx(models, "convolution"), tmp_path, options)
        else:
            with pytest.raises(CompileFailed, match=r"compute capability 7\.5 and TF32 begins with 8\.0"):
                client.compile(onnx(models, "convolution"), tmp_path, options)

    def test_an_engine_for_another_gpu_is_refused(self, client: WorkerClient, models: Path, tmp_path: Path) -> None:
        options = self.complete(target="sm89")
        client.compile(onnx(models, "convolution"), tmp_path, options)
        with pytest.raises(CompileFailed, match="built for compute_capability sm89, and here is sm86: compile it anew"):
            client.load(tmp_path, options)

    def test_an_engine_of_another_release_is_refused(
        self, client: WorkerClient, artefact: Path, tmp_path: Path
    ) -> None:
        facts = json.loads((artefact / "facts.json").read_text())
        (tmp_path / "facts.json").write_text(json.dumps({**facts, "tensorrt-rtx": "1.4.0.76"}))
        (tmp_path / "model.engine").write_bytes((artefact / "model.engine").read_bytes())
        with pytest.raises(
            CompileFailed, match=r"built for tensorrt-rtx 1\.4\.0\.76, and here is 1\.7\.1\.116: compile"
        ):
            client.load(tmp_path, self.complete())

    def test_its_own_versions_are_told(self, client: WorkerClient) -> None:
        assert {"tensorrt-rtx": "1.7.1.116", "nvidia-driver": "580.126.09"}.items() <= client.versions().items()


def test_kernels_are_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host").mkdir()
    make_machine(monkeypatch, tmp_path / "host")
    cache, options = tmp_path / "kernels", TestTensorRtRtx.complete(runtime_cache=str(tmp_path / "kernels"))
    first, second = (_kernels_after_a_load(tmp_path, cache, options) for _ in range(2))
    assert first
    assert first == second, "compiled by the same process"
    cache.write_text(json.dumps({"gpu": "SM75", "kernels": {"mine": 1}}))
    third = _kernels_after_a_load(tmp_path, cache, options)
    assert third.keys() == first.keys(), "those of another GPU are replaced"
    assert third != first


def _kernels_after_a_load(folder: Path, cache: Path, options: Mapping[str, Scalar]) -> dict[str, int]:
    """The kernels in the cache, each with the process that compiled it, when a worker has loaded the yardstick."""
    with Worker("gpu-trt-rtx", REFERENCE, log_dir=folder) as worker:
        client = WorkerClient(worker, TestTensorRtRtx.deadlines)
        artefact = folder / "artefact"
        if not artefact.exists():
            client.compile(client.yardstick(folder / "model"), artefact, options)
        loaded = client.load(artefact, options)
        kernels: dict[str, int] = json.loads(cache.read_text())["kernels"]
        assert loaded.signature.inputs
    return kernels


@pytest.mark.parametrize(("gpu", "found"), [("T4", "sm75"), ("H200", "")])
def test_a_gpu_that_it_does_not_build_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: str, found: str
) -> None:
    make_machine(monkeypatch, tmp_path, gpu)
    with Worker("gpu-trt-rtx", REFERENCE, log_dir=tmp_path) as worker:
        probed = WorkerClient(worker, TestTensorRtRtx.deadlines).probe()
    if found:
        assert isinstance(probed, Present)
    else:
        assert isinstance(probed, Missing)
        assert probed.reason == "TensorRT for RTX does not build for NVIDIA H200, of compute capability 9.0"
        assert probed.action == "use gpu-trt, or an RTX GPU"


def test_without_an_sdk_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_nvidia_host(monkeypatch, tmp_path, "cuda")
    with Worker("gpu-trt-rtx", REFERENCE, log_dir=tmp_path) as worker:
        probed = WorkerClient(worker, TestTensorRtRtx.deadlines).probe()
    assert isinstance(probed, Missing)
    assert probed.reason.startswith("TensorRT for RTX cannot be used: No module named 'tensorrt_rtx")
    assert probed.action == "pip install 'pytest-accel[gpu-trt-rtx]'"
