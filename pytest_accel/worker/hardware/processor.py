"""What the machine's processor is and what it could do at most.

It is described here alone: for the accelerators that run on it, and by the controller for the host of any other one.
Every file is read below a ``root``, ``/`` by default; what is not known is left empty, never guessed.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Dict, Union

from pytest_accel.worker.hardware.cpu_quota import cpu_quota_cores
from pytest_accel.worker.kernel_files import Path, read

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Present

#: FLAGS are the instruction sets that decide which kernels run, so that times of machines with and without them do not
#: compare.
FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "asimdhp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
)

#: _FOR_NEURAL_NETWORKS are those by which TensorFlow chooses: ``DefaultOneDnnPolicy`` in ``core/util/port.cc``.
_FOR_NEURAL_NETWORKS = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
#: _FLOPS_PER_CYCLE is how many floating-point operations one core does in a cycle: vector units times lanes, times two,
#: rounded up.
_FLOPS_PER_CYCLE = {"avx512f": 64, "avx2": 32, "sve": 64, "asimd": 32}
#: _NARROW_OPERATIONS_PER_CYCLE is the same in INT8 or BF16, for instructions that exceed four times the rate of FP32.
_NARROW_OPERATIONS_PER_CYCLE = {"amx_int8": 4096, "amx_bf16": 2048, "i8mm": 256}
#: _FASTEST_CLOCK_HZ is a clock, in cycles a second, that no processor exceeds.
_FASTEST_CLOCK_HZ = 6e9


def identity(root: Path = "/") -> Dict[str, Union[str, int, float, bool, None]]:
    """Return the processor's model, its flags that matter, and the cores that this process may use, as flat facts.

    ``/proc/cpuinfo`` of ARM has part numbers in place of a model name. ``cores`` is a fraction where a quota of the
    control groups is smaller than the cores of the affinity.
    """
    fields: Dict[str, str] = {}
    for line in read(root, "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    parts = (platform.machine(), fields.get("cpu implementer", ""), fields.get("cpu part", ""))
    flags = fields.get("flags", fields.get("features", "")).split()
    return {
        "cpu": fields.get("model name") or " ".join(part for part in parts if part),
        "cpu_flags": " ".join(flag for flag in FLAGS if flag in flags),
        "threads_per_core": int(fields.get("siblings", 1)) // max(int(fields.get("cpu cores", 1)), 1) or 1,
        "cores": _cores_within_quota(root),
    }


def _cores_within_quota(root: Path) -> Union[int, float]:
    cores, quota = usable_cores(), cpu_quota_cores(root)
    return cores if quota is None or quota >= cores else round(quota, 1)


def present(device: str = "") -> Present:
    """Describe the processor as a device that is here, under ``device`` where an SDK has a name for it."""
    from pytest_accel.worker.accelerator import Present  # which needs NumPy, and an attendant may have none

    facts = identity()
    flags, cores = str(facts["cpu_flags"]), usable_cores()
    # Without known instructions, as on macOS, there may be a unit for matrices that nobody tells of.
    wide = dict.fromkeys(("fp64", "fp32", "tf32"), peak_flops(flags, cores)) if flags else {}
    return Present(device or str(facts["cpu"]), facts, peak_flops(flags, cores, narrow=True), wide)


def has_bf16() -> bool:
    """Return whether the processor has instructions for BF16, without which BF16 is no faster."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(str(identity()["cpu_flags"]).split())


def has_neural_network_instructions() -> bool:
    """Return whether an x86 processor has one of the instructions that were made for neural networks."""
    return not _FOR_NEURAL_NETWORKS.isdisjoint(str(identity()["cpu_flags"]).split())


def saturates_int8() -> bool:
    """Return whether products of INT8 may overflow: processors with AVX2 and without VNNI add them in 16 bits."""
    flags = set(str(identity()["cpu_flags"]).split())
    return "avx2" in flags and flags.isdisjoint({"avx512_vnni", "avx_vnni"})


def usable_cores() -> int:
    """Return the number of logical cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def peak_flops(flags: str, cores: int, *, narrow: bool = False) -> float:
    """Return more operations per second than such a processor can do. A measurement beyond it is not plausible.

    The operations are in FP32, or with ``narrow`` in any type down to INT8.
    """
    per_cycle = max([16, *(_FLOPS_PER_CYCLE.get(flag, 0) for flag in flags.split())])
    if narrow:
        per_cycle = max([4 * per_cycle, *(_NARROW_OPERATIONS_PER_CYCLE.get(flag, 0) for flag in flags.split())])
    return cores * _FASTEST_CLOCK_HZ * per_cycle
