from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_accel.worker.accelerator import OperatorTime
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


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, ["-hint", "latency", "-api", "sync"]),
        ({"load_shape": "offline"}, ["-hint", "latency", "-api", "sync"]),
        (
            {"load_shape": "multi_stream", "concurrency": 4, "streams": 2},
            ["-hint", "none", "-api", "async", "-nstreams", "2", "-nireq", "4"],
        ),
    ],
    ids=["one by one", "offline", "side by side"],
)
def test_benchmark_app_runs_as_the_options_say(options: dict[str, Any], flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "image.npy").touch()
    defaults = {name: option.default for name, option in CpuOpenVino.options().items()}
    tool = CpuOpenVino.vendor_tool("artefact", str(tmp_path), 40, {**defaults, **options})
    assert tool is not None
    *_, model, _, inputs, _, calls = tool.arguments[: tool.arguments.index("-hint")]
    assert (model, inputs, calls) == ("artefact/model.xml", f"image:{tmp_path}/image.npy", "40")
    assert list(tool.arguments[tool.arguments.index("-hint") :]) == [*flags, "-infer_precision", "f32", "-ip", "f32"]


def test_a_layer_without_a_name_of_the_model_has_its_time_under_its_type() -> None:
    made_up, named = (
        SimpleNamespace(node_name=name, node_type="Eltwise", real_time=timedelta(microseconds=12))
        for name in ("Multiply_1234", "scale")
    )
    assert openvino._time(made_up) == OperatorTime("", "Eltwise", 12_000.0)
    assert openvino._time(named).name == "scale"


def test_a_layer_that_was_fused_into_another_was_not_run() -> None:
    status = SimpleNamespace(EXECUTED=2, NOT_RUN=0)
    assert not openvino._was_run(SimpleNamespace(status=0, Status=status))
    assert openvino._was_run(SimpleNamespace(status=2, Status=status))
