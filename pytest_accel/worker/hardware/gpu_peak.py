"""The most that an NVIDIA GPU could compute in a second. A measurement beyond it is not plausible.

The peak is the number of streaming multiprocessors times the highest clock times what one of them does in a cycle. The
last factor follows from the compute capability. The table has the dense rate of the fastest type down to INT8, from
NVIDIA's architecture white papers. A capability that is not in the table has no peak here.
"""

from __future__ import annotations

from typing import Optional, Tuple

#: _PER_SM_AND_CYCLE is how many operations one multiprocessor does in a cycle; a multiply-add counts as two.
_PER_SM_AND_CYCLE = {
    (5, 0): 256,  # Maxwell: 128 FP32 lanes
    (5, 2): 256,
    (5, 3): 512,  # two FP16 numbers in a lane
    (6, 0): 256,  # Pascal P100: 64 lanes, two FP16 numbers in each
    (6, 1): 1024,  # Pascal: four INT8 numbers in a lane
    (6, 2): 512,
    (7, 0): 1024,  # Volta: the first tensor cores, FP16 only
    (7, 2): 2048,
    (7, 5): 2048,  # Turing: INT8 on tensor cores
    (8, 0): 4096,  # Ampere A100
    (8, 6): 2048,
    (8, 7): 4096,
    (8, 9): 2048,  # Ada: INT8 and FP8 alike
    (9, 0): 8192,  # Hopper
    (10, 0): 16384,  # Blackwell B200
    (12, 0): 2048,  # Blackwell GeForce
}


def peak_flops(compute_capability: Tuple[int, int], sm_count: int, clock_hz: float) -> Optional[float]:
    """Return the operations per second in the fastest type, None for an unknown compute capability."""
    per_cycle = _PER_SM_AND_CYCLE.get(compute_capability)
    return None if per_cycle is None else per_cycle * sm_count * clock_hz
