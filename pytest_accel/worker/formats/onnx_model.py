"""ONNX models: converting what TensorFlow made, fixing the batch, counting operations.

The accelerators that compile from ONNX share these functions. The packages ``onnx`` and ``tf2onnx`` are imported inside
them, TensorFlow only for a model of TensorFlow.
"""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any, Dict, List, Optional

from pytest_accel.worker.accelerator import Refused, Source
from pytest_accel.worker.formats import onnx_file, saved_model
from pytest_accel.worker.vendor_errors import explained

#: OPSET is what models are converted to, and every supported ONNX Runtime and TensorRT reads. Q/DQ per channel needs
#: 13.
OPSET = 17


def converted(source: Source, signature: str, batch_size: Optional[int]) -> Any:
    """Return the source as an ONNX model for a fixed batch. The batch stays as it is where ``batch_size`` is None.

    Raises `Refused` when it cannot be read or converted.
    """
    if source.kind == "onnx":
        model = onnx_file.read(source.path)
    elif source.kind == "saved_model":
        model = _from_saved_model(source.path, signature, batch_size)
    elif source.kind == "keras":
        with tempfile.TemporaryDirectory() as folder:
            exported = os.path.join(folder, "saved_model")
            saved_model.write_saved_model(source, exported)
            model = _from_saved_model(exported, signature, batch_size)
    else:
        raise Refused(f"a saved_model, a keras or an onnx source can be converted to ONNX, not {source.kind!r}")
    return model if batch_size is None else fix_batch(model, batch_size)


def fix_batch(model: Any, batch_size: int) -> Any:
    """Give the first dimension of every input this size and infer all other shapes anew.

    Raises `Refused` when the model was exported for another batch.
    """
    import onnx

    weights = {tensor.name for tensor in model.graph.initializer}  # old exporters list them among the inputs
    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if value.name in weights or not sizes:
            continue
        if sizes[0].dim_value not in (0, batch_size):
            raise Refused(
                f"input {value.name!r} was exported for batches of {sizes[0].dim_value}: "
                f"ask for batch_size={sizes[0].dim_value}, or export the model with a dynamic batch"
            )
        sizes[0].dim_value = batch_size
    del model.graph.value_info[:]
    for value in model.graph.output:
        for size in value.type.tensor_type.shape.dim:
            size.ClearField("dim_param")
    return onnx.shape_inference.infer_shapes(model)


def count_flops(model: Any) -> Optional[float]:
    """Return the floating-point operations of one call, None when a shape is not known; a multiply-add counts as two.

    Convolutions and matrix products are counted. They are nearly all of the work of a network that has them.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes: Dict[str, List[int]] = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [size.dim_value for size in value.type.tensor_type.shape.dim]
    total = 0
    for node in graph.node:
        if node.op_type in _COUNTED:
            first, second, output = (shapes.get(name, []) for name in (*node.input[:2], node.output[0]))
            if not all((first, second, output)) or 0 in (*first, *second, *output):
                return None
            total += 2 * _multiply_adds(node, first, second, output)
    return float(total) or None


_COUNTED = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))


def _multiply_adds(node: Any, first: List[int], second: List[int], output: List[int]) -> int:
    if node.op_type == "Conv":
        return math.prod(output) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(output) * first[0 if transposed else -1]


def _from_saved_model(folder: str, signature: str, batch_size: Optional[int]) -> Any:
    try:
        tensorflow = saved_model.import_tensorflow()
        import tf2onnx
    except ImportError as error:
        raise Refused(
            f"converting {folder} to ONNX takes TensorFlow and tf2onnx: {error}; pip install 'pytest-accel[cpu-ort]'"
        ) from error
    saved_model.check_signature(folder, signature)
    loaded = tensorflow.saved_model.load(folder)  # held, because a signature alone does not keep its variables alive
    function = loaded.signatures[signature]
    _, inputs = function.structured_input_signature
    specs = [_with_batch(tensorflow, spec, batch_size) for spec in inputs.values()]
    traced = tensorflow.function(lambda *arrays: function(**dict(zip(inputs, arrays))), input_signature=specs)
    try:
        model, _ = tf2onnx.convert.from_function(traced, specs, opset=OPSET)
    except Exception as error:  # the converter says no in exceptions of every type
        raise Refused(explained(f"tf2onnx cannot convert {folder} ({type(error).__name__})", error)) from error
    _check_operators(model, folder)
    return model


def _with_batch(tensorflow: Any, spec: Any, batch_size: Optional[int]) -> Any:
    sizes = spec.shape.as_list() if spec.shape.rank else []
    if sizes and sizes[0] is None:
        return tensorflow.TensorSpec([batch_size, *sizes[1:]], spec.dtype, spec.name)
    return spec


def _check_operators(model: Any, folder: str) -> None:
    """Refuse an operator that tf2onnx does not know. tf2onnx only logs it, and keeps TensorFlow's name of it."""
    import onnx

    operators = {node.op_type for node in model.graph.node if not node.domain}
    if unknown := sorted(name for name in operators if not onnx.defs.has(name)):
        raise Refused(
            f"tf2onnx cannot convert {folder}: no ONNX operator for TensorFlow's {', '.join(unknown)} "
            f"(opset {OPSET}); replace it in the model, or leave this accelerator out"
        )
