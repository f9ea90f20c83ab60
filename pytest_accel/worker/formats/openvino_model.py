"""OpenVINO models: reading what others made, fixing the batch, counting operations.

OpenVINO is imported inside the functions, TensorFlow only to export a Keras file. Models are compiled and run in
`pytest_accel.worker.accelerators.openvino`.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from contextlib import nullcontext
from typing import Any, ContextManager, List, Optional, Union

from pytest_accel.worker.accelerator import Refused, Source
from pytest_accel.worker.formats import batch_axes, onnx_file, saved_model
from pytest_accel.worker.formats.batch_axes import Ends
from pytest_accel.worker.vendor_errors import explained

#: _BYTES names the types of quantised weights.
_BYTES = frozenset({"i4", "u4", "i8", "u8"})
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
        with _as_openvino_reads_it(source) as path:
            return import_openvino().Core().read_model(path)
    except RuntimeError as error:
        raise Refused(explained(f"OpenVINO cannot read {source.path}", error)) from error


def _as_openvino_reads_it(source: Source) -> ContextManager[str]:
    """Give the path of a source whose weights are no links to other folders, as ONNX Runtime reads them too."""
    try:
        import onnx  # noqa: F401
    except ImportError:  # OpenVINO reads an ONNX file without the package
        return nullcontext(source.path)
    return onnx_file.without_links(source.path) if source.kind == "onnx" else nullcontext(source.path)


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


def widen_outputs(model: Any) -> Any:
    """Return the model with outputs in FP32 in place of BF16, which NumPy does not have; every value stays the same."""
    openvino = import_openvino()
    steps = openvino.preprocess.PrePostProcessor(model)
    for number, port in enumerate(model.outputs):
        if port.get_element_type() == openvino.Type.bf16:
            steps.output(number).tensor().set_element_type(openvino.Type.f32)
    return steps.build()


def _dims(port: Any) -> List[Union[int, str, None]]:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return []
    return [size.get_length() if size.is_static else None for size in shape]


def name_of(port: Any) -> str:
    """Return the name of an input or output: the source's, where compiling has given it others too."""
    own = str(port.get_node().get_friendly_name()).partition("/sink_port_")[0]
    return own if own in port.get_names() or not port.get_names() else str(port.get_any_name())


def is_quantised(model: Any) -> bool:
    """Return whether any tensor of the model goes through a range, as the tensors of an INT8 model do."""
    return any(node.get_type_name() == "FakeQuantize" for node in model.get_ordered_ops())


def has_whole_weights(model: Any) -> bool:
    """Return whether a weight of the model is in bytes, as those of a model that was quantised by others are."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convert" and node.get_output_element_type(0).is_real():
            source = node.input_value(0).get_node()
            weighty = source.get_type_name() == "Constant" and len(source.get_output_shape(0)) > 1
            if weighty and source.get_output_element_type(0).get_type_name() in _BYTES:
                return True
    return False


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
