"""The ``gpu-torch`` accelerator: PyTorch on an NVIDIA GPU.

PyTorch moves nothing to another device by itself, but computes convolutions in TF32 by default. A call begins and ends
with arrays of the host. So it includes both copies, from and to page-locked memory, and leaves no work in the device's
queue. Each of several calls at the same time has a stream of its own. It shares
`pytest_accel.worker.accelerators.pytorch.base` with ``cpu-torch``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from pytest_accel.worker.accelerator import Arrays, Missing, Option, Present, Refused, Tensor
from pytest_accel.worker.accelerators.pytorch.base import BATCH_SIZE, TorchProgram, compile_option, own_errors
from pytest_accel.worker.hardware import nvml
from pytest_accel.worker.hardware.nvidia_gpu import NvidiaGpu
from pytest_accel.worker.lanes import Lanes

#: _RECORDING are the modes of the compiler that make CUDA graphs, which belong to one thread and one call at a time.
_RECORDING = ("reduce-overhead", "max-autotune")

#: _CLOCKS_OF_A_ROUND is how many clocks of the GPU a round of work takes, which is about a microsecond.
_CLOCKS_OF_A_ROUND = 1500


class GpuTorch(NvidiaGpu, TorchProgram):
    """PyTorch on an NVIDIA GPU, in FP32, TF32, FP16 or BF16."""

    name = "gpu-torch"
    extra = "gpu-torch"
    device, place = "cuda", "gpu"
    in_flight = 2  # the copies of one call go on beside the computing of the other
    own_options: ClassVar[Mapping[str, Option]] = {
        "batch_size": BATCH_SIZE,
        "precision": Option(
            str,
            "fp32",
            choices=("fp32", "tf32", "fp16", "bf16"),
            doc="FP16 and BF16 are PyTorch's automatic mixed precision",
        ),
        "compile": compile_option("default", "max-autotune-no-cudagraphs", *_RECORDING),
    }

    def __init__(self) -> None:
        super().__init__()
        self._lanes: Lanes[_Lane] = Lanes(_Lane)

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        compile_mode, shape = options["compile"], options["load_shape"]
        if compile_mode in _RECORDING and shape != "single_stream":
            return (
                f"compile={compile_mode!r} makes CUDA graphs, of which PyTorch runs one at a time, in one thread: use "
                f"'default' or 'max-autotune-no-cudagraphs' for load_shape={shape!r}"
            )
        return None

    def probe(self) -> Union[Present, Missing]:
        if (missing := nvml.missing()) is not None:
            return missing
        install = f"pip install 'pytest-accel[{self.extra}]'"
        nvml.order_devices()
        try:
            import torch
        except ImportError as error:
            return Missing("no-sdk", f"PyTorch cannot be used: {error}", install)
        if torch.version.cuda is None:
            return Missing("no-sdk", f"PyTorch {torch.__version__} was built without CUDA", install)
        try:
            torch.cuda.init()
            facts = torch.cuda.get_device_properties(0)
        except (RuntimeError, AssertionError) as error:  # its words name the driver, or what is wrong with the device
            return Missing("no-driver", f"PyTorch {torch.__version__} cannot use the GPU: {error}", "run nvidia-smi")
        return self._device.present(
            {
                "gpu": facts.name,
                "gpu_uuid": f"GPU-{facts.uuid}",
                "compute_capability": f"{facts.major}.{facts.minor}",
                "sm_count": facts.multi_processor_count,
            }
        )

    def versions(self) -> Dict[str, str]:
        import torch

        return {
            **super().versions(),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            "nvidia-driver": self._device.driver_version(),
        }

    def configure(self, options: Mapping[str, Any]) -> None:
        nvml.order_devices()
        import torch

        precision, capability = options["precision"], torch.cuda.get_device_capability(0)
        if precision == "tf32" and capability < nvml.TF32_FROM:
            raise Refused(nvml.NO_TF32.format(*capability))
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise Refused("precision='bf16': this GPU has no BF16 instructions; use fp32 or fp16")
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.cuda.reset_peak_memory_stats()

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        loaded = super().load(artefact, options)
        import torch

        torch.cuda.synchronize()  # the streams of calls do not wait for the copies of the weights
        return loaded

    def stage(self, inputs: Arrays) -> Any:
        return [tensor.pin_memory() for tensor in super().stage(inputs)]

    def infer(self, staged: Any) -> Arrays:
        return self.finish(self.begin(staged))

    def begin(self, staged: Any) -> _Lane:
        """Put the work of one batch into a stream that no other call uses meanwhile."""
        lane = self._lanes.take()
        try:
            with own_errors("run"), self._computing(), lane.in_stream():
                taken = [tensor.to(self.device, non_blocking=True) for tensor in staged]
                lane.download(self._loaded.compute(taken))
        except BaseException:
            self._lanes.give_back(lane)
            raise
        return lane

    def finish(self, begun: _Lane) -> Arrays:
        """Wait for the stream of a call, and return the outputs, which this thread's next call overwrites."""
        self._lanes.give_back(begun)
        with own_errors("run"):
            begun.stream.synchronize()
        return self._loaded.arrays(begun.outputs)

    def work_ahead(self, rounds: int, *, wait: bool = False) -> None:
        """Let the GPU wait in the stream of the next call, for a number of its own clocks."""
        import torch

        lane = self._lanes.take()
        with lane.in_stream():
            torch.cuda._sleep(rounds * _CLOCKS_OF_A_ROUND)
        self._lanes.give_back(lane)
        if wait:
            lane.stream.synchronize()

    def device_memory_mb(self) -> Optional[float]:
        import torch

        held_mb = super().device_memory_mb()
        return held_mb if held_mb is not None else float(torch.cuda.max_memory_reserved()) / 2**20

    def close(self) -> None:
        super().close()
        self._lanes = Lanes(_Lane)
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


class _Lane:
    """What one call needs to itself: a stream, and page-locked memory for what it returns."""

    def __init__(self) -> None:
        import torch

        self.stream = torch.cuda.Stream()
        self.outputs: List[Any] = []

    def in_stream(self) -> Any:
        """Return a context whose work goes into the stream."""
        import torch

        return torch.cuda.stream(self.stream)

    def download(self, computed: Sequence[Any]) -> None:
        """Let the device copy tensors into the memory of this lane, which is made anew where it does not fit."""
        if [(kept.shape, kept.dtype) for kept in self.outputs] != [(made.shape, made.dtype) for made in computed]:
            self.outputs = [_page_locked(made) for made in computed]
        for kept, made in zip(self.outputs, computed):
            kept.copy_(made, non_blocking=True)


def _page_locked(tensor: Any) -> Any:
    """Return memory of the host for a tensor, which the device copies to without waiting for the host."""
    import torch

    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
