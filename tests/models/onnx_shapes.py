"""ONNX models whose inputs and outputs are not all batches of samples, written by hand as others export them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(1)


def write(path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], **weights: Any) -> Path:
    """Write a model. An input or output is a shape of floats, or a pair of ONNX's type and a shape."""
    from onnx import TensorProto, helper, numpy_helper, save

    def ends(shapes: dict[str, Any]) -> list[Any]:
        typed = {
            name: given if isinstance(given, tuple) else (TensorProto.FLOAT, given) for name, given in shapes.items()
        }
        return [helper.make_tensor_value_info(name, *given) for name, given in typed.items()]

    constants = [numpy_helper.from_array(np.asarray(values), name) for name, values in weights.items()]
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **node[3]) for node in nodes], "graph", ends(inputs), ends(outputs), constants
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def scalar(path: Path) -> Path:
    """Scores of (N, 4), and their mean, of rank 0."""
    nodes: list[Any] = [("MatMul", ["x", "w"], ["y"], {}), ("ReduceMean", ["y"], ["mean"], {"keepdims": 0})]
    return write(path, nodes, {"x": ["N", 8]}, {"y": ["N", 4], "mean": []}, w=RNG.normal(size=(8, 4)).astype("f4"))


def boxes(path: Path) -> Path:
    """Fifty boxes of one image, without a dimension for the image; the first one is zero in every precision."""
    weights = RNG.normal(size=(6, 150)).astype("f4")
    weights[:, :3] = 0
    nodes: list[Any] = [("MatMul", ["x", "w"], ["flat"], {}), ("Reshape", ["flat", "shape"], ["boxes"], {})]
    return write(path, nodes, {"x": [1, 6]}, {"boxes": [50, 3]}, w=weights, shape=np.array([50, 3], "i8"))


def positive(path: Path) -> Path:
    """All values over zero, and where they were: as many as the data have."""
    from onnx import TensorProto

    nodes: list[Any] = [
        ("Greater", ["x", "zero"], ["mask"], {}),
        ("NonZero", ["mask"], ["columns"], {}),
        ("Transpose", ["columns"], ["where"], {"perm": [1, 0]}),
        ("GatherND", ["x", "where"], ["values"], {}),
    ]
    outputs = {"where": (TensorProto.INT64, ["K", 2]), "values": ["K"]}
    return write(path, nodes, {"x": ["N", 8]}, outputs, zero=np.array(0, "f4"))


def tokens(path: Path) -> Path:
    """An answer for each token of a sentence of any length."""
    from onnx import TensorProto

    nodes: list[Any] = [("Gather", ["words", "ids"], ["vectors"], {}), ("MatMul", ["vectors", "w"], ["y"], {})]
    inputs = {"ids": (TensorProto.INT64, ["N", "S"])}
    words, weights = RNG.normal(size=(100, 16)).astype("f4"), RNG.normal(size=(16, 3)).astype("f4")
    return write(path, nodes, inputs, {"y": ["N", "S", 3]}, words=words, w=weights)


def streaming(path: Path, batch: Any) -> Path:
    """Audio of (N, 160) at a rate, beside a state of (2, N, 160) that goes on in the next call."""
    from onnx import TensorProto

    nodes: list[Any] = [
        ("Cast", ["rate"], ["hertz"], {"to": TensorProto.FLOAT}),
        ("Div", ["audio", "hertz"], ["gained"], {}),
        ("Add", ["state", "gained"], ["sum"], {}),
        ("Tanh", ["sum"], ["next"], {}),
        ("MatMul", ["gained", "w"], ["speech"], {}),
    ]
    inputs = {"audio": [batch, 160], "state": [2, batch, 160], "rate": (TensorProto.INT64, [])}
    outputs = {"speech": [batch, 1], "next": [2, batch, 160]}
    return write(path, nodes, inputs, outputs, w=RNG.normal(size=(160, 1)).astype("f4"))


def recurrent(path: Path) -> Path:
    """A GRU of (steps, batch, 4). Only their names tell the two free dimensions apart."""
    nodes: list[Any] = [("GRU", ["x", "w", "r"], ["y", "last"], {"hidden_size": 3})]
    w, r = (RNG.normal(size=(1, 9, size)).astype("f4") for size in (4, 3))
    return write(path, nodes, {"x": ["steps", "N", 4]}, {"y": ["steps", 1, "N", 3], "last": [1, "N", 3]}, w=w, r=r)


