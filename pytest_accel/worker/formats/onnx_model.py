"""ONNX models: converting what TensorFlow made, fixing the batch, counting operations.

The accelerators that compile from ONNX share these functions. The packages ``onnx`` and ``tf2onnx`` are imported inside
them, TensorFlow only for a model of TensorFlow.
"""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from pytest_accel.worker.accelerator import Refused, Source
from pytest_accel.worker.formats import batch_axes, onnx_file, saved_model
from pytest_accel.worker.formats.batch_axes import Ends
from pytest_accel.worker.vendor_errors import explained

#: OPSET is what models are converted to, and every supported ONNX Runtime and TensorRT reads. Q/DQ per channel needs
#: 13.
OPSET = 17


def converted(source: Source, signature: str, batch_size: Optional[int]) -> Tuple[Any, Ends]:
    """Return the source as an ONNX model for a fixed batch, and what it took before the batch was fixed.

    The batch stays as it is where ``batch_size`` is None. Raises `Refused` when it cannot be read or converted.
    """
    if source.kind == "onnx":
        model = onnx_file.read(source.path)
        ends = batch_axes.kept_signature(source.path, ends_of(model))
    elif source.kind == "saved_model":
        model, ends = _from_saved_model(source.path, signature, batch_size)
    elif source.kind == "keras":
        with tempfile.TemporaryDirectory() as folder:
            exported = os.path.join(folder, "saved_model")
            saved_model.write_saved_model(source, exported)
            model, ends = _from_saved_model(exported, signature, batch_size)
    else:
        raise Refused(f"a saved_model, a keras or an onnx source can be converted to ONNX, not {source.kind!r}")
    return (model if batch_size is None else fix_batch(model, batch_size, ends)), ends


def ends_of(model: Any) -> Ends:
    """Return the shapes of what a model takes and gives. Old exporters list weights among the inputs; they are none."""
    return Ends([_dims(value) for value in _inputs(model)], [_dims(value) for value in model.graph.output])


def ends_of_file(path: str) -> Ends:
    """Return the same of an ``.onnx`` file, of which the weights beside it are not read."""
    return ends_of(onnx_file.read_graph(path))


def fix_batch(model: Any, batch_size: int, ends: Optional[Ends] = None) -> Any:
    """Give the batch of every input this size and infer all other shapes anew.

    ``ends`` is what the model took before it was converted, where that tells more. Raises `Refused` when the model was
    exported for another batch.
    """
    import onnx

    inputs = _inputs(model)
    if ends is None or len(ends.inputs) != len(inputs):  # a converter may leave out what it has no use for
        ends = ends_of(model)
    if why := batch_axes.unfit(ends, [value.name for value in inputs], batch_size):
        raise Refused(why)
    axes, _ = batch_axes.axes_of(ends, batch_size)
    names = {dims[axis] for dims, axis in zip(ends.inputs, axes) if axis is not None} - {None}
    for value, axis in zip(inputs, axes):
        for number, size in enumerate(value.type.tensor_type.shape.dim):
            if number == axis or (size.dim_param and size.dim_param in names):
                size.dim_value = batch_size
            elif size.dim_value < 0:
                size.Clear()
    del model.graph.value_info[:]
    for value in model.graph.output:
        for size in value.type.tensor_type.shape.dim:
            size.ClearField("dim_param")
            if size.dim_value < 0:
                size.Clear()
    return onnx.shape_inference.infer_shapes(model)


def _inputs(model: Any) -> List[Any]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _dims(value: Any) -> List[Union[int, str, None]]:
    """Return a shape with names. A size of -1 is free, as in the frameworks that write it."""
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.dim_value > 0 else size.dim_param or None for size in sizes]


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


def _from_saved_model(folder: str, signature: str, batch_size: Optional[int]) -> Tuple[Any, Ends]:
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
    ends = saved_model.ends_of(function)
    sizes = saved_model.sizes_for(function, batch_size)
    specs = [tensorflow.TensorSpec(sizes[name], spec.dtype, spec.name) for name, spec in inputs.items()]
    traced = tensorflow.function(lambda *arrays: function(**dict(zip(inputs, arrays))), input_signature=specs)
    try:
        with _additions_left_out(tf2onnx.tf_loader), _copied_once(tf2onnx.convert.optimizer):
            model, _ = tf2onnx.convert.from_function(traced, specs, opset=OPSET)
    except Exception as error:  # the converter says no in exceptions of every type
        raise Refused(explained(f"tf2onnx cannot convert {folder} ({type(error).__name__})", error)) from error
    _check_operators(model, folder)
    return model, ends


@contextmanager
def _additions_left_out(loader: Any) -> Iterator[None]:
    """Let tf2onnx leave out additions to variables too, such as a counter's. It does so with other assignments."""
    leave_out = loader.fix_freezing_errors

    def leave_out_more(graph: Any) -> Any:
        for node in graph.node:
            if node.op == "AssignAddVariableOp":
                node.op = "AssignVariableOp"
        return leave_out(graph)

    loader.fix_freezing_errors = leave_out_more
    try:
        yield
    finally:
        loader.fix_freezing_errors = leave_out


@contextmanager
def _copied_once(optimizer: Any) -> Iterator[None]:
    """Let tf2onnx copy a graph once, in case that one of its passes fails, and not before each of two dozen passes.

    That is a quarter of the time that a ResNet-50 takes.
    """
    optimize = optimizer.optimize_graph

    def optimize_a_copy(graph: Any, catch_errors: bool = True, optimizers: Any = None) -> Any:
        try:
            return optimize(deepcopy(graph), False, optimizers)
        except Exception:  # as many kinds as there are passes; the one that fails is left out then
            return optimize(graph, catch_errors, optimizers)

    optimizer.optimize_graph = optimize_a_copy
    try:
        yield
    finally:
        optimizer.optimize_graph = optimize


def _check_operators(model: Any, folder: str) -> None:
    """Refuse an operator that tf2onnx does not know. tf2onnx only logs it, and keeps TensorFlow's name of it."""
    import onnx

    operators = {node.op_type for node in model.graph.node if not node.domain}
    if unknown := sorted(name for name in operators if not onnx.defs.has(name)):
        raise Refused(
            f"tf2onnx cannot convert {folder}: no ONNX operator for TensorFlow's {', '.join(unknown)} "
            f"(opset {OPSET}); replace it in the model, or leave this accelerator out"
        )
