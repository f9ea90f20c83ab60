from __future__ import annotations

import pytest

from pytest_accel.worker.accelerators.tensorrt.builder import Batches
from pytest_accel.worker.accelerators.tensorrt.gpu_trt import GpuTrt

DEFAULTS = {name: option.default for name, option in GpuTrt.options().items()}


@pytest.mark.parametrize("text", ["8", "1:8", "1:8:4", "0:1:2", "a:b:c", "1:2:3:4", ""])
def test_a_profile_is_three_rising_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=f"profile={text!r} is not of the form"):
        Batches.parse(text)


def test_a_profile_is_read_in_the_order_of_its_name() -> None:
    assert Batches.parse("1:8:32") == Batches(smallest=1, best=8, largest=32)


@pytest.mark.parametrize(
    ("profile", "batch_size", "why"),
    [
        ("", 64, None),
        ("1:8:32", 32, None),
        ("1:8:32", 33, "batch_size=33 is outside of profile='1:8:32'"),
        ("4:8:32", 3, "batch_size=3 is outside of profile='4:8:32'"),
        ("8", 8, "profile='8' is not of the form smallest:best:largest, such as '1:8:32'"),
    ],
)
def test_a_batch_that_no_profile_takes_is_impossible(profile: str, batch_size: int, why: str | None) -> None:
    assert GpuTrt.impossible({**DEFAULTS, "profile": profile, "batch_size": batch_size}) == why


def test_what_computes_beside_int8_needs_int8() -> None:
    why = GpuTrt.impossible({**DEFAULTS, "precision": "fp16", "beside_int8": "fp16"})
    assert why == "beside_int8='fp16' says what computes beside INT8: ask for precision='int8'"
    assert GpuTrt.impossible({**DEFAULTS, "precision": "int8", "beside_int8": "fp16"}) is None
