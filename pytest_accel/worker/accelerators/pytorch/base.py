"""Running an exported PyTorch program: what ``cpu-torch`` and ``gpu-torch`` have in common.

The artefact is the program's file. Half precisions are PyTorch's automatic mixed precision. FP32 is kept from TF32 and
BF16 by settings, never by a default. `pytest_accel.worker.formats.torch_model` reads and observes programs.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Dict, Iterator, List, Mapping, Optional, Tuple

from pytest_accel.worker.accelerator import (
    COMMON_OPTIONS,
    Accelerator,
    Arrays,
    CompileJob,
    Observed,
    Option,
    Refused,
    Source,
    Tensor,
    VendorTool,
    require_loaded,
    share_on,
)
from pytest_accel.worker.formats import batch_axes, graph_precisions, plain_loop, torch_model, yardstick
from pytest_accel.worker.vendor_errors import explained

_MODEL = "model.pt2"
BATCH_SIZE = Option(int, 1, minimum=1, compiled_in=False, doc=COMMON_OPTIONS["batch_size"].doc)
#: _CAST_TO has the name of the type that PyTorch casts to for a precision.
_CAST_TO = {"fp16": "float16", "bf16": "bfloat16"}


def compile_option(*modes: str) -> Option:
    """Return the option that chooses among the modes of PyTorch's compiler."""
    doc = "mode of torch.compile; none runs the exported program as it is, operator by operator"
    return Option(str, "none", choices=("none", *modes), compiled_in=False, doc=doc)


@contextmanager
def own_errors(what: str) -> Iterator[None]:
    """Raise PyTorch's errors within the block as `Refused`, or as `RuntimeError` where the device is at fault."""
    try:
        yield
    except Exception as error:  # PyTorch's are RuntimeErrors, AssertionErrors of its guards, and others
        message = explained(f"PyTorch cannot {what} this model", error)
        if type(error).__name__ == "AcceleratorError":  # the device's fault, which nothing else would help
            raise RuntimeError(message) from error
        raise Refused(message) from error


class TorchProgram(Accelerator):
    """An exported program on some device."""

    sources = ("torch",)
    concurrent = True
    references: ClassVar[Mapping[str, str]] = {"torch": "cpu-torch"}
    #: PyTorch has this name for the type of device.
    device: ClassVar[str]
    #: A placement has this name for the type of device.
    place: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self._program: Optional[torch_model.ExportedProgram] = None
        self._axes: Tuple[batch_axes.Axes, batch_axes.Axes] = [], []
        self._options: Mapping[str, Any] = {}

    @classmethod
    def vendor_tool(cls, artefact: str, inputs: str, calls: int, options: Mapping[str, Any]) -> Optional[VendorTool]:
        """Return a plain loop of PyTorch, which on a GPU is timed by CUDA's events."""
        model, device = os.path.join(artefact, _MODEL), [] if cls.device == "cpu" else [cls.device]
        arguments = (plain_loop.__file__, "torch", model, inputs, str(calls), *device)
        return VendorTool("a plain loop of PyTorch", arguments, begins="begin")

    def versions(self) -> Dict[str, str]:
        import torch

        return {"torch": str(torch.__version__)}  # of a type of its own

    def configure(self, options: Mapping[str, Any]) -> None:
        """Let PyTorch compute later calls as the options say. Raises `Refused` where the device cannot."""

    def compile_job(self, job: CompileJob) -> None:
        if job.source.kind != "torch":
            raise Refused(f"{self.name} takes an exported PyTorch program, not {job.source.kind!r}")
        job.progress(None, f"copying {job.source.path}")
        self._load(job.source.path, job.options)  # so that an error names the original
        self.close()
        shutil.copyfile(job.source.path, os.path.join(job.artefact, _MODEL))

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        return self._load(os.path.join(artefact, _MODEL), options)

    def _load(self, path: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        """Read the program, which takes seconds, and let calls run it."""
        self.close()
        self.configure(options)
        program = torch_model.ExportedProgram(path, self.device)
        sides, batch_size = (program.inputs, program.outputs), options["batch_size"]
        ends = batch_axes.ends_of(*sides)
        if why := batch_axes.unfit(ends, [tensor.name for tensor in program.inputs], batch_size):
            raise Refused(why)
        self._program, self._options = program, options
        self._axes = batch_axes.axes_of(ends, batch_size)
        if options["compile"] != "none":
            self._compile(options["compile"])
        return batch_axes.with_axes(sides, self._axes)

    def stage(self, inputs: Arrays) -> Any:
        import torch

        return [torch.tensor(inputs[tensor.name]) for tensor in self._loaded.inputs]

    def infer(self, staged: Any) -> Arrays:
        with own_errors("run"), self._computing():
            return self._loaded([tensor.to(self.device) for tensor in staged])

    def placement(self) -> Observed:
        """Return where PyTorch dispatched the operators of one call, and in which precision."""
        with self._computing():
            seen = self._loaded.observe(self._zeros())
        operators: Dict[str, str] = {}
        for name, (device, operator, precision) in seen.items():
            place = self.place if device == self.device else device
            if self._in_tf32(operator, precision) and device == self.device:
                precision = "tf32"
            operators[name] = f"{place}:{precision}"
        return Observed.of(operators, share_on(self.place, operators))

    def graph_precisions(self, artefact: str, options: Mapping[str, Any]) -> List[str]:
        return graph_precisions.of_torch(os.path.join(artefact, _MODEL))

    def flops(self) -> Optional[float]:
        with self._computing():
            return self._loaded.flops(self._zeros()) or None

    def yardstick(self, folder: str) -> Source:
        return yardstick.write_torch(folder)

    def raw_answers(self) -> Dict[str, str]:
        import torch

        graph = str(self._loaded.module.graph)
        return {**super().raw_answers(), "torch-config.txt": torch.__config__.show(), "torch-graph.txt": graph}

    def close(self) -> None:
        self._program = None

    @property
    def _loaded(self) -> torch_model.ExportedProgram:
        return require_loaded(self._program)

    def _compile(self, mode: str) -> None:
        """Have PyTorch's compiler do its work here, in a call that nobody times."""
        self._loaded.compile(mode)
        zeros = [zero.cpu() for zero in self._zeros()]  # made as those of a call, or that would compile once more
        with own_errors("compile"), self._computing():
            self._loaded([zero.to(self.device) for zero in zeros])

    def _in_tf32(self, operator: str, precision: str) -> bool:
        is_one = operator in torch_model.TENSOR_CORE_OPERATORS
        return self._options["precision"] == "tf32" and precision == "float32" and is_one

    def _computing(self) -> ExitStack:
        """Enter the modes for one call. A mode holds for one thread, so every call enters them."""
        import torch

        modes = ExitStack()
        modes.enter_context(torch.inference_mode())
        cast_to = _CAST_TO.get(self._options["precision"])
        if cast_to is not None:
            modes.enter_context(torch.autocast(self.device, getattr(torch, cast_to)))
        return modes

    def _zeros(self) -> List[Any]:
        import torch

        batch_size = self._options["batch_size"]
        shapes = [
            [size or (batch_size if position == axis else 8) for position, size in enumerate(tensor.shape)]
            for tensor, axis in zip(self._loaded.inputs, self._axes[0])
        ]
        dtypes = [getattr(torch, tensor.dtype) for tensor in self._loaded.inputs]
        return [torch.zeros(shape, dtype=dtype, device=self.device) for shape, dtype in zip(shapes, dtypes)]
