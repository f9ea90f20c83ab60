"""The contract of ``gpu`` on the stand-in for a GPU, which computes with the TensorFlow that is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.processes.client import Loaded, WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing, Source
from pytest_accel.worker.accelerators.tensorflow.gpu import Gpu
from pytest_accel.worker.hardware import device_files
from tests.contract.test_cpu import YARDSTICK_MULTIPLY_ADDS
from tests.standins.nvidia_host import make_nvidia_host

pytestmark = pytest.mark.slow  # its workers import TensorFlow


class TestGpu(AcceleratorContract):
    accelerator = Gpu

    @pytest.fixture(scope="class")
    @classmethod
    def python(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            make_nvidia_host(patch, tmp_path_factory.mktemp("host"), "tensorflow_gpu")
            yield sys.executable

    def test_the_gpu_is_told_by_its_own_facts(self, client: WorkerClient) -> None:
        found = client.probe()
        assert not isinstance(found, Missing)
        assert found.device == found.identity["gpu"] == "Tesla T4"
        assert (found.identity["compute_capability"], found.identity["gpu_power_limit_w"]) == ("7.5", 70)
        assert found.peak_flops == pytest.approx(130e12, rel=0.01)
        assert found.peaks["fp32"] == pytest.approx(8.1e12, rel=0.01)
        versions = client.versions()
        assert (versions["nvidia-driver"], versions["cuda"]) == ("580.126.09", "12.5.1")

    def test_all_of_it_runs_on_the_gpu_in_fp32(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, flops = client.placement()
        assert placement.on_device == 1.0
        assert placement.precisions.keys() == {"float32"}
        assert any("Conv2D" in name for name in placement.operators)
        assert flops == pytest.approx(2 * YARDSTICK_MULTIPLY_ADDS, rel=0.03)

    def test_xla_computes_the_same_on_the_gpu(self, client: WorkerClient, artefact: Path, loaded: Loaded) -> None:
        inputs = made_up(loaded, rows=1)
        (expected,) = client.predict(inputs).values()
        client.load(artefact, self.complete(xla=True))
        (answer,) = client.predict(inputs).values()
        np.testing.assert_allclose(answer, expected, rtol=1e-4)
        placement, _ = client.placement()
        assert placement.on_device == 1.0
        assert len(placement.operators) > 20

    def test_fp16_is_fp16_and_can_be_left_again(self, client: WorkerClient, artefact: Path, loaded: Loaded) -> None:
        inputs = made_up(loaded, rows=1)
        precisions, answers = [], []
        for precision in ("fp32", "fp16", "fp32"):
            client.load(artefact, self.complete(precision=precision))
            answers.append(next(iter(client.predict(inputs).values())))
            precisions.append(client.placement()[0].precisions)
        assert "float16" in precisions[1]
        assert precisions[0] == precisions[2]
        np.testing.assert_array_equal(answers[0], answers[2])
        assert 0 < np.abs(answers[1] - answers[0]).max() < 1e-3

    def test_tf32_is_refused_where_the_gpu_has_none(self, client: WorkerClient, artefact: Path) -> None:
        with pytest.raises(CompileFailed, match=r"this GPU has compute capability 7\.5 and TF32 begins with 8\.0"):
            client.load(artefact, self.complete(precision="tf32"))

    def test_its_memory_is_told(self, client: WorkerClient, loaded: Loaded) -> None:
        client.stage([made_up(loaded, rows=1)])
        assert client.measure("single_stream", calls=2, checks=0).device_memory_mb == 360


class TestGpuItself(AcceleratorContract):
    """The contract on a real GPU, where there is one."""

    accelerator = Gpu
    rtol = 1e-5  # cuDNN may choose another algorithm after loading anew

    def test_fp32_is_fp32_on_the_gpu(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, _ = client.placement()
        assert placement.precisions.keys() == {"float32"}
        assert placement.on_device is not None
        assert placement.on_device > 0.9


def test_a_time_ends_with_the_kernels_and_what_ran_elsewhere_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "host").mkdir()
    make_nvidia_host(monkeypatch, tmp_path / "host", "tensorflow_gpu", misbehaves="returns-early,host-operator")
    options = TestGpu.complete()
    with Worker("gpu", f"{Gpu.__module__}:Gpu", log_dir=tmp_path) as worker:
        client = WorkerClient(worker, TestGpu.deadlines)
        if isinstance(client.probe(), Missing):
            pytest.skip("needs TensorFlow: pip install 'pytest-accel[cpu]'")
        model = tmp_path / "model"
        script = WRITE_DENSE.format(folder=model)
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
        client.compile(Source("saved_model", str(model)), tmp_path / "artefact", options)
        client.stage([made_up(client.load(tmp_path / "artefact", options), rows=1)])
        timed = client.measure("single_stream", calls=3, checks=0)
        assert min(timed.latencies_ns) >= 19e6, "the stand-in's kernels take 20 ms"
        assert timed.parts_ms.keys() == {"copying to the GPU", "copying back"}
        assert 0 < sum(timed.parts_ms.values()) < 15, "the kernels are no part of copying"
        placement, _ = client.placement()
        (product,) = (name for name in placement.operators if "MatMul" in name)
        assert placement.operators[product] == "cpu:float32"
        assert placement.on_device == 0.5


WRITE_DENSE = """
import tensorflow
class Model(tensorflow.Module):
    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 4], name="x")])
    def serve(self, x):
        return {{"y": tensorflow.linalg.matmul(tensorflow.nn.elu(x), tensorflow.ones([4, 3]))}}
model = Model()
tensorflow.saved_model.save(model, "{folder}", signatures={{"serving_default": model.serve}})
"""


def test_tensorflow_itself_says_why_it_has_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if device_files.missing_nvidia() is None:
        pytest.skip("there is a GPU")
    (tmp_path / "host").mkdir()
    make_nvidia_host(monkeypatch, tmp_path / "host")
    with Worker("gpu", f"{Gpu.__module__}:Gpu", log_dir=tmp_path) as worker:
        missing = WorkerClient(worker, TestGpu.deadlines).probe()
    assert isinstance(missing, Missing)
    assert missing.kind in ("no-driver", "no-sdk")
    assert re.search("sees no GPU: .*(cuda|CUDA|GPU)|was built without CUDA", missing.reason)
