"""Which machine a measurement ran on, as Linux tells: its processor, memory and cloud instance, and its fingerprint.

The fingerprint names the hardware and nothing else: it is the key of a baseline, and software is what is under test.
What slows a machine for a while is in `conditions`. Every file is read below a ``root``, ``/`` by default. The cloud's
metadata service is never asked.
"""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel import __version__
from pytest_accel.facts.fingerprint import digest_of, fingerprint_of, slug_of
from pytest_accel.facts.records import Hardware
from pytest_accel.worker.hardware import processor
from pytest_accel.worker.kernel_files import read

if TYPE_CHECKING:
    from pytest_accel.facts.fact import Scalar

#: ROOT is where the files of the kernel begin.
ROOT = Path("/")

#: _ONE_PIECE are facts that tell one card from the next of its kind, whichever process looks at it.
_ONE_PIECE = re.compile(r"uuid|serial|bus_id")
_EC2_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


def describe_hardware(
    device: str, identity: Mapping[str, Scalar], *, instance_type: str | None = None, root: Path = ROOT
) -> Hardware:
    """Return the hardware's identity and its fingerprint, such as ``intel-xeon-2c-24g-3fa9c1``.

    ``device`` names the device and ``identity`` is what the accelerator's own handle says; where both speak of the
    same thing the handle is right. ``instance_type`` overrides what the firmware says.
    """
    facts: dict[str, Scalar] = {"device": device, **processor.identity(root), "memory_gb": _memory_gb(root)}
    known_type = instance_type or _instance_type(root)
    if known_type:
        facts["instance_type"] = known_type
    facts.update(identity)
    return Hardware(fingerprint=fingerprint_of(facts), identity=facts)


def seen_through(hardware: Hardware, identity: Mapping[str, Scalar]) -> Hardware:
    """Return the hardware with what the handle in use says of itself, which is right where the two differ."""
    facts = {**hardware.identity, **identity}
    return Hardware(fingerprint=fingerprint_of(facts), identity=facts)


def device_name(hardware: Hardware) -> str:
    """Return a file name for the one piece of hardware: cards of a kind differ by their serial, all else by their kind.

    Every accelerator that runs on the processor has the same one.
    """
    facts = hardware.identity
    single = {name: value for name, value in facts.items() if _ONE_PIECE.search(name)}
    device = "processor" if facts["device"] == facts["cpu"] and not single else str(facts["device"])
    return f"{slug_of(device)}-{digest_of([device, single])}"


def _memory_gb(root: Path) -> float:
    """Memory rounded up to the size it is sold in: the kernel's own share differs from boot to boot."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read(root, "proc/meminfo"), re.MULTILINE)
    if found is None:
        return 0
    gb = int(found[1]) / 2**20
    step = 2 ** math.floor(math.log2(gb)) / 4
    rounded = math.ceil(gb / step) * step
    return int(rounded) if rounded >= 4 else rounded


def _instance_type(root: Path) -> str:
    """Return what EC2's firmware says of itself; other vendors and Xen guests do not tell."""
    for folder in (root / "sys/devices/virtual/dmi/id", root / "sys/class/dmi/id"):
        product = read(folder, "product_name")
        if read(folder, "sys_vendor") == "Amazon EC2" and _EC2_INSTANCE_TYPE.fullmatch(product):
            return product
    return ""


def controller_versions() -> dict[str, str]:
    """Return what the controller adds to the versions that a worker reports."""
    return {"pytest-accel": __version__, "kernel": platform.release()}
