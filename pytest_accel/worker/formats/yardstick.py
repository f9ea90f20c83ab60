"""The standard yardstick: a small convolutional network with fixed weights, some milliseconds at batch 1.

The pace of a candidate compares the candidate's time with the yardstick's, on the same device in the same minute. The
network is written with TensorFlow alone, so that another Keras does not make another network. ONNX or PyTorch alone
write it for accelerators that need no TensorFlow.
"""

from __future__ import annotations

import os
from typing import Any, Dict

import numpy as np

from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.formats import torch_model
from pytest_accel.worker.formats.onnx_model import OPSET
from pytest_accel.worker.formats.saved_model import import_tensorflow

_SEED = 20200714
_SIDE = 128
#: _BLOCKS has the output channels and strides of the depthwise-separable blocks, as in MobileNet.
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1))
_CLASSES = 100


def write(folder: str) -> Source:
    """Write the network as a SavedModel: ``image`` float32[None, 128, 128, 3] to ``scores`` float32[None, 100]."""
    tensorflow = import_tensorflow()
    network = tensorflow.Module()
    random = np.random.RandomState(_SEED)
    network.weights = [tensorflow.Variable(_weights(random, *shape)) for shape in _shapes()]

    scores = tensorflow.function(
        lambda image: {"scores": _scores(tensorflow.nn, image, iter(network.weights))},
        input_signature=[tensorflow.TensorSpec([None, _SIDE, _SIDE, 3], name="image")],
    )
    tensorflow.saved_model.save(network, folder, signatures={"serving_default": scores})
    return Source("saved_model", folder)


def write_onnx(folder: str) -> Source:
    """Write the same network as an ONNX file: ``image`` float32[n, 3, 128, 128] to ``scores`` float32[n, 100]."""
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.RandomState(_SEED)
    kernels = [_weights(random, *shape) for shape in _shapes()]
    weights = [numpy_helper.from_array(_in_onnx_order(kernel), f"kernel_{at}") for at, kernel in enumerate(kernels)]
    limits = [numpy_helper.from_array(np.float32(limit), f"limit_{limit}") for limit in (0, 6)]
    strides = [2, *(stride for _, first in _BLOCKS for stride in (first, 1))]
    nodes, hidden = [], "image"
    for at, stride in enumerate(strides):
        groups = kernels[at].shape[2] if kernels[at].shape[3] == 1 else 1
        nodes += [
            helper.make_node(
                "Conv", [hidden, f"kernel_{at}"], [f"conv_{at}"], f"conv_{at}", **_strided(stride, groups)
            ),
            helper.make_node("Clip", [f"conv_{at}", "limit_0", "limit_6"], [f"relu6_{at}"], f"relu6_{at}"),
        ]
        hidden = f"relu6_{at}"
    nodes += [
        helper.make_node("GlobalAveragePool", [hidden], ["pooled"], "pool"),
        helper.make_node("Conv", ["pooled", f"kernel_{len(strides)}"], ["classes"], "classify"),
        helper.make_node("Flatten", ["classes"], ["logits"], "flatten"),
        helper.make_node("Softmax", ["logits"], ["scores"], "softmax"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, _SIDE, _SIDE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", _CLASSES])
    graph = helper.make_graph(nodes, "yardstick", [image], [scores], [*weights, *limits])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "yardstick.onnx")
    save(model, path)
    return Source("onnx", path)


def write_torch(folder: str) -> Source:
    """Write the same network as an exported PyTorch program, with the inputs and outputs of the ONNX file."""
    import torch
    from torch.nn import functional

    random = np.random.RandomState(_SEED)
    kernels = [torch.from_numpy(_in_onnx_order(_weights(random, *shape))) for shape in _shapes()]
    strides = [2, *(stride for _, first in _BLOCKS for stride in (first, 1))]

    class Network(torch.nn.Module):  # type: ignore[misc] # PyTorch is not known before it is imported
        def __init__(self) -> None:
            super().__init__()
            self.kernels = torch.nn.ParameterList(kernels)

        def forward(self, image: Any) -> Any:
            hidden = image
            for kernel, stride in zip(self.kernels, strides):
                if kernel.shape[2] > 1:  # a kernel of 3 x 3 is padded to keep the size, at the end first
                    hidden = functional.pad(hidden, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
                groups = kernel.shape[0] if kernel.shape[1] == 1 else 1
                hidden = functional.relu6(functional.conv2d(hidden, kernel, stride=stride, groups=groups))
            pooled = hidden.mean((2, 3), keepdim=True)
            return {"scores": functional.conv2d(pooled, self.kernels[-1]).flatten(1).softmax(1)}

    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "yardstick.pt2")
    torch_model.export(Network(), torch.zeros(1, 3, _SIDE, _SIDE), path)
    return Source("torch", path)


def _strided(stride: int, groups: int) -> Dict[str, Any]:
    return {"auto_pad": "SAME_UPPER", "group": groups, "strides": [stride, stride]}


def _in_onnx_order(kernel: np.ndarray) -> np.ndarray:
    """Bring height, width, in, out into the order out, in, height, width. Depthwise kernels differ."""
    out_channels = kernel.shape[3]
    return np.ascontiguousarray(kernel.transpose((2, 3, 0, 1) if out_channels == 1 else (3, 2, 0, 1)))


def _scores(nn: Any, image: Any, weights: Any) -> Any:
    hidden = nn.relu6(nn.conv2d(image, next(weights), strides=2, padding="SAME"))
    for _, stride in _BLOCKS:
        hidden = nn.relu6(nn.depthwise_conv2d(hidden, next(weights), strides=[1, stride, stride, 1], padding="SAME"))
        hidden = nn.relu6(nn.conv2d(hidden, next(weights), strides=1, padding="SAME"))
    pooled = nn.avg_pool2d(hidden, ksize=hidden.shape.as_list()[1:3], strides=1, padding="VALID")
    return nn.softmax(nn.conv2d(pooled, next(weights), strides=1, padding="SAME")[:, 0, 0, :])


def _shapes() -> Any:
    channels = 32
    yield 3, 3, 3, channels
    for out_channels, _ in _BLOCKS:
        yield 3, 3, channels, 1
        yield 1, 1, channels, out_channels
        channels = out_channels
    yield 1, 1, channels, _CLASSES


def _weights(random: np.random.RandomState, height: int, width: int, channels: int, out_channels: int) -> np.ndarray:
    """Draw weights by the initialisation of He, which keeps activations alive through all layers."""
    fan_in = height * width * (1 if out_channels == 1 else channels)
    drawn = random.normal(0.0, np.sqrt(2.0 / fan_in), (height, width, channels, out_channels))
    return drawn.astype(np.float32)
