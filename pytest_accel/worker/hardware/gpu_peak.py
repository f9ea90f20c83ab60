"""The most that an NVIDIA GPU could compute in a second, by precision. A measurement beyond it is not plausible.

The peak is the number of streaming multiprocessors times the highest clock times what one of them does in a cycle. The
last factor follows from the compute capability. The tables have dense rates, from NVIDIA's architecture white papers. A
capability that is not in the tables has no peak here.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Tuple


class _Rates(NamedTuple):
    """How many operations one multiprocessor does in a cycle; a multiply-add counts as two.

    ``half`` is for FP16 and BF16, ``narrow`` for INT8 and FP8. A type that has no instructions is computed in a wider
    one.
    """

    fp32: int
    tf32: int
    half: int
    narrow: int


#: _PER_SM_AND_CYCLE has the rates by compute capability.
_PER_SM_AND_CYCLE = {
    (5, 0): _Rates(256, 256, 256, 256),  # Maxwell: 128 FP32 lanes
    (5, 2): _Rates(256, 256, 256, 256),
    (5, 3): _Rates(256, 256, 512, 512),  # two FP16 numbers in a lane
    (6, 0): _Rates(128, 128, 256, 256),  # Pascal P100: 64 lanes, two FP16 numbers in each
    (6, 1): _Rates(256, 256, 256, 1024),  # Pascal: four INT8 numbers in a lane
    (6, 2): _Rates(256, 256, 512, 512),
    (7, 0): _Rates(128, 128, 1024, 1024),  # Volta: 64 lanes, and the first tensor cores, FP16 only
    (7, 2): _Rates(128, 128, 1024, 2048),
    (7, 5): _Rates(128, 128, 1024, 2048),  # Turing: INT8 on tensor cores
    (8, 0): _Rates(128, 1024, 2048, 4096),  # Ampere A100: TF32 on tensor cores
    (8, 6): _Rates(256, 512, 1024, 2048),  # Ampere from here on with 128 FP32 lanes
    (8, 7): _Rates(256, 1024, 2048, 4096),
    (8, 9): _Rates(256, 512, 1024, 2048),  # Ada: INT8 and FP8 alike
    (9, 0): _Rates(256, 2048, 4096, 8192),  # Hopper
    (10, 0): _Rates(911, 4096, 8192, 16384),  # Blackwell B200, where cuBLAS may make FP32 of nine BF16 products
    (12, 0): _Rates(256, 512, 1024, 2048),  # Blackwell GeForce
}


def peaks(compute_capability: Tuple[int, int], sm_count: int, clock_hz: float) -> Dict[str, float]:
    """Return the operations per second by precision, empty for an unknown compute capability."""
    rates = _PER_SM_AND_CYCLE.get(compute_capability)
    if rates is None:
        return {}
    in_cycle = {
        "fp32": rates.fp32,
        "tf32": rates.tf32,
        "fp16": rates.half,
        "bf16": rates.half,
        "fp8": rates.narrow,
        "int8": rates.narrow,
    }
    return {precision: operations * sm_count * clock_hz for precision, operations in in_cycle.items()}


def peak_flops(compute_capability: Tuple[int, int], sm_count: int, clock_hz: float) -> Optional[float]:
    """Return the operations per second in the fastest type, None for an unknown compute capability."""
    return max(peaks(compute_capability, sm_count, clock_hz).values(), default=None)
