"""The ``gpu-ort`` accelerator: ONNX Runtime on an NVIDIA GPU, by its CUDA or its TensorRT provider.

ONNX Runtime goes on without a provider that does not start, and gives operators without a kernel to the processor. It
only warns. Here the first is a failure, and so is the second unless ``cpu_operators`` allows it. A call begins and ends
with arrays of the host, so that it includes both copies: I/O binding would copy inputs ahead of it.
"""

from __future__ import annotations

import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import Arrays, CompileJob, Missing, Option, Present, Refused, Target, Tensor
from pytest_accel.worker.accelerators.onnx_runtime import base, provider_options
from pytest_accel.worker.accelerators.onnx_runtime.base import CPU_PROVIDER, Kernel, OnnxRuntime
from pytest_accel.worker.accelerators.onnx_runtime.recorded_call import RecordedCall
from pytest_accel.worker.formats import written_precision
from pytest_accel.worker.formats.onnx_model import OPSET
from pytest_accel.worker.hardware import nvml
from pytest_accel.worker.hardware.nvidia_gpu import NvidiaGpu
from pytest_accel.worker.vendor_errors import explained

_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
_PROVIDERS = {"cuda": (_CUDA,), "tensorrt": (_TENSORRT, _CUDA)}
_ENGINES = "engines"
#: _IN_TF32 finds the operators that cuBLAS and cuDNN compute, and so in TF32 where that is allowed.
_IN_TF32 = re.compile(r"(Fused)?(Conv|ConvTranspose|MatMul|Gemm|Einsum)")
#: _OVERRIDE is the variable that keeps all of NVIDIA's libraries from TF32 when it is 0.
_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
#: _NOT_STARTED finds the words in ONNX Runtime's log that say what kept a provider from starting.
_NOT_STARTED = re.compile(r"Failed to (?:load library|create) [^\n\x1b]+|CUDA failure [^\n\x1b]+")
#: _OLD_DRIVER is what CUDA says where its libraries are newer than the driver.
_OLD_DRIVER = "CUDA driver version is insufficient"
#: _FOR_CUDA_12 is what goes with a driver that knows CUDA 12 and not 13.
_FOR_CUDA_12 = "or for a driver of CUDA 12 the extra gpu-ort-cu12, with onnxruntime-gpu<1.27"
_LOOSE_NODES = "assigned to the default CPU EP"


