"""The precisions that a model's own graph has, before a compiler or runtime chooses any.

A model may come with FP16 weights, or quantised. What runs in these precisions is no fallback from those asked for.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, List, Mapping

from pytest_accel.worker.formats import onnx_file

#: QUANTISED finds the ONNX operators of a quantised graph. In other graphs bytes are an image or the like, without a
#: precision.
QUANTISED = re.compile(r"Quantize|^Q(Linear|Gemm|Attention)|Integer")
#: _ONNX_TYPES has NumPy's names of the floating types by ONNX's numbers. The FP8 types are one precision.
_ONNX_TYPES: Mapping[int, str] = {
    1: "float32",
    10: "float16",
    11: "float64",
    16: "bfloat16",
    **dict.fromkeys((17, 18, 19, 20), "float8"),
}


def of_onnx(path: str) -> List[str]:
    """Return the precisions of an ``.onnx`` file: of its weights, ends and casts, and INT8 where it is quantised."""
    return of_model(onnx_file.read_graph(path))


def of_model(model: Any) -> List[str]:
    """Return the same of an ONNX model in memory."""
    found = {_ONNX_TYPES[number] for number in _types(model) if number in _ONNX_TYPES}
    return sorted(found | ({"int8"} if is_quantised(model) else set()))


def is_below_fp32(model: Any) -> bool:
    """Return whether an ONNX model has a precision of its own that is coarser than FP32."""
    return not {"float32", "float64"}.issuperset(of_model(model))


def is_quantised(model: Any) -> bool:
    """Return whether an ONNX model has operators that quantise, or that compute with what is quantised."""
    return any(QUANTISED.search(node.op_type) for node in onnx_file.nodes_of(model))


def _types(model: Any) -> Iterator[int]:
    yield from (tensor.data_type for tensor in onnx_file.tensors_of(model))
    yield from (value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output))
    attributes = (attribute for node in onnx_file.nodes_of(model) for attribute in node.attribute)
    yield from (attribute.i for attribute in attributes if attribute.name == "to")


def of_torch(path: str) -> List[str]:
    """Return the precisions of the floating-point values that an exported PyTorch program computes."""
    from pytest_accel.worker.formats import torch_model

    return torch_model.ExportedProgram(path).precisions
