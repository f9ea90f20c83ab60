"""What all accelerators on an NVIDIA GPU share: NVML's answers about the device that they run on."""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Union

from pytest_accel.worker.accelerator import Accelerator, Missing
from pytest_accel.worker.hardware import device_files, nvml


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
