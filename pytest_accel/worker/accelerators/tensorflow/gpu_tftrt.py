"""The ``gpu-tftrt`` accelerator: TF-TRT, which puts TensorRT's engines into a SavedModel and leaves the rest as it is.

TensorFlow 2.17 was the last release that was built with it. Which parts TensorRT takes is read from the artefact. Their
share is what runs on the accelerator, for TensorFlow's own kernels are what ``gpu`` is for. Where an engine cannot be
built or run, TensorFlow would compute its part and write a line into a log: here that is an error. TF-TRT does not say
which precision a layer of an engine has; in FP32 there is only one.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from typing import Any, ClassVar, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import (
    COMMON_OPTIONS,
    CompileJob,
    Missing,
    Observed,
    Option,
    Present,
    Refused,
    Tensor,
    share_on,
)
from pytest_accel.worker.accelerators.tensorflow.gpu import GPU, IN_TF32, MODEL, Gpu, compute_in, tensorflow_on_gpu
from pytest_accel.worker.formats import saved_model
from pytest_accel.worker.formats.quantise import require
from pytest_accel.worker.formats.saved_graph import needed, operator_of, signature_graph
from pytest_accel.worker.vendor_errors import explained

_ENGINE_OP = "TRTEngineOp"
_FACTS = "facts.json"
#: _MODES has TensorFlow's names of the precisions that an engine may use.
_MODES = {"fp32": "FP32", "tf32": "FP32", "fp16": "FP16", "int8": "INT8"}
#: _FALLBACK is the variable that says whether TensorFlow may compute what an engine should have. TensorFlow reads it at
#: every call.
_FALLBACK = "TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION"


class GpuTfTrt(Gpu):
    """A SavedModel with TensorRT's engines inside, run by TensorFlow on an NVIDIA GPU."""

    name = "gpu-tftrt"
    concurrent = False  # an engine takes one call at a time, and TensorFlow lets the others wait
    calibrated = ("int8",)
    own_options: ClassVar[Mapping[str, Option]] = {
        "batch_size": COMMON_OPTIONS["batch_size"],
        "precision": Option(
            str, "fp32", choices=tuple(_MODES), doc="INT8 needs calibration data; FP32 is without TF32"
        ),
        "workspace_mb": Option(int, None, minimum=1, doc="memory that one layer may use; by default TF-TRT's choice"),
    }

    def __init__(self) -> None:
        super().__init__()
        self._counted_flops: Optional[float] = None
        self._engines: Dict[str, str] = {}
        self._left: Dict[str, str] = {}

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        return None

    def probe(self) -> Union[Present, Missing]:
        found = super().probe()
        if isinstance(found, Missing):
            return found
        tensorflow = tensorflow_on_gpu()
        if not tensorflow.sysconfig.get_build_info().get("is_tensorrt_build", True):
            return Missing(
                "no-sdk",
                f"TensorFlow {tensorflow.__version__} was built without TensorRT; 2.17 was the last release with it",
                "set accel_python to an environment that has TensorFlow 2.17 with TensorRT 8.6, or use gpu-trt",
            )
        return found

    def versions(self) -> Dict[str, str]:
        return {**super().versions(), "tensorrt": _tensorrt_release()}

    def compile_job(self, job: CompileJob) -> None:
        options = job.options
        if job.source.kind not in self.sources:
            raise Refused(f"{self.name} takes a saved_model or a keras source, not {job.source.kind!r}: use gpu-trt")
        if options["precision"] == "int8":
            require(job.calibration)
        tensorflow = tensorflow_on_gpu()
        job.progress(None, f"converting {job.source.path} with TF-TRT")
        flops = _converted(tensorflow, job)
        engines, left = _parts(os.path.join(job.artefact, MODEL), options)
        if not engines:
            raise Refused(
                f"TensorRT takes no part of this model, and all {len(left)} operators would be TensorFlow's: use "
                "gpu-trt, which says why, or gpu"
            )
        with open(os.path.join(job.artefact, _FACTS), "w", encoding="utf-8") as file:
            json.dump({**_bound_to(tensorflow), "flops": flops}, file, indent=2)

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        tensorflow = tensorflow_on_gpu()
        try:
            with open(os.path.join(artefact, _FACTS), encoding="utf-8") as file:
                facts = json.load(file)
        except OSError as error:
            raise Refused(f"{artefact} holds no model of TF-TRT: compile it anew ({error})") from error
        for fact, here in _bound_to(tensorflow).items():
            if facts.get(fact) != here:
                raise Refused(
                    f"these engines were built for {fact} {facts.get(fact)}, and here is {here}: compile them anew"
                )
        os.environ[_FALLBACK] = "False"
        self._counted_flops = facts["flops"]
        self._engines, self._left = _parts(os.path.join(artefact, MODEL), options)
        return super().load(artefact, {**options, "xla": False, "precision": _of_tensorflow(options["precision"])})

    def placement(self) -> Observed:
        """Return the operators inside of engines and those left to TensorFlow. Only the former are counted."""
        in_engines = {name: f"gpu:{precision}" for name, precision in self._engines.items()}
        left = {name: f"tensorflow:{precision}" for name, precision in self._left.items()}
        operators = {**in_engines, **left}
        return replace(Observed.of(in_engines, share_on("gpu", operators)), operators=operators)

    def flops(self) -> Optional[float]:
        return self._counted_flops


