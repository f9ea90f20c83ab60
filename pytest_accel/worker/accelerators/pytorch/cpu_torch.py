"""The ``cpu-torch`` accelerator: PyTorch on the processor. It is the reference for all models of PyTorch.

It shares `pytest_accel.worker.accelerators.pytorch.base` with ``gpu-torch``.
"""

from __future__ import annotations

from typing import Any, ClassVar, List, Mapping, Optional, Sequence, Union

from pytest_accel.worker.accelerator import Missing, OperatorTime, Option, Present, Refused
from pytest_accel.worker.accelerators.pytorch import profile
from pytest_accel.worker.accelerators.pytorch.base import BATCH_SIZE, TorchProgram, compile_option, own_errors
from pytest_accel.worker.hardware import processor


class CpuTorch(TorchProgram):
    """PyTorch on the processor, in FP32 or BF16."""

    name = "cpu-torch"
    extra = "cpu-torch"
    device = place = "cpu"
    profiles_operators = True
    # PyTorch makes its threads when it computes for the first time.
    preload = ("pytest_accel.worker.formats.torch_model:preload_torch",)
    own_options: ClassVar[Mapping[str, Option]] = {
        "batch_size": BATCH_SIZE,
        "precision": Option(str, "fp32", choices=("fp32", "bf16"), doc="BF16 is PyTorch's automatic mixed precision"),
        "threads": Option(int, 0, minimum=0, compiled_in=False, doc="threads of one call; 0 is PyTorch's choice"),
        "compile": compile_option("default", "max-autotune"),
    }

    def __init__(self) -> None:
        super().__init__()
        self._usual_threads = 0

    def probe(self) -> Union[Present, Missing]:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            return Missing("no-sdk", f"PyTorch cannot be used: {error}", f"pip install 'pytest-accel[{self.extra}]'")
        return processor.present()

    def configure(self, options: Mapping[str, Any]) -> None:
        import torch

        if options["precision"] == "bf16" and not processor.has_bf16():
            raise Refused("precision='bf16': this processor has no BF16 instructions; use fp32")
        torch.set_float32_matmul_precision("highest")
        self._usual_threads = self._usual_threads or torch.get_num_threads()
        torch.set_num_threads(options["threads"] or self._usual_threads)

    def operator_times(self, staged: Sequence[Any], calls: int) -> Optional[List[OperatorTime]]:
        """Return the times, None where PyTorch's compiler has made kernels that have no names of the program."""
        if self._options["compile"] != "none":
            return None
        with own_errors("run"), self._computing():
            return profile.operator_times(self._loaded.marked, staged, calls)
