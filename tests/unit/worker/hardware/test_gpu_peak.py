from __future__ import annotations

import pytest

from pytest_accel.worker.hardware.gpu_peak import peak_flops, peaks


@pytest.mark.parametrize(
    ("capability", "sm_count", "clock_mhz", "published"),
    [
        ((6, 1), 30, 1531, {"fp32": 11.8e12, "int8": 47e12}),  # P40
        ((7, 0), 80, 1530, {"fp32": 15.7e12, "fp16": 125e12}),  # V100
        ((7, 5), 40, 1590, {"fp32": 8.1e12, "tf32": 8.1e12, "fp16": 65e12, "int8": 130e12}),  # T4, which has no TF32
        ((8, 0), 108, 1410, {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12, "int8": 624e12}),  # A100
        ((8, 6), 72, 1695, {"fp32": 31.2e12, "tf32": 62.5e12, "fp16": 125e12, "int8": 250e12}),  # A10
        ((8, 9), 58, 2040, {"fp32": 30.3e12, "tf32": 60e12, "fp16": 121e12, "fp8": 242e12}),  # L4
        ((9, 0), 132, 1830, {"tf32": 495e12, "bf16": 989e12, "int8": 1979e12}),  # H100 SXM
        ((12, 0), 170, 2407, {"fp32": 104.8e12, "int8": 838e12}),  # RTX 5090
    ],
)
def test_the_peaks_are_those_that_nvidia_publishes(
    capability: tuple[int, int], sm_count: int, clock_mhz: float, published: dict[str, float]
) -> None:
    by_precision = peaks(capability, sm_count, clock_mhz * 1e6)
    for precision, peak in published.items():
        assert by_precision[precision] == pytest.approx(peak, rel=0.02), precision
    assert peak_flops(capability, sm_count, clock_mhz * 1e6) == max(by_precision.values())


def test_an_unknown_capability_has_no_peak() -> None:
    assert peaks((42, 0), 100, 1e9) == {}
    assert peak_flops((42, 0), 100, 1e9) is None
