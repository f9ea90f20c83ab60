"""Small ONNX models, each with one peculiarity: ``python -m tests.models.onnx_recipes FOLDER``.

Imports ``onnx``, so it runs in a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]

#: The factor of a branch that costs all its work and adds almost nothing; no compiler can prove it useless.
NEGLIGIBLE = 1e-6


def convolution(batch: str | int = "n") -> onnx.ModelProto:
    """Two convolutions, one of them grouped, which INT8 takes, and a normalisation, which it leaves in FP32."""
    random = np.random.default_rng(4)
    shapes = {"kernel": (16, 3, 3, 3), "bias": (16,), "grouped": (32, 8, 1, 1)}
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["convolved"], "convolve", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["positive"], "rectify"),
        helper.make_node("Conv", ["positive", "grouped"], ["mixed"], "mix", group=2),
        helper.make_node("GlobalAveragePool", ["mixed"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["scores"], "flatten"),
        helper.make_node("LpNormalization", ["scores"], ["norm"], "normalise", axis=1),
    ]
    return model(nodes, {"image": [batch, 3, 16, 16]}, {"norm": [batch, 32]}, weights)


def one_operator(kind: str, domain: str = "") -> onnx.ModelProto:
    return model([helper.make_node(kind, ["x"], ["y"], "odd", domain=domain)], {"x": ["n", 4]}, {"y": ["n", 4]})


def typed(kind: str, element_type: int) -> onnx.ModelProto:
    """One operator on elements of another type."""
    made = one_operator(kind)
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = element_type
    return made


def ends_in(element_type: int) -> onnx.ModelProto:
    """One operator between casts from and to another type."""
    nodes = [
        helper.make_node("Cast", ["x"], ["floating"], "from", to=TensorProto.FLOAT),
        helper.make_node("Relu", ["floating"], ["positive"], "rectify"),
        helper.make_node("Cast", ["positive"], ["y"], "to", to=element_type),
    ]
    made = model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]})
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = element_type
    return made


def branch_inside(element_type: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A branch that is always taken, and of which both sides compute in another type."""
    sides = [
        helper.make_graph(
            [
                helper.make_node("Cast", ["x"], [f"{name}_typed"], f"{name}_to", to=element_type),
                helper.make_node("Relu", [f"{name}_typed"], [f"{name}_positive"], f"{name}_rectify"),
                helper.make_node("Cast", [f"{name}_positive"], [name], f"{name}_back", to=TensorProto.FLOAT),
            ],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])],
        )
        for name in ("first", "second")
    ]
    always = numpy_helper.from_array(np.array(True), "always")
    choose = helper.make_node("If", ["always"], ["y"], "choose", then_branch=sides[0], else_branch=sides[1])
    return model([choose], {"x": ["n", 4]}, {"y": ["n", 4]}, [always])


def of_another_time(*, opset: int = 17, ir_version: int = 8) -> onnx.ModelProto:
    """One operator in a file of another opset or file format."""
    made = one_operator("Relu")
    made.opset_import[0].version, made.ir_version = opset, ir_version
    return made


def undefined_tensor() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["nowhere"], ["y"], "odd")], {"x": ["n", 4]}, {"y": ["n", 4]})


def unfit_shapes() -> onnx.ModelProto:
    """A matrix product of 4 columns with 5 rows."""
    weights = numpy_helper.from_array(np.zeros((5, 3), np.float32), "w")
    return model([helper.make_node("MatMul", ["x", "w"], ["y"], "odd")], {"x": ["n", 4]}, {"y": ["n", 3]}, [weights])


def seven_by_three() -> onnx.ModelProto:
    """Takes any width and can compute with one of 21 only."""
    shape = numpy_helper.from_array(np.array([7, 3], np.int64), "shape")
    return model([helper.make_node("Reshape", ["x", "shape"], ["y"], "y")], {"x": ["n", "k"]}, {"y": [7, 3]}, [shape])


def overflow() -> onnx.ModelProto:
    """A difference of exponentials, which is NaN where they leave FP32, before a convolution."""
    kernel = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "kernel")
    nodes = [
        helper.make_node("Exp", ["image"], ["grown"], "grow"),
        helper.make_node("Sub", ["grown", "grown"], ["lost"], "lose"),
        helper.make_node("Conv", ["lost", "kernel"], ["mixed"], "mix"),
    ]
    return model(nodes, {"image": ["n", 3, 16, 16]}, {"mixed": ["n", 1, 16, 16]}, [kernel])


def indices(rows: int = 10) -> onnx.ModelProto:
    """Rows of a table, by INT64 numbers."""
    table = numpy_helper.from_array(np.arange(4 * rows, dtype=np.float32).reshape(rows, 4), "table")
    made = model(
        [helper.make_node("Gather", ["table", "ids"], ["y"], "look_up")], {"ids": ["n", 3]}, {"y": ["n", 3, 4]}, [table]
    )
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return made