def _of_tensorflow(precision: str) -> str:
    """Return the precision that TensorFlow itself computes in. Narrower ones are for engines alone."""
    return "tf32" if precision == "tf32" else "fp32"


def _converted(tensorflow: Any, job: CompileJob) -> Optional[float]:
    """Write the SavedModel with engines into the artefact. Returns the floating-point operations of one call."""
    options = job.options
    with tempfile.TemporaryDirectory() as folder:
        original = os.path.join(folder, MODEL)
        saved_model.write_saved_model(job.source, original)
        saved_model.check_signature(original, options["signature"])
        compute_in(tensorflow, _of_tensorflow(options["precision"]))
        loaded = tensorflow.saved_model.load(original)
        function = loaded.signatures[options["signature"]]
        flops = saved_model.count_flops(saved_model.inlined_graph(function, options["batch_size"]))
        zeros = saved_model.zeros(function, options["batch_size"])
        os.environ[_FALLBACK] = "False"
        try:
            with tensorflow.device(GPU):
                _convert(tensorflow, original, job, zeros)
        except (tensorflow.errors.OpError, RuntimeError, ValueError) as error:
            raise Refused(explained("TF-TRT cannot convert this model", error)) from error
    return flops


def _convert(tensorflow: Any, original: str, job: CompileJob, zeros: Mapping[str, Any]) -> None:
    options = job.options
    workspace = {} if options["workspace_mb"] is None else {"max_workspace_size_bytes": options["workspace_mb"] * 2**20}
    converter = tensorflow.experimental.tensorrt.Converter(
        input_saved_model_dir=original,
        input_saved_model_signature_key=options["signature"],
        precision_mode=_MODES[options["precision"]],
        use_calibration=options["precision"] == "int8",
        allow_build_at_runtime=False,  # or a call of another batch would build an engine while it is timed
        **workspace,
    )

    def batches() -> Iterator[Dict[str, Any]]:
        for batch in job.calibration:
            yield {name: tensorflow.constant(array) for name, array in batch.items()}

    if options["precision"] == "int8":
        converter.convert(calibration_input_fn=batches)
    else:
        converter.convert()
        converter.build(input_fn=lambda: iter([dict(zeros)]))
    converter.save(os.path.join(job.artefact, MODEL))


def _parts(folder: str, options: Mapping[str, Any]) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Return the precisions of the operators inside of engines and of those outside, by name."""
    nodes, outputs, library = signature_graph(folder, options["signature"])
    engines: Dict[str, str] = {}
    left: Dict[str, str] = {}
    for caller, node in needed(nodes, outputs, library):
        if node.op == _ENGINE_OP:
            segment = library[node.attr["segment_func"].func.name]
            for _, inner in needed(segment.node_def, list(segment.ret.values()), library):
                operator = operator_of(inner)
                if operator is not None:
                    engines[f"{node.name}/{inner.name}"] = _in_engine(operator, options["precision"])
            continue
        operator = operator_of(node)
        if operator is not None:
            left[node.name if node.name not in left else caller + node.name] = operator.precision
    return engines, left


def _in_engine(operator: Any, precision: str) -> str:
    if precision in ("fp16", "int8"):
        return "unknown"
    return "tf32" if precision == "tf32" and IN_TF32.fullmatch(operator.kind) else str(operator.precision)


def _bound_to(tensorflow: Any) -> Dict[str, str]:
    """Return what the engines are bound to."""
    (gpu, *_) = tensorflow.config.list_physical_devices("GPU")
    details = tensorflow.config.experimental.get_device_details(gpu)
    capability = "{}.{}".format(*details["compute_capability"])
    return {
        "tensorflow": tensorflow.__version__,
        "tensorrt": _tensorrt_release(),
        "gpu": str(details["device_name"]),
        "compute_capability": capability,
    }


def _tensorrt_release() -> str:
    """Return the release of TensorRT that TensorFlow has loaded, or unknown."""
    try:
        from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils
    except ImportError:
        return "unknown"
    return ".".join(map(str, _pywrap_py_utils.get_loaded_tensorrt_version()))
