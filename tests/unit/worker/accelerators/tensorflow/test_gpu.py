"""What ``gpu`` decides by itself, without TensorFlow; the rest is in its contract."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_accel.worker.accelerator import Missing
from pytest_accel.worker.accelerators.tensorflow import gpu
from pytest_accel.worker.accelerators.tensorflow.gpu import Gpu

DLOPEN = (
    "W0000 00:00:1795477246.758727   30444 gpu_device.cc:2342] Cannot dlopen some GPU libraries. Please make sure the "
    "missing libraries mentioned above are installed properly if you would like to use GPU.\n"
    "Skipping registering GPU devices...\n"
)
NO_DRIVER = (
    "I0000 00:00:1795.758727 3 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.\n"
)
NO_DEVICE = (
    "2026-11-23 23:44:35.6 E local_xla/cuda_platform.cc:51] failed call to cuInit: INTERNAL: CUDA error: Failed "
    "call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected\n"
)


def tensorflow(*, cuda: bool = True, gpus: tuple[str, ...] = ("gpu",), name: str = "Tesla T4") -> Any:
    """What the probe asks TensorFlow."""
    details = {"device_name": name, "compute_capability": (7, 5)}
    experimental = SimpleNamespace(get_device_details=lambda _device: details)
    return SimpleNamespace(
        __version__="2.21.0",
        sysconfig=SimpleNamespace(get_build_info=lambda: {"is_cuda_build": cuda}),
        config=SimpleNamespace(list_physical_devices=lambda _kind: list(gpus), experimental=experimental),
    )


@pytest.fixture(autouse=True)
def no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_mixed_precision_with_xla_is_impossible_since_xla_would_not_see_it() -> None:
    options = {"xla": True, "precision": "fp16"}
    assert "without TensorFlow's automatic mixed precision" in str(Gpu.impossible(options))
    assert Gpu.impossible({**options, "xla": False}) is None
    assert Gpu.impossible({**options, "precision": "fp32"}) is None


def test_a_tensorflow_without_cuda_is_told_from_one_without_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "tensorflow_on_gpu", lambda: tensorflow(cuda=False, gpus=()))
    missing = Gpu().probe()
    assert isinstance(missing, Missing)
    assert (missing.kind, missing.reason) == ("no-sdk", "TensorFlow 2.21.0 was built without CUDA")
    monkeypatch.setattr(gpu, "tensorflow_on_gpu", lambda: tensorflow(gpus=()))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stderr=DLOPEN))
    missing = Gpu().probe()
    assert isinstance(missing, Missing)
    assert missing.reason.startswith("TensorFlow 2.21.0 sees no GPU: Cannot dlopen some GPU libraries.")
    assert "pip install 'pytest-accel[gpu]'" in missing.action
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stderr=NO_DEVICE))
    missing = Gpu().probe()
    assert isinstance(missing, Missing)
    assert (missing.kind, "nvidia-smi" in missing.action) == ("no-driver", True)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (DLOPEN, "Cannot dlopen some GPU libraries. Please"),
        (NO_DRIVER, "Could not find cuda drivers on your machine, GPU will not be used."),
        (
            NO_DRIVER + 2 * NO_DEVICE,
            "Could not find cuda drivers on your machine, GPU will not be used. failed call to",
        ),
        ("all is well\n", "it does not say why; TF_CPP_MIN_LOG_LEVEL=0 shows its log"),
    ],
)
def test_why_there_is_no_gpu_is_read_from_the_log(monkeypatch: pytest.MonkeyPatch, log: str, words: str) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stderr=log))
    why = gpu._why_no_gpu()
    assert why.startswith(words)
    assert why.count("failed call") <= 1, "it says so again and again"


def test_only_what_the_tensor_cores_compute_is_in_tf32() -> None:
    accelerator = Gpu()
    accelerator._options = {"precision": "tf32"}
    there, here = "/job:localhost/replica:0/task:0/device:GPU:0", "/job:localhost/replica:0/task:0/device:CPU:0"
    observed = accelerator._observed(
        {
            "conv": (there, "_FusedConv2D", "float32"),
            "product": (there, "MatMul", "float32"),
            "relu": (there, "Relu", "float32"),
            "half": (there, "MatMul", "float16"),
            "host": (here, "MatMul", "float32"),
        }
    )
    assert observed.operators == {
        "conv": "gpu:tf32",
        "product": "gpu:tf32",
        "relu": "gpu:float32",
        "half": "gpu:float16",
        "host": "cpu:float32",
    }
    assert (observed.on_device, observed.precisions) == (0.8, {"tf32": 2, "float32": 2, "float16": 1})
