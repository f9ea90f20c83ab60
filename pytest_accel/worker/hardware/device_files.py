"""What device files say about NVIDIA and Neuron hardware, read without an SDK.

Where a container sees the host's files in another place than ``/``, ``ACCEL_HOST_ROOT`` names that place. The PCI bus
shows hardware even where the driver is absent, so an absent driver is distinguished from absent hardware. The sources
are the drivers' device nodes, and the PCI ids in ``neuron_device.h`` of the AWS Neuron driver.
"""

from __future__ import annotations

import ctypes.util
import glob
import os
from typing import FrozenSet, Iterator, Optional, Tuple

from pytest_accel.worker.accelerator import Missing
from pytest_accel.worker.kernel_files import read

NVIDIA_VENDOR = "0x10de"
AMAZON_VENDOR = "0x1d0f"
INF1_PCI_IDS = frozenset({"0x7064", "0x7065", "0x7066", "0x7067"})
TRN1_PCI_IDS = frozenset({"0x7164"})
INF2_PCI_IDS = frozenset({"0x7264"})
NEURON_PCI_IDS = INF1_PCI_IDS | TRN1_PCI_IDS | INF2_PCI_IDS
#: _COMPUTE_CLASSES are how the PCI base classes of display controllers and of processing accelerators begin.
_COMPUTE_CLASSES = ("0x03", "0x12")


def host_root() -> str:
    """Return the folder that holds the machine's ``dev``, ``sys`` and ``proc``."""
    return os.environ.get("ACCEL_HOST_ROOT", "/")


def _pci_devices(root: str) -> Iterator[Tuple[str, str, str]]:
    for folder in sorted(glob.glob(os.path.join(root, "sys/bus/pci/devices/*"))):
        yield tuple(read(os.path.join(folder, name)) for name in ("vendor", "device", "class"))  # type: ignore[misc]


def missing_nvidia(root: Optional[str] = None) -> Optional[Missing]:
    """Return why no NVIDIA GPU can be used, None when the files show no reason."""
    root = root or host_root()
    on_bus = any(v == NVIDIA_VENDOR and c.startswith(_COMPUTE_CLASSES) for v, _, c in _pci_devices(root))
    nodes = glob.glob(os.path.join(root, "dev/nvidia[0-9]*"))
    if not nodes and not on_bus:
        return Missing(
            "no-hardware",
            "no NVIDIA GPU: no /dev/nvidia0 and none on the PCI bus",
            "run on a machine with an NVIDIA GPU; in a container pass the GPU through",
        )
    if not nodes:
        return Missing(
            "no-driver",
            "an NVIDIA GPU is on the PCI bus, but there is no /dev/nvidia0",
            "install or load the NVIDIA driver; in a container pass the GPU through",
        )
    if not _has_libcuda():
        return Missing(
            "no-driver",
            "/dev/nvidia0 is here, but the driver's library libcuda.so.1 is not",
            "install the user-space part of the NVIDIA driver of the same version",
        )
    return None


def _has_libcuda() -> bool:
    """Return whether this process could load the driver's library. Some container runtimes set only this variable."""
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    here = any(os.path.exists(os.path.join(folder, "libcuda.so.1")) for folder in folders if folder)
    return here or ctypes.util.find_library("cuda") is not None


def missing_neuron(name: str, pci_ids: FrozenSet[str], root: Optional[str] = None) -> Optional[Missing]:
    """Return why no Neuron device with one of these PCI ids can be used, None when the files show no reason."""
    root = root or host_root()
    found = {device for vendor, device, _ in _pci_devices(root) if vendor == AMAZON_VENDOR} & NEURON_PCI_IDS
    on_bus = not found.isdisjoint(pci_ids)
    nodes = glob.glob(os.path.join(root, "dev/neuron[0-9]*"))
    if nodes and found and not on_bus:
        return Missing(
            "no-hardware",
            f"no {name} device: the Neuron device on the PCI bus is of another kind ({', '.join(sorted(found))})",
            f"run on an instance with {name}, or use the accelerator that this one has",
        )
    if not nodes and not on_bus:
        return Missing(
            "no-hardware",
            f"no {name} device: no /dev/neuron0 and none on the PCI bus",
            f"run on an instance with {name}; in a container pass /dev/neuron0 through",
        )
    if not nodes:
        return Missing(
            "no-driver",
            f"an {name} device is on the PCI bus, but there is no /dev/neuron0",
            "install the package aws-neuronx-dkms and load the neuron driver",
        )
    return None
