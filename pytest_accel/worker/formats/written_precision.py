"""A precision that is written into an ONNX model, for compilers that compute each operator in the types that it has.

Inputs and outputs stay as they are, with a cast behind or before them. FP16 and BF16 take the place of FP32, but for
operators that have FP32 alone. INT8 and FP8 are pairs of QuantizeLinear and DequantizeLinear around the operators that
take them. FP32 and TF32 are the model as it is.
"""

from __future__ import annotations

from typing import Any, Iterator, Sequence, Tuple

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Progress, Refused
from pytest_accel.worker.formats import graph_precisions, onnx_file
from pytest_accel.worker.formats.quantise import CALIBRATED, quantise
from pytest_accel.worker.vendor_errors import explained

#: _BFLOAT16_NAN has the bits of NaN, which rounding would take for a number or infinity.
_BFLOAT16_NAN = 0x7FC0

#: _NOT_IN_BFLOAT16 has the operators that NVIDIA's parser takes in FP32 and FP16 alone.
_NOT_IN_BFLOAT16 = ("LpNormalization",)

#: Where a tensor is: the number of its graph, and its name or the number of its node and the name of the attribute.
Place = Tuple[Any, ...]


def write(model: Any, precision: str, calibration: Sequence[Arrays], progress: Progress, scratch: str) -> Any:
    """Return the model in a precision. Raises `Refused` with the words of what cannot convert or quantise it.

    ``calibration`` holds batches of the model's batch size, for INT8 and FP8. Large weights of a large model are in
    files of the folder ``scratch``.
    """
    if precision in CALIBRATED:
        return quantise(model, calibration, precision, progress, scratch)
    if precision == "fp16":
        progress(None, "converting to FP16")
        return _to_float16(model, "FP16")
    if precision == "bf16":
        progress(None, "converting to BF16")
        return _to_bfloat16(model)
    return model


def _to_float16(model: Any, named: str, left_out: Sequence[str] = ()) -> Any:
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    onnx_file.require_one_message(model, named)
    try:
        return convert_float_to_float16(model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *left_out])
    except Exception as error:  # its errors have no base class of their own
        raise Refused(explained(f"ONNX Runtime cannot convert this model to {named}", error)) from error


def _to_bfloat16(model: Any) -> Any:
    """Convert to FP16, and give what that made the other type, with the weights that it had before.

    FP16 has a smaller range than BF16, so that its weights may have been cut off.
    """
    from onnx import TensorProto, numpy_helper

    if "float16" in graph_precisions.of_model(model):
        raise Refused("the model is in FP16 itself, which BF16 cannot be told from: leave precision='bf16' out")
    exact = {
        place: numpy_helper.to_array(tensor)
        for place, tensor in _tensors(model)
        if tensor.data_type == TensorProto.FLOAT
    }
    made = _to_float16(model, "BF16", _NOT_IN_BFLOAT16)
    for place, tensor in _tensors(made):
        if tensor.data_type == TensorProto.FLOAT16:
            values = exact[place] if place in exact else numpy_helper.to_array(tensor)
            tensor.CopyFrom(_bfloat16(tensor.name, values))
    _retype(made, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return made


def _tensors(model: Any) -> Iterator[Tuple[Place, Any]]:
    """Yield the tensors with their places, which the converter keeps: it puts new nodes behind all others."""
    for number, graph in enumerate(onnx_file.graphs_of(model.graph)):
        for tensor in graph.initializer:
            yield (number, tensor.name), tensor
        for at, node in enumerate(graph.node):
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield (number, at, attribute.name), attribute.t


def _bfloat16(name: str, values: np.ndarray) -> Any:
    """Return values as a tensor of BF16: the upper half of FP32, rounded to the nearest and to even."""
    from onnx import TensorProto

    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    rounded = np.where(np.isnan(values), np.uint16(_BFLOAT16_NAN), rounded)
    return TensorProto(name=name, data_type=TensorProto.BFLOAT16, dims=values.shape, raw_data=rounded.tobytes())


def _retype(model: Any, old: int, new: int) -> None:
    """Change the type that values are declared with, and that casts and the like give."""
    for graph in onnx_file.graphs_of(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type == old:
                value.type.tensor_type.elem_type = new
    for node in onnx_file.nodes_of(model):
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == old:
                attribute.i = new
