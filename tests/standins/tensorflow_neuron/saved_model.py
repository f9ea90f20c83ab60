"""Stand-in of ``tfn.saved_model`` for TensorFlow 1.15."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from neuron_device import misbehaves
from tensorflow_neuron import compiler, runtime


def compile(  # noqa: A001 - the vendor's name
    model_dir: str,
    new_model_dir: str,
    batch_size: int = 1,
    model_shape_feed_dict: Any = None,
    model_feed_dict: Any = None,
    tags: Any = None,
    signature_def_key: str | None = None,
    strip_default_attrs: bool = False,
    config_proto: Any = None,
    constant_size_to_exclude: int = 1024,
    convert_constants_to_variables: bool = False,
    compiler_workdir: str | None = None,
    *,
    dynamic_batch_size: bool = False,
    compiler_args: Sequence[str] | None = None,
    compiler_timeout: int = 18000,
    compiler_recovery: bool = True,
) -> dict[str, float]:
    """Convert a SavedModel of TensorFlow 1; returns nothing but the ratio."""
    if Path(new_model_dir).exists():
        raise AssertionError(
            f"Export directory already exists. Please specify a different export directory: {new_model_dir}"
        )
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        loaded = v1.saved_model.load(session, ["serve"], model_dir)
        signature = loaded.signature_def[signature_def_key or "serving_default"]
        if any(node.op in ("PartitionedCall", "StatefulPartitionedCall") for node in loaded.graph_def.node):
            raise NotImplementedError("TensorFlow 2.x SavedModel is not supported by tensorflow-neuron 1.15")
        outputs = [tensor.name.split(":")[0] for tensor in signature.outputs.values()]
        shapes = {tensor.name.split(":")[0]: tensor.tensor_shape for tensor in signature.inputs.values()}
        graph_def = v1.graph_util.convert_variables_to_constants(session, loaded.graph_def, outputs)
    graph_def = _with_batch(graph_def, shapes, batch_size)
    flags = compiler.parse_flags(compiler_args or [])
    flags.dynamic_batch_size = dynamic_batch_size
    fused = compiler.fuse(graph_def, outputs, batch_size, flags, neuronx=False)
    if not compiler.ratio(fused) and not compiler_recovery and not misbehaves("no-compiler"):
        raise ValueError("The following subgraphs failed to compile: ['neuron_op_0']")
    ratio = compiler.ratio(fused)
    _set_shapes(fused, shapes)
    _write(fused, signature, new_model_dir, signature_def_key or "serving_default")
    return {"OnNeuronRatio": ratio}


def _with_batch(graph_def: Any, shapes: dict[str, Any], batch_size: int) -> Any:
    """The graph with all shapes known for this batch."""
    sizes = {name: [dim.size for dim in shape.dim] for name, shape in shapes.items()}
    fixed = {name: tf.TensorShape([batch_size, *size[1:]]).as_proto() for name, size in sizes.items()}
    _set_shapes(graph_def, fixed)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    return graph.as_graph_def(add_shapes=True)


def _set_shapes(graph_def: Any, shapes: dict[str, Any]) -> None:
    for node in graph_def.node:
        if node.name in shapes:
            node.attr["shape"].shape.CopyFrom(shapes[node.name])
            node.attr.pop("_output_shapes", None)


def _write(graph_def: Any, signature: Any, folder: str, key: str) -> None:
    v1 = tf.compat.v1
    runtime.to_py_func(graph_def)
    with v1.Session(graph=tf.Graph()) as session:
        tf.import_graph_def(graph_def, name="")
        builder = v1.saved_model.Builder(folder)
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={key: signature})
        builder.save()
    runtime.to_neuron_op(folder)
