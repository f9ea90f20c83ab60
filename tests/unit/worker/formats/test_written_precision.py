from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.formats.written_precision import write
from tests.models import onnx_shapes

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

#: A NaN of which rounding the bits up would make zero.
LONGEST_NAN = np.array(0x7FFFFFFF, np.uint32).view(np.float32)
#: Beyond FP16 at both ends, halfway between two numbers of BF16, and no number.
WEIGHTS = np.array([1e30, -3e38, 1e-30, 1.00390625, 1.01171875, -0.0, np.inf, LONGEST_NAN], np.float32)


def multiplied(folder: Path) -> Any:
    """One product with the weights, behind a constant of a node."""
    constant = onnx.numpy_helper.from_array(np.array(1e30, np.float32), "any name")
    nodes: list[Any] = [
        ("Constant", [], ["large"], {"value": constant}),
        ("Mul", ["x", "large"], ["larger"], {}),
        ("Mul", ["larger", "w"], ["y"], {}),
    ]
    return onnx.load(onnx_shapes.write(folder / "m.onnx", nodes, {"x": ["N", 8]}, {"y": ["N", 8]}, w=WEIGHTS))


def written(model: Any, precision: str, scratch: Path) -> Any:
    return write(model, precision, [], lambda *_: None, str(scratch))


def test_bf16_rounds_to_the_nearest_number_and_keeps_the_range_of_fp32(tmp_path: Path) -> None:
    import ml_dtypes

    made = written(multiplied(tmp_path), "bf16", tmp_path)
    (weights,) = (tensor for tensor in made.graph.initializer if tensor.name == "w")
    assert weights.data_type == onnx.TensorProto.BFLOAT16
    np.testing.assert_array_equal(
        onnx.numpy_helper.to_array(weights).astype(np.float32), WEIGHTS.astype(ml_dtypes.bfloat16).astype(np.float32)
    )
    (constant,) = (node.attribute[0].t for node in made.graph.node if node.op_type == "Constant")
    assert float(onnx.numpy_helper.to_array(constant)) == pytest.approx(1e30, rel=0.01)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_ends_stay_as_they_are_and_all_types_fit_each_other(tmp_path: Path, precision: str) -> None:
    nodes: list[Any] = [
        ("MatMul", ["x", "w"], ["scores"], {}),
        ("TopK", ["scores", "k"], ["best", "which"], {}),
        ("Relu", ["best"], ["y"], {}),
    ]
    weights = {"w": np.linspace(-1, 1, 32).reshape(8, 4).astype(np.float32), "k": np.array([2], np.int64)}
    model = onnx.load(
        onnx_shapes.write(
            tmp_path / "m.onnx",
            nodes,
            {"x": [1, 8]},
            {"y": [1, 2], "which": (onnx.TensorProto.INT64, [1, 2])},
            **weights,
        )
    )
    made = written(model, precision, tmp_path)
    onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True)
    ends = [value.type.tensor_type.elem_type for value in (*made.graph.input, *made.graph.output)]
    assert ends == [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64]
    named = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[precision]
    assert {tensor.name: tensor.data_type for tensor in made.graph.initializer}["w"] == named
    casts = {node.attribute[0].i for node in made.graph.node if node.op_type == "Cast"}
    assert casts == {named, onnx.TensorProto.FLOAT}, "TopK computes in FP32"


def test_a_model_in_fp16_is_not_told_from_what_was_converted(tmp_path: Path) -> None:
    half = written(multiplied(tmp_path), "fp16", tmp_path)
    with pytest.raises(Refused, match=r"the model is in FP16 itself, .*: leave precision='bf16' out"):
        written(half, "bf16", tmp_path)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_fp32_is_the_model_as_it_is(tmp_path: Path, precision: str) -> None:
    model = multiplied(tmp_path)
    assert written(model, precision, tmp_path) is model
