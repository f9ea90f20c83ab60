"""The ``cpu-ort`` accelerator: ONNX Runtime on the processor, in FP32 or INT8. It is the reference for ONNX models.

It shares `pytest_accel.worker.accelerators.onnx_runtime.base` with ``gpu-ort``. `pytest_accel.worker.formats.quantise`
makes INT8.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, List, Mapping, Sequence, Union

from pytest_accel.worker.accelerator import (
    Arrays,
    CompileJob,
    Intermediate,
    Missing,
    OperatorTime,
    Option,
    Present,
    Refused,
)
from pytest_accel.worker.accelerators.onnx_runtime.base import (
    CPU_PROVIDER,
    OPTIMISATION,
    OnnxRuntime,
    run,
    session_options,
)
from pytest_accel.worker.accelerators.onnx_runtime.profile import Profile
from pytest_accel.worker.formats import intermediate, onnx_file
from pytest_accel.worker.formats.quantise import ACTIVATIONS, quantise, require
from pytest_accel.worker.hardware import processor
from pytest_accel.worker.timing import operators
from pytest_accel.worker.vendor_errors import explained

#: _FOLDER_OF_WEIGHTS is the entry of a session that names the folder of weights that are not in the serialised model.
_FOLDER_OF_WEIGHTS = "session.model_external_initializers_file_folder_path"


class CpuOrt(OnnxRuntime):
    """ONNX Runtime on the processor."""

    name = "cpu-ort"
    extra = "cpu-ort"
    calibrated = ("int8",)
    shows_intermediates = True
    profiles_operators = True  # on a GPU the profiler times how long a kernel takes to be started
    # INT8 kernels of some processors overflow, and what is right is what the pairs say.
    as_reference: ClassVar[Mapping[str, str]] = {"qdq": "apart"}
    devices: ClassVar[Mapping[str, str]] = {CPU_PROVIDER: "cpu"}
    own_options: ClassVar[Mapping[str, Option]] = {
        "precision": Option(str, "fp32", choices=("fp32", "int8"), doc="INT8 needs calibration data"),
        "activations": Option(
            str, "uint8", choices=ACTIVATIONS, doc="INT8 activations: uint8 is fast here, int8 is TensorRT's form"
        ),
        "threads": Option(int, 0, minimum=0, compiled_in=False, doc="threads of one call; 0 is ONNX Runtime's choice"),
        "optimisation": OPTIMISATION,
        "qdq": Option(
            str,
            "fused",
            choices=("fused", "apart"),
            compiled_in=False,
            doc="Q/DQ pairs become INT8 kernels, or are computed one by one in FP32",
        ),
    }

    def probe(self) -> Union[Present, Missing]:
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ImportError as error:
            return Missing(
                "no-sdk", f"ONNX Runtime cannot be used: {error}", f"pip install 'pytest-accel[{self.extra}]'"
            )
        return processor.present()

    def prepared(self, model: Any, job: CompileJob, scratch: str) -> Any:
        if job.options["precision"] != "int8":
            return model
        require(job.calibration)
        activations, reduce_range = job.options["activations"], processor.saturates_int8()
        return quantise(model, job.calibration, activations, job.progress, scratch, reduce_range=reduce_range)

    def session(self, model: Union[str, bytes], options: Mapping[str, Any], profile: str = "") -> Any:
        import onnxruntime

        wanted = session_options(options, profile)
        wanted.intra_op_num_threads = options["threads"]
        if options["qdq"] == "apart":
            wanted.add_session_config_entry("session.disable_quant_qdq", "1")
        if isinstance(model, bytes):  # a graph whose large weights are beside the loaded one
            wanted.add_session_config_entry(_FOLDER_OF_WEIGHTS, os.path.dirname(self._path))
        try:
            return onnxruntime.InferenceSession(model, wanted, providers=[CPU_PROVIDER])
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise Refused(explained("ONNX Runtime cannot load this model", error)) from error

    def operator_times(self, staged: Sequence[Arrays], calls: int) -> List[OperatorTime]:
        def make_calls(session: Any) -> None:
            operators.make_calls(lambda inputs: run(session, None, inputs), staged, operators.WARM_UP_CALLS + calls)

        return Profile(self.profile(make_calls), self._path).operator_times(calls)

    def intermediates(self, inputs: Arrays) -> List[Intermediate]:
        graph = onnx_file.read_graph(self._path)
        return intermediate.of_onnx(graph, inputs, lambda model: self.session(model, self._options))
