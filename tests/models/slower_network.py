"""A network of convolutions, one of which can be made slower, written by hand as an exporter names its operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

#: CHANNELS has the channels that each convolution gives. Every second one halves the size.
CHANNELS = (16, 32, 32, 64, 64, 128, 128, 128)
SIDE = 64


def write_network(path: Path, *, wider: int | None = None, doubled: int | None = None) -> Path:
    """Write an ONNX file of the convolutions ``conv_0`` to ``conv_7``, each followed by an activation.

    The one that is ``wider`` has zeros around its kernel of 3 x 3: they cost work and change no answer. The one that is
    ``doubled`` is applied once more, as ``conv_N_again``; it has to give as many channels as it takes.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    random, nodes, weights, taken = np.random.default_rng(7), [], [], 3
    last = "image"

    def apply(kind: str, name: str, *weights: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(helper.make_node(kind, [last, *weights], [f"{name}_out"], name, **attributes))
        last = f"{name}_out"

    for number, given in enumerate(CHANNELS):
        kernel = random.normal(0.0, (2 / (9 * taken)) ** 0.5, (given, taken, 3, 3)).astype(np.float32)
        around = int(number == wider)
        padded = np.pad(kernel, ((0, 0), (0, 0), (around, around), (around, around)))
        weights.append(numpy_helper.from_array(padded, f"kernel_{number}"))
        sizes = {"pads": [1 + around] * 4, "strides": [1 + number % 2] * 2}
        apply("Conv", f"conv_{number}", f"kernel_{number}", **sizes)
        if number == doubled:
            apply("Conv", f"conv_{number}_again", f"kernel_{number}", **sizes)
        apply("Relu", f"relu_{number}")
        taken = given
    apply("GlobalAveragePool", "pool")
    ends = {"image": [1, 3, SIDE, SIDE], last: [1, CHANNELS[-1], 1, 1]}
    taken_in, given_out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in ends.items()
    )
    graph = helper.make_graph(nodes, "network", [taken_in], [given_out], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path
