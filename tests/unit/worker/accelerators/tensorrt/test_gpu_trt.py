from __future__ import annotations

import re

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


#: What trtexec of TensorRT 10.3 prints in the end.
SUMMARY = """
[09/25/2026-10:00:40] [I] === Performance summary ===
[09/25/2026-10:00:40] [I] Throughput: 2699.06 qps
[09/25/2026-10:00:40] [I] Latency: min = 0.36 ms, max = 0.52 ms, mean = 0.37 ms, median = 0.3725 ms
[09/25/2026-10:00:40] [I] Enqueue Time: min = 0.01 ms, max = 0.04 ms, mean = 0.01 ms, median = 0.0130 ms
[09/25/2026-10:00:40] [I] H2D Latency: min = 0.01 ms, max = 0.02 ms, mean = 0.01 ms, median = 0.0115 ms
"""


def test_trtexec_runs_the_engine_and_its_latency_with_both_copies_counts() -> None:
    tool = GpuTrt.vendor_tool("artefact", "inputs", 40, {})
    assert tool is not None
    assert (tool.program, tool.arguments[:2]) == ("trtexec", ("--loadEngine=artefact/model.engine", "--iterations=40"))
    assert re.findall(tool.median, SUMMARY) == ["0.3725"]


def test_the_older_line_from_end_to_end_is_another_one() -> None:
    tool = GpuTrt.vendor_tool("artefact", "inputs", 40, {})
    assert tool is not None
    assert not re.search(tool.median, "[I] End-to-End Host Latency: min = 1 ms, mean = 2 ms, median = 2 ms")


def test_what_computes_beside_int8_needs_int8() -> None:
    why = GpuTrt.impossible({**DEFAULTS, "precision": "fp16", "beside_int8": "fp16"})
    assert why == "beside_int8='fp16' says what computes beside INT8: ask for precision='int8'"
    assert GpuTrt.impossible({**DEFAULTS, "precision": "int8", "beside_int8": "fp16"}) is None
