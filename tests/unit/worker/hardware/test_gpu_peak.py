from __future__ import annotations

import pytest

from pytest_accel.worker.hardware.gpu_peak import peak_flops


@pytest.mark.parametrize(
    ("capability", "sm_count", "clock_mhz", "published"),
    [
        ((7, 0), 80, 1530, 125e12),  # V100, FP16
        ((7, 5), 40, 1590, 130e12),  # T4, INT8
        ((8, 0), 108, 1410, 624e12),  # A100, INT8
        ((8, 6), 72, 1695, 250e12),  # A10, INT8
        ((8, 9), 58, 2040, 242e12),  # L4, INT8
        ((9, 0), 132, 1830, 1979e12),  # H100 SXM, INT8
        ((12, 0), 170, 2407, 838e12),  # RTX 5090, INT8
    ],
)
def test_the_peak_is_the_one_that_nvidia_publishes(
    capability: tuple[int, int], sm_count: int, clock_mhz: float, published: float
) -> None:
    assert peak_flops(capability, sm_count, clock_mhz * 1e6) == pytest.approx(published, rel=0.01)


def test_an_unknown_capability_has_no_peak() -> None:
    assert peak_flops((42, 0), 100, 1e9) is None
