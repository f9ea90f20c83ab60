"""The ``cpu`` accelerator: TensorFlow as it is, on the processor. It is the reference for all models of TensorFlow.

The artefact is a copy of the SavedModel, so that what is measured is what would be served. For BF16 TensorFlow rewrites
the graph when it first runs it.
"""

from __future__ import annotations

import json
import os
import platform
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from pytest_accel.worker.accelerator import (
    COMMON_OPTIONS,
    Accelerator,
    Arrays,
    CompileJob,
    Missing,
    Observed,
    OperatorTime,
    Option,
    Present,
    Refused,
    Source,
    Tensor,
    VendorTool,
)
from pytest_accel.worker.accelerators.tensorflow import profile
from pytest_accel.worker.formats import plain_loop, saved_graph, saved_model, yardstick
from pytest_accel.worker.hardware import processor, versions
from pytest_accel.worker.vendor_errors import explained

_MODEL = "saved_model"
#: _SWITCHES are the values of a switch that TensorFlow takes. Of any other one it warns, and leaves the default.
_SWITCHES = {"0": "off", "false": "off", "1": "on", "true": "on"}
#: _MIXED_PRECISION is TensorFlow's name of the rewriting to BF16.
_MIXED_PRECISION = "auto_mixed_precision_onednn_bfloat16"


class Cpu(Accelerator):
    """TensorFlow on the processor: oneDNN, AVX, in FP32 or BF16."""

    name = "cpu"
    extra = "cpu"
    sources = ("saved_model", "keras")
    concurrent = True
    profiles_operators = True
    # TensorFlow makes its threads when it runs its first operation.
    preload = ("pytest_accel.worker.formats.saved_model:preload_tensorflow",)
    own_options: ClassVar[Mapping[str, Option]] = {
        "batch_size": Option(int, 1, minimum=1, compiled_in=False, doc=COMMON_OPTIONS["batch_size"].doc),
        "signature": Option(str, "serving_default", compiled_in=False, doc=COMMON_OPTIONS["signature"].doc),
        "precision": Option(
            str, "fp32", choices=("fp32", "bf16"), doc="BF16 is TensorFlow's automatic mixed precision for oneDNN"
        ),
        "threads": Option(int, 0, minimum=0, compiled_in=False, doc="threads of one call; 0 is TensorFlow's choice"),
    }

    def __init__(self) -> None:
        self._model: Any = None  # held, because a signature alone does not keep its variables alive
        self._function: Any = None
        self._batch_size = 1
        self._graph: Any = None
        self._path = self._signature = ""
        self._precision = "fp32"

    @classmethod
    def vendor_tool(cls, artefact: str, inputs: str, calls: int, options: Mapping[str, Any]) -> Optional[VendorTool]:
        model = os.path.join(artefact, _MODEL)
        arguments = (plain_loop.__file__, "tensorflow", model, inputs, str(calls))
        return VendorTool("a plain loop of TensorFlow", arguments, begins="begin")

    def probe(self) -> Union[Present, Missing]:
        try:
            _tensorflow()
        except ImportError as error:
            return Missing(
                "no-sdk", f"TensorFlow cannot be imported: {error}", f"pip install 'pytest-accel[{self.extra}]'"
            )
        return processor.present()

    def versions(self) -> Dict[str, str]:
        release = _tensorflow().__version__
        return {"tensorflow": release, **versions.installed("keras"), "onednn": _onednn(release)}

    def compile_job(self, job: CompileJob) -> None:
        _tensorflow()
        job.progress(None, f"copying {job.source.path}")
        model = os.path.join(job.artefact, _MODEL)
        saved_model.write_saved_model(job.source, model)
        saved_model.check_signature(model, job.options["signature"])

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self.close()
        tensorflow = _tensorflow()
        _limit_threads(tensorflow, options["threads"])
        _rewrite_to(tensorflow, options["precision"])
        model = os.path.join(artefact, _MODEL)
        saved_model.check_signature(model, options["signature"])
        self._path, self._signature = model, options["signature"]
        self._model = tensorflow.saved_model.load(model)
        self._function = self._model.signatures[options["signature"]]
        self._batch_size, self._precision = options["batch_size"], options["precision"]
        return saved_model.tensors_of(self._function, self._batch_size)

    def stage(self, inputs: Arrays) -> Any:
        tensorflow = _tensorflow()
        return {name: tensorflow.constant(array) for name, array in inputs.items()}

    def infer(self, staged: Any) -> Arrays:
        try:
            return {name: tensor.numpy() for name, tensor in self._function(**staged).items()}
        except _tensorflow().errors.OpError as error:
            raise Refused(explained("TensorFlow cannot run this model", error)) from error

    def placement(self) -> Observed:
        graph = self._inlined()
        if self._precision == "fp32" and graph is None:
            operators = saved_graph.operators_of(self._path, self._signature)
        elif self._precision == "fp32":
            operators = saved_model.computing_operators(graph)
        else:
            operators = saved_model.rewritten_operators(self._function, self._batch_size)
        # No other device is visible to this process, so everything runs here.
        return Observed.of({name: f"cpu:{precision}" for name, precision in operators.items()}, on_device=1.0)

    def graph_precisions(self, artefact: str, options: Mapping[str, Any]) -> List[str]:
        return saved_graph.precisions_of(os.path.join(artefact, _MODEL))

    def flops(self) -> Optional[float]:
        return saved_model.count_flops(self._inlined())

    def operator_times(self, staged: Sequence[Any], calls: int) -> Optional[List[OperatorTime]]:
        return profile.operator_times(self.infer, staged, calls)

    def raw_answers(self) -> Dict[str, str]:
        return {"tensorflow-build.json": json.dumps(dict(_tensorflow().sysconfig.get_build_info()), default=str)}

    def yardstick(self, folder: str) -> Source:
        _tensorflow()
        return yardstick.write(folder)

    def close(self) -> None:
        self._model = self._function = self._graph = None

    def _inlined(self) -> Any:
        if self._graph is None:
            self._graph = saved_model.inlined_graph(self._function, self._batch_size)
        return self._graph


