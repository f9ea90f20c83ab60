"""Which machine this is, as Linux tells: its processor, memory, cloud instance and kernel.

Standard library only. Every file is read below a ``root``, ``/`` by default. The cloud's metadata service is never
asked.
"""

from __future__ import annotations

import math
import os
import platform
import re
from typing import TYPE_CHECKING, Union

from pytest_accel.worker.hardware import processor
from pytest_accel.worker.kernel_files import Path, read

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain

_EC2_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


class Identity:
    """The identity of a machine. A public method is an operation."""

    def __init__(self, root: Path = "/") -> None:
        self._root = root

    def identity(self) -> Plain:
        """Return what the machine is. ``instance_type`` is empty where its firmware does not tell."""
        return {
            "processor": processor.identity(self._root),
            "memory_gb": memory_gb(self._root),
            "instance_type": instance_type(self._root),
            "kernel": platform.release(),
        }


def memory_gb(root: Path) -> Union[int, float]:
    """Memory rounded up to the size it is sold in: the kernel's own share differs from boot to boot."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read(root, "proc/meminfo"), re.MULTILINE)
    if found is None:
        return 0
    gb = int(found[1]) / 2**20
    step = 2 ** math.floor(math.log2(gb)) / 4
    rounded = math.ceil(gb / step) * step
    return int(rounded) if rounded >= 4 else rounded


def instance_type(root: Path) -> str:
    """Return what EC2's firmware says of itself; other vendors and Xen guests do not tell."""
    for folder in ("sys/devices/virtual/dmi/id", "sys/class/dmi/id"):
        product = read(os.path.join(root, folder), "product_name")
        if read(os.path.join(root, folder), "sys_vendor") == "Amazon EC2" and _EC2_INSTANCE_TYPE.fullmatch(product):
            return product
    return ""
