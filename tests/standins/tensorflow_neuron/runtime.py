"""Stand-in of the runtime: takes NeuronCores for the process, runs NeuronOps on them and has the driver count.

A NeuronOp is a PyFunc in memory and a NeuronOp in a SavedModel. The device is told in `neuron_device`. Habits:
``falls-back`` (computes on the host, so that the driver counts nothing), ``nan``, ``casts`` (rounds to one bit of
mantissa whatever it was told), ``lost-device`` (after 20 calls), ``out-of-memory``, ``no-cores`` (a stranger has them
all, and neuron-ls has not noticed), ``returns-early`` (a call does not wait for the device, and finds what the one
before it has left).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import neuron_device
import numpy as np
import tensorflow as tf
from neuron_device import ROUNDINGS, misbehaves
from tensorflow.core.framework import graph_pb2
from tensorflow.python.ops import script_ops
from tensorflow.python.saved_model import loader_impl

Arrays = list[np.ndarray]
ATTRIBUTES = ("graph_def", "executable", "input_names", "output_names", "input_dtypes", "output_dtypes")
#: The NeuronOps of this process, by the token of their PyFunc.
_operators: dict[bytes, tuple[Any, Callable[..., Arrays]]] = {}


def register() -> None:
    """Have TensorFlow's loaders know NeuronOps."""
    parse = loader_impl.parse_saved_model

    def parse_and_replace(export_dir: Any) -> Any:
        model = parse(export_dir)
        for meta_graph in model.meta_graphs:
            to_py_func(meta_graph.graph_def)
        return model

    loader_impl.parse_saved_model = parse_and_replace


def to_py_func(graph_def: Any) -> Any:
    """Replace the NeuronOps by operators that TensorFlow can run."""
    for node in _all_nodes(graph_def):
        if node.op == "NeuronOp":
            operator = _Operator(node)
            token = script_ops._py_funcs.insert(operator)
            original = graph_pb2.GraphDef().node.add()
            original.CopyFrom(node)
            _operators[as_bytes(token)] = original, operator
            types = {"Tin": node.attr["input_dtypes"].list.type, "Tout": node.attr["output_dtypes"].list.type}
            node.op = "PyFunc"
            node.ClearField("attr")
            node.attr["token"].s = as_bytes(token)
            for name, dtypes in types.items():
                node.attr[name].list.type.extend(dtypes)
    return graph_def


def as_bytes(token: str | bytes) -> bytes:
    """TensorFlow's token as a node holds it."""
    return token.encode() if isinstance(token, str) else token


def to_neuron_op(folder: str) -> None:
    """Write NeuronOps in place of their PyFuncs into a SavedModel that was just saved."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = Path(folder) / "saved_model.pb"
    model = SavedModel.FromString(path.read_bytes())
    for meta_graph in model.meta_graphs:
        for node in _all_nodes(meta_graph.graph_def):
            if node.op == "PyFunc" and node.attr["token"].s in _operators:
                original, _ = _operators[node.attr["token"].s]
                node.op = "NeuronOp"
                node.ClearField("attr")
                for name in ATTRIBUTES:
                    node.attr[name].CopyFrom(original.attr[name])
    path.write_bytes(model.SerializeToString())


def _all_nodes(graph_def: Any) -> list[Any]:
    inside = [node for function in graph_def.library.function for node in function.node_def]
    return [*graph_def.node, *inside]


class _Operator:
    """One NeuronOp."""

    def __init__(self, node: Any) -> None:
        self._facts = json.loads(node.attr["executable"].s)
        subgraph = graph_pb2.GraphDef.FromString(node.attr["graph_def"].s)
        self._round = ROUNDINGS["casts" if misbehaves("casts") else self._facts["cast"]]
        names = [[name.decode() for name in node.attr[side].list.s] for side in ("input_names", "output_names")]
        self._inputs, self._outputs = names
        # A pool of its own: TensorFlow's may have all threads waiting in NeuronOps.
        config = tf.compat.v1.ConfigProto(
            use_per_session_threads=True, inter_op_parallelism_threads=1, intra_op_parallelism_threads=1
        )
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(self._with_rounded_weights(subgraph), name="")
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        self._left: list[np.ndarray] = []

    def __call__(self, *inputs: np.ndarray) -> Arrays:
        try:
            return self._called(*inputs)
        except neuron_device.Failed as failed:
            raise _told(failed) from failed

    def _called(self, *inputs: np.ndarray) -> Arrays:
        cores = neuron_device.cores_of_process(self._facts["cores"])
        batch = self._facts["batch"]
        rows = len(inputs[0])
        if rows != batch and not self._facts["dynamic"]:
            raise tf.errors.InvalidArgumentError(
                None, None, f"Inconsistent client batch sizes: input has {rows} rows, the NEFF was compiled for {batch}"
            )
        pieces = []
        for at, start in enumerate(range(0, rows, batch)):
            piece = [_padded(array[start : start + batch], batch) for array in inputs]
            pieces.append(self._execute(piece, cores[at % min(len(cores), self._facts["copies"])]))
        return [np.concatenate(parts)[:rows] for parts in zip(*pieces, strict=True)]

    def _execute(self, inputs: Sequence[np.ndarray], core: Path) -> Arrays:
        neuron_device.before_a_call()
        feeds = {name: self._round(array) for name, array in zip(self._inputs, inputs, strict=True)}
        outputs = [self._round(array) for array in self._session.run(self._outputs, feeds)]
        if misbehaves("returns-early"):
            outputs, self._left = self._left or [np.zeros_like(array) for array in outputs], outputs
        if misbehaves("nan"):
            outputs[0].flat[0] = np.nan
        neuron_device.count(core)
        return outputs

    def _with_rounded_weights(self, subgraph: Any) -> Any:
        for node in subgraph.node:
            if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
                value = self._round(tf.make_ndarray(node.attr["value"].tensor))
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        return subgraph


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    missing = rows - len(array)
    return array if not missing else np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])


def _told(failed: neuron_device.Failed) -> Exception:
    """What the device says, in TensorFlow's words."""
    errors = tf.errors
    kinds = {
        "memory": (errors.ResourceExhaustedError, "Not enough runtime resource to load NEFF: nrt_load"),
        "too-few-cores": (
            errors.ResourceExhaustedError,
            "Failed to allocate enough NeuronCores for loading a NEFF: nrt_load",
        ),
        "no-cores": (
            errors.UnavailableError,
            'Nrt::Init failed: nrt_init status=1, error message="Non specific failure".',
        ),
        "lost": (
            errors.InternalError,
            "tensorflow/neuron/runtime/direct/adaptor.cc:446:Execute failed: nrt_execute: "
            'status=1202, error message="Hardware failure".',
        ),
    }
    kind, words = kinds[failed.why]
    told: Exception = kind(None, None, words)
    return told
