"""Which machine a measurement ran on, as Linux tells: its processor, memory and cloud instance, and its fingerprint.

The fingerprint names the hardware and nothing else: it is the key of a baseline, and software is what is under test.
What slows a machine for a while is in `conditions`. Every file is read below a ``root``, ``/`` by default. The cloud's
metadata service is never asked.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_accel import __version__
from pytest_accel.facts.records import Hardware, Scalar

ROOT = Path("/")

#: Instruction sets that change which kernels run, so that times of two machines with and without cannot be compared.
FLAGS_THAT_MATTER = (
    *("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8"),
    *("amx_bf16", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"),
)
#: What tells one piece of the same hardware from the next, or is software: recorded, but no part of a fingerprint.
_NOT_THE_KIND = re.compile(r"version|driver|uuid|serial|bus_id|index|runtime|firmware")
#: What tells one card from the next of its kind, whichever process looks at it.
_ONE_PIECE = re.compile(r"uuid|serial|bus_id")
_EC2_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_EMPTY_WORDS = re.compile(r"\((r|tm)\)|\b(cpu|processor|\d+-core)\b|@.*", re.IGNORECASE)


def describe_hardware(
    device: str, identity: Mapping[str, Scalar], *, instance_type: str | None = None, root: Path = ROOT
) -> Hardware:
    """The hardware's identity and its fingerprint, such as ``intel-xeon-2c-24g-3fa9c1``.

    ``device`` names the device and ``identity`` is what the accelerator's own handle told; where both speak of the
    same thing the handle is right. ``instance_type`` overrides what the firmware tells.
    """
    facts: dict[str, Scalar] = {"device": device, **_processor(root), "memory_gb": _memory_gb(root)}
    known_type = instance_type or _instance_type(root)
    if known_type:
        facts["instance_type"] = known_type
    facts.update(identity)
    return Hardware(fingerprint=_fingerprint(facts), identity=facts)


def seen_through(hardware: Hardware, identity: Mapping[str, Scalar]) -> Hardware:
    """The hardware with what the handle in use told of itself, which is right where both speak of the same thing."""
    facts = {**hardware.identity, **identity}
    return Hardware(fingerprint=_fingerprint(facts), identity=facts)


def device_name(hardware: Hardware) -> str:
    """A file name for the one piece of hardware: cards of a kind differ by their serial, all else by their kind.

    Every accelerator that runs on the processor has the same one.
    """
    facts = hardware.identity
    single = {name: value for name, value in facts.items() if _ONE_PIECE.search(name)}
    device = "processor" if facts["device"] == facts["cpu"] and not single else str(facts["device"])
    digest = hashlib.sha256(json.dumps([device, single], sort_keys=True).encode()).hexdigest()
    return f"{_slug(device)}-{digest[:6]}"


def _fingerprint(facts: Mapping[str, Scalar]) -> str:
    kind = {name: value for name, value in facts.items() if not _NOT_THE_KIND.search(name)}
    digest = hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()
    words = [str(facts.get("instance_type", "")), _EMPTY_WORDS.sub(" ", str(facts["device"]))]
    words += [f"{facts['cores']}c", f"{facts['memory_gb']}g", digest[:6]]
    return "-".join(slug for slug in map(_slug, words) if slug)


def _slug(word: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-.")[:40]


def _processor(root: Path) -> dict[str, Scalar]:
    """Model, flags that matter and usable cores. ``/proc/cpuinfo`` of ARM has part numbers instead of a model name."""
    fields: dict[str, str] = {}
    for line in read(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    parts = (platform.machine(), fields.get("cpu implementer", ""), fields.get("cpu part", ""))
    flags = set(fields.get("flags", fields.get("features", "")).split())
    return {
        "cpu": fields.get("model name") or " ".join(part for part in parts if part),
        "cpu_flags": " ".join(flag for flag in FLAGS_THAT_MATTER if flag in flags),
        "threads_per_core": int(fields.get("siblings", 1)) // max(int(fields.get("cpu cores", 1)), 1) or 1,
        "cores": _usable_cores(root),
    }


def _usable_cores(root: Path) -> int | float:
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota_cores(root)
    return cores if quota is None or quota >= cores else round(quota, 1)


def _memory_gb(root: Path) -> float:
    """Memory rounded up to the size it is sold in: the kernel's own share differs from boot to boot."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read(root / "proc/meminfo"), re.MULTILINE)
    if found is None:
        return 0
    gb = int(found[1]) / 2**20
    step = 2 ** math.floor(math.log2(gb)) / 4
    rounded = math.ceil(gb / step) * step
    return int(rounded) if rounded >= 4 else rounded


def _instance_type(root: Path) -> str:
    """What EC2's firmware says of itself; other vendors and Xen guests do not tell."""
    for folder in (root / "sys/devices/virtual/dmi/id", root / "sys/class/dmi/id"):
        product = read(folder / "product_name")
        if read(folder / "sys_vendor") == "Amazon EC2" and _EC2_INSTANCE_TYPE.fullmatch(product):
            return product
    return ""


def controller_versions() -> dict[str, str]:
    """What the controller adds to the versions that a worker tells of itself."""
    return {"pytest-accel": __version__, "kernel": platform.release()}


def cpu_quota_cores(root: Path = ROOT) -> float | None:
    """The cores that this process's control groups allow, None where they allow all. Reads versions 1 and 2."""
    limits = (_v2_limit(group) or _v1_limit(group) for group in cpu_groups(root))
    return min((limit for limit in limits if limit is not None), default=None)


def cpu_groups(root: Path = ROOT) -> Iterator[Path]:
    """The folders of the control groups that share out the CPU to this process, each with its ancestors."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        own = mount / path.lstrip("/")
        # Each ancestor's limit holds too. Inside a container the path may be the host's, where only the mount exists.
        for group in (own, *own.parents):
            yield group
            if group == mount:
                break


def _v2_limit(group: Path) -> float | None:
    quota, _, period = read(group / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() else None


def _v1_limit(group: Path) -> float | None:
    quota, period = read(group / "cpu.cfs_quota_us"), read(group / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() else None


def read(file: Path) -> str:
    """The stripped text of a file that the kernel may not have, or not show: empty then."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
