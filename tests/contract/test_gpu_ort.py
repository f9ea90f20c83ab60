"""The contract of ``gpu-ort`` on the stand-in for a GPU, which computes with the ONNX Runtime that is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.processes.client import Loaded, WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing, Source
from pytest_accel.worker.accelerators.onnx_runtime.gpu_ort import GpuOrt
from tests.contract.test_cpu import YARDSTICK_MULTIPLY_ADDS
from tests.standins.nvidia_host import make_nvidia_host

if TYPE_CHECKING:
    from tests.models.zoo import Zoo


class TestGpuOrt(AcceleratorContract):
    accelerator = GpuOrt

    @pytest.fixture(scope="class")
    @classmethod
    def python(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            make_nvidia_host(patch, tmp_path_factory.mktemp("host"), "onnxruntime_gpu", "tensorflow_gpu")
            yield sys.executable

    def test_the_gpu_is_told_by_its_own_facts(self, client: WorkerClient) -> None:
        found = client.probe()
        assert not isinstance(found, Missing)
        assert found.device == found.identity["gpu"] == "Tesla T4"
        assert found.peak_flops == pytest.approx(130e12, rel=0.01)
        assert found.peaks["fp32"] == pytest.approx(8.1e12, rel=0.01)
        assert client.versions()["nvidia-driver"] == "580.126.09"

    def test_all_of_it_runs_on_the_gpu_in_fp32(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, flops = client.placement()
        assert placement.on_device == 1.0
        assert placement.precisions.keys() == {"float32"}
        assert set(placement.operators.values()) == {"gpu:float32"}
        assert len(placement.operators) > 20
        assert flops == 2 * YARDSTICK_MULTIPLY_ADDS

    def test_fp16_is_fp16_with_inputs_and_outputs_as_before(
        self, client: WorkerClient, source: Source, tmp_path: Path, loaded: Loaded
    ) -> None:
        inputs = made_up(loaded, rows=1)
        (exact,) = client.predict(inputs).values()
        options = self.complete(precision="fp16")
        client.compile(source, tmp_path, options)
        assert client.load(tmp_path, options).signature == loaded.signature
        (half,) = client.predict(inputs).values()
        assert 0 < np.abs(half - exact).max() < 0.01
        assert client.placement()[0].precisions["float16"] >= 20

    def test_tensorrt_is_asked_for_before_cuda_and_its_precision_is_not_known(
        self, client: WorkerClient, source: Source, tmp_path: Path
    ) -> None:
        options = self.complete(provider="tensorrt")
        client.compile(source, tmp_path, options)
        client.load(tmp_path, options)
        placement, _ = client.placement()
        assert set(placement.operators.values()) == {"gpu:unknown"}
        assert placement.on_device == 1.0

    def test_reductions_are_those_that_are_served(self, client: WorkerClient, loaded: Loaded) -> None:
        client.stage([made_up(loaded, rows=1)])
        timed = client.measure("single_stream", calls=5, checks=0)
        assert min(timed.latencies_ns) < 1e8, "the stand-in's slow ones take 100 ms"

    def test_a_cuda_graph_answers_what_it_is_asked_each_time(
        self, client: WorkerClient, artefact: Path, loaded: Loaded
    ) -> None:
        asked = [made_up(loaded, rows=1, seed=seed) for seed in (1, 2, 1)]
        expected = [client.predict(inputs) for inputs in asked]
        client.load(artefact, self.complete(extra={"enable_cuda_graph": True}))
        for inputs, outputs in zip(asked, expected, strict=True):
            self.assert_same(client.predict(inputs), outputs)
        assert set(client.placement()[0].operators.values()) == {"gpu:float32"}

    def test_converting_with_tensorflow_leaves_the_gpus_memory_to_onnx_runtime(
        self, client: WorkerClient, tmp_path: Path, zoo: Zoo
    ) -> None:
        for kind, path in (("saved_model", zoo.saved_model("digits_cnn")), ("keras", zoo.keras_file("digits_cnn"))):
            converted = client.convert(Source(kind, str(path)), tmp_path / kind, self.complete())
            source = Source(converted.kind, str(tmp_path / kind / converted.path))
            client.compile(source, tmp_path / "artefact", self.complete())
            assert client.predict(made_up(client.load(tmp_path / "artefact", self.complete()), rows=1))

    def test_tf32_is_refused_where_the_gpu_has_none(self, client: WorkerClient, artefact: Path) -> None:
        with pytest.raises(CompileFailed, match=r"this GPU has compute capability 7\.5 and TF32 begins with 8\.0"):
            client.load(artefact, self.complete(precision="tf32"))


@pytest.mark.slow
class TestGpuOrtItself(AcceleratorContract):
    """The contract on a real GPU, where there is one."""

    accelerator = GpuOrt
    rtol = 1e-5  # cuDNN may choose another algorithm after loading anew

    def test_fp32_is_fp32_on_the_gpu(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, _ = client.placement()
        assert placement.precisions.keys() == {"float32"}
        assert placement.on_device is not None
        assert placement.on_device > 0.9


def test_a_slice_of_a_card_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    make_nvidia_host(monkeypatch, tmp_path / "host", "onnxruntime_gpu", misbehaves="mig")
    with Worker("gpu-ort", f"{GpuOrt.__module__}:GpuOrt", log_dir=tmp_path) as worker:
        found = WorkerClient(worker, TestGpuOrt.deadlines).probe()
    if isinstance(found, Missing):
        pytest.skip("needs ONNX Runtime: pip install 'pytest-accel[cpu-ort]'")
    assert found.device == "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    assert (found.identity["sm_count"], str(found.identity["gpu_uuid"])[:4]) == (14, "MIG-")


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerClient]:
    """A worker before a GPU whose provider has no kernel for GlobalAveragePool."""
    (tmp_path / "host").mkdir()
    make_nvidia_host(monkeypatch, tmp_path / "host", "onnxruntime_gpu", misbehaves="host-operator")
    with Worker("gpu-ort", f"{GpuOrt.__module__}:GpuOrt", log_dir=tmp_path) as worker:
        client = WorkerClient(worker, TestGpuOrt.deadlines)
        if isinstance(client.probe(), Missing):
            pytest.skip("needs ONNX Runtime: pip install 'pytest-accel[cpu-ort]'")
        yield client


def test_operators_without_a_kernel_are_refused_by_name(on_host: WorkerClient, tmp_path: Path) -> None:
    source = on_host.yardstick(tmp_path / "source")
    with pytest.raises(
        CompileFailed,
        match="CUDAExecutionProvider has no kernel for GlobalAveragePool 'pool': replace them in the model, or let "
        r"them run on the processor with cpu_operators=True \(.*fallback to CPU EP has been explicitly disabled",
    ):
        on_host.compile(source, tmp_path / "artefact", TestGpuOrt.complete())


def test_operators_that_may_run_on_the_processor_are_told(on_host: WorkerClient, tmp_path: Path) -> None:
    source, options = on_host.yardstick(tmp_path / "source"), TestGpuOrt.complete(cpu_operators=True)
    on_host.compile(source, tmp_path / "artefact", options)
    on_host.load(tmp_path / "artefact", options)
    placement, _ = on_host.placement()
    assert list(placement.operators.values()).count("cpu:float32") == 1
    assert placement.on_device is not None
    assert 0.9 < placement.on_device < 1.0
