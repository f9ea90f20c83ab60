"""The ``cpu-openvino`` accelerator: OpenVINO on the processor, in FP32, BF16 or INT8.

OpenVINO reads a SavedModel or an ONNX file itself; TensorFlow is only needed to export a Keras file. The artefact is in
OpenVINO's own format, for a fixed batch and with unchanged weights; NNCF makes INT8. On a processor with BF16 OpenVINO
computes in BF16 by default. So the precision is always set, and read back.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import deque
from typing import Any, ClassVar, Deque, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from pytest_accel.worker import wire
from pytest_accel.worker.accelerator import (
    Accelerator,
    Arrays,
    CompileJob,
    Intermediate,
    Missing,
    Observed,
    OperatorTime,
    Option,
    Present,
    Progress,
    Refused,
    Source,
    Tensor,
    VendorTool,
)
from pytest_accel.worker.formats import batch_axes, intermediate, onnx_model, openvino_model, yardstick
from pytest_accel.worker.formats.openvino_model import import_openvino
from pytest_accel.worker.formats.quantise import QUANTISED_ALREADY, check_inputs, require
from pytest_accel.worker.hardware import processor, versions
from pytest_accel.worker.timing import operators
from pytest_accel.worker.vendor_errors import explained

_MODEL = "model.xml"
_DEVICE = "CPU"
#: _BENCHMARK_APP is what OpenVINO's console script of this name does, wherever that was installed.
_BENCHMARK_APP = "from openvino.tools.benchmark.main import main; main()"
#: _PRECISION_HINTS has the hint that OpenVINO is given for a precision. Layers that stay out of INT8 compute in FP32.
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
#: _PROPERTIES has the properties of OpenVINO that options set.
_PROPERTIES = {
    "precision": "INFERENCE_PRECISION_HINT",
    "hint": "PERFORMANCE_HINT",
    "streams": "NUM_STREAMS",
    "threads": "INFERENCE_NUM_THREADS",
}
#: _PRECISIONS has OpenVINO's names of precisions. Other types are of indices, which have no precision to lose.
_PRECISIONS = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}
#: _IN_NUMPY names the types of inputs and outputs that NumPy has too.
_IN_NUMPY = frozenset({"boolean", "f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"})
#: _BOOKKEEPING names the layers that feed, move or convert values and compute none.
_BOOKKEEPING = frozenset(
    {
        "Input",
        "Output",
        "Const",
        "Convert",
        "FakeQuantize",
        "Reorder",
        "Reshape",
        "Transpose",
        "Concatenation",
        "Split",
        "StridedSlice",
    }
)
#: _MADE_UP_NAME finds what a layer without a name is called. The number counts all layers of the process, so it differs
#: between runs.
_MADE_UP_NAME = re.compile(r"[A-Z][A-Za-z]*_\d+(/(fq_|Dequantization)\w*)*")


class CpuOpenVino(Accelerator):
    """OpenVINO on the processor."""

    name = "cpu-openvino"
    extra = "cpu-openvino"
    sources = ("saved_model", "keras", "onnx")
    concurrent = True
    calibrated = ("int8",)
    shows_intermediates = True
    profiles_operators = True
    #: Variants share a conversion, because OpenVINO numbers unnamed layers over all models that a process reads.
    converts: ClassVar[Mapping[str, Tuple[str, ...]]] = {
        "saved_model": ("signature",),
        "keras": ("signature",),
        "onnx": (),
    }
    references: ClassVar[Mapping[str, str]] = {"saved_model": "cpu", "keras": "cpu", "onnx": "cpu-ort"}
    own_options: ClassVar[Mapping[str, Option]] = {
        "precision": Option(str, "fp32", choices=tuple(_PRECISION_HINTS), doc="INT8 needs calibration data"),
        "hint": Option(
            str, "latency", choices=("latency", "throughput"), compiled_in=False, doc="what OpenVINO tunes itself for"
        ),
        "streams": Option(
            int, 0, minimum=0, compiled_in=False, doc="calls that OpenVINO runs side by side; 0 is the hint's choice"
        ),
        "threads": Option(int, 0, minimum=0, compiled_in=False, doc="threads of all streams; 0 is OpenVINO's choice"),
    }

    def __init__(self) -> None:
        self._path = ""
        self._options: Mapping[str, Any] = {}
        self._model: Any = None
        #: A request runs one call at a time. A call takes the request that has rested longest, so that all get warm.
        self._idle: Deque[Any] = deque()
        self._outputs: List[str] = []

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        streams, in_flight = options["streams"], options["concurrency"]
        if streams > in_flight:
            return (
                f"streams={streams} share the threads among as many calls, but only {in_flight} is in flight, so some "
                f"would idle; use load_shape='multi_stream', concurrency={streams}, or leave streams to the hint"
            )
        return None

    @classmethod
    def vendor_tool(cls, artefact: str, inputs: str, calls: int, options: Mapping[str, Any]) -> Optional[VendorTool]:
        """Return OpenVINO's ``benchmark_app`` with the settings that the options stand for."""
        one_by_one = options["load_shape"] in ("single_stream", "offline")
        streams, in_flight = str(options["streams"]), str(options["concurrency"])
        side_by_side = ("-hint", "none", "-api", "async", "-nstreams", streams, "-nireq", in_flight)
        files = [f"{os.path.splitext(name)[0]}:{os.path.join(inputs, name)}" for name in sorted(os.listdir(inputs))]
        return VendorTool(
            "benchmark_app",
            (
                "-c",
                _BENCHMARK_APP,
                *("-m", os.path.join(artefact, _MODEL), "-i", ",".join(files), "-niter", str(calls)),
                *(("-hint", options["hint"], "-api", "sync") if one_by_one else side_by_side),
                # Inputs as the model has them: of what looks like an image it would make an 8-bit one.
                *("-infer_precision", _PRECISION_HINTS[options["precision"]], "-ip", "f32"),
            ),
            begins="First inference took",
        )

    def probe(self) -> Union[Present, Missing]:
        try:
            openvino = import_openvino()
        except ImportError as error:
            return Missing("no-sdk", f"OpenVINO cannot be used: {error}", f"pip install 'pytest-accel[{self.extra}]'")
        return processor.present(str(openvino.Core().get_property(_DEVICE, "FULL_DEVICE_NAME")))

    def versions(self) -> Dict[str, str]:
        return {"openvino": import_openvino().__version__, **versions.installed("nncf", "tensorflow")}

    def convert(self, source: Source, folder: str, options: Mapping[str, Any], progress: Progress) -> Source:
        progress(None, f"converting {source.path}")
        path = os.path.join(folder, _MODEL)
        model = openvino_model.read(source, options["signature"])
        import_openvino().save_model(model, path, compress_to_fp16=False)
        batch_axes.keep_signature(_signature(source, openvino_model.ends_of(model)), folder)
        return Source(openvino_model.OWN_KIND, path)

    def compile_job(self, job: CompileJob) -> None:
        options = job.options
        openvino = import_openvino()
        if options["precision"] == "int8":
            require(job.calibration)
        job.progress(None, f"reading {job.source.path}")
        model = openvino_model.read(job.source, options["signature"])
        ends = _signature(job.source, openvino_model.ends_of(model))
        model = openvino_model.fix_batch(model, options["batch_size"], ends)
        if options["precision"] == "int8":
            if openvino_model.is_quantised(model) or openvino_model.has_whole_weights(model):
                raise Refused(QUANTISED_ALREADY.format(precision="int8"))
            model = _quantised(model, job.calibration, job.progress)
        model = openvino_model.widen_outputs(model)
        path = os.path.join(job.artefact, _MODEL)
        openvino.save_model(model, path, compress_to_fp16=False)
        batch_axes.keep_axes(batch_axes.axes_of(ends, options["batch_size"]), job.artefact)
        job.progress(None, "checking that OpenVINO takes it")
        _tensors(_compiled(path, options))

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self.close()
        self._path, self._options = os.path.join(artefact, _MODEL), options
        self._model = _compiled(self._path, options)
        self._idle.extend(self._model.create_infer_request() for _ in range(options["concurrency"]))
        inputs, outputs = _tensors(self._model)
        self._outputs = [tensor.name for tensor in outputs]
        axes = batch_axes.kept_axes(artefact, batch_axes.ends_of(inputs, outputs))
        return batch_axes.with_axes((inputs, outputs), axes)

    def stage(self, inputs: Arrays) -> Any:
        openvino = import_openvino()
        return {name: openvino.Tensor(array) for name, array in inputs.items()}

    def infer(self, staged: Any) -> Arrays:
        request = self._idle.popleft()
        try:
            outputs = request.infer(staged).to_tuple()  # copies, so the request is free for another call
        except RuntimeError as error:
            raise Refused(explained("OpenVINO cannot run this model", error)) from error
        finally:
            self._idle.append(request)
        return dict(zip(self._outputs, outputs))

    def placement(self) -> Observed:
        """Return the layers of the graph that OpenVINO executes, with the precisions that it chose."""
        devices = ",".join(self._model.get_property("EXECUTION_DEVICES")).lower()
        operators: Dict[str, str] = {}
        unnamed: Dict[str, int] = {}
        quantised = openvino_model.is_quantised(import_openvino().Core().read_model(self._path))
        for layer in self._model.get_runtime_model().get_ordered_ops():
            facts = layer.get_rt_info()
            kind, name = str(facts["layerType"].value), layer.get_friendly_name()
            precision = _PRECISIONS.get(str(facts["runtimePrecision"].value))
            if precision is None or kind in _BOOKKEEPING:
                continue
            if precision == "int8" and not quantised:
                continue  # bytes of an image, say, which have no precision to lose
            if _MADE_UP_NAME.fullmatch(name):
                unnamed[kind] = unnamed.get(kind, 0) + 1
                name = f"{kind}_{unnamed[kind]}"
            operators[name] = f"{devices}:{precision}"
        return Observed.of(operators, 1.0 if devices == _DEVICE.lower() else None)

    def intermediates(self, inputs: Arrays) -> List[Intermediate]:
        model = import_openvino().Core().read_model(self._path)
        return intermediate.of_openvino(model, inputs, lambda shown: _compiled(shown, self._options))

    def operator_times(self, staged: Sequence[Any], calls: int) -> List[OperatorTime]:
        request = _compiled(self._path, self._options, profiled=True).create_infer_request()
        recorded: List[List[OperatorTime]] = []

        def call(inputs: Any) -> None:
            request.infer(inputs)
            recorded.append([_time(layer) for layer in request.get_profiling_info() if _was_run(layer)])

        operators.make_calls(call, staged, operators.WARM_UP_CALLS + calls)
        return operators.typical(recorded[-calls:])

    def raw_answers(self) -> Dict[str, str]:
        layers = [
            {"name": layer.get_friendly_name(), **{key: str(fact.value) for key, fact in layer.get_rt_info().items()}}
            for layer in self._model.get_runtime_model().get_ordered_ops()
        ]
        return {**super().raw_answers(), "openvino-runtime-model.json": json.dumps(layers, indent=1)}

    def flops(self) -> Optional[float]:
        return openvino_model.count_flops(import_openvino().Core().read_model(self._path))

    def yardstick(self, folder: str) -> Source:
        return yardstick.write_onnx(folder)

    def close(self) -> None:
        self._idle.clear()
        self._model = None