class GpuOrt(NvidiaGpu, OnnxRuntime):
    """ONNX Runtime on an NVIDIA GPU."""

    name = "gpu-ort"
    extra = "gpu-ort"
    in_flight = 2  # two calls go on at once, each in a stream that ONNX Runtime gives it
    devices: ClassVar[Mapping[str, str]] = {_CUDA: "gpu", _TENSORRT: "gpu", CPU_PROVIDER: "cpu"}
    own_options: ClassVar[Mapping[str, Option]] = {
        "precision": Option(str, "fp32", choices=("fp32", "tf32", "fp16"), doc="FP16 with inputs and outputs in FP32"),
        "provider": Option(str, "cuda", choices=("cuda", "tensorrt"), doc="what computes on the GPU"),
        "cpu_operators": Option(
            bool, False, doc="operators that the provider lacks may run on the processor; the placement names them"
        ),
        "optimisation": base.OPTIMISATION,
        "extra": Option(dict, {}, entries=provider_options.ENTRIES, doc="the provider's own options"),
    }

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(self.in_flight)
        self._recorded: Optional[RecordedCall] = None

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        return provider_options.unfit(options["extra"], options["provider"], options["load_shape"])

    def close(self) -> None:
        self._recorded = None
        super().close()

    def probe(self) -> Union[Present, Missing]:
        if (missing := nvml.missing()) is not None:
            return missing
        install = f"pip install 'pytest-accel[{self.extra}]'"
        try:
            import onnx  # noqa: F401
            import onnxruntime
        except ImportError as error:
            return Missing("no-sdk", f"ONNX Runtime cannot be used: {error}", install)
        release = f"ONNX Runtime {onnxruntime.__version__}"
        if _CUDA not in onnxruntime.get_available_providers():
            return Missing(
                "no-sdk",
                f"{release} was built without CUDA",
                f"pip uninstall onnxruntime, which hides onnxruntime-gpu under the same name; then {install}",
            )
        try:
            self._started(_tiny(), base.session_options({"optimisation": "all"}, ""), [(_CUDA, {})])
        except Refused as refused:
            kind = "driver-mismatch" if _OLD_DRIVER in str(refused) else "no-sdk"
            action = f"{install}, with the CUDA and cuDNN that it asks for; {_FOR_CUDA_12}"
            return Missing(kind, f"{release}: {refused}", action)
        identity = self._device.identity()
        return self._device.present({"gpu": "NVIDIA GPU", **identity})

    def versions(self) -> Dict[str, str]:
        return {**super().versions(), "nvidia-driver": self._device.driver_version()}

    def target(self, options: Mapping[str, Any]) -> Union[Target, Missing]:
        """Return any NVIDIA GPU: the artefact is a file that is converted on the processor.

        The engines of TensorRT's provider are built on the GPU, while the file is checked.
        """
        if options["provider"] == "tensorrt":
            return super().target(options)
        try:
            return Target("NVIDIA GPU", super().versions())
        except ImportError as error:
            install = f"pip install 'pytest-accel[{self.extra}]'"
            return Missing("no-sdk", f"ONNX Runtime cannot be used: {error}", install)

    def require_taken(self, path: str, options: Mapping[str, Any]) -> None:
        """Raise `Refused` where ONNX Runtime does not take the file; without a GPU the processor is asked."""
        if (self.probe_hardware() or nvml.missing()) is None:
            super().require_taken(path, options)
        else:
            self._started(path, base.session_options(options, ""), [(CPU_PROVIDER, {})])

    def prepared(self, model: Any, job: CompileJob, scratch: str) -> Any:
        if job.options["precision"] != "fp16" or job.options["provider"] == "tensorrt":  # which casts by itself
            return model
        return written_precision.write(model, "fp16", job.calibration, job.progress, scratch)

    def session(self, model: Union[str, bytes], options: Mapping[str, Any], profile: str = "") -> Any:
        wanted = base.session_options(options, profile)
        providers = self._providers(model, options, recorded=not profile)
        if options["cpu_operators"]:
            providers.append((CPU_PROVIDER, {}))
        else:
            wanted.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return self._started(model, wanted, providers)

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        sides = super().load(artefact, options)
        if options["extra"].get("enable_cuda_graph"):
            self._recorded = RecordedCall(self._loaded, *sides)
        return sides

    def infer(self, staged: Any) -> Arrays:
        if self._recorded is None:
            return super().infer(staged)
        with base.own_errors():
            return self._recorded(staged)

    def begin(self, staged: Any) -> Any:
        """Begin one batch in another thread: ONNX Runtime returns from a call only when it is done."""
        return self._threads.submit(self.infer, staged)

    def finish(self, begun: Any) -> Arrays:
        outputs: Arrays = begun.result()
        return outputs

    def kernels(self) -> Iterator[Kernel]:
        """Yield the kernels. TensorRT makes one kernel, and the precisions inside it are unknown."""
        for kernel in super().kernels():
            if kernel.provider == _TENSORRT:
                kernel = kernel._replace(precision="unknown")
            elif self._options["precision"] == "tf32" and kernel.provider == _CUDA and _IN_TF32.fullmatch(kernel.kind):
                kernel = kernel._replace(precision="tf32" if kernel.precision == "float32" else kernel.precision)
            yield kernel

    def _providers(
        self, model: Union[str, bytes], options: Mapping[str, Any], *, recorded: bool = True
    ) -> List[Tuple[str, Dict[str, str]]]:
        """Return the providers with their options. Raises `Refused` for a precision that they cannot keep.

        Without ``recorded`` they make no CUDA graph, whose kernels a profile would not show.
        """
        precision, capability = options["precision"], self._device.compute_capability()
        if precision == "tf32" and capability is not None and capability < nvml.TF32_FROM:
            raise Refused(nvml.NO_TF32.format(*capability))
        has_tf32 = capability is None or capability >= nvml.TF32_FROM
        if options["provider"] == "tensorrt" and precision != "tf32" and has_tf32 and os.environ.get(_OVERRIDE) != "0":
            raise Refused(
                f"precision={precision!r}: TensorRT computes FP32 in TF32 on this GPU, and ONNX Runtime has no option "
                f"against it; set {_OVERRIDE}=0, or ask for precision='tf32'"
            )
        cuda = {"device_id": "0", "use_tf32": str(int(precision == "tf32"))}
        tensorrt = {"device_id": "0", "trt_fp16_enable": str(int(precision == "fp16"))}
        if isinstance(model, str):
            tensorrt["trt_engine_cache_enable"] = "1"
            tensorrt["trt_engine_cache_path"] = os.path.join(os.path.dirname(model), _ENGINES)
        cuda.update(provider_options.of_cuda(options["extra"], recorded=recorded))
        tensorrt.update(provider_options.of_tensorrt(options["extra"]))
        return [(name, dict(cuda if name == _CUDA else tensorrt)) for name in _PROVIDERS[options["provider"]]]

    def _started(self, model: Union[str, bytes], wanted: Any, providers: List[Tuple[str, Dict[str, str]]]) -> Any:
        """Return a session that really has the first provider. Raises `Refused` with words that only the log has."""
        nvml.order_devices()
        import onnxruntime

        if hasattr(onnxruntime, "preload_dlls"):  # CUDA and cuDNN may have come as packages, which no loader knows
            onnxruntime.preload_dlls()
        name, session, failure = providers[0][0], None, None
        with _native_log() as log:
            try:
                session = onnxruntime.InferenceSession(model, wanted, providers=providers, enable_fallback=0)
            except Exception as error:  # ONNX Runtime's errors have no base class of their own
                failure = error
        why = _NOT_STARTED.findall("".join(log))
        if why or (session is not None and name not in session.get_providers()):
            reason = why[0] if why else "it does not say why"
            raise Refused(f"{name} does not start, and ONNX Runtime would go on without it: {reason}") from failure
        if failure is not None and _LOOSE_NODES in str(failure):
            raise Refused(f"{_loose_nodes(model, providers)} ({failure})") from failure
        if failure is not None:
            raise Refused(explained("ONNX Runtime cannot load this model", failure)) from failure
        return session


def _loose_nodes(model: Union[str, bytes], providers: List[Tuple[str, Dict[str, str]]]) -> str:
    """Return which operators the providers leave to the processor. ONNX Runtime's own refusal does not name them."""
    import onnxruntime

    wanted = onnxruntime.SessionOptions()
    wanted.log_severity_level = 3
    wanted.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(model, wanted, providers=[*providers, CPU_PROVIDER])
    assigned: Any = getattr(session, "get_provider_graph_assignment_info", tuple)()  # older releases do not tell
    nodes = [node for part in assigned if part.ep_name == CPU_PROVIDER for node in part.get_nodes()]
    names = ", ".join(f"{node.op_type} {node.name!r}" for node in nodes)
    return (
        f"{providers[0][0]} has no kernel for {names or 'some operators'}: replace them in the model, or let them run "
        "on the processor with cpu_operators=True"
    )


def _tiny() -> bytes:
    """Return a serialised model that any provider takes."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised


@contextmanager
def _native_log() -> Iterator[List[str]]:
    """Collect what native code writes to stderr within the block. The list is filled when the block has ended."""
    log: List[str] = []
    stderr = os.dup(2)
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            log.append(file.read())
