"""Neuron devices as the driver and ``neuron-ls`` describe them: which there are, who holds them, what they have done.

Everything is read without an SDK and with a time-out. What cannot be read is left out, never guessed. The sources are
the driver's sysfs tree, ``/sys/module/neuron``, the JSON of ``neuron-ls`` and the firmware's name of the instance. All
of them lie below `device_files.host_root`.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import Missing
from pytest_accel.worker.hardware import device_files, sessions
from pytest_accel.worker.kernel_files import read

#: PLACEHOLDER is what the placeholders raise that PyPI has under the names of the SDKs.
PLACEHOLDER = "WRONG PACKAGE"
_SYSFS = "sys/devices/virtual/neuron_device"
_TOOLS = "opt/aws/neuron/bin"
_LOOK_TIMEOUT_S = 10.0
_EC2_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
#: _COUNTS_LIVE is the first driver whose counters move while a process runs. An earlier one adds up what a process did
#: when that ends: `nsysfsmetric_nds_aggregate` in ``neuron_sysfs_metrics.c`` has no other caller. The release notes of
#: Neuron's runtime name the change.
_COUNTS_LIVE = (2, 30, 2)
#: _COUNTED_WITH_NAN are the counters of inferences that gave NaN, by the names that drivers have for them.
_COUNTED_WITH_NAN = ("status/execute_completed_with_num_error", "status/infer_completed_with_num_error")


@dataclass(frozen=True)
class Chip:
    """A kind of Neuron device: ``family`` is the driver's name of the instances that have it.

    ``core_flops`` is the peak of one NeuronCore in 16 bits, and ``last_driver`` the last release that supports it.
    """

    device: str
    family: str
    pci_ids: FrozenSet[str]
    cores: int
    core_flops: float
    last_driver: Optional[Tuple[int, int]] = None


INFERENTIA = Chip("AWS Inferentia", "inf1", device_files.INF1_PCI_IDS, 4, 16e12, last_driver=(2, 24))
INFERENTIA2 = Chip("AWS Inferentia2", "inf2", device_files.INF2_PCI_IDS, 2, 95e12)
TRAINIUM = Chip("AWS Trainium", "trn1", device_files.TRN1_PCI_IDS, 2, 95e12)


@dataclass(frozen=True)
class Devices:
    """The Neuron devices of a machine. ``families`` is empty where the driver does not name them."""

    count: int
    cores: int
    families: FrozenSet[str]
    serials: Tuple[str, ...]
    memory_gb: Optional[float]
    driver: str
    #: The processes that hold NeuronCores have their commands here, by process id; None where nothing lists them.
    holders: Optional[Mapping[int, str]]

    def identity(self) -> Dict[str, Union[str, int, float, bool, None]]:
        """Return the flat facts that distinguish these devices from others."""
        facts: Dict[str, Union[str, int, float, bool, None]] = {"neuron_devices": self.count, "neuroncores": self.cores}
        if self.memory_gb is not None:
            facts["device_memory_gb"] = self.memory_gb
        if self.serials:
            facts["serial"] = ",".join(self.serials)
        known_type = instance_type()
        if known_type:
            facts["instance_type"] = known_type
        return {**facts, "driver_version": self.driver or "unknown"}


def look(chip: Chip) -> Devices:
    """Return the devices that the driver and ``neuron-ls`` list. ``chip`` gives the number of cores if they do not."""
    folders = _device_folders()
    listed = _neuron_ls()
    count = max(len(folders), len(listed), len(glob.glob(os.path.join(device_files.host_root(), "dev/neuron[0-9]*"))))
    counts = [_number(read(folder, "core_count")) for folder in folders] or [
        device.get("nc_count") for device in listed
    ]
    known = [cores for cores in counts if isinstance(cores, int)]
    sizes = [device["memory_size"] for device in listed if isinstance(device.get("memory_size"), int)]
    families = (read(folder, "info/architecture/instance_type").lower() for folder in folders)
    serials = (read(folder, "info/serial_number") for folder in folders)
    return Devices(
        count=count,
        cores=sum(known) if len(known) == count else count * chip.cores,
        families=frozenset(filter(None, families)),
        serials=tuple(filter(None, serials)),
        memory_gb=round(sizes[0] / 2**30, 1) if sizes else None,
        driver=driver_version(),
        holders=_holders(listed) if listed else None,
    )


def missing(chip: Chip, found: Devices) -> Optional[Missing]:
    """Return why devices that have a driver cannot be used, None when no reason is known."""
    if found.families and chip.family not in found.families:
        others = ", ".join(sorted(found.families))
        return Missing(
            "no-hardware",
            f"no {chip.family} device: the Neuron driver says that this is {others}",
            f"use the accelerator of that name, or run on an instance with {chip.family}",
        )
    release = _release(found.driver)[:2]
    if release and release < (2, 0):
        return Missing(
            "driver-mismatch",
            f"the Neuron driver {found.driver} is older than any runtime takes, which need 2.0",
            "upgrade the package aws-neuronx-dkms",
        )
    if chip.last_driver is not None and release > chip.last_driver:
        last = ".".join(map(str, chip.last_driver))
        return Missing(
            "support-ended",
            f"the Neuron driver {found.driver} no longer supports {chip.device}; {last} was the last that did",
            f"install aws-neuronx-dkms={last}.*",
        )
    strangers = {pid: command for pid, command in (found.holders or {}).items() if sessions.is_foreign(pid)}
    if strangers:
        named = ", ".join(f"{pid} ({command})" for pid, command in sorted(strangers.items()))
        return Missing(
            "busy",
            f"another process holds NeuronCores: {named}",
            "end it, or wait: cores are free once their process has ended",
        )
    return None


def without_sdk(package: str, error: ImportError) -> Missing:
    """Return why the SDK, which is not on PyPI, cannot be imported."""
    if PLACEHOLDER in str(error):
        return Missing(
            "placeholder-package",
            f"{package} here is PyPI's placeholder of that name, not the SDK",
            f"pip uninstall {package}, then install it from AWS's Neuron repository",
        )
    return Missing(
        "no-sdk",
        f"{package} cannot be imported: {error}",
        f"install {package} from AWS's Neuron repository into the worker's environment and set accel_python",
    )


def driver_version() -> str:
    """Return the version of the loaded kernel module, empty where it cannot be read."""
    return read(device_files.host_root(), "sys/module/neuron/version")


def instance_type() -> str:
    """Return the EC2 instance type that the firmware names, empty elsewhere."""
    folder = os.path.join(device_files.host_root(), "sys/devices/virtual/dmi/id")
    product = read(folder, "product_name")
    known = read(folder, "sys_vendor") == "Amazon EC2" and _EC2_INSTANCE_TYPE.fullmatch(product)
    return product if known else ""


def counts_live() -> bool:
    """Return whether the driver counts an inference at once, and not when its process ends."""
    return _release(driver_version()) >= _COUNTS_LIVE


def inferences() -> Optional[int]:
    """Return the inferences of all NeuronCores since the driver was loaded, None where it does not count them.

    Those of a running process are among them where `counts_live`. Inferences that gave NaN are included. The driver
    counts them apart, and the SDK takes them for successful.
    """
    successful = _sum_of("other_info/inference_count")
    if successful is None:
        return None
    with_nan = filter(None, map(_sum_of, _COUNTED_WITH_NAN))
    return successful + next(with_nan, 0)


def device_memory_mb() -> Optional[float]:
    """Return the device memory that all NeuronCores hold, None where the driver does not count it."""
    held = _sum_of("memory_usage/device_mem")
    return None if held is None else held / 2**20


def _sum_of(counter: str) -> Optional[int]:
    """Return the sum of a counter over all cores. A counter is a folder with a total, or a file in some releases."""
    found = []
    for folder in _device_folders():
        for core in glob.glob(os.path.join(folder, "neuron_core[0-9]*")):
            path = os.path.join(core, "stats", counter)
            value = _number(read(path, "total") or read(path))
            found += [] if value is None else [value]
    return sum(found) if found else None


def _device_folders() -> List[str]:
    return sorted(glob.glob(os.path.join(device_files.host_root(), _SYSFS, "neuron[0-9]*")))


def _neuron_ls() -> List[Dict[str, Any]]:
    """Return what ``neuron-ls`` lists, nothing where it is not installed, fails or hangs."""
    beside = os.path.join(device_files.host_root(), _TOOLS, "neuron-ls")
    tool = beside if os.path.exists(beside) else shutil.which("neuron-ls")
    if tool is None:
        return []
    try:
        finished = subprocess.run(
            [tool, "--json-output"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_LOOK_TIMEOUT_S
        )
        listed = json.loads(finished.stdout) if finished.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return []
    return [device for device in listed if isinstance(device, dict)] if isinstance(listed, list) else []


def _holders(listed: List[Dict[str, Any]]) -> Dict[int, str]:
    processes = [process for device in listed for process in device.get("neuron_processes") or ()]
    return {int(process["pid"]): str(process.get("command", "?")) for process in processes if "pid" in process}


def _release(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _number(text: str) -> Optional[int]:
    return int(text) if text.isdigit() else None
