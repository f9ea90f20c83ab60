"""What ``gpu-ort`` asks of its providers, without ONNX Runtime; the rest is in its contract."""

from __future__ import annotations

import sys
from threading import Barrier
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from pytest_accel.worker.accelerator import Missing, Refused, Target, Tensor
from pytest_accel.worker.accelerators.onnx_runtime.base import Kernel, OnnxRuntime
from pytest_accel.worker.accelerators.onnx_runtime.gpu_ort import GpuOrt
from pytest_accel.worker.accelerators.onnx_runtime.recorded_call import RecordedCall
from pytest_accel.worker.timing import single_calls

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


def before_a_gpu(capability: tuple[int, int] | None) -> GpuOrt:
    accelerator = GpuOrt()
    accelerator._device = SimpleNamespace(compute_capability=lambda: capability)  # type: ignore[assignment]
    return accelerator


def asked(precision: str, provider: str = "cuda", load_shape: str = "single_stream", **extra: Any) -> dict[str, Any]:
    return {"precision": precision, "provider": provider, "load_shape": load_shape, "extra": extra}


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", "0"), ("fp16", "0"), ("tf32", "1")])
def test_tf32_is_allowed_only_where_it_was_asked_for(precision: str, allowed: str) -> None:
    ((name, options),) = before_a_gpu((8, 0))._providers("/artefact/model.onnx", asked(precision))
    assert (name, options["use_tf32"]) == (CUDA, allowed)


def test_tensorrt_is_tried_first_and_keeps_its_engines_in_the_artefact() -> None:
    (first, engine), (second, _) = before_a_gpu((7, 5))._providers("/artefact/model.onnx", asked("fp16", "tensorrt"))
    assert (first, second) == (TENSORRT, CUDA)
    assert engine["trt_fp16_enable"] == "1"
    assert engine["trt_engine_cache_path"] == "/artefact/engines"