def _signature(source: Source, ends: batch_axes.Ends) -> batch_axes.Ends:
    """Return what a source takes and gives; an ONNX file alone tells the names of free dimensions."""
    if source.kind != "onnx":
        return batch_axes.kept_signature(source.path, ends)
    try:
        named = onnx_model.ends_of_file(source.path)
    except Exception:  # OpenVINO has read the file, with or without the package, so only the names are missing
        return ends
    return named if tuple(map(len, named)) == tuple(map(len, ends)) else ends


def _quantised(model: Any, calibration: Sequence[Arrays], progress: Progress) -> Any:
    try:
        import nncf
    except ImportError as error:
        raise Refused(f"INT8 takes NNCF: {error}; pip install 'pytest-accel[cpu-openvino]'") from error
    check_inputs({openvino_model.name_of(port) for port in model.inputs}, calibration)
    taken = itertools.count(1)

    def reported(batch: Arrays) -> Arrays:
        """Report a batch that NNCF takes. It takes them in several rounds, and the number of rounds is not known."""
        progress(None, f"calibrating with {len(calibration)} batches, {next(taken)} taken")
        return batch

    try:
        return nncf.quantize(
            model,
            nncf.Dataset(calibration, reported),
            subset_size=len(calibration),
            target_device=nncf.TargetDevice.CPU,
        )
    except Exception as error:  # NNCF's and OpenVINO's errors have no common base class
        raise Refused(explained("NNCF cannot quantise this model", error)) from error