def nothing_to_find(path: Path) -> Path:
    """A map of probabilities that are all around 1e-7."""
    nodes: list[Any] = [
        ("Conv", ["x", "w"], ["features"], {"pads": [1, 1, 1, 1]}),
        ("Relu", ["features"], ["found"], {}),
        ("Conv", ["found", "v", "b"], ["logits"], {"pads": [1, 1, 1, 1]}),
        ("Sigmoid", ["logits"], ["map"], {}),
    ]
    w, v = (RNG.normal(0, 0.15, size=size).astype("f4") for size in ((8, 3, 3, 3), (1, 8, 3, 3)))
    return write(path, nodes, {"x": ["N", 3, 8, 8]}, {"map": ["N", 1, 8, 8]}, w=w, v=v, b=np.array([-16], "f4"))


def missing_value(path: Path) -> Path:
    """A tree that a missing first value sends to the left."""
    tree = {
        "domain": "ai.onnx.ml",
        "n_targets": 1,
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.0, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "nodes_missing_value_tracks_true": [1, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
    }
    return write(path, [("TreeEnsembleRegressor", ["x"], ["y"], tree)], {"x": ["N", 2]}, {"y": ["N", 1]})


def masked(path: Path) -> Path:
    """A softmax behind a mask of minus infinity, and the masked scores themselves."""
    nodes: list[Any] = [("Add", ["scores", "mask"], ["sum"], {}), ("Softmax", ["sum"], ["shares"], {"axis": -1})]
    return write(path, nodes, {"scores": ["N", 8], "mask": ["N", 8]}, {"sum": ["N", 8], "shares": ["N", 8]})


def drawing(path: Path, seed: float | None) -> Path:
    """What it is given, with noise."""
    seeded = {} if seed is None else {"seed": seed}
    nodes: list[Any] = [("RandomNormalLike", ["x"], ["noise"], seeded), ("Add", ["x", "noise"], ["y"], {})]
    return write(path, nodes, {"x": ["N", 8]}, {"y": ["N", 8]})


def attention(path: Path) -> Path:
    """A block of attention with a norm: INT64 numbers of words, and which of them count."""
    from onnx import TensorProto

    nodes: list[Any] = [
        ("Gather", ["words", "ids"], ["x"], {}),
        *(("MatMul", ["x", f"w_{name}"], [name], {"name": f"project_{name}"}) for name in ("query", "key", "value")),
        ("Transpose", ["key"], ["across"], {"perm": [0, 2, 1]}),
        ("MatMul", ["query", "across"], ["products"], {"name": "score"}),
        ("Mul", ["products", "scale"], ["scores"], {}),
        ("Cast", ["mask"], ["counted"], {"to": TensorProto.FLOAT}),
        ("Sub", ["counted", "one"], ["left_out"], {}),
        ("Mul", ["left_out", "much"], ["penalty"], {}),
        ("Unsqueeze", ["penalty", "axis"], ["penalties"], {}),
        ("Add", ["scores", "penalties"], ["masked"], {}),
        ("Softmax", ["masked"], ["shares"], {"axis": -1}),
        ("MatMul", ["shares", "value"], ["mixed"], {"name": "mix"}),
        ("Add", ["x", "mixed"], ["sum"], {}),
        ("LayerNormalization", ["sum", "gain", "bias"], ["y"], {"axis": -1, "name": "norm"}),
    ]
    weights = {f"w_{name}": RNG.normal(size=(16, 16)).astype("f4") for name in ("query", "key", "value")}
    numbers = {name: np.array(value, "f4") for name, value in (("scale", 0.25), ("one", 1), ("much", 1e4))}
    inputs = {name: (TensorProto.INT64, ["N", 6]) for name in ("ids", "mask")}
    return write(
        path,
        nodes,
        inputs,
        {"y": ["N", 6, 16]},
        words=RNG.normal(size=(100, 16)).astype("f4"),
        axis=np.array([1], "i8"),
        gain=np.ones(16, "f4"),
        bias=np.zeros(16, "f4"),
        **weights,
        **numbers,
    )


def two_ends(path: Path) -> Path:
    """Classes and a vector, of an image and of numbers that were measured beside it."""
    nodes: list[Any] = [
        ("Conv", ["image", "kernel"], ["features"], {"name": "convolve"}),
        ("Relu", ["features"], ["positive"], {}),
        ("GlobalAveragePool", ["positive"], ["pooled"], {}),
        ("Flatten", ["pooled"], ["seen"], {}),
        ("Concat", ["seen", "measured"], ["vector"], {"axis": 1}),
        ("MatMul", ["vector", "w"], ["logits"], {"name": "classify"}),
        ("Softmax", ["logits"], ["classes"], {"axis": 1}),
    ]
    inputs, outputs = {"image": ["N", 3, 8, 8], "measured": ["N", 4]}, {"classes": ["N", 5], "vector": ["N", 20]}
    kernel, w = RNG.normal(size=(16, 3, 3, 3)).astype("f4"), RNG.normal(size=(20, 5)).astype("f4")
    return write(path, nodes, inputs, outputs, kernel=kernel, w=w)
