"""Running an ONNX model with ONNX Runtime: what ``cpu-ort`` and ``gpu-ort`` have in common.

The artefact is one ONNX file for a fixed batch. A subclass chooses the provider of a session, and how the model is
prepared for it. `pytest_accel.worker.formats.onnx_model` converts models to ONNX.
"""

from __future__ import annotations

import os
import re
import tempfile
from abc import abstractmethod
from contextlib import contextmanager
from typing import Any, Callable, ClassVar, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from pytest_accel.worker import wire
from pytest_accel.worker.accelerator import (
    Accelerator,
    Arrays,
    CompileJob,
    Inspected,
    Observed,
    Option,
    Progress,
    Refused,
    Source,
    Tensor,
    VendorTool,
    share_on,
)
from pytest_accel.worker.accelerators.onnx_runtime.profile import Profile
from pytest_accel.worker.formats import batch_axes, graph_precisions, onnx_file, onnx_model, plain_loop, yardstick
from pytest_accel.worker.hardware import versions
from pytest_accel.worker.vendor_errors import explained

_MODEL = "model.onnx"
CPU_PROVIDER = "CPUExecutionProvider"
_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
OPTIMISATION = Option(
    str, "all", choices=tuple(_LEVELS), compiled_in=False, doc="how much of the graph may be rewritten"
)
#: _DTYPES has NumPy's names of the element types that ONNX calls something else.
_DTYPES = {"float": "float32", "double": "float64"}
#: _PRECISIONS gives the precision by the type of an operator's first input. Other types have no precision to lose.
_PRECISIONS = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "int8": "int8",
    "uint8": "int8",
}
#: _BOOKKEEPING names the operators that move or convert values and compute none.
_BOOKKEEPING = frozenset(
    {
        "Cast",
        "DequantizeLinear",
        "QuantizeLinear",
        "Identity",
        "ReorderInput",
        "ReorderOutput",
        "Concat",
        "Flatten",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
        "MemcpyFromHost",
        "MemcpyToHost",
    }
)


class Kernel(NamedTuple):
    """One computing kernel of a call: the operator's name and type, the provider, and the first input's precision."""

    name: str
    kind: str
    provider: str
    precision: str