@pytest.mark.parametrize("capability", [(8, 0), None])
def test_tensorrt_is_not_believed_to_compute_fp32_where_it_has_tf32(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    accelerator = before_a_gpu(capability)
    with pytest.raises(Refused, match="set NVIDIA_TF32_OVERRIDE=0, or ask for precision='tf32'"):
        accelerator._providers("/artefact/model.onnx", asked("fp32", "tensorrt"))
    assert accelerator._providers("/artefact/model.onnx", asked("tf32", "tensorrt"))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert accelerator._providers("/artefact/model.onnx", asked("fp32", "tensorrt"))


def test_the_providers_own_options_go_to_the_provider_that_they_are_of() -> None:
    extra: dict[str, Any] = {
        "cudnn_conv_algo_search": "HEURISTIC",
        "prefer_nhwc": True,
        "trt_builder_optimization_level": 5,
    }
    (_, engine), (_, cuda) = before_a_gpu((7, 5))._providers("/artefact/model.onnx", asked("fp32", "tensorrt", **extra))
    assert (cuda["cudnn_conv_algo_search"], cuda["prefer_nhwc"]) == ("HEURISTIC", "1")
    assert engine["trt_builder_optimization_level"] == "5"
    assert not {"prefer_nhwc"} & engine.keys() | {"trt_builder_optimization_level"} & cuda.keys()


def test_an_option_of_tensorrt_needs_its_provider() -> None:
    why = GpuOrt.impossible(asked("fp32", trt_sparsity_enable=True))
    assert why == "extra['trt_sparsity_enable'] is for provider='tensorrt', and not for 'cuda'"
    assert GpuOrt.impossible(asked("fp32", "tensorrt", trt_sparsity_enable=True)) is None


@pytest.mark.parametrize(("provider", "load_shape"), [("tensorrt", "single_stream"), ("cuda", "offline")])
def test_a_cuda_graph_is_for_one_call_of_the_cuda_provider(provider: str, load_shape: str) -> None:
    why = GpuOrt.impossible(asked("fp32", provider, load_shape, enable_cuda_graph=True))
    assert why is not None
    assert why.endswith("records one call: ask for provider='cuda' and load_shape='single_stream'")
    assert GpuOrt.impossible(asked("fp32", enable_cuda_graph=True)) is None


def test_a_cuda_graph_needs_fixed_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", MagicMock())
    with pytest.raises(Refused, match=r"'x' has sizes that are not fixed, \[1, None\], and a graph repeats"):
        RecordedCall(MagicMock(), [Tensor("x", "float32", (1, None))], [])


class Pairs:
    """A session whose calls end only while another one is made."""

    def __init__(self) -> None:
        self._both = Barrier(2, timeout=60)

    def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self._both.wait()
        return [inputs["x"]]


def test_offline_has_two_calls_under_way() -> None:
    accelerator = before_a_gpu((7, 5))
    accelerator._loaded, accelerator._outputs = Pairs(), ["y"]
    staged = [{"x": np.full(1, number)} for number in (1, 2)]
    timed = single_calls.offline(accelerator, staged, calls=6, checks=6)
    assert [call.outputs["y"].tolist() for call in timed.checked] == [[1], [2]] * 3


def test_tf32_is_refused_where_the_gpu_has_none() -> None:
    with pytest.raises(Refused, match=r"compute capability 7\.5 and TF32 begins with 8\.0"):
        before_a_gpu((7, 5))._providers("/artefact/model.onnx", asked("tf32"))


def test_only_what_the_tensor_cores_compute_is_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = [
        Kernel("a", "Conv", CUDA, "float32"),
        Kernel("b", "Relu", CUDA, "float32"),
        Kernel("c", "MatMul", "CPUExecutionProvider", "float32"),
        Kernel("d", "TRTKernel_graph_0", TENSORRT, "float32"),
        Kernel("e", "Gemm", CUDA, "float16"),
    ]
    monkeypatch.setattr(OnnxRuntime, "kernels", lambda _self: iter(ran))
    accelerator = before_a_gpu((8, 0))
    accelerator._options = asked("tf32")
    assert accelerator.placement().operators == {
        "a": "gpu:tf32",
        "b": "gpu:float32",
        "c": "cpu:float32",
        "d": "gpu:unknown",
        "e": "gpu:float16",
    }


def test_cuda_needs_no_gpu_to_convert_for_and_tensorrt_does(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"onnxruntime": "1.23"}
    monkeypatch.setattr(OnnxRuntime, "versions", lambda _: versions)
    accelerator = before_a_gpu((8, 0))
    assert accelerator.target(asked("fp16")) == Target("NVIDIA GPU", versions)
    assert getattr(accelerator.target(asked("fp16", "tensorrt")), "kind", None) == "needs-device"

    def absent(_: object) -> None:
        raise ImportError("no module onnxruntime")

    monkeypatch.setattr(OnnxRuntime, "versions", absent)
    missing = accelerator.target(asked("fp16"))
    assert isinstance(missing, Missing)
    assert (missing.kind, missing.action) == ("no-sdk", "pip install 'pytest-accel[gpu-ort]'")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1", "driver-mismatch"),
        ("Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13", "no-sdk"),
    ],
)
def test_a_release_for_an_older_driver_is_named(monkeypatch: pytest.MonkeyPatch, words: str, kind: str) -> None:
    def refuse(*_: Any) -> None:
        raise Refused(words)

    accelerator = before_a_gpu((7, 5))
    sdk = SimpleNamespace(__version__="1.31.1", get_available_providers=lambda: [CUDA])
    for name, module in (("onnxruntime", sdk), ("onnx", SimpleNamespace()), ("pynvml", None)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("gpu_ort._tiny", "base.session_options"):
        monkeypatch.setattr(f"pytest_accel.worker.accelerators.onnx_runtime.{name}", lambda *_: None)
    monkeypatch.setattr(accelerator, "_started", refuse)
    missing = accelerator.probe()
    assert isinstance(missing, Missing)
    assert missing.kind == kind
    assert missing.action.endswith("the extra gpu-ort-cu12, with onnxruntime-gpu<1.27")
