from __future__ import annotations

import pytest

from pytest_accel.worker.accelerators import openvino
from pytest_accel.worker.accelerators.openvino import CpuOpenVino


@pytest.mark.parametrize(
    ("streams", "concurrency", "possible"), [(0, 1, True), (1, 1, True), (2, 1, False), (2, 4, True), (4, 4, True)]
)
def test_more_streams_than_calls_in_flight_make_no_sense(streams: int, concurrency: int, possible: bool) -> None:
    why = CpuOpenVino.impossible({"streams": streams, "concurrency": concurrency})
    assert (why is None) == possible
    assert possible or f"use load_shape='multi_stream', concurrency={streams}" in str(why)


@pytest.mark.parametrize(
    ("name", "made_up"),
    [
        ("Convolution_5950", True),
        ("Power_20/fq_output_0", True),
        ("MatMul_7/DequantizationMultiply", True),
        ("Conv_1/Conv2D", False),
        ("/layer1/conv/Conv", False),
        ("block_3", False),
    ],
)
def test_names_that_openvino_makes_up_are_told_from_the_models(name: str, made_up: bool) -> None:
    assert bool(openvino._MADE_UP_NAME.fullmatch(name)) is made_up
