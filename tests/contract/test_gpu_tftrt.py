"""``gpu-tftrt`` against the stand-in of TF-TRT, and what the real one says without TensorRT."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.processes import process
from pytest_accel.processes.client import WorkerClient
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing, Source
from pytest_accel.worker.accelerators.tensorflow.gpu_tftrt import GpuTfTrt
from tests.contract.test_cpu import YARDSTICK_MULTIPLY_ADDS
from tests.contract.wheels import ROOT, run
from tests.standins.nvidia_host import make_nvidia_host

if TYPE_CHECKING:
    from pytest_accel.processes.client import Loaded

pytestmark = [
    pytest.mark.skipif(not any(distributions(name="tensorflow")), reason="needs pip install 'pytest-accel[cpu]'"),
    pytest.mark.slow,  # its workers import TensorFlow
    pytest.mark.usefixtures("forked_workers"),
]
GPU_TFTRT = f"{GpuTfTrt.__module__}:{GpuTfTrt.__name__}"
SIGNATURES = """
import inspect, json, sys
import tensorflow
converter = tensorflow.experimental.tensorrt.Converter
told = {name: str(inspect.signature(getattr(converter, name)))
        for name in ("__init__", "convert", "build", "save")}
print(json.dumps(told))
"""


class TestGpuTfTrt(AcceleratorContract):
    accelerator = GpuTfTrt
    batch_sizes = (1,)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def machine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """A machine with a GPU and a TensorFlow that was built with TensorRT."""
        with pytest.MonkeyPatch.context() as patch:
            make_nvidia_host(patch, tmp_path_factory.mktemp("host"), "tensorflow_gpu")
            yield

    def test_the_release_of_tensorrt_is_told(self, client: WorkerClient) -> None:
        versions = client.versions()
        assert (versions["tensorrt"], versions["nvidia-driver"]) == ("8.6.1", "580.126.09")

    def test_all_of_it_is_in_an_engine_in_fp32(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, flops = client.placement()
        assert placement.on_device == 1.0
        assert set(placement.operators.values()) == {"gpu:float32"}
        assert any("Conv2D" in name for name in placement.operators)
        assert flops == pytest.approx(2 * YARDSTICK_MULTIPLY_ADDS, rel=0.03)

    @pytest.mark.parametrize("precision", ["fp16", "int8"])
    def test_what_a_layer_computes_in_is_not_told_in_narrow_precisions(
        self, client: WorkerClient, source: Source, artefact: Path, tmp_path: Path, precision: str
    ) -> None:
        inputs = made_up(client.load(artefact, self.complete()), rows=1)
        (exact,) = client.predict(inputs).values()
        options = self.complete(precision=precision)
        client.compile(source, tmp_path, options, calibration=[inputs])
        client.load(tmp_path, options)
        (rounded,) = client.predict(inputs).values()
        assert 0 < np.abs(rounded - exact).max() < 0.01
        assert client.placement()[0].precisions.keys() == {"unknown"}

    def test_int8_needs_calibration_data(self, client: WorkerClient, source: Source, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="calibration"):
            client.compile(source, tmp_path, self.complete(precision="int8"))

    def test_an_onnx_file_is_for_gpu_trt(self, client: WorkerClient, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="takes a saved_model or a keras source, not 'onnx': use gpu-trt"):
            client.compile(Source("onnx", str(tmp_path / "a.onnx")), tmp_path / "artefact", self.complete())

    @pytest.mark.parametrize("fact", ["tensorflow", "tensorrt", "gpu"])
    def test_engines_from_elsewhere_are_refused(
        self, client: WorkerClient, artefact: Path, tmp_path: Path, fact: str
    ) -> None:
        facts = json.loads((artefact / "facts.json").read_text())
        (tmp_path / "facts.json").write_text(json.dumps({**facts, fact: "another"}))
        with pytest.raises(CompileFailed, match=rf"built for {fact} another, and here is .*: compile them anew"):
            client.load(tmp_path, self.complete())

    @pytest.mark.parametrize(
        ("habit", "message"),
        [
            ("no-tensorrt", "TensorFlow 2.17 was the last release with TF-TRT: set accel_python to an environment"),
            (
                "no-engine",
                "TensorRT has no engine for a part of the model, which TensorFlow would compute without a word",
            ),
            ("leaves-all", "TensorRT takes no part of this model, and all .* operators would be TensorFlow's"),
        ],
    )
    def test_what_would_be_tensorflows_alone_is_refused_with_what_to_do(
        self, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, habit: str, message: str
    ) -> None:
        monkeypatch.setenv("STANDIN_MISBEHAVES", habit)
        with (
            process.Worker("gpu-tftrt", GPU_TFTRT, log_dir=tmp_path) as worker,
            pytest.raises(CompileFailed, match=message),
        ):
            WorkerClient(worker, self.deadlines).compile(source, tmp_path / "artefact", self.complete())

    def test_what_is_left_to_tensorflow_is_named(
        self, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STANDIN_MISBEHAVES", "leaves-operator")
        with process.Worker("gpu-tftrt", GPU_TFTRT, log_dir=tmp_path) as worker:
            client = WorkerClient(worker, self.deadlines)
            client.compile(source, tmp_path / "artefact", self.complete())
            assert client.predict(made_up(client.load(tmp_path / "artefact", self.complete()), rows=1))
            placement, _ = client.placement()
        assert [name for name, where in placement.operators.items() if where == "tensorflow:float32"]
        assert placement.on_device is not None
        assert 0.9 < placement.on_device < 1.0


def test_a_tensorflow_without_tensorrt_is_told_by_the_probe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    make_nvidia_host(monkeypatch, tmp_path / "host", "tensorflow_gpu", misbehaves="no-tensorrt")
    with process.Worker("gpu-tftrt", GPU_TFTRT, log_dir=tmp_path) as worker:
        missing = WorkerClient(worker, TestGpuTfTrt.deadlines).probe()
    assert isinstance(missing, Missing)
    assert missing.kind == "no-sdk"
    assert "was built without TensorRT; 2.17 was the last release with it" in missing.reason
    assert "TensorFlow 2.17 with TensorRT 8.6, or use gpu-trt" in missing.action


def test_the_stand_in_takes_what_the_real_converter_takes() -> None:
    real = json.loads(run("-W", "ignore", "-c", SIGNATURES, path=[]).splitlines()[-1])
    path = [ROOT / "tests/standins" / name for name in ("tensorflow_gpu", "pynvml")]
    standin = run("-W", "ignore", "-c", SIGNATURES, path=path, STANDIN_MISBEHAVES="")
    for name, told in json.loads(standin.splitlines()[-1]).items():
        assert names_and_defaults(told) == names_and_defaults(real[name]), name


def names_and_defaults(signature: str) -> list[str]:
    """The parameters of a signature in words, without their types."""
    inside = inspect.cleandoc(signature.partition(" -> ")[0])[1:-1]
    parts, depth, part = [], 0, ""
    for letter in inside + ",":
        depth += (letter in "[(") - (letter in ")]")
        if letter == "," and not depth:
            name, _, default = part.strip().partition("=")
            parts.append(f"{name.partition(':')[0].strip()}={default.strip()}")
            part = ""
        else:
            part += letter
    return parts
