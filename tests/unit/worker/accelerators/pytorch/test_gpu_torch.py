"""What ``gpu-torch`` asks of PyTorch's CUDA before anything runs; what runs is tested on a GPU."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_accel.worker.accelerator import Missing, Refused
from pytest_accel.worker.accelerators.pytorch.gpu_torch import GpuTorch

torch: Any = pytest.importorskip("torch", reason="needs pip install 'pytest-accel[cpu-torch]'")


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Tesla T4, as far as PyTorch tells; settings are put back."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    facts = SimpleNamespace(name="Tesla T4", uuid="5a1c3e70", major=7, minor=5, multi_processor_count=40)
    told = {
        "init": lambda: None,
        "get_device_properties": lambda _device: facts,
        "get_device_capability": lambda _device: (facts.major, facts.minor),
        "is_bf16_supported": lambda including_emulation=True: including_emulation or facts.major >= 8,
        "reset_peak_memory_stats": lambda: None,
    }
    for name, function in told.items():
        monkeypatch.setattr(torch.cuda, name, function)
    before = torch.get_float32_matmul_precision()
    yield facts
    torch.set_float32_matmul_precision(before)


def test_the_gpu_is_told_by_the_handle_that_pytorch_uses() -> None:
    found = GpuTorch().probe()
    assert not isinstance(found, Missing)
    assert found.device == "Tesla T4"
    assert found.identity == {
        "gpu": "Tesla T4",
        "gpu_uuid": "GPU-5a1c3e70",
        "compute_capability": "7.5",
        "sm_count": 40,
    }


def test_a_pytorch_without_cuda_is_told_from_one_that_cannot_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    monkeypatch.setattr(torch.cuda, "init", fail)
    missing = GpuTorch().probe()
    assert isinstance(missing, Missing)
    assert (missing.kind, "is too old (found version 11040)" in missing.reason) == ("no-driver", True)
    monkeypatch.setattr(torch.version, "cuda", None)
    missing = GpuTorch().probe()
    assert isinstance(missing, Missing)
    assert (missing.kind, missing.reason.partition(" was ")[2]) == ("no-sdk", "built without CUDA")


@pytest.mark.parametrize(("precision", "matmul", "convolution"), [("fp32", "highest", False), ("tf32", "high", True)])
def test_tf32_is_on_only_where_it_was_asked_for(
    cuda: SimpleNamespace, precision: str, matmul: str, convolution: bool
) -> None:
    cuda.major, cuda.minor = 9, 0
    GpuTorch().configure({"precision": precision})
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == (matmul, convolution)


@pytest.mark.parametrize(
    ("precision", "why"), [("tf32", r"7\.5 and TF32 begins with 8\.0"), ("bf16", "this GPU has no BF16 instructions")]
)
def test_what_the_gpu_would_only_emulate_is_refused(precision: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        GpuTorch().configure({"precision": precision})


def test_only_what_the_tensor_cores_compute_is_in_tf32() -> None:
    accelerator = GpuTorch()
    accelerator._options = {"precision": "tf32"}
    assert accelerator._in_tf32("conv2d", "float32")
    assert not accelerator._in_tf32("relu", "float32")
    assert not accelerator._in_tf32("conv2d", "float64")
    accelerator._options = {"precision": "fp32"}
    assert not accelerator._in_tf32("conv2d", "float32")
