"""A machine with an NVIDIA GPU, as far as files and the environment tell: what a test's workers see of their host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

STANDINS = Path(__file__).parent


def make_nvidia_host(patch: pytest.MonkeyPatch, folder: Path, *sdks: str, misbehaves: str = "") -> None:
    """Put a device file and the driver's library into ``folder``, and stand-ins on the path of workers yet to start.

    ``sdks`` are folders beside this file, to which NVML's is added; ``misbehaves`` is a list of their habits.
    """
    (folder / "dev").mkdir()
    for file in ("dev/nvidia0", "libcuda.so.1"):
        (folder / file).touch()
    paths = [*(str(STANDINS / sdk) for sdk in ("pynvml", *sdks)), os.environ.get("PYTHONPATH", "")]
    patch.setenv("ACCEL_HOST_ROOT", str(folder))
    patch.setenv("LD_LIBRARY_PATH", str(folder))
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    patch.setenv("STANDIN_MISBEHAVES", misbehaves)
    patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