class OnnxRuntime(Accelerator):
    """ONNX Runtime on some device. A subclass makes the sessions."""

    sources = ("saved_model", "keras", "onnx")
    concurrent = True
    #: A conversion depends on the batch too: known shapes need not be computed in every call.
    converts: ClassVar[Mapping[str, Tuple[str, ...]]] = {
        "saved_model": ("signature", "batch_size"),
        "keras": ("signature", "batch_size"),
    }
    references: ClassVar[Mapping[str, str]] = {"saved_model": "cpu", "keras": "cpu", "onnx": "cpu-ort"}
    #: A placement has these names for the devices of providers. Another provider appears under its own name.
    devices: ClassVar[Mapping[str, str]]

    def __init__(self) -> None:
        super().__init__()
        self._loaded: Any = None
        self._path = ""
        self._options: Mapping[str, Any] = {}
        self._outputs: List[str] = []
        #: The last staged inputs fit the model, whatever sizes it leaves open.
        self._staged: Arrays = {}

    @classmethod
    def vendor_tool(cls, artefact: str, inputs: str, calls: int, options: Mapping[str, Any]) -> Optional[VendorTool]:
        """Return a plain loop: the wheels of ONNX Runtime come without its ``onnxruntime_perf_test``."""
        provider = next(iter(cls.devices))
        return VendorTool(
            "a plain loop of ONNX Runtime",
            (
                plain_loop.__file__,
                "onnxruntime",
                os.path.join(artefact, _MODEL),
                inputs,
                str(calls),
                *([] if provider == CPU_PROVIDER else [provider]),
            ),
            begins="begin",
        )

    @abstractmethod
    def session(self, model: Union[str, bytes], options: Mapping[str, Any], profile: str = "") -> Any:
        """Return a session for a file or a serialised model. It writes a profile to ``profile`` if that is not empty.

        Raises `Refused` when ONNX Runtime does not take the model.
        """

    def prepared(self, model: Any, job: CompileJob, scratch: str) -> Any:
        """Return the model in the precision asked for. Its large weights may be in files of the folder ``scratch``."""
        return model

    def versions(self) -> Dict[str, str]:
        import onnx
        import onnxruntime

        used = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}
        return {**used, **versions.installed("tf2onnx", "tensorflow")}

    def convert(self, source: Source, folder: str, options: Mapping[str, Any], progress: Progress) -> Source:
        progress(None, f"converting {source.path}")
        path = os.path.join(folder, _MODEL)
        model, ends = onnx_model.converted(source, options["signature"], options["batch_size"])
        onnx_file.write(model, path)
        batch_axes.keep_signature(ends, folder)
        return Source("onnx", path)

    def compile_job(self, job: CompileJob) -> None:
        options = job.options
        job.progress(None, f"converting {job.source.path}")
        model, ends = onnx_model.converted(job.source, options["signature"], options["batch_size"])
        path = os.path.join(job.artefact, _MODEL)
        with tempfile.TemporaryDirectory() as scratch:
            onnx_file.write(self.prepared(model, job, scratch), path)
        batch_axes.keep_axes(batch_axes.axes_of(ends, options["batch_size"]), job.artefact)
        job.progress(None, "checking that ONNX Runtime takes it")
        self.require_taken(path, options)

    def require_taken(self, path: str, options: Mapping[str, Any]) -> None:
        """Raise `Refused` where ONNX Runtime does not take the file, or its tensors cannot be measured."""
        _tensors(self.session(path, options))

    def inspect(self, artefact: str, options: Mapping[str, Any]) -> Inspected:
        """Return the file that is run: ONNX Runtime can predict its accuracy on any machine."""
        return Inspected(model=Source("onnx", os.path.join(artefact, _MODEL)))

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        self.close()
        self._path, self._options = os.path.join(artefact, _MODEL), options
        self._loaded = self.session(self._path, options)
        sides = _tensors(self._loaded)
        self._outputs = [tensor.name for tensor in sides[1]]
        return batch_axes.with_axes(sides, batch_axes.kept_axes(artefact, batch_axes.ends_of(*sides)))

    def stage(self, inputs: Arrays) -> Any:
        self._staged = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        return self._staged

    def infer(self, staged: Any) -> Arrays:
        return dict(zip(self._outputs, run(self._loaded, self._outputs, staged)))

    def placement(self) -> Observed:
        """Return where the kernels of one profiled call ran, and in which precision."""
        operators: Dict[str, str] = {}
        for kernel in self.kernels():
            device = self.devices.get(kernel.provider, kernel.provider)
            operators[kernel.name] = f"{device}:{kernel.precision}"
        own = next(iter(self.devices.values()))
        return Observed.of(operators, share_on(own, operators))

    def graph_precisions(self, artefact: str, options: Mapping[str, Any]) -> List[str]:
        return graph_precisions.of_onnx(os.path.join(artefact, _MODEL))

    def flops(self) -> Optional[float]:
        return onnx_model.count_flops(onnx_file.read_graph(self._path))

    def yardstick(self, folder: str) -> Source:
        return yardstick.write_onnx(folder)

    def close(self) -> None:
        self._loaded = None
        self._staged = {}

    def raw_answers(self) -> Dict[str, str]:
        return {**super().raw_answers(), "onnxruntime-profile.json": self._profile()}

    def _profile(self) -> str:
        """Return what ONNX Runtime's profiler has recorded of one call."""

        def call_once(session: Any) -> None:
            tensors, _ = _tensors(session)
            zeros = {t.name: np.zeros([size or 1 for size in t.shape], t.dtype) for t in tensors}
            run(session, None, self._staged or zeros)

        return self.profile(call_once)

    def profile(self, call: Callable[[Any], None]) -> str:
        """Return what ONNX Runtime's profiler has recorded while ``call`` used a session of its own."""
        with tempfile.TemporaryDirectory() as folder:
            session = self.session(self._path, self._options, profile=os.path.join(folder, "profile"))
            call(session)
            with open(session.end_profiling(), encoding="utf-8") as file:
                return file.read()

    def kernels(self) -> Iterator[Kernel]:
        """Yield the computing kernels of one call that ONNX Runtime's profiler recorded."""
        profile = Profile(self._profile(), self._path)
        quantised = any(graph_precisions.QUANTISED.search(each["args"]["op_name"]) for each in profile.kernels)
        for position, kernel in enumerate(profile.kernels):
            facts = kernel["args"]
            types = [element_type for tensor in facts["input_type_shape"] for element_type in tensor]
            precision = _PRECISIONS.get(types[0]) if types else None
            if precision == "int8" and not quantised:
                continue
            if precision is not None and facts["op_name"] not in _BOOKKEEPING:
                name = profile.name_of(kernel) or f"{facts['op_name']} {position}"
                yield Kernel(name, facts["op_name"], facts["provider"], precision)


def session_options(options: Mapping[str, Any], profile: str) -> Any:
    """Return the options of every session, those that are served but for the words on the terminal.

    So results are not asked to be deterministic: ONNX Runtime would leave its fast reductions on a GPU.
    """
    import onnxruntime

    wanted = onnxruntime.SessionOptions()
    wanted.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[options["optimisation"]])
    wanted.log_severity_level = 3
    if profile:
        wanted.enable_profiling = True
        wanted.profile_file_prefix = profile
    return wanted


def run(session: Any, outputs: Optional[Sequence[str]], inputs: Arrays) -> List[Any]:
    """Make one call of a session. Its errors are those of `own_errors`."""
    with own_errors():
        results: List[Any] = session.run(outputs, inputs)
    return results


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise ONNX Runtime's errors of a call as `Refused`, or as `RuntimeError` where the device is at fault."""
    try:
        yield
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        message = explained("ONNX Runtime cannot run this model", error)
        if type(error).__name__ == "EPFail":  # the device's fault, which no other model or input would help
            raise RuntimeError(message) from error
        raise Refused(message) from error


def _tensors(session: Any) -> Tuple[List[Tensor], List[Tensor]]:
    return [_tensor(described) for described in session.get_inputs()], [
        _tensor(described) for described in session.get_outputs()
    ]


def _tensor(described: Any) -> Tensor:
    found = re.fullmatch(r"tensor\((\w+)\)", described.type)
    if found is None or found.group(1) == "string":
        raise Refused(
            f"{described.name!r} is a {described.type}; only tensors of numbers can be measured: "
            "cut it off before exporting the model"
        )
    dtype = _DTYPES.get(found.group(1), found.group(1))
    if not wire.is_numeric(dtype):
        raise Refused(f"{described.name!r} is a {described.type}, which NumPy does not have: {wire.INSTEAD}")
    shape = tuple(size if isinstance(size, int) else None for size in described.shape)
    return Tensor(described.name, dtype, shape)