def _was_run(layer: Any) -> bool:
    """Return whether a layer was run itself: one that was fused into another has a record without a time."""
    return bool(layer.status == layer.Status.EXECUTED)


def _time(layer: Any) -> OperatorTime:
    """Return the time of a layer that OpenVINO has counted. A name that it made up is none."""
    name = "" if _MADE_UP_NAME.fullmatch(layer.node_name) else layer.node_name
    return OperatorTime(name, layer.node_type, 1e9 * layer.real_time.total_seconds())


def _compiled(model_or_path: Any, options: Mapping[str, Any], *, profiled: bool = False) -> Any:
    """Compile the model with exactly the options asked for. Raises `Refused` where OpenVINO would use others."""
    openvino = import_openvino()
    core = openvino.Core()
    if options["precision"] == "bf16" and "BF16" not in core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES"):
        raise Refused("precision='bf16': this processor has no BF16 instructions; use fp32 or int8")
    asked = {"precision": _PRECISION_HINTS[options["precision"]], "hint": options["hint"].upper()}
    asked.update({name: options[name] for name in ("streams", "threads") if options[name]})
    properties: Dict[str, Any] = {_PROPERTIES[name]: value for name, value in asked.items()}
    if profiled:
        properties["PERF_COUNT"] = True
    try:
        model = core.compile_model(model_or_path, _DEVICE, properties)
    except RuntimeError as error:
        raise Refused(explained("OpenVINO cannot compile this model", error)) from error
    for name, value in asked.items():
        effective = model.get_property(_PROPERTIES[name])
        if (effective.to_string() if isinstance(effective, openvino.Type) else effective) != value:
            raise Refused(
                f"{name}={options[name]!r} is not possible here: OpenVINO has {_PROPERTIES[name]} {effective}"
            )
    return model


def _tensors(model: Any) -> Tuple[List[Tensor], List[Tensor]]:
    return [_tensor(port) for port in model.inputs], [_tensor(port) for port in model.outputs]


def _tensor(port: Any) -> Tensor:
    name, kind = openvino_model.name_of(port), port.get_element_type().get_type_name()
    if kind not in _IN_NUMPY:  # OpenVINO would give out the bits of a bfloat16 as a float16
        raise Refused(f"{name!r} is of type {kind}, which NumPy does not have: {wire.INSTEAD}")
    shape = tuple(size.get_length() if size.is_static else None for size in port.get_partial_shape())
    return Tensor(name, port.get_element_type().to_dtype().name, shape)
