"""The example networks as ONNX files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, List, Sequence

import numpy as np

from pytest_accel.worker.formats.examples.dialect import Dialect
from pytest_accel.worker.formats.onnx_model import OPSET

if TYPE_CHECKING:
    from pytest_accel.worker.formats.examples.networks import Network


class OnnxWords(Dialect):
    """A value is the name of a tensor in the graph. Images have the order channels, height, width."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: List[Any] = []
        self.tensors: List[Any] = []

    def native(self, weight: np.ndarray) -> str:
        order = (3, 2, 0, 1) if weight.ndim == 4 else tuple(range(weight.ndim))
        return self._tensor(np.ascontiguousarray(weight.transpose(order)))

    def convolve(self, image: Any, kernel: Any, *, stride: int, padding: int) -> Any:
        return self._node("Conv", [image, kernel], strides=[stride] * 2, pads=[padding] * 4)

    def normalise(self, image: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Any:
        return self._node("BatchNormalization", [image, scale, shift, mean, variance], epsilon=1e-5)

    def relu(self, value: Any) -> Any:
        return self._node("Relu", [value])

    def add(self, one: Any, other: Any) -> Any:
        return self._node("Add", [one, other])

    def halve(self, value: Any) -> Any:
        return self._node("Mul", [value, self._tensor(np.array(0.5, np.float32))])

    def max_pool(self, image: Any) -> Any:
        return self._node("MaxPool", [image], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)

    def mean_of_image(self, image: Any) -> Any:
        return self._node("Flatten", [self._node("GlobalAveragePool", [image])])

    def mean_of_tokens(self, tokens: Any) -> Any:
        return self._node("ReduceMean", [tokens], axes=[1], keepdims=0)

    def multiply(self, rows: Any, matrix: Any) -> Any:
        return self._node("MatMul", [rows, matrix])

    def softmax(self, rows: Any) -> Any:
        return self._node("Softmax", [rows], axis=-1)

    def look_up(self, table: Any, numbers: Any) -> Any:
        return self._node("Gather", [table, numbers])

    def positions(self, tokens: Any) -> Any:
        zero, one = (self._tensor(np.array(number, np.int64)) for number in (0, 1))
        return self._node("Range", [zero, self._node("Gather", [self._node("Shape", [tokens]), one]), one])

    def zeros(self, value: Any) -> Any:
        return self._node("ConstantOfShape", [self._node("Shape", [value])])

    def named(self, value: str, name: str) -> None:
        """Give a value the name of an output."""
        self._node("Identity", [value], name=name)

    def _node(self, kind: str, inputs: Sequence[str], *, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def _tensor(self, values: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"tensor_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values, name))
        return name


def write(network: Network, folder: str) -> str:
    """Write the network with a free batch, and return the path of the file."""
    import onnx
    from onnx import helper

    words = OnnxWords()
    made = network.build(words, *(entrance.name for entrance in network.entrances))
    for name, value in made.items():
        words.named(value, name)
    inputs = []
    for entrance in network.entrances:
        shape = ["n", *(entrance.shape[-1:] + entrance.shape[:-1] if entrance.is_image else entrance.shape)]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(entrance.dtype))
        inputs.append(helper.make_tensor_value_info(entrance.name, kind, shape))
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in made]
    graph = helper.make_graph(words.nodes, "example", inputs, outputs, words.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    path = os.path.join(folder, "model.onnx")
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path
