"""Stand-in of the runtime: takes NeuronCores for the process, runs NeuronOps on them and has the driver count.

A NeuronOp is a PyFunc in memory and a NeuronOp in a SavedModel. Cores are taken with the first call, by a lock on a
file that only the end of the process frees. Habits: ``falls-back`` (computes on the host, so that the driver counts
nothing), ``nan``, ``casts`` (rounds to two bits of mantissa whatever it was told), ``lost-device`` (after 20 calls),
``out-of-memory``, ``no-cores`` (a stranger has them all, and neuron-ls has not noticed).
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.ops import script_ops
from tensorflow.python.saved_model import loader_impl
from tensorflow_neuron.compiler import misbehaves

Arrays = list[np.ndarray]
ATTRIBUTES = ("graph_def", "executable", "input_names", "output_names", "input_dtypes", "output_dtypes")
#: The NeuronOps of this process, by the token of their PyFunc.
_operators: dict[bytes, tuple[Any, Callable[..., Arrays]]] = {}
_lock = threading.Lock()
_cores: list[Path] = []
_held: list[int] = []
_calls = 0


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

    def __call__(self, *inputs: np.ndarray) -> Arrays:
        cores = _cores_of_process(self._facts["cores"])
        batch = self._facts["batch"]
        rows = len(inputs[0])
        if rows != batch and not self._facts["dynamic"]:
            raise tf.errors.InvalidArgumentError(
                None, None, f"Inconsistent client batch sizes: input has {rows} rows, the NEFF was compiled for {batch}"
            )
        pieces = []
        for at, start in enumerate(range(0, rows, batch)):
            piece = [_padded(array[start : start + batch], batch) for array in inputs]
            pieces.append(self._execute(piece, cores[at % len(cores)]))
        return [np.concatenate(parts)[:rows] for parts in zip(*pieces, strict=True)]

    def _execute(self, inputs: Sequence[np.ndarray], core: Path) -> Arrays:
        _fail_like_a_device()
        feeds = {name: self._round(array) for name, array in zip(self._inputs, inputs, strict=True)}
        outputs = [self._round(array) for array in self._session.run(self._outputs, feeds)]
        if misbehaves("nan"):
            outputs[0].flat[0] = np.nan
        if not misbehaves("falls-back"):
            _count(core, "status/infer_completed_with_num_error" if misbehaves("nan") else "other_info/inference_count")
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


def _keep_bits(bits: int) -> Callable[[np.ndarray], np.ndarray]:
    """Round FP32 to so many bits of mantissa, as a narrower type would; other types stay."""

    def rounded(array: np.ndarray) -> np.ndarray:
        if array.dtype != np.float32:
            return array
        cut = 23 - bits
        whole = np.ascontiguousarray(array).view(np.uint32)
        return ((whole + np.uint32(1 << (cut - 1))) & np.uint32(0xFFFFFFFF << cut & 0xFFFFFFFF)).view(np.float32)

    return rounded


ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bfloat16": _keep_bits(7),
    "float16": _keep_bits(10),
    "tf32": _keep_bits(10),
    "float32": np.array,
    "casts": _keep_bits(1),
}


def _fail_like_a_device() -> None:
    global _calls
    with _lock:
        _calls += 1
    if misbehaves("out-of-memory"):
        raise tf.errors.ResourceExhaustedError(None, None, "Not enough runtime resource to load NEFF: nrt_load")
    if misbehaves("lost-device") and _calls > 20:
        raise tf.errors.InternalError(
            None,
            None,
            "tensorflow/neuron/runtime/direct/adaptor.cc:446:Execute failed: nrt_execute: "
            'status=1202, error message="Hardware failure".',
        )


def _root() -> Path:
    return Path(os.environ["ACCEL_HOST_ROOT"])


def _cores_of_process(needed: int) -> list[Path]:
    """The sysfs folders of the cores that this process has, taken with the first call."""
    with _lock:
        if not _cores:
            _cores.extend(_take())
    if needed > len(_cores):
        raise tf.errors.ResourceExhaustedError(
            None, None, "Failed to allocate enough NeuronCores for loading a NEFF: nrt_load"
        )
    return _cores


def _take() -> list[Path]:
    every = sorted(_root().glob("sys/devices/virtual/neuron_device/neuron*/neuron_core*"))
    listed = os.environ.get("NEURON_RT_VISIBLE_CORES")
    if listed:
        first, _, last = listed.partition("-")
        wanted = every[int(first) : int(last or first) + 1]
    else:
        wanted = every
    count = len(wanted) if listed else int(os.environ.get("NEURON_RT_NUM_CORES", "0")) or len(every)
    free = [] if misbehaves("no-cores") else [core for core in wanted if _lock_core(core)][:count]
    if not free or len(free) < count:
        sys.stderr.write(
            "ERROR  NRT:nrt_allocate_neuron_cores  NeuronCore(s) not available - "
            f"Requested:{count} Available:{len(free)}\n"
        )
        raise tf.errors.UnavailableError(
            None, None, 'Nrt::Init failed: nrt_init status=1, error message="Non specific failure".'
        )
    return free


def _lock_core(core: Path) -> bool:
    limit = int(os.environ.get("NEURON_RT_NUM_CORES", "0") or 0)
    if limit and len(_held) >= limit and not os.environ.get("NEURON_RT_VISIBLE_CORES"):
        return False
    lock = os.open(core / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    _held.append(lock)
    return True


def _count(core: Path, counter: str) -> None:
    file = core / "stats" / counter / "total"
    with _lock:
        if file.exists():
            file.write_text(f"{int(file.read_text()) + 1}\n")
