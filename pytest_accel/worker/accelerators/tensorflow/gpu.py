"""The ``gpu`` accelerator: TensorFlow on an NVIDIA GPU.

The artefact is the SavedModel itself. Some defaults of TensorFlow are switched off: TF32 in place of FP32, taking all
of the GPU's memory, and moving operators without a kernel to the CPU although a device was named. Operators that run on
the CPU anyway are seen in the placement. FP16 is TensorFlow's automatic mixed precision. There is no BF16 on a
GPU.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from statistics import median
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import (
    COMMON_OPTIONS,
    Arrays,
    CompileJob,
    Missing,
    Observed,
    Option,
    Present,
    Refused,
    Source,
    Tensor,
    VendorTool,
    share_on,
)
from pytest_accel.worker.formats import plain_loop, saved_model, yardstick
from pytest_accel.worker.hardware import nvml, versions
from pytest_accel.worker.hardware.nvidia_gpu import NvidiaGpu
from pytest_accel.worker.vendor_errors import explained

MODEL = "saved_model"
GPU = "/GPU:0"
_MIXED_PRECISION = "auto_mixed_precision"
#: IN_TF32 finds the operators that cuBLAS and cuDNN compute, and so in TF32 where that is allowed.
IN_TF32 = re.compile(r"(_Fused|_)?(MatMul|BatchMatMul(V[23])?|Conv[23]D|Einsum|CudnnRNN.*)")
#: _WHY_NO_GPU finds the lines in TensorFlow's log that say why it has no GPU.
_WHY_NO_GPU = re.compile(r"\] ([^\n]*(?:Cannot dlopen|Could not find cuda|Could not load dynamic|cuInit)[^\n]*)")
#: _OF_DRIVER finds the words of a line that is about the driver.
_OF_DRIVER = re.compile(r"cuInit|cuda drivers")
_CHECK_DRIVER = (
    "run nvidia-smi, which tells more; libcuda.so.1 has to be on the loader's path and fit TensorFlow's CUDA"
)
_LOOK_FOR_GPU = "import tensorflow; tensorflow.config.list_physical_devices('GPU')"
#: _LOOKING_S is the number of seconds after which a process that asks TensorFlow for its reasons is ended.
_LOOKING_S = 60.0
#: _CALLS_IN_PARTS is the number of calls of which the time of copying is the median.
_CALLS_IN_PARTS = 11


class Gpu(NvidiaGpu):
    """TensorFlow's own GPU support."""

    name = "gpu"
    extra = "gpu"
    sources = ("saved_model", "keras")
    concurrent = True
    own_options: ClassVar[Mapping[str, Option]] = {
        "batch_size": Option(int, 1, minimum=1, compiled_in=False, doc=COMMON_OPTIONS["batch_size"].doc),
        "precision": Option(
            str, "fp32", choices=("fp32", "tf32", "fp16"), doc="FP16 is TensorFlow's automatic mixed precision"
        ),
        "xla": Option(bool, False, doc="compile with XLA"),
    }

    def __init__(self) -> None:
        super().__init__()
        self._model: Any = None  # held, because a signature alone does not keep its variables alive
        self._function: Any = None
        self._run: Any = None
        self._staged: Any = None
        self._options: Mapping[str, Any] = {}

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        if options["xla"] and options["precision"] == "fp16":
            return (
                "xla=True compiles the graph as it is, without TensorFlow's automatic mixed precision: use "
                "precision='fp32' or 'tf32', or xla=False"
            )
        return None

    @classmethod
    def vendor_tool(cls, artefact: str, inputs: str, calls: int, options: Mapping[str, Any]) -> Optional[VendorTool]:
        model = os.path.join(artefact, MODEL)
        arguments = (plain_loop.__file__, "tensorflow", model, inputs, str(calls), "GPU")
        return VendorTool("a plain loop of TensorFlow", arguments, begins="begin")

    def probe(self) -> Union[Present, Missing]:
        if (missing := nvml.missing()) is not None:
            return missing
        install = f"pip install 'pytest-accel[{self.extra}]', which brings TensorFlow's CUDA libraries"
        try:
            tensorflow = tensorflow_on_gpu()
        except ImportError as error:
            return Missing("no-sdk", f"TensorFlow cannot be imported: {error}", install)
        if not tensorflow.sysconfig.get_build_info()["is_cuda_build"]:
            return Missing("no-sdk", f"TensorFlow {tensorflow.__version__} was built without CUDA", install)
        gpus = tensorflow.config.list_physical_devices("GPU")
        if not gpus:
            why = _why_no_gpu()
            kind, action = ("no-driver", _CHECK_DRIVER) if _OF_DRIVER.search(why) else ("no-sdk", install)
            return Missing(kind, f"TensorFlow {tensorflow.__version__} sees no GPU: {why}", action)
        details = tensorflow.config.experimental.get_device_details(gpus[0])
        capability = "{}.{}".format(*details["compute_capability"])
        return self._device.present({"gpu": details["device_name"], "compute_capability": capability})

    def versions(self) -> Dict[str, str]:
        tensorflow = tensorflow_on_gpu()
        build = tensorflow.sysconfig.get_build_info()
        return {
            "tensorflow": tensorflow.__version__,
            "cuda": str(build.get("cuda_version", "unknown")),
            "cudnn": str(build.get("cudnn_version", "unknown")),
            "nvidia-driver": self._device.driver_version(),
            **versions.installed("keras"),
        }

    def compile_job(self, job: CompileJob) -> None:
        tensorflow_on_gpu()
        job.progress(None, f"copying {job.source.path}")
        model = os.path.join(job.artefact, MODEL)
        saved_model.write_saved_model(job.source, model)
        self.load(job.artefact, job.options)
        job.progress(None, "checking that the GPU takes it")
        _, specs = self._function.structured_input_signature
        if all(None not in spec.shape.as_list()[1:] for spec in specs.values()):
            self.infer(saved_model.zeros(self._function, job.options["batch_size"]))
        self.close()

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self.close()
        tensorflow = tensorflow_on_gpu()
        compute_in(tensorflow, options["precision"])
        model = os.path.join(artefact, MODEL)
        saved_model.check_signature(model, options["signature"])
        self._model = tensorflow.saved_model.load(model)
        self._function = self._model.signatures[options["signature"]]
        self._options = options
        self._run = self._function
        if options["xla"]:
            self._run = tensorflow.function(lambda **arrays: self._function(**arrays), jit_compile=True)
        return saved_model.tensors_of(self._function, options["batch_size"])

    def stage(self, inputs: Arrays) -> Any:
        tensorflow = tensorflow_on_gpu()
        with tensorflow.device("/CPU:0"):  # where a request arrives; the copy to the GPU is part of the call
            self._staged = {name: tensorflow.constant(array) for name, array in inputs.items()}
        return self._staged

    def infer(self, staged: Any) -> Arrays:
        return {name: tensor.numpy() for name, tensor in self._called(staged).items()}

    def placement(self) -> Observed:
        """Return where the nodes of the executed graph ran. XLA makes one kernel of them, on the outputs' device."""
        batch_size = self._options["batch_size"]
        if self._options["xla"]:
            outputs = self._called(saved_model.zeros(self._function, batch_size))
            (where,) = {tensor.device for tensor in outputs.values()}
            graph = self._inlined()
            if graph is None:
                return Observed(on_device=None, precisions={})
            kinds = {operator.name: operator.type for operator in graph.get_operations()}
            precisions = saved_model.computing_operators(graph)
            placed = {name: (where, kinds[name], precision) for name, precision in precisions.items()}
        else:
            with tensorflow_on_gpu().device(GPU):
                placed = saved_model.placed_operators(self._function, batch_size)
        return self._observed(placed)

    def flops(self) -> Optional[float]:
        return saved_model.count_flops(self._inlined())

    def device_memory_mb(self) -> Optional[float]:
        held_mb = super().device_memory_mb()
        if held_mb is not None:
            return held_mb
        return float(tensorflow_on_gpu().config.experimental.get_memory_info("GPU:0")["peak"]) / 2**20

    def parts_ms(self) -> Dict[str, float]:
        """Return what a typical call spends on copying. A few more calls measure it, which wait between the steps."""
        tensorflow = saved_model.import_tensorflow()
        wait = getattr(tensorflow.test.experimental, "sync_devices", None)  # not in releases before 2.9
        if self._staged is None or wait is None:
            return {}
        there_ns, back_ns = [], []
        for _ in range(_CALLS_IN_PARTS):
            begin_ns = self.clock()
            with tensorflow.device(GPU):
                inputs = {name: tensorflow.identity(tensor) for name, tensor in self._staged.items()}
            wait()
            there_ns.append(self.clock() - begin_ns)
            outputs = self._called(inputs)
            wait()
            computed_ns = self.clock()
            for tensor in outputs.values():
                tensor.numpy()
            back_ns.append(self.clock() - computed_ns)
        return {"copying to the GPU": median(there_ns) / 1e6, "copying back": median(back_ns) / 1e6}

    def yardstick(self, folder: str) -> Source:
        tensorflow_on_gpu()
        return yardstick.write(folder)

    def close(self) -> None:
        self._model = self._function = self._run = self._staged = None

    def _called(self, inputs: Any) -> Any:
        """Return the outputs of one call, which may not be computed yet. Raises `RuntimeError` when the GPU fails."""
        tensorflow = saved_model.import_tensorflow()
        try:
            with tensorflow.device(GPU):
                return self._run(**inputs)
        except tensorflow.errors.OpError as error:
            message = explained("TensorFlow cannot run this model on the GPU", error)
            if isinstance(error, tensorflow.errors.InternalError):  # the device's fault, which nothing else would help
                raise RuntimeError(message) from error
            raise Refused(message) from error

    def _inlined(self) -> Any:
        return saved_model.inlined_graph(self._function, self._options["batch_size"])

    def _observed(self, placed: Mapping[str, Tuple[str, str, str]]) -> Observed:
        in_tf32 = self._options["precision"] == "tf32"
        operators: Dict[str, str] = {}
        for name, (device, kind, precision) in placed.items():
            place = "gpu" if device.endswith("GPU:0") else "cpu"
            if in_tf32 and place == "gpu" and precision == "float32" and IN_TF32.fullmatch(kind):
                precision = "tf32"
            operators[name] = f"{place}:{precision}"
        return Observed.of(operators, share_on("gpu", operators))


