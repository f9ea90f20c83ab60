"""``gpu-ort`` before the real onnxruntime-gpu, on a machine without a GPU: its names, and its words when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.processes.client import WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.worker.accelerator import Missing
from pytest_accel.worker.accelerators.onnx_runtime import provider_options
from pytest_accel.worker.accelerators.onnx_runtime.gpu_ort import GpuOrt
from pytest_accel.worker.hardware import device_files
from tests.contract import test_gpu_ort
from tests.standins.nvidia_host import make_nvidia_host

pytestmark = pytest.mark.slow  # it downloads 250 MB
contract = test_gpu_ort.TestGpuOrt
#: The release that the stand-in was written from.
RELEASE = "onnxruntime-gpu==1.31.1"
NAMES = {
    "cuda": (b"CUDAExecutionProvider", b"device_id", b"use_tf32", *map(str.encode, provider_options.CUDA)),
    "tensorrt": (
        *(b"TensorrtExecutionProvider", b"trt_fp16_enable"),
        *(b"trt_engine_cache_enable", b"trt_engine_cache_path"),
        *map(str.encode, provider_options.TENSORRT),
    ),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked but not installed: it has the name of the package that the suite uses."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), RELEASE]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"{RELEASE} is not to be had here: {tried.stderr.strip().splitlines()[-1]}")
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture
def client(wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerClient]:
    if device_files.missing_nvidia() is None:
        pytest.skip("there is a GPU, so nothing would fail")
    (tmp_path / "host").mkdir()
    make_nvidia_host(monkeypatch, tmp_path / "host")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(wheel), os.environ["PYTHONPATH"]]))
    with Worker("gpu-ort", f"{GpuOrt.__module__}:GpuOrt", log_dir=tmp_path) as worker:
        yield WorkerClient(worker, contract.deadlines)


@pytest.mark.parametrize("provider", NAMES)
def test_the_libraries_know_the_providers_and_the_options_that_are_set(wheel: Path, provider: str) -> None:
    library = (wheel / f"onnxruntime/capi/libonnxruntime_providers_{provider}.so").read_bytes()
    assert [name for name in NAMES[provider] if b"\0" + name + b"\0" not in library] == []


def test_a_provider_that_cannot_start_is_missing_with_the_library_that_it_lacks(client: WorkerClient) -> None:
    missing = client.probe()
    assert isinstance(missing, Missing)
    assert missing.kind == "no-sdk"
    assert missing.reason.startswith(
        "ONNX Runtime 1.31.1: CUDAExecutionProvider does not start, and ONNX Runtime would"
    )
    assert "libcublasLt.so.13: cannot open shared object file" in missing.reason


def test_tensorrt_that_cannot_start_is_refused_with_the_library_that_it_lacks(
    client: WorkerClient, tmp_path: Path
) -> None:
    source = client.yardstick(tmp_path / "source")
    with pytest.raises(
        CompileFailed, match=r"TensorrtExecutionProvider does not start, .* cannot open shared object file"
    ):
        client.compile(source, tmp_path / "artefact", contract.complete(provider="tensorrt"))
