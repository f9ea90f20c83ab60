"""Why ``gpu-trt`` cannot be used, each reason told apart; every one takes a worker of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.worker.accelerator import Missing
from tests.standins.nvidia_host import make_nvidia_host
from tests.standins.tensorrt_release import choose_release

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("habit", "release", "kind", "words"),
    [
        ("driver-mismatch", "10", "driver-mismatch", "RM has detected an NVML/RM version mismatch"),
        ("hidden-device", "10", "no-hardware", "no CUDA-capable device is detected"),
        ("insufficient-driver", "10", "driver-mismatch", "CUDA driver version is insufficient for CUDA runtime"),
        ("other-module", "11", "driver-mismatch", "unsupported display driver / cuda driver combination"),
        ("taken-device", "10", "busy", "busy or unavailable"),
        ("no-libcuda", "8.6", "no-driver", "Failed to dlopen libcuda.so.1"),
        ("no-builder", "8.6", "driver-mismatch", "TensorRT 8.6.1 makes no builder here: CUDA initialization failure"),
        ("placeholder", "10", "placeholder-package", "has no OnnxParser: it is not NVIDIA's TensorRT"),
        ("old-release", "10", "support-ended", "has no execute_async_v3"),
    ],
)
def test_why_it_cannot_be_used_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, habit: str, release: str, kind: str, words: str
) -> None:
    make_nvidia_host(monkeypatch, tmp_path, "cuda", "tensorrt", misbehaves=habit)
    choose_release(monkeypatch, release)
    missing = probed(tmp_path)
    assert missing.kind == kind
    assert words in missing.reason
    assert missing.action
    for_older_drivers = habit in ("insufficient-driver", "no-builder")
    assert ("gpu-trt-cu12, with tensorrt-cu12<11 and cuda-python<13" in missing.action) == for_older_drivers


@pytest.mark.parametrize(("lacking", "words"), [("tensorrt", "TensorRT"), ("cuda", "cuda-python")])
def test_without_an_sdk_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str, words: str
) -> None:
    make_nvidia_host(monkeypatch, tmp_path, *({"tensorrt", "cuda"} - {lacking}))
    missing = probed(tmp_path)
    assert missing.kind == "no-sdk"
    assert f"{words} cannot be used: No module named" in missing.reason
    assert missing.action == "pip install 'pytest-accel[gpu-trt]'"


def probed(folder: Path) -> Missing:
    """What a worker of its own finds to be missing."""
    with Worker("gpu-trt", "pytest_accel.worker.accelerators.tensorrt.gpu_trt:GpuTrt", log_dir=folder) as worker:
        missing = WorkerClient(worker, Deadlines(compile_s=60, run_s=60)).probe()
    assert isinstance(missing, Missing)
    return missing
