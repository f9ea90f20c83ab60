"""Stand-in of TF-TRT as TensorFlow 2.17 has it, without TensorRT: `TrtGraphConverterV2`, and models that it has made.

Names, signatures, defaults and errors are those of ``tensorflow/python/compiler/tensorrt/trt_convert.py``. An engine is
the function that TensorFlow would fall back to, under the name that it has there, and its answers are rounded in FP16
and INT8; in the file its call is a ``TRTEngineOp``. Habits: ``no-tensorrt`` (a build without it), ``casts``,
``leaves-operator`` (softmax is TensorFlow's), ``leaves-all`` (everything is), and ``no-engine`` (building one
fails, and TensorFlow computes its part unless it is told not to).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.saved_model import loader_impl

_HABITS = frozenset(os.environ.get("STANDIN_MISBEHAVES", "").split(","))
_NAME = "TRTEngineOp_000_000"
_SEGMENT = f"{_NAME}_native_segment"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
RELEASE = (8, 6, 1)


class TrtGraphConverterV2:
    """Puts engines into a SavedModel."""

    def __init__(
        self,
        input_saved_model_dir: str | None = None,
        input_saved_model_tags: Any = None,
        input_saved_model_signature_key: str | None = None,
        use_dynamic_shape: bool | None = None,
        dynamic_shape_profile_strategy: str | None = None,
        max_workspace_size_bytes: int = 1 << 30,
        precision_mode: str = "FP32",
        minimum_segment_size: int = 3,
        maximum_cached_engines: int = 1,
        use_calibration: bool = True,
        allow_build_at_runtime: bool = True,
        conversion_params: Any = None,
    ) -> None:
        if "no-tensorrt" in _HABITS:
            raise RuntimeError("Tensorflow has not been built with TensorRT support.")
        self._key = input_saved_model_signature_key or "serving_default"
        self._folder = input_saved_model_dir
        self._precision = precision_mode
        self._needs_calibration = precision_mode == "INT8" and use_calibration
        self._serve: Any = None

    def convert(self, calibration_input_fn: Callable[[], Iterable[Any]] | None = None) -> Any:
        """Cut the graph into engines, and learn INT8's ranges."""
        device = tf.zeros([]).device
        if "gpu" not in device.lower():
            raise ValueError(f"Specified device is not a GPU: {device}")
        if self._needs_calibration and not calibration_input_fn:
            raise ValueError("Should specify calibration_input_fn because INT8 calibration is needed")
        if not self._needs_calibration and calibration_input_fn:
            raise ValueError("Should not specify calibration_input_fn because INT8 calibration is not needed")
        self._loaded = tf.saved_model.load(self._folder)
        self._serve = _cut(self._loaded.signatures[self._key], self._precision)
        for batch in calibration_input_fn() if calibration_input_fn else ():
            self._serve(**batch)
        return self._serve

    def build(self, input_fn: Callable[[], Iterable[Any]]) -> None:
        """Build engines by running what was converted."""
        for batch in input_fn():
            if "no-engine" in _HABITS and os.environ.get("TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION") == "False":
                raise tf.errors.AbortedError(None, None, "User disallowed engine native segment execution")
            self._serve(**batch)

    def save(self, output_saved_model_dir: str, save_gpu_specific_engines: bool = True, options: Any = None) -> None:
        """Write the SavedModel."""
        tf.saved_model.save(tf.Module(), output_saved_model_dir, signatures={self._key: self._serve}, options=options)
        _rewrite(Path(output_saved_model_dir) / "saved_model.pb", _to_engine)


def install(tensorflow: Any) -> None:
    """Have TensorFlow be one that was built with TensorRT."""
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils

    tensorflow.experimental.tensorrt.Converter = TrtGraphConverterV2
    _pywrap_py_utils.get_loaded_tensorrt_version = lambda: RELEASE
    parse = loader_impl.parse_saved_model

    def parse_and_replace(export_dir: Any) -> Any:
        model = parse(export_dir)
        for graph in model.meta_graphs:
            _to_call(graph.graph_def)
        return model

    loader_impl.parse_saved_model = parse_and_replace


def _cut(function: Any, precision: str) -> Any:
    """The function with one engine: all of it, or what comes before an operator that TensorRT refuses."""
    frozen = convert_variables_to_constants_v2(function)
    refused = {"Softmax"} if "leaves-operator" in _HABITS else set()
    ends = [operator.inputs[0] for operator in frozen.graph.get_operations() if operator.type in refused]
    edge = ends[:1] or list(frozen.outputs)
    engine = frozen if "leaves-all" in _HABITS else tf.function(_rounding(frozen.prune(frozen.inputs, edge), precision))
    rest = frozen.prune(edge, frozen.outputs) if ends else None
    structure = function.structured_outputs
    _, specs = function.structured_input_signature

    def serve(**inputs: Any) -> Any:
        # A frozen function takes its inputs in the order of their names.
        made = tf.nest.flatten(engine(*(inputs[name] for name in sorted(inputs))))
        return tf.nest.pack_sequence_as(structure, tf.nest.flatten(rest(*made)) if rest is not None else made)

    return tf.function(serve).get_concrete_function(**specs)


def _rounding(segment: Any, precision: str) -> Callable[..., Any]:
    def rounded(tensor: Any) -> Any:
        if not tensor.dtype.is_floating:
            return tensor
        if precision == "FP16" or "casts" in _HABITS:
            return tf.cast(tf.cast(tensor, tf.float16), tensor.dtype)
        return tf.round(tensor * 512) / 512 if precision == "INT8" else tensor

    def trt_engine_segment(*inputs: Any) -> Any:
        return [rounded(tensor) for tensor in tf.nest.flatten(segment(*inputs))]

    return trt_engine_segment


def _nodes(graph_def: Any) -> list[Any]:
    return [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]


def _rewrite(file: Path, change: Callable[[Any], None]) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        change(graph.graph_def)
    file.write_bytes(model.SerializeToString())


def _to_engine(graph_def: Any) -> None:
    """Name the segment as TF-TRT does, and its call what it is there."""
    for function in graph_def.library.function:
        if "trt_engine_segment" in function.signature.name:
            function.signature.name = _SEGMENT
    for function in graph_def.library.function:
        for node in function.node_def:
            if node.op in _CALLS and "trt_engine_segment" in node.attr["f"].func.name:
                original, node.name = node.name, _NAME
                node.op = "TRTEngineOp"
                node.attr["segment_func"].func.name = _SEGMENT
                node.attr["InT"].list.CopyFrom(node.attr["Tin"].list)
                node.attr["OutT"].list.CopyFrom(node.attr["Tout"].list)
                for name in ("f", "Tin", "Tout"):
                    del node.attr[name]
                _rename(function, original)


def _to_call(graph_def: Any) -> None:
    for node in _nodes(graph_def):
        if node.op == "TRTEngineOp":
            node.op = "PartitionedCall"
            node.attr["f"].func.name = node.attr["segment_func"].func.name
            node.attr["Tin"].list.CopyFrom(node.attr["InT"].list)
            node.attr["Tout"].list.CopyFrom(node.attr["OutT"].list)
            for name in ("segment_func", "InT", "OutT"):
                del node.attr[name]


def _rename(function: Any, original: str) -> None:
    """Have those that read the call read the engine."""
    for node in function.node_def:
        node.input[:] = [_NAME + name[len(original) :] if _reads(name, original) else name for name in node.input]
    for key, name in function.ret.items():
        if _reads(name, original):
            function.ret[key] = _NAME + name[len(original) :]


def _reads(name: str, original: str) -> bool:
    return name == original or name.startswith(f"{original}:")
