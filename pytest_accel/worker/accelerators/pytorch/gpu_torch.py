"""The ``gpu-torch`` accelerator: PyTorch on an NVIDIA GPU.

PyTorch moves nothing to another device by itself, but computes convolutions in TF32 by default. A call begins and ends
with arrays of the host. So it includes both copies, and no work of it is left in the device's queue. Calls side by side
have streams of their own. It shares `pytest_accel.worker.accelerators.pytorch.base` with ``cpu-torch``.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Deque, Dict, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import Arrays, Missing, Option, Present, Refused, Tensor
from pytest_accel.worker.accelerators.pytorch.base import BATCH_SIZE, TorchProgram
from pytest_accel.worker.hardware import nvml
from pytest_accel.worker.hardware.nvidia_gpu import NvidiaGpu

#: _CLOCKS_OF_A_ROUND is how many clocks of the GPU a round of work takes, which is about a microsecond.
_CLOCKS_OF_A_ROUND = 1500


class GpuTorch(NvidiaGpu, TorchProgram):
    """PyTorch on an NVIDIA GPU, in FP32, TF32, FP16 or BF16."""

    name = "gpu-torch"
    extra = "gpu-torch"
    device, place = "cuda", "gpu"
    own_options: ClassVar[Mapping[str, Option]] = {
        "batch_size": BATCH_SIZE,
        "precision": Option(
            str,
            "fp32",
            choices=("fp32", "tf32", "fp16", "bf16"),
            doc="FP16 and BF16 are PyTorch's automatic mixed precision",
        ),
    }

    def __init__(self) -> None:
        super().__init__()
        #: These streams wait for a call, the one that was used last at the end. There are as many as calls in flight.
        self._idle: Deque[Any] = deque()

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

    def infer(self, staged: Any) -> Arrays:
        """Run one batch in a stream that no other call uses meanwhile, and wait for this stream alone."""
        import torch

        try:
            stream = self._idle.pop()
        except IndexError:
            stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            outputs = super().infer(staged)
        stream.synchronize()
        self._idle.append(stream)
        return outputs

    def work_ahead(self, rounds: int, *, wait: bool = False) -> None:
        """Let the GPU wait in the stream of the next call, for a number of its own clocks."""
        import torch

        stream = self._idle.pop() if self._idle else torch.cuda.Stream()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(rounds * _CLOCKS_OF_A_ROUND)
        self._idle.append(stream)
        if wait:
            stream.synchronize()

    def device_memory_mb(self) -> Optional[float]:
        import torch

        held_mb = super().device_memory_mb()
        return held_mb if held_mb is not None else float(torch.cuda.max_memory_reserved()) / 2**20

    def close(self) -> None:
        super().close()
        self._idle.clear()
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
