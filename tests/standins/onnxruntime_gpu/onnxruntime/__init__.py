"""ONNX Runtime GPU 1.31.1 as it is on a machine with a Tesla T4: the ONNX Runtime that is installed, without a GPU.

It takes the place of the package and then puts the installed one there, with another `InferenceSession`. What a
provider computes, the CPU computes; providers are told in its place by a session, a profile and where nodes are placed.
A half-precision model is computed as the CPU does it, casting around each operator, and told as it was made. A session
that was asked for deterministic results leaves the fast reductions of CUDA, and takes a tenth of a second longer. With
``enable_cuda_graph`` a session repeats its first call, on the memory that this one had, whatever it is given later.

``STANDIN_MISBEHAVES`` is a list of habits, each a true one: ``cpu-build``; ``no-libraries`` (the provider does not
start, and only the log says why); ``host-operator`` (GlobalAveragePool has no kernel on the GPU); ``casts``; ``nan``;
``lost-device`` (after some calls, and then it falls back to the CPU unless told not to); ``out-of-memory``;
``slow-compile`` (a session whose provider builds engines, or tries algorithms, for minutes).
"""

from __future__ import annotations

import importlib
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import installed_package
import numpy as np
import standin_card

_HABITS = frozenset(os.environ.get("STANDIN_MISBEHAVES", "").split(","))
_HERE = Path(__file__).parents[1]
_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_STRICT = "session.disable_cpu_ep_fallback"
_ON_HOST = "GlobalAveragePool"
_IN_HALF = ("Conv", "FusedConv", "Gemm", "MatMul")
#: The calls that a device answers before it is lost.
_CALLS = 8
_SLOWER_S = 0.1
_NO_LIBRARIES = (
    "\x1b[1;31m2026-11-24 00:40:30.701139939 [E:onnxruntime:Default, provider_bridge_ort.cc:2458 operator()] "
    "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:2043 onnxruntime::Provider& "
    "onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library "
    "/capi/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: No such "
    "file or directory\n\x1b[m\n\x1b[0;93m2026-11-24 00:40:30.701148551 [W:onnxruntime:Default, "
    "onnxruntime_pybind_state.cc:1295 CreateExecutionProviderFactoryInstance] Failed to create CUDAExecutionProvider. "
    "Require cuDNN 9.* and CUDA 13.*. Please install all dependencies as mentioned in the requirements page.\x1b[m\n"
)
_LOOSE = (
    "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the default CPU EP, but "
    "fallback to CPU EP has been explicitly disabled by the user."
)
_CONFLICT = (
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Conflicting session configuration: explicitly added the CPU EP to the "
    "session, but also disabled fallback to the CPU EP via session configuration options."
)
_LOST = (
    "[ONNXRuntimeError] : 11 : EP_FAIL : Non-zero status code returned while running Conv node. Name:'conv_0' Status "
    "Message: CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=box ; expr=cudaStreamSync"
)
_NO_MEMORY = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Name:'conv_0' "
    "Status Message: bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 4096"
)

_real: Any = installed_package.take_place("onnxruntime", _HERE)
_real_value: Any = _real.OrtValue.ortvalue_from_shape_and_type
_errors: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")


