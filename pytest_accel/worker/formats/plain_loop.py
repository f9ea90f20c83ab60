"""What somebody would write by hand to time a model, for vendors without a tool of their own.

``python plain_loop.py FRAMEWORK MODEL INPUTS CALLS [DEVICE]``: INPUTS is a folder with a file ``NAME.npy`` for each
input. It says ``begin`` once it is warm, makes CALLS calls, and writes their number, duration and median in
milliseconds as OpenVINO's ``benchmark_app`` does. It is run by its path and knows nothing of pytest-accel.
"""

from __future__ import annotations

import os
import sys
from statistics import median
from time import perf_counter_ns
from typing import Any, Callable, Dict, Mapping

import numpy as np

_WARM_UP_CALLS = 30
#: _CallMs makes one call and returns its milliseconds.
_CallMs = Callable[[], float]


def onnxruntime_call(model: str, inputs: Mapping[str, np.ndarray], device: str) -> _CallMs:
    """Return a call of an ``.onnx`` file on a provider of ONNX Runtime."""
    import onnxruntime

    # FP32 is FP32: CUDA would compute it in TF32 by default.
    provider = (device, {"use_tf32": "0"}) if device else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(model, providers=[provider])
    feed = dict(inputs)
    return _by_the_host(lambda: session.run(None, feed))


def tensorflow_call(model: str, inputs: Mapping[str, np.ndarray], device: str) -> _CallMs:
    """Return a call of the signature ``serving_default`` of a SavedModel, which sees no GPU without a ``device``."""
    import tensorflow

    if not device:
        tensorflow.config.set_visible_devices([], "GPU")
    loaded = tensorflow.saved_model.load(model)
    predict = loaded.signatures["serving_default"]
    feed = {name: tensorflow.constant(array) for name, array in inputs.items()}
    return _by_the_host(lambda: (loaded, [output.numpy() for output in predict(**feed).values()]))


def torch_call(model: str, inputs: Mapping[str, np.ndarray], device: str) -> _CallMs:
    """Return a call of an exported program. On a GPU, CUDA's events time it with both copies."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    program = torch.export.load(model)
    order = [name for name in program.graph_signature.user_inputs if name in inputs]
    there = device or "cpu"
    module = program.module().to(there)
    tensors = [torch.tensor(inputs[name]) for name in order]

    @torch.inference_mode()  # type: ignore[untyped-decorator] # PyTorch is not known before it is imported
    def call() -> Any:
        made = module(*(tensor.to(there) for tensor in tensors))
        values = made.values() if isinstance(made, dict) else made if isinstance(made, (tuple, list)) else [made]
        return [value.cpu().numpy() for value in values]

    if there == "cpu":
        return _by_the_host(call)

    def by_events() -> float:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        call()
        ended.record()
        ended.synchronize()
        return float(began.elapsed_time(ended))

    return by_events


def _by_the_host(call: Callable[[], Any]) -> _CallMs:
    def timed() -> float:
        start = perf_counter_ns()
        call()
        return (perf_counter_ns() - start) / 1e6

    return timed


_FRAMEWORKS: Dict[str, Callable[[str, Mapping[str, np.ndarray], str], _CallMs]] = {
    "onnxruntime": onnxruntime_call,
    "tensorflow": tensorflow_call,
    "torch": torch_call,
}


def main(framework: str, model: str, folder: str, calls: str, device: str = "") -> None:
    """Time the calls and print the result."""
    files = sorted(os.listdir(folder))
    inputs = {os.path.splitext(name)[0]: np.load(os.path.join(folder, name)) for name in files}
    call = _FRAMEWORKS[framework](model, inputs, device)
    for _ in range(_WARM_UP_CALLS):
        call()
    print("begin", flush=True)
    begin = perf_counter_ns()
    times_ms = [call() for _ in range(int(calls))]
    duration_ms = (perf_counter_ns() - begin) / 1e6
    print(f"Count: {len(times_ms)} Duration: {duration_ms:.4f} Median: {median(times_ms):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