def _tensorflow() -> Any:
    """Import TensorFlow and hide the GPUs, which it would prefer."""
    tensorflow = saved_model.import_tensorflow()
    saved_model.hide_gpus(tensorflow)  # also where another accelerator has shared the process and shown it one
    return tensorflow


def _limit_threads(tensorflow: Any, threads: int) -> None:
    """Set the number of threads. TensorFlow makes the thread pools once in a process, when it first runs something."""
    threading = tensorflow.config.threading
    current = threading.get_intra_op_parallelism_threads()
    if threads == current:
        return
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise Refused(
            f"threads={threads} cannot be set, because TensorFlow already runs with threads={current} in this worker: "
            "load it in a fresh one"
        ) from error


def _rewrite_to(tensorflow: Any, precision: str) -> None:
    """Let TensorFlow compute later graphs in this precision, wherever it thinks that safe."""
    if precision == "bf16" and not processor.has_bf16():
        raise Refused("precision='bf16': this processor has no BF16 instructions; use fp32")
    optimizer, wanted = tensorflow.config.optimizer, precision == "bf16"
    if optimizer.get_experimental_options().get(_MIXED_PRECISION, False) != wanted:
        optimizer.set_experimental_options({_MIXED_PRECISION: wanted})


def _onednn(tensorflow_version: str) -> str:
    """Return "on" or "off" for oneDNN: TensorFlow's switch decides, and without it the release and the processor."""
    switch = _SWITCHES.get(os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower())
    if switch is not None:
        return switch
    major, minor = tensorflow_version.split(".")[:2]
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    by_default = (int(major), int(minor)) >= (2, 9) and is_x86 and processor.has_neural_network_instructions()
    return "on" if by_default else "off"