def tokens() -> onnx.ModelProto:
    """Rows of a table, by INT64 numbers, before a product. Only the last row of the table is large."""
    table = numpy_helper.from_array(np.repeat([0.01] * 9 + [8.0], 4).reshape(10, 4).astype(np.float32), "table")
    weights = numpy_helper.from_array(np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4), "weights")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "look_up"),
        helper.make_node("MatMul", ["rows", "weights"], ["y"], "multiply"),
    ]
    made = model(nodes, {"ids": ["n", 3]}, {"y": ["n", 3, 4]}, [table, weights])
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return made


def any_size() -> onnx.ModelProto:
    """A pool over five by five, of images that are at least as large."""
    nodes = [helper.make_node("MaxPool", ["image"], ["pooled"], "pool", kernel_shape=[5, 5])]
    return model(nodes, {"image": ["n", 3, "high", "wide"]}, {"pooled": ["n", 3, "lower", "narrower"]})


def bytes_first() -> onnx.ModelProto:
    """A convolution of an image that comes in bytes, and of which bytes are mirrored beyond its edges."""
    pads = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads")
    kernel = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "kernel")
    nodes = [
        helper.make_node("Pad", ["image", "pads"], ["padded"], "mirror", mode="reflect"),
        helper.make_node("Cast", ["padded"], ["floating"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["floating", "kernel"], ["mixed"], "mix"),
    ]
    made = model(nodes, {"image": ["n", 3, 16, 16]}, {"mixed": ["n", 4, 16, 16]}, [pads, kernel])
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return made


def where_positive() -> onnx.ModelProto:
    """What is positive, and where: as many places as there are, so that the shape depends on the values."""
    positive = helper.make_node("Relu", ["x"], ["y"], "rectify")
    places = helper.make_node("NonZero", ["y"], ["places"], "find")
    made = model([positive, places], {"x": ["n", 4]}, {"y": ["n", 4]})
    made.graph.output.append(helper.make_tensor_value_info("places", TensorProto.INT64, [2, "found"]))
    return made


def already_quantised() -> onnx.ModelProto:
    """A convolution between the Q/DQ pairs of an INT8 model."""
    random = np.random.default_rng(4)
    weights = [
        numpy_helper.from_array(np.array(0.02, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
        numpy_helper.from_array(random.integers(-127, 127, (4, 3, 3, 3)).astype(np.int8), "kernel_q"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["image_q"], "quantise_image"),
        helper.make_node("DequantizeLinear", ["image_q", "scale", "zero"], ["image_dq"], "restore_image"),
        helper.make_node("DequantizeLinear", ["kernel_q", "scale", "zero"], ["kernel"], "restore_kernel"),
        helper.make_node("Conv", ["image_dq", "kernel"], ["mixed"], "mix"),
        helper.make_node("QuantizeLinear", ["mixed", "scale", "zero"], ["mixed_q"], "quantise_mixed"),
        helper.make_node("DequantizeLinear", ["mixed_q", "scale", "zero"], ["y"], "restore_mixed"),
    ]
    return model(nodes, {"image": ["n", 3, 16, 16]}, {"y": ["n", 4, 14, 14]}, weights)


class ResNet50:
    """ResNet-50 as Keras has it, made of Keras's weights: the arrays of each layer by its name.

    With ``repeated`` the five equal blocks of the fourth stage are applied twice, which is 28 % more work for the same
    answers: what the copies add to their input is scaled to almost nothing, so that the input passes through.
    """

    #: Blocks of each stage, from the second on.
    STAGES: ClassVar[Mapping[int, int]] = {2: 3, 3: 4, 4: 6, 5: 3}
    EPSILON = 1.001e-5

    def __init__(self, layers: Mapping[str, Sequence[Array]], *, repeated: bool = False) -> None:
        self._layers = layers
        self._nodes = [helper.make_node("Transpose", ["image"], ["channels_first"], "transpose", perm=[0, 3, 1, 2])]
        self._weights: list[onnx.TensorProto] = []
        stem = self._relu(self._convolved("channels_first", "conv1", stride=2, padding=3), "stem")
        pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        value = self._node("MaxPool", [stem], "pool1", **pool)
        for stage, blocks in self.STAGES.items():
            for block in range(1, blocks + 1):
                value = self._block(value, f"conv{stage}_block{block}", first=block == 1, halves=stage > 2)
            if repeated and stage == 4:
                for block in range(2, blocks + 1):
                    value = self._block(value, f"conv{stage}_block{block}", suffix="_again", gain=NEGLIGIBLE)
        pooled = self._node("Flatten", [self._node("GlobalAveragePool", [value], "avg_pool")], "flatten")
        kernel, bias = (self._weight(f"predictions_{at}", array) for at, array in enumerate(layers["predictions"]))
        self._node("Softmax", [self._node("Gemm", [pooled, kernel, bias], "logits")], "predictions", axis=1)

    def model(self) -> onnx.ModelProto:
        """The model, which takes images (n, 224, 224, 3) and gives (n, 1000)."""
        return model(self._nodes, {"image": ["n", 224, 224, 3]}, {"predictions": ["n", 1000]}, self._weights)

    def _block(
        self, value: str, name: str, *, first: bool = False, halves: bool = False, suffix: str = "", gain: float = 1.0
    ) -> str:
        stride = 2 if first and halves else 1
        shortcut = self._convolved(value, f"{name}_0", stride=stride) if first else value
        narrow = self._relu(self._convolved(value, f"{name}_1", stride=stride, suffix=suffix), f"{name}_1{suffix}")
        wide = self._relu(self._convolved(narrow, f"{name}_2", padding=1, suffix=suffix), f"{name}_2{suffix}")
        branch = self._convolved(wide, f"{name}_3", suffix=suffix, gain=gain)
        return self._relu(self._node("Add", [shortcut, branch], f"{name}_add{suffix}"), f"{name}_out{suffix}")

    def _convolved(
        self, value: str, name: str, *, stride: int = 1, padding: int = 0, suffix: str = "", gain: float = 1.0
    ) -> str:
        """A convolution with its normalisation; a weight is stored once, but for those that ``gain`` changes."""
        kernel, bias = self._layers[f"{name}_conv"]
        scale, shift, mean, variance = self._layers[f"{name}_bn"]
        own = suffix if gain != 1.0 else ""
        arrays = {
            "kernel": kernel.transpose(3, 2, 0, 1),
            "bias": bias,
            f"scale{own}": scale * np.float32(gain),
            f"shift{own}": shift * np.float32(gain),
            "mean": mean,
            "variance": variance,
        }
        weights = [self._weight(f"{name}_{part}", array) for part, array in arrays.items()]
        window = {"strides": [stride] * 2, "pads": [padding] * 4}
        convolved = self._node("Conv", [value, *weights[:2]], f"{name}_conv{suffix}", **window)
        normalised = [convolved, *weights[2:]]
        return self._node("BatchNormalization", normalised, f"{name}_bn{suffix}", epsilon=self.EPSILON)

    def _relu(self, value: str, name: str) -> str:
        return self._node("Relu", [value], f"{name}_relu")

    def _node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def _weight(self, name: str, array: Array) -> str:
        if all(tensor.name != name for tensor in self._weights):
            self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[str | int]],
    outputs: Mapping[str, Sequence[str | int]],
    weights: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "test", *values, weights)
    domains = {"", *(node.domain for node in nodes)}
    versions = [helper.make_opsetid(domain, 1 if domain else 17) for domain in sorted(domains)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


RECIPES = {
    "convolution": convolution,
    "fixed_batch": lambda: convolution(batch=8),
    "unknown_operator": lambda: one_operator("NotAnOperator"),
    "foreign_operator": lambda: one_operator("Shiny", domain="com.example"),
    "only_onnx_runtime": lambda: one_operator("SampleOp", domain="com.microsoft"),
    "text": lambda: typed("Identity", TensorProto.STRING),
    "half": lambda: typed("Relu", TensorProto.FLOAT16),
    "half_inside": lambda: branch_inside(TensorProto.FLOAT16),
    "branch_inside": branch_inside,
    "bfloat16_ends": lambda: ends_in(TensorProto.BFLOAT16),
    "no_kernel": lambda: typed("Relu", TensorProto.BFLOAT16),
    "unfit_type": lambda: typed("Sin", TensorProto.INT64),
    "newer_opset": lambda: of_another_time(opset=99),
    "newer_format": lambda: of_another_time(ir_version=99),
    "undefined_tensor": undefined_tensor,
    "unfit_shapes": unfit_shapes,
    "seven_by_three": seven_by_three,
    "overflow": overflow,
    "indices": indices,
    "tokens": tokens,
    "small_table": lambda: indices(rows=3),
    "any_size": any_size,
    "bytes_first": bytes_first,
    "already_quantised": already_quantised,
    "where_positive": where_positive,
}

if __name__ == "__main__":
    for name, recipe in RECIPES.items():
        onnx.save(recipe(), Path(sys.argv[1]) / f"{name}.onnx")
    lost, outside = Path(sys.argv[1]) / "lost_weights.onnx", Path(sys.argv[1]) / "outside.onnx"
    onnx.save(convolution(), lost, save_as_external_data=True, location="weights.data", size_threshold=0)
    onnx.save(convolution(), outside, save_as_external_data=True, location="outside.onnx_data", size_threshold=0)
    lost.with_name("weights.data").unlink()
