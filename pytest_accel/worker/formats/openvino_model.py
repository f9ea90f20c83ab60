"""OpenVINO models: reading what others made, fixing the batch, counting operations.

OpenVINO is imported inside the functions, TensorFlow only to export a Keras file. Models are compiled and run in
`pytest_accel.worker.accelerators.openvino`.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from typing import Any, List, Optional, Union

from pytest_accel.worker.accelerator import Refused, Source
from pytest_accel.worker.formats import batch_axes, saved_model
from pytest_accel.worker.formats.batch_axes import Ends
from pytest_accel.worker.vendor_errors import explained

#: OWN_KIND is the kind of a source in OpenVINO's own format.
OWN_KIND = "openvino"


def import_openvino() -> Any:
    """Import OpenVINO without the package that sends usage statistics, which would compete with what is timed."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def read(source: Source, signature: str) -> Any:
    """Return the source as an OpenVINO model. Raises `Refused` when it cannot be read or converted."""
    if source.kind == "keras":
        with tempfile.TemporaryDirectory() as folder:
            exported = os.path.join(folder, "saved_model")
            saved_model.write_saved_model(source, exported)
            return read(Source("saved_model", exported), signature)
    if source.kind not in ("saved_model", "onnx", OWN_KIND):
        raise Refused(f"OpenVINO takes a saved_model, a keras or an onnx source here, not {source.kind!r}")
    if source.kind == "saved_model" and signature != "serving_default":
        raise Refused(
            f"OpenVINO reads a SavedModel's signature 'serving_default' only, not {signature!r}: "
            "save the model with that signature as its serving_default"
        )
    try:
        return import_openvino().Core().read_model(source.path)
    except RuntimeError as error:
        raise Refused(explained(f"OpenVINO cannot read {source.path}", error)) from error


def ends_of(model: Any) -> Ends:
    """Return the shapes of what a model takes and gives. OpenVINO does not keep the names of free dimensions."""
    inputs, outputs = ([_dims(port) for port in ports] for ports in (model.inputs, model.outputs))
    return Ends(inputs, outputs)


def fix_batch(model: Any, batch_size: int, ends: Ends) -> Any:
    """Give the batch of every input this size. ``ends`` is what the model took before it was converted.

    Raises `Refused` where the model has another fixed batch.
    """
    openvino = import_openvino()
    if why := batch_axes.unfit(ends, [name_of(port) for port in model.inputs], batch_size):
        raise Refused(why)
    axes, _ = batch_axes.axes_of(ends, batch_size)
    names = {dims[axis] for dims, axis in zip(ends.inputs, axes) if axis is not None} - {None}
    shapes = {
        port: openvino.PartialShape(
            [
                batch_size if number == axis or (isinstance(dim, str) and dim in names) else size
                for number, (dim, size) in enumerate(zip(dims, port.get_partial_shape()))
            ]
        )
        for port, dims, axis in zip(model.inputs, ends.inputs, axes)
        if port.get_partial_shape().rank.is_static and dims
    }
    try:
        model.reshape(shapes)
    except RuntimeError as error:
        raise Refused(explained(f"OpenVINO cannot fix the batch at {batch_size}", error)) from error
    return model


def _dims(port: Any) -> List[Union[int, str, None]]:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return []
    return [size.get_length() if size.is_static else None for size in shape]


def name_of(port: Any) -> str:
    """Return the name of an input or output."""
    return str(port.get_any_name() if port.get_names() else port.get_node().get_friendly_name())


def is_quantised(model: Any) -> bool:
    """Return whether any tensor of the model goes through a range, as the tensors of an INT8 model do."""
    return any(node.get_type_name() == "FakeQuantize" for node in model.get_ordered_ops())


def count_flops(model: Any) -> Optional[float]:
    """Return the floating-point operations of convolutions and matrix products; a multiply-add counts as two."""
    total = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() in _COUNTED:
            ports = (*node.inputs()[:2], node.output(0))
            if any(port.get_partial_shape().is_dynamic for port in ports):
                return None
            first, second, output = (list(port.get_shape()) for port in ports)
            total += 2 * _multiply_adds(node, first, second, output)
    return float(total) or None


_COUNTED = frozenset(("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"))


def _multiply_adds(node: Any, first: List[int], second: List[int], output: List[int]) -> int:
    kind = node.get_type_name()
    if kind == "MatMul":
        return math.prod(output) * first[-2 if node.get_attributes()["transpose_a"] else -1]
    if kind == "ConvolutionBackpropData":
        return math.prod(first) * math.prod(second[1:])
    # A grouped kernel has the groups before its output channels.
    return math.prod(output) * math.prod(second[2:] if kind == "GroupConvolution" else second[1:])
