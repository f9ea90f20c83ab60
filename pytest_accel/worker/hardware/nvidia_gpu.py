"""What all accelerators on an NVIDIA GPU share: NVML's answers about the device that they run on."""

from __future__ import annotations

import subprocess
from typing import Dict, Mapping, Optional, Union

from pytest_accel.worker.accelerator import Accelerator, Missing
from pytest_accel.worker.hardware import device_files, nvml

#: _TOOL_S is the number of seconds that a tool of the driver may take.
_TOOL_S = 30.0


class NvidiaGpu(Accelerator):
    """An accelerator on an NVIDIA GPU. A subclass says how a model gets there."""

    def __init__(self) -> None:
        super().__init__()
        nvml.order_devices()
        self._device = nvml.Device()

    @classmethod
    def probe_hardware(cls) -> Optional[Missing]:
        """Return why device files rule out an NVIDIA GPU."""
        return device_files.missing_nvidia()

    def device_memory_mb(self) -> Optional[float]:
        """Return the memory that this process holds on the GPU, where NVML knows it."""
        return self._device.memory_mb()

    def throttled(self) -> str:
        """Return what slows the GPU down at this moment."""
        return self._device.throttled()

    def held_back_ns(self) -> Dict[str, int]:
        """Return for how long each cause has held the GPU back."""
        return self._device.held_back_ns()

    def device_state(self) -> Mapping[str, Union[str, int, float]]:
        """Return the GPU's clocks, P-state, temperature and power."""
        return self._device.state()

    def raw_answers(self) -> Dict[str, str]:
        """Return all that ``nvidia-smi`` tells about the machine's GPUs."""
        return {**super().raw_answers(), "nvidia-smi.xml": _printed("nvidia-smi", "-q", "-x")}


def _printed(*command: str) -> str:
    """Return what a tool prints, or why it prints nothing."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, timeout=_TOOL_S, check=True).stdout.decode()
    except (OSError, subprocess.SubprocessError) as error:
        return f"{command[0]} did not answer: {error}"
