from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.formats import quantise
from tests.models import onnx_shapes

if TYPE_CHECKING:
    from pathlib import Path

BATCHES = [{"x": np.full(2, value)} for value in (1.0, 2.0)]


def test_calibration_data_is_required() -> None:
    with pytest.raises(Refused, match="pass calibration="):
        quantise.require([])
    quantise.require(BATCHES)


@pytest.mark.parametrize("inputs", [{"y"}, {"x", "y"}, set()])
def test_every_batch_has_exactly_the_models_inputs(inputs: set[str]) -> None:
    quantise.check_inputs({"x"}, BATCHES)
    with pytest.raises(Refused, match=re.escape(f"takes the inputs {sorted(inputs)}, got ['x']")):
        quantise.check_inputs(inputs, BATCHES)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_range_is_learnt_from_what_is_not_finite(value: float) -> None:
    with pytest.raises(Refused, match="input 'x' holds NaN or infinite values"):
        quantise.check_inputs({"x"}, [*BATCHES, {"x": np.full(2, value)}])


def test_onnx_runtime_reads_batch_after_batch_until_none_and_progress_is_told() -> None:
    told: list[tuple[float | None, str]] = []
    reader = quantise._Reader(BATCHES, lambda share, doing: told.append((share, doing)))
    assert [reader.get_next() for _ in range(4)] == [*BATCHES, None, None]
    assert told == [
        (0.0, "calibrating with batch 1 of 2"),
        (0.5, "calibrating with batch 2 of 2"),
        (None, "quantising"),
    ]


def test_constants_of_rank_0_stay_as_they_are_where_tensorrt_reads_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    nodes: list[Any] = [
        ("MatMul", ["x", "w"], ["y"], {}),
        ("Mul", ["y", "half"], ["z"], {}),
        ("Mul", ["z", "row"], ["out"], {}),
    ]
    weights = {"w": np.eye(4, dtype=np.float32), "half": np.array(0.5, "f4"), "row": np.ones(4, "f4")}
    model = onnx.load(onnx_shapes.write(tmp_path / "m.onnx", nodes, {"x": [1, 4]}, {"out": [1, 4]}, **weights))
    made = quantise.quantise(model, [{"x": np.ones((1, 4), np.float32)}], "int8", lambda *_: None, str(tmp_path))
    quantised = {tensor.name for tensor in made.graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    assert {"w_quantized", "row_quantized"} <= quantised
    assert "half_quantized" not in quantised


def test_fp8_is_for_products_alone_and_answers_nearly_the_same(tmp_path: Path) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    random = np.random.default_rng(2)
    nodes: list[Any] = [("MatMul", ["x", "w"], ["y"], {}), ("Softmax", ["y"], ["out"], {"axis": 1})]
    weights = {"w": random.normal(size=(8, 4)).astype("f4")}
    path = onnx_shapes.write(tmp_path / "m.onnx", nodes, {"x": [2, 8]}, {"out": [2, 4]}, **weights)
    batches = [{"x": random.normal(size=(2, 8)).astype(np.float32)} for _ in range(8)]
    (tmp_path / "scratch").mkdir()
    made = quantise.quantise(onnx.load(path), batches, "fp8", lambda *_: None, str(tmp_path / "scratch"))
    zeros = [tensor for tensor in made.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT8E4M3FN]
    assert len(zeros) >= 3
    read = [node.op_type for node in made.graph.node if "out" in node.output]
    assert read == ["Softmax"], "which no DequantizeLinear follows"
    answers = [
        runtime.InferenceSession(each).run(None, batches[0])[0] for each in (str(path), made.SerializeToString())
    ]
    assert 0 < np.abs(answers[0] - answers[1]).max() < 0.1


def test_what_is_quantised_already_is_told_with_the_precision_to_leave_out(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    nodes: list[Any] = [("QuantizeLinear", ["x", "s"], ["q"], {}), ("DequantizeLinear", ["q", "s"], ["y"], {})]
    model = onnx.load(
        onnx_shapes.write(tmp_path / "m.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]}, s=np.array(0.1, "f4"))
    )
    for activations, precision in (("uint8", "int8"), ("int8", "int8"), ("fp8", "fp8")):
        with pytest.raises(Refused, match=f"leave precision='{precision}' out to measure it as it is"):
            quantise.quantise(model, [], activations, lambda *_: None, str(tmp_path))


def test_each_precision_needs_data_by_its_name() -> None:
    with pytest.raises(Refused, match="FP8 needs calibration data: pass calibration="):
        quantise.require([], "fp8")
