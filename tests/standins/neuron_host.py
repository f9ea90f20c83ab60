"""A made-up machine with Neuron devices: the files that their driver shows, and a ``neuron-ls``.

`make` writes the tree below a folder that ``ACCEL_HOST_ROOT`` then names; the stand-in of the SDK counts inferences in
it and takes its cores. The smallest instances are the default: two cores on ``inf2.xlarge`` and ``trn1.2xlarge``, four
on ``inf1.xlarge``. Written from ``neuron_sysfs_metrics.c`` and the PCI ids of AWS's driver, and the guide of neuron-ls.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path

#: The PCI id, the cores of a device, its memory, and what the driver calls the instances and the architecture.
CHIPS = {
    "inf1": ("0x7064", 4, 8 * 2**30, "Inf1", "NCv1"),
    "inf2": ("0x7264", 2, 32 * 2**30, "Inf2", "NCv2"),
    "trn1": ("0x7164", 2, 32 * 2**30, "Trn1", "NCv2"),
}
#: The last driver for Inferentia, which counts what a process did when that ends.
DRIVER = "2.24.7.0"
#: A driver whose counters move at once.
LIVE_DRIVER = "2.30.2.0"
#: The failure of neuron-ls without a driver, which goes to stderr.
NO_DRIVER = (
    'FATA[0000] Failed to discover neuron devices   error="Unable to read device information from the driver. Make '
    'sure aws-neuronx-dkms is installed and the neuron driver is accessible."'
)


def make(
    root: Path,
    chip: str = "inf2",
    *,
    devices: int = 1,
    driver: str = DRIVER,
    processes: Mapping[int, str] = {},
    counts: bool = True,
    lists: str = "",
) -> Path:
    """Write the machine; ``processes`` hold cores, ``lists`` is a shell script in place of neuron-ls's answer."""
    pci_id, cores, memory, family, architecture = CHIPS[chip]
    for device in range(devices):
        bus = root / f"sys/bus/pci/devices/0000:00:{device + 0x1C:02x}.0"
        write(bus, {"vendor": "0x1d0f", "device": pci_id, "class": "0x088000"})
        write(root / "dev", {f"neuron{device}": ""})
        node = root / f"sys/devices/virtual/neuron_device/neuron{device}"
        write(node, {"core_count": str(cores), "connected_devices": ""})
        write(node / "info", {"serial_number": f"c0ffee{device:010x}"})
        told = {"arch_type": architecture, "device_name": CHIP_NAMES[chip], "instance_type": family}
        write(node / "info/architecture", told)
        for core in range(cores if counts else 0):
            stats = node / f"neuron_core{core}/stats"
            for counter in ("other_info/inference_count", "status/execute_completed_with_num_error"):
                write(stats / counter, {"total": "0", "present": "0"})
            write(stats / "memory_usage/device_mem", {"total": "0", "present": "0", "peak": "0"})
    write(root / "sys/module/neuron", {"version": driver})
    write(root / "sys/devices/virtual/dmi/id", {"sys_vendor": "Amazon EC2", "product_name": INSTANCES[chip]})
    list_devices(root, lists or f"cat <<'END'\n{listing(cores, memory, devices, processes)}\nEND")
    return root


CHIP_NAMES = {"inf1": "Inferentia", "inf2": "Inferentia2", "trn1": "Trainium1"}
INSTANCES = {"inf1": "inf1.xlarge", "inf2": "inf2.xlarge", "trn1": "trn1.2xlarge"}


def listing(cores: int, memory: int, devices: int, processes: Mapping[int, str]) -> str:
    """What neuron-ls answers with ``--json-output``."""
    held = [{"pid": pid, "command": command, "neuron_runtime_version": "2.0.0"} for pid, command in processes.items()]
    told = [
        {
            "neuron_device": device,
            "bdf": f"00:{device + 0x1C:02x}.0",
            "connected_to": None,
            "nc_count": cores,
            "memory_size": memory,
            "neuron_processes": held if device == 0 else [],
        }
        for device in range(devices)
    ]
    return json.dumps(told)


def list_devices(root: Path, script: str) -> None:
    """Have neuron-ls run this shell script."""
    tool = root / "opt/aws/neuron/bin/neuron-ls"
    write(tool.parent, {tool.name: f"#!/bin/sh\n{script}"})
    tool.chmod(0o755)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files of one line each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")


def counters(root: Path) -> list[Path]:
    """The files in which the driver counts inferences, one for each core."""
    cores = (root / "sys/devices/virtual/neuron_device").glob("neuron*/neuron_core*")
    return sorted(core / "stats/other_info/inference_count/total" for core in cores)


def held_cores(root: Path) -> list[str]:
    """The cores that a process has, by device and core."""
    cores = sorted((root / "sys/devices/virtual/neuron_device").glob("neuron*/neuron_core*"))
    return [f"{core.parent.name}/{core.name}" for core in cores if _is_held(core / "lock")]


def _is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    with lock.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def inferences(root: Path) -> int:
    """What all cores have counted."""
    return sum(int(counter.read_text()) for counter in counters(root))