def tensorflow_on_gpu() -> Any:
    """Import TensorFlow with one GPU, of which it takes only the memory that it needs. No operator may move."""
    nvml.order_devices()
    tensorflow = saved_model.import_tensorflow(gpu=True)
    gpus = tensorflow.config.list_physical_devices("GPU")[:1]
    try:
        tensorflow.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            tensorflow.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise Refused(saved_model.OTHER_DEVICES.format(error)) from error
    tensorflow.config.set_soft_device_placement(False)
    return tensorflow


def compute_in(tensorflow: Any, precision: str) -> None:
    """Let TensorFlow compute later calls in this precision. Raises `Refused` where the GPU does not have it."""
    for gpu in tensorflow.config.list_physical_devices("GPU")[:1]:
        capability = tensorflow.config.experimental.get_device_details(gpu).get("compute_capability")
        if precision == "tf32" and capability is not None and tuple(capability) < nvml.TF32_FROM:
            raise Refused(nvml.NO_TF32.format(*capability))
    tensorflow.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    optimizer, wanted = tensorflow.config.optimizer, precision == "fp16"
    if optimizer.get_experimental_options().get(_MIXED_PRECISION, False) != wanted:
        optimizer.set_experimental_options({_MIXED_PRECISION: wanted})


def _why_no_gpu() -> str:
    """Return TensorFlow's reasons. It writes them only into a log, so another process is asked with the log on."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-c", _LOOK_FOR_GPU]
    try:
        looked = subprocess.run(
            command, env=environment, stderr=subprocess.PIPE, timeout=_LOOKING_S, universal_newlines=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"and it cannot be asked why: {error}"
    words = dict.fromkeys(_WHY_NO_GPU.findall(looked.stderr))
    return " ".join(words) or "it does not say why; TF_CPP_MIN_LOG_LEVEL=0 shows its log"
