"""The options of ONNX Runtime's providers on an NVIDIA GPU, which the option ``extra`` of ``gpu-ort`` hands on.

What decides the device or a precision is not among them. ONNX Runtime takes all values as text.
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Union

from pytest_accel.worker.accelerator import Option

Value = Union[str, int, float, bool]

#: _CUDA are options of the CUDA provider.
_CUDA = {
    "arena_extend_strategy": Option(str, choices=("kNextPowerOfTwo", "kSameAsRequested")),
    "cudnn_conv_algo_search": Option(str, choices=("EXHAUSTIVE", "HEURISTIC", "DEFAULT")),
    "cudnn_conv_use_max_workspace": Option(bool),
    "cudnn_conv1d_pad_to_nc1d": Option(bool),
    "enable_skip_layer_norm_strict_mode": Option(bool),
    "fuse_conv_bias": Option(bool),
    "gpu_mem_limit": Option(int, minimum=1),
    "prefer_nhwc": Option(bool),
    "sdpa_kernel": Option(int, minimum=0),
    "tunable_op_enable": Option(bool),
    "tunable_op_tuning_enable": Option(bool),
    "use_ep_level_unified_stream": Option(bool),
}
#: _TENSORRT are options of the TensorRT provider. Each begins with ``trt_``.
_TENSORRT = {
    "trt_auxiliary_streams": Option(int, minimum=-1),
    "trt_build_heuristics_enable": Option(bool),
    "trt_builder_optimization_level": Option(int, choices=(0, 1, 2, 3, 4, 5)),
    "trt_context_memory_sharing_enable": Option(bool),
    "trt_max_partition_iterations": Option(int, minimum=1),
    "trt_max_workspace_size": Option(int, minimum=1),
    "trt_min_subgraph_size": Option(int, minimum=1),
    "trt_sparsity_enable": Option(bool),
    "trt_timing_cache_enable": Option(bool),
}
#: ENTRIES are what ``extra`` takes.
ENTRIES: Mapping[str, Option] = {**_CUDA, **_TENSORRT}


def unfit(extra: Mapping[str, Value], provider: str) -> Optional[str]:
    """Return why these entries have no meaning for a provider, or None."""
    foreign = [name for name in extra if name in _TENSORRT and provider != "tensorrt"]
    return f"extra[{foreign[0]!r}] is for provider='tensorrt', and not for {provider!r}" if foreign else None


def of_cuda(extra: Mapping[str, Value]) -> Dict[str, str]:
    """Return the entries for the CUDA provider."""
    return {name: _text(value) for name, value in extra.items() if name in _CUDA}


def of_tensorrt(extra: Mapping[str, Value]) -> Dict[str, str]:
    """Return the entries for the TensorRT provider."""
    return {name: _text(value) for name, value in extra.items() if name in _TENSORRT}


def _text(value: Value) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
