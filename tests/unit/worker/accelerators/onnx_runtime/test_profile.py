from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.worker.accelerator import OperatorTime
from pytest_accel.worker.accelerators.onnx_runtime import profile
from tests.models import onnx_shapes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("profiled", "name"),
    [
        ("block/conv:0_nchwc_kernel_time", "block/conv:0"),
        ("conv_0_token_86_kernel_time", "conv_0"),
        ("conv_nchwc_token_2_kernel_time", "conv"),
        ("pool_kernel_time", "pool"),
        ("_kernel_time", ""),
    ],
)
def test_names_lose_what_profiling_adds_to_them(profiled: str, name: str) -> None:
    assert profile._ADDED_TO_A_NAME.sub("", profiled) == name


MAKERS = {
    "sum": SimpleNamespace(op_type="Add", name="add", input=["made", "x"]),
    "made": SimpleNamespace(op_type="Conv", name="conv", input=["x", "w"]),
    "positive": SimpleNamespace(op_type="Relu", name="relu", input=["made"]),
    "summed": SimpleNamespace(op_type="Relu", name="last", input=["sum"]),
}


@pytest.mark.parametrize(
    ("profiled", "name"),
    [
        ("made_nchwc_kernel_time", "conv"),
        ("positive_nchwc_token_7_kernel_time", "conv"),
        ("summed_nchwc_kernel_time", "summed"),  # of the two sides of a sum either may be the operator
        ("made_kernel_time", "made"),  # an operator that has the name of a tensor
        ("unknown_nchwc_kernel_time", "unknown"),
    ],
)
def test_a_blocked_kernel_has_the_name_of_its_operator(profiled: str, name: str) -> None:
    assert profile._name_of(profiled, "Conv", MAKERS) == name


def event(name: str, begin_us: int, dur_us: int, kind: str = "", number: int = 0) -> dict[str, Any]:
    """An event as ONNX Runtime 1.32 writes it, with the arguments that are read."""
    args = {"op_name": kind, "node_index": str(number), "input_type_shape": [], "provider": "P"} if kind else {}
    category = "Node" if kind else "Session"
    return {"cat": category, "pid": 7, "tid": 7, "dur": dur_us, "ts": begin_us, "ph": "X", "name": name, "args": args}


def times_of(events: list[dict[str, Any]], path: Path, calls: int) -> list[OperatorTime]:
    return profile.Profile(json.dumps(events), str(path)).operator_times(calls)


def test_the_last_calls_count_and_a_loop_has_no_time_of_what_is_inside_it(tmp_path: Path) -> None:
    nodes: list[Any] = [("Relu", ["x"], ["y"], {"name": "rectify"})]
    model = onnx_shapes.write(tmp_path / "m.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]})

    def call(start_us: int, factor: int) -> list[dict[str, Any]]:
        return [
            event("rectify_kernel_time", start_us + 20, 5 * factor, "Relu"),
            event("rectify_kernel_time", start_us + 40, 5 * factor, "Relu"),
            event("loop_kernel_time", start_us + 10, 70, "Loop", 1),
            event("Relu_2_kernel_time", start_us + 80, factor, "Relu", 2),
            event("SequentialExecutor::Execute", start_us + 2, 90),
            event("model_run", start_us, 95),
        ]

    events = [event("session_initialization", 0, 50), *call(100, 1), *call(200, 2), *call(300, 2)]
    assert sorted(times_of(events, model, 2), key=lambda each: each.kind + each.name) == [
        OperatorTime("loop", "Loop", 50_000.0),
        OperatorTime("", "Relu", 2_000.0),
        OperatorTime("rectify", "Relu", 20_000.0),
    ]


def test_a_number_that_the_model_gives_itself_is_a_name(tmp_path: Path) -> None:
    nodes: list[Any] = [("Relu", ["x"], ["z"], {"name": "Relu_0"}), ("Relu", ["z"], ["y"], {})]
    model = onnx_shapes.write(tmp_path / "m.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]})
    events = [event(f"Relu_{number}_kernel_time", 10 * number, 5, "Relu", number) for number in (0, 1)]
    assert times_of([*events, event("model_run", 0, 95)], model, 1) == [
        OperatorTime("Relu_0", "Relu", 5_000.0),
        OperatorTime("", "Relu", 5_000.0),
    ]
