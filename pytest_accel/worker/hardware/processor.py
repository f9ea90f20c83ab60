"""What the machine's processor is and what it could do at most, for the accelerators that run on it.

The facts are read from ``/proc/cpuinfo``. Unknown ones are left out, never guessed.
"""

from __future__ import annotations

import os
import platform
from typing import Dict, Union

from pytest_accel.worker.accelerator import Present

#: These instructions decide how fast inference can be; a baseline does not hold for a processor with others.
FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)

#: One core does this many floating-point operations in a cycle: vector units times lanes, times two, rounded up.
_FLOPS_PER_CYCLE = {"avx512f": 64, "avx2": 32, "sve": 64, "asimd": 32}
#: One core does this many operations in INT8 or BF16 with instructions that exceed four times the rate of FP32.
_NARROW_OPERATIONS_PER_CYCLE = {"amx_int8": 4096, "amx_bf16": 2048, "i8mm": 256}
#: No processor has a faster clock, in cycles a second.
_FASTEST_CLOCK_HZ = 6e9


def identity(cpuinfo: str = "/proc/cpuinfo") -> Dict[str, Union[str, int, float, bool, None]]:
    """Return the processor's model, the flags that matter and the number of usable cores, as flat facts."""
    try:
        with open(cpuinfo, encoding="utf-8") as file:
            pairs = [line.partition(":") for line in file]
    except OSError:
        pairs = []
    facts = {key.strip(): value.strip() for key, _, value in reversed(pairs)}
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "flags": " ".join(flag for flag in FLAGS if flag in flags),
        "cores": usable_cores(),
    }


def present(device: str = "") -> Present:
    """Describe the processor as a device that is here, under ``device`` where an SDK has a name for it."""
    facts = identity()
    peak = peak_flops(str(facts["flags"]), usable_cores(), narrow=True)
    return Present(device or str(facts["cpu"]), facts, peak)


def has_bf16() -> bool:
    """Return whether the processor has instructions for BF16, without which BF16 is no faster."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(str(identity()["flags"]).split())


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
