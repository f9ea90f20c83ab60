"""The options of ONNX Runtime's providers on an NVIDIA GPU, which the option ``extra`` of ``gpu-ort`` hands on.

What decides the device or a precision is not among them. ONNX Runtime takes all values as text.
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Union

from pytest_accel.worker.accelerator import Option

Value = Union[str, int, float, bool]

#: CUDA are options of the CUDA provider.
CUDA = {
    "arena_extend_strategy": Option(str, choices=("kNextPowerOfTwo", "kSameAsRequested")),
    "cudnn_conv_algo_search": Option(str, choices=("EXHAUSTIVE", "HEURISTIC", "DEFAULT")),
    "cudnn_conv_use_max_workspace": Option(bool),
    "cudnn_conv1d_pad_to_nc1d": Option(bool),
    "enable_cuda_graph": Option(bool),
    "enable_skip_layer_norm_strict_mode": Option(bool),
    "fuse_conv_bias": Option(bool),
    "gpu_mem_limit": Option(int, minimum=1),
    "prefer_nhwc": Option(bool),
    "sdpa_kernel": Option(int, minimum=0),
    "tunable_op_enable": Option(bool),
    "tunable_op_tuning_enable": Option(bool),
    "use_ep_level_unified_stream": Option(bool),
}
#: TENSORRT are options of the TensorRT provider. Each begins with ``trt_``.
TENSORRT = {
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
ENTRIES: Mapping[str, Option] = {**CUDA, **TENSORRT}


def unfit(extra: Mapping[str, Value], provider: str, load_shape: str) -> Optional[str]:
    """Return why these entries have no meaning for a provider or a load shape, or None."""
    if extra.get("enable_cuda_graph") and (provider != "cuda" or load_shape != "single_stream"):
        return "extra['enable_cuda_graph'] records one call: ask for provider='cuda' and load_shape='single_stream'"
    foreign = [name for name in extra if name in TENSORRT and provider != "tensorrt"]
    return f"extra[{foreign[0]!r}] is for provider='tensorrt', and not for {provider!r}" if foreign else None


def of_cuda(extra: Mapping[str, Value], *, recorded: bool) -> Dict[str, str]:
    """Return the entries for the CUDA provider, without a CUDA graph unless calls are to be ``recorded``."""
    wanted = {name: _text(value) for name, value in extra.items() if name in CUDA}
    return wanted if recorded else {name: text for name, text in wanted.items() if name != "enable_cuda_graph"}


def of_tensorrt(extra: Mapping[str, Value]) -> Dict[str, str]:
    """Return the entries for the TensorRT provider."""
    return {name: _text(value) for name, value in extra.items() if name in TENSORRT}


def _text(value: Value) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
