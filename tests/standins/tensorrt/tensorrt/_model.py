"""The ONNX model inside an engine: its answers, its precision and its layers. The part that is no copy of an API."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cuda import _runtime as cuda

from tensorrt._names import FLAVOUR, HABITS

#: TensorRT's names of NumPy's element types.
TYPES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "uint8": "UINT8",
}
#: What TensorRT makes of operators; anything else becomes a kernel of its own, ``kgen``.
_LAYER_TYPES = {
    "CaskConvolution": "Conv",
    "CaskPooling": "GlobalAveragePool MaxPool AveragePool",
    "NoOp": "Concat Identity Shape Gather",
    "Reformat": "Cast QuantizeLinear DequantizeLinear",
    "Shuffle": "Reshape Flatten Transpose Squeeze Unsqueeze",
    "SoftMax": "Softmax",
    "gemm": "Gemm MatMul",
}
_LAYER_TYPE = {operator: layer for layer, operators in _LAYER_TYPES.items() for operator in operators.split()}
_KERNELS = {
    "float32": "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nhwckrsc_nhwc_tilesize128x32x16_stage4",
    "tf32": "sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x64x16_stage4",
    "float16": "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x64x64_stage4",
    "int8": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs_vect_c_32_tilesize96x32x64",
}
#: How a tensor's type is told up to TensorRT 10, and from 11 on.
_WORDS = {
    "float32": ("Row major linear FP32", "Float"),
    "tf32": ("Row major linear FP32", "Float"),
    "float16": ("Two wide channel vectorized row major FP16 format", "Half"),
    "int8": ("Thirty-two wide channel vectorized row major Int8 format", "Int8"),
    "int64": ("Row major linear Int64 format", "Int64"),
}


def session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    # A GPU's INT8 products do not overflow, as those of processors without VNNI do.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def input_shapes(model: Any) -> dict[str, list[int]]:
    """The shape of each input, -1 where a size is dynamic."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: [size.dim_value or -1 for size in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name not in weights
    }


def dtypes(model: Any) -> dict[str, np.dtype[Any]]:
    """The element types of inputs and outputs."""
    values = (*model.graph.input, *model.graph.output)
    return {value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in values}


def arrays_of(model: Any, shapes: Mapping[str, Sequence[int]], memory: Sequence[bytearray]) -> dict[str, Any]:
    """Device memory seen as the model's inputs."""
    types = dtypes(model)
    return {
        name: np.frombuffer(bytes(held), on_device(types[name]), count=int(np.prod(shape)))
        .reshape(shape)
        .astype(types[name])
        for (name, shape), held in zip(shapes.items(), memory, strict=True)
    }


def on_device(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What an engine has for the model's type: TensorRT 8 has no INT64."""
    return np.dtype(np.int32) if FLAVOUR == "8.6" and dtype == np.int64 else dtype


def halved(model: Any) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)


def quantised(model: Any, batches: Sequence[dict[str, Any]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "quantised.onnx")
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        return onnx.load(target)


def layers(model: Any, *, tf32: bool, asked: set[str]) -> list[dict[str, Any]]:
    """What the inspector tells in detail: a convolution and what follows it are one layer."""
    made = []
    for names, node, precision in _fused(model):
        multiplies = node.op_type in ("Conv", "Gemm", "MatMul")
        if multiplies and precision == "float32" and tf32 and cuda.CAPABILITY >= (8, 0):
            precision = "tf32"
        if precision == "float32" and {"INT8", "FP16"} <= asked:  # computed in FP32 all the same
            precision = "float16"
        precision = _misbehaved(precision, asked)
        layer = {
            "Name": " + ".join(names),
            "LayerType": _LAYER_TYPE.get(node.op_type, "kgen"),
            "Inputs": [_tensor(name, precision) for name in node.input if name],
            "Outputs": [_tensor(name, precision) for name in node.output if name],
            "Metadata": "\x1e".join(f"[ONNX Layer: {name}]" for name in names),
            **({"TacticName": _KERNELS[precision]} if multiplies else {}),
        }
        made.append(layer)
    return made


def _misbehaved(precision: str, asked: set[str]) -> str:
    if "falls-back" in HABITS and precision in ("float16", "int8"):
        return "float32"
    if "casts" in HABITS and precision == "float32":
        return "float16" if "INT8" not in asked else "float32"
    return precision


def _tensor(name: str, precision: str) -> dict[str, Any]:
    old, new = _WORDS[precision]
    facts = {"Name": name, "Location": "Device", "Dimensions": []}
    if FLAVOUR == "11":
        return {**facts, "DataType": new, "Format": f"{old} (kLINEAR)"}
    return {**facts, "Format/Datatype": old}


def _fused(model: Any) -> Iterator[tuple[list[str], Any, str]]:
    """Names, first node and precision of each layer."""
    types = _types(model)
    nodes = list(model.graph.node)
    taken: set[int] = set()
    for at, node in enumerate(nodes):
        if at in taken:
            continue
        names = [node.name or f"{node.op_type}_{at}"]
        users = [other for other, user in enumerate(nodes) if node.output[0] in user.input]
        if node.op_type == "Conv" and len(users) == 1 and nodes[users[0]].op_type in ("Relu", "Clip"):
            taken.add(users[0])
            names.append(nodes[users[0]].name)
        yield names, node, types[at]


def _types(model: Any) -> list[str]:
    """What each node computes in: INT8 between its Q and DQ, else the type of its output."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    dequantised = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    found = []
    for node in model.graph.node:
        between = node.op_type in ("Conv", "Gemm", "MatMul") and node.input[0] in dequantised
        name = onnx.helper.tensor_dtype_to_np_dtype(types.get(node.output[0], onnx.TensorProto.FLOAT)).name
        found.append("int8" if between else name if name in _WORDS else "int64")
    return found