class InferenceSession(_real.InferenceSession):  # type: ignore[misc]  # it is not known before it runs
    """A session whose providers are those asked for, as far as this machine's libraries start them."""

    def __init__(
        self,
        path_or_bytes: Any,
        sess_options: Any = None,
        providers: Any = None,
        provider_options: Any = None,
        **kwargs: Any,
    ) -> None:
        named = [each if isinstance(each, str) else each[0] for each in providers or []]
        self._gpu = next((name for name in named if name != _CPU), "")
        cuda_options = [each[1] for each in providers or [] if not isinstance(each, str) and each[0] == _CUDA]
        self._records = bool(self._gpu) and any(each.get("enable_cuda_graph") == "1" for each in cuda_options)
        self._recorded: _Binding | None = None
        self._first: Any = None
        self._falls_back = bool(int(kwargs.get("enable_fallback", 1)))
        self._calls = 0
        if self._gpu and not _HABITS.isdisjoint(("no-libraries", "cpu-build")):
            os.write(2, _NO_LIBRARIES.encode())
            self._gpu = ""
        if self._gpu and "slow-compile" in _HABITS and (isinstance(path_or_bytes, str) or len(path_or_bytes) > 1000):
            time.sleep(600)
        options = sess_options or _real.SessionOptions()
        self._slower_s = _SLOWER_S if self._gpu and options.use_deterministic_compute else 0.0
        strict = _is_strict(options)
        if strict:
            options.add_session_config_entry(_STRICT, "0")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        super().__init__(path_or_bytes, options, providers=[_CPU])
        if strict and _CPU in named:
            raise _errors.InvalidArgument(_CONFLICT)
        if strict and any(part.ep_name == _CPU for part in self.get_provider_graph_assignment_info()):
            raise _errors.Fail(_LOOSE)
        self._half = bool(self._gpu) and _is_half(path_or_bytes)

    def get_providers(self) -> list[str]:
        return [*([self._gpu] if self._gpu else []), _CPU]

    def get_provider_graph_assignment_info(self) -> Any:
        return [
            SimpleNamespace(ep_name=self._provider(node.op_type), get_nodes=lambda nodes=[node]: nodes)
            for part in super().get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        self._calls += 1
        if self._gpu and ("out-of-memory" in _HABITS or standin_card.is_taken()):
            raise _errors.RuntimeException(_NO_MEMORY)
        if self._gpu and "lost-device" in _HABITS and self._calls > _CALLS:
            if not self._falls_back:
                raise _errors.EPFail(_LOST)
            self._gpu = ""
        if self._records and self._first is not None:  # the graph has the addresses of the first inputs
            return self._first
        time.sleep(self._slower_s)
        outputs = super().run(output_names, input_feed, run_options)
        self._first = [self._computed(output) for output in outputs] if self._gpu else outputs
        return self._first

    def io_binding(self) -> Any:
        return _Binding() if self._gpu else super().io_binding()

    def run_with_iobinding(self, iobinding: Any, run_options: Any = None) -> None:
        """The first call is recorded, and every later one repeats it on the memory that the first one had."""
        self._recorded = recorded = (self._recorded if self._records else None) or iobinding
        inputs = {name: value.memory for name, value in recorded.inputs.items()}
        outputs = super().run(list(recorded.outputs), inputs, run_options)
        for value, output in zip(recorded.outputs.values(), outputs, strict=True):
            value.memory[...] = self._computed(output)

    def end_profiling(self) -> str:
        path = Path(super().end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        for facts in (event["args"] for event in events if event.get("cat") == "Node" and "provider" in event["args"]):
            facts["provider"] = self._provider(facts["op_name"])
            if (self._half or "casts" in _HABITS) and facts["op_name"] in _IN_HALF:
                shapes = [shape for each in facts["input_type_shape"] for shape in each.values()]
                facts["input_type_shape"] = [{"float16": shape} for shape in shapes]
        path.write_text(json.dumps(events), encoding="utf-8")
        return str(path)

    def _provider(self, op_type: str) -> str:
        on_host = op_type == _ON_HOST and "host-operator" in _HABITS
        return _CPU if on_host or not self._gpu else self._gpu

    def _computed(self, output: Any) -> Any:
        if output.dtype.kind != "f":
            return output
        if "casts" in _HABITS:
            output = output.astype(np.float16).astype(output.dtype)
        return np.full_like(output, np.nan) if "nan" in _HABITS else output


class OrtValue(_real.OrtValue):  # type: ignore[misc]
    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Any, element_type: Any, device_type: str = "cpu", device_id: int = 0, vendor_id: int = -1
    ) -> Any:
        if device_type == "cuda":
            return _OnDevice(shape, element_type)
        return _real_value(shape, element_type, device_type, device_id, vendor_id)


class _OnDevice:
    """Memory of the device, which stays where it is."""

    def __init__(self, shape: Any, element_type: Any) -> None:
        self.memory = np.zeros(shape, element_type)

    def update_inplace(self, np_arr: Any) -> None:
        self.memory[...] = np_arr

    def numpy(self) -> Any:
        return self.memory.copy()


class _Binding:
    """Where inputs and outputs of calls lie."""

    def __init__(self) -> None:
        self.inputs: dict[str, _OnDevice] = {}
        self.outputs: dict[str, _OnDevice] = {}

    def bind_ortvalue_input(self, name: str, ortvalue: Any) -> None:
        self.inputs[name] = ortvalue

    def bind_ortvalue_output(self, name: str, ortvalue: Any) -> None:
        self.outputs[name] = ortvalue


def _is_strict(options: Any) -> bool:
    try:
        return bool(options.get_session_config_entry(_STRICT) == "1")
    except RuntimeError:  # nobody has set it
        return False


def _is_half(path_or_bytes: Any) -> bool:
    """Whether a model has weights in half precision."""
    import onnx

    model = onnx.load(path_or_bytes) if isinstance(path_or_bytes, str) else onnx.load_from_string(path_or_bytes)
    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)


def _get_available_providers() -> list[str]:
    return (
        list(_real.capi._pybind_state.get_available_providers()) if "cpu-build" in _HABITS else [_TENSORRT, _CUDA, _CPU]
    )


def _preload_dlls(cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: str | None = None) -> None:
    """They are there already."""


_real.InferenceSession = InferenceSession
_real.OrtValue = OrtValue
_real.get_available_providers = _get_available_providers
_real.preload_dlls = _preload_dlls
