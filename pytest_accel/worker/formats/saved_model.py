"""SavedModels and Keras files as TensorFlow sees them: reading, checking, exporting, looking at the graph.

The accelerators that run or convert models of TensorFlow share these functions. TensorFlow is imported inside them. It
may be of any release from 2.8 on, with Keras 2 or 3.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import Refused, Source, Tensor
from pytest_accel.worker.formats import batch_axes
from pytest_accel.worker.formats.batch_axes import Ends

#: FOLDER is the name of a SavedModel inside of another folder.
FOLDER = "saved_model"
#: OTHER_DEVICES says why TensorFlow cannot be given the devices that an accelerator needs.
OTHER_DEVICES = (
    "TensorFlow already runs with other devices in this process ({}): leave out --accel-in-process, so that each "
    "accelerator has a process of its own"
)
#: _DECIDED says whether TensorFlow sees a GPU in this process; it is empty before that is decided.
_DECIDED: List[bool] = []
#: _BOOKKEEPING names the kinds of nodes that feed, name or forward values and compute none.
_BOOKKEEPING = frozenset(
    {
        "Const",
        "Placeholder",
        "Identity",
        "IdentityN",
        "NoOp",
        "_Arg",
        "_Retval",
        "_Send",
        "_Recv",
        "_HostSend",
        "_HostRecv",
    }
)
#: _NO_PRECISION names the types of shapes, indices, truth values and strings. They have no precision to lose.
_NO_PRECISION = frozenset({"int32", "int64", "bool", "string", "resource", "variant"})


def preload_tensorflow() -> Any:
    """Import TensorFlow, quiet and as the backend of Keras. Only the first import in a process can decide both.

    No device is looked for, so that a process can be forked afterwards.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import tensorflow

    return tensorflow


def import_tensorflow(*, gpu: bool = False) -> Any:
    """Import TensorFlow and hide the GPUs from it, unless the first call in this process was one with ``gpu``.

    The first operation of a TensorFlow that sees a GPU takes nearly all of its memory and keeps it until the process
    ends. The vendor's compiler in the same process would find none, and neither would the process that measures.
    """
    tensorflow = preload_tensorflow()
    if not _DECIDED:
        if not gpu:
            hide_gpus(tensorflow)
        _DECIDED.append(gpu)
    return tensorflow


def hide_gpus(tensorflow: Any) -> None:
    """Hide the GPUs. Raises `Refused` where TensorFlow has begun to use one in this process."""
    config = tensorflow.config
    config = config if hasattr(config, "set_visible_devices") else config.experimental  # before TensorFlow 2.1
    try:
        config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise Refused(OTHER_DEVICES.format(error)) from error


def write_saved_model(source: Source, folder: str) -> None:
    """Write ``source``, a SavedModel or a Keras file, into ``folder`` as a SavedModel.

    Raises `Refused` when it is neither.
    """
    if source.kind == "saved_model":
        _copy(source.path, folder)
    elif source.kind == "keras":
        _export(source.path, folder)
    else:
        raise Refused(f"TensorFlow takes a saved_model or a keras source, not {source.kind!r}")


def export_keras(model: Any, folder: str) -> None:
    """Write a Keras model as a SavedModel for any batch; for its own where it is fixed, as a layer with a state needs.

    Raises whatever Keras does.
    """
    try:
        model.export(folder)
    except Exception:  # Keras's own errors have no base class
        fixed = _fixed_signature(model)
        if fixed is None:
            raise
        model.export(folder, input_signature=fixed)


def _fixed_signature(model: Any) -> Optional[List[Any]]:
    """Return the inputs of a Keras model with the batch that they have, None where no batch is fixed."""
    keras = sys.modules.get("keras")
    inputs = getattr(model, "inputs", None) or []
    if keras is None or all(tuple(tensor.shape)[:1] in ((), (None,)) for tensor in inputs):
        return None

    def spec(tensor: Any) -> Any:
        return keras.InputSpec(shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)

    structure = getattr(model, "_inputs_struct", None)
    return [spec(tensor) for tensor in inputs] if structure is None else [keras.tree.map_structure(spec, structure)]


def read(folder: str) -> Any:
    """Return the message of a SavedModel's file. Raises `Refused` where there is none, or it cannot be read."""
    import_tensorflow()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    try:
        with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
            model.ParseFromString(file.read())
    except (OSError, DecodeError) as error:
        raise Refused(f"{folder} is not a SavedModel: {error}") from error
    return model


def signatures_of(folder: str) -> List[str]:
    """Return the names of a SavedModel's signatures. The graph is not loaded. Raises `Refused` for another folder."""
    graphs = read(folder).meta_graphs
    return sorted({name for graph in graphs for name in graph.signature_def if not name.startswith("__")})


def check_signature(folder: str, signature: str) -> None:
    """Raise `Refused`, naming the signatures there are, when ``signature`` is not one of them."""
    names = signatures_of(folder)
    if signature in names:
        return
    # The folder may be a copy that nobody knows, so it is not named.
    missing = f"the SavedModel has no signature {signature!r}; it has"
    if not names:
        raise Refused(f"{missing} none: save it with signatures={{'serving_default': function}}")
    raise Refused(f"{missing} {', '.join(map(repr, names))}: name one in the marker, as in signature={names[0]!r}")


def tensors_of(function: Any, batch_size: int = 1) -> Tuple[List[Tensor], List[Tensor]]:
    """Return the inputs and outputs of a loaded signature, by name. ``batch_size`` is what a call is to take."""
    _, inputs = function.structured_input_signature
    sides = _tensors(inputs), _tensors(function.structured_outputs)
    return batch_axes.with_axes(sides, batch_axes.axes_of(batch_axes.ends_of(*sides), batch_size))


def ends_of(function: Any) -> Ends:
    """Return the shapes of what a loaded signature takes and gives, in its own order."""
    _, inputs = function.structured_input_signature
    return Ends(
        [_sizes(spec) for spec in inputs.values()], [_sizes(spec) for spec in function.structured_outputs.values()]
    )


def tensors_of_signature(folder: str, signature: str) -> Tuple[List[Tensor], List[Tensor]]:
    """Return the inputs and outputs of a signature. The graph is not loaded onto a device.

    Raises `Refused`, naming the signatures there are, when ``signature`` is not one of them.
    """
    check_signature(folder, signature)
    graphs = read(folder).meta_graphs
    found = next(graph.signature_def[signature] for graph in graphs if signature in graph.signature_def)
    return _stored_tensors(found.inputs), _stored_tensors(found.outputs)


def sizes_for(function: Any, batch_size: Optional[int]) -> Dict[str, List[Union[int, str, None]]]:
    """Return the shapes of the inputs of a signature for a fixed batch; None leaves the batch as it is."""
    _, inputs = function.structured_input_signature
    ends = ends_of(function)
    axes, _ = batch_axes.axes_of(ends, batch_size or 1)
    return {
        name: [batch_size if number == axis and size is None else size for number, size in enumerate(dims)]
        for name, dims, axis in zip(inputs, ends.inputs, axes)
    }


def inlined_graph(function: Any, batch_size: int) -> Any:
    """Return the flat graph of a signature for a fixed batch. Other dynamic dimensions stay as they are.

    It is None for a model that assigns its variables when it is called: they cannot be made constants of the graph.
    """
    tensorflow = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    _, inputs = function.structured_input_signature
    sizes = sizes_for(function, batch_size)
    fixed = {name: tensorflow.TensorSpec(sizes[name], spec.dtype, name) for name, spec in inputs.items()}
    traced = tensorflow.function(lambda **arrays: function(**arrays)).get_concrete_function(**fixed)
    try:
        return convert_variables_to_constants_v2(traced, lower_control_flow=False).graph
    except (ValueError, tensorflow.errors.OpError):  # an operator that assigns takes no constant for its variable
        return None


def rewritten_operators(function: Any, batch_size: int) -> Dict[str, str]:
    """Return what `computing_operators` returns, of the graph that TensorFlow's optimiser makes of a signature."""
    graph = max((graphs.post_optimization_graph for graphs in _run_graphs(function, batch_size)), key=_size)
    return _computing((node.name, node.op, _dtype(node)) for node in graph.node if "T" in node.attr)


def placed_operators(function: Any, batch_size: int) -> Dict[str, Tuple[str, str, str]]:
    """Return device, kind and precision of the operators that compute when a signature is run, by name."""
    graphs = max(
        (collected.partition_graphs for collected in _run_graphs(function, batch_size)),
        key=lambda parts: sum(map(_size, parts)),
    )
    nodes = [node for graph in graphs for node in graph.node if "T" in node.attr]
    return {node.name: (node.device, node.op, _dtype(node)) for node in nodes if computes(node.op, _dtype(node))}


def zeros(function: Any, batch_size: int) -> Dict[str, Any]:
    """Return inputs that fit a signature. A dynamic dimension other than the batch has one element."""
    tensorflow = import_tensorflow()
    _, inputs = function.structured_input_signature
    sizes = sizes_for(function, batch_size)
    return {name: tensorflow.zeros([size or 1 for size in sizes[name]], spec.dtype) for name, spec in inputs.items()}


def _run_graphs(function: Any, batch_size: int) -> Any:
    """Return the graphs of one call that TensorFlow collects.

    It collects graphs only while it optimises, so the signature is traced anew and called with zeros.
    """
    from tensorflow.python.eager import context

    inputs = zeros(function, batch_size)
    traced = import_tensorflow().function(lambda **arrays: function(**arrays)).get_concrete_function(**inputs)
    eager = context.context()
    eager.enable_graph_collection()
    try:
        traced(**inputs)
        return eager.export_run_metadata().function_graphs
    finally:
        eager.disable_graph_collection()


def _size(graph: Any) -> int:
    return len(graph.node)


def _dtype(node: Any) -> str:
    return str(import_tensorflow().dtypes.as_dtype(node.attr["T"].type).name)


def computing_operators(graph: Any) -> Dict[str, str]:
    """Return the precision of every operator that computes with numbers, by name."""
    return _computing(
        (node.name, node.type, node.outputs[0].dtype.base_dtype.name) for node in graph.get_operations() if node.outputs
    )


def computes(kind: str, precision: str) -> bool:
    """Return whether an operator of this kind computes with numbers of this precision."""
    return kind not in _BOOKKEEPING and precision not in _NO_PRECISION


def _computing(nodes: Iterable[Tuple[str, str, str]]) -> Dict[str, str]:
    """Return the precisions of the nodes that compute with numbers. A node is a name, a kind and a precision."""
    return {name: precision for name, kind, precision in nodes if computes(kind, precision)}


def count_flops(graph: Any) -> Optional[float]:
    """Return the floating-point operations that TensorFlow's profiler counts; a multiply-add counts as two.

    They are not known where `inlined_graph` gives no graph.
    """
    if graph is None:
        return None
    profiler = import_tensorflow().compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
    return float(profiler.profile(graph, options=options).total_float_ops)


def _stored_tensors(infos: Mapping[str, Any]) -> List[Tensor]:
    as_dtype = import_tensorflow().dtypes.as_dtype
    return [
        Tensor(
            name,
            as_dtype(info.dtype).name,
            tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(infos.items())
    ]


def _copy(path: str, folder: str) -> None:
    import shutil

    if not os.path.isdir(path):
        raise Refused(f"{path} is not a folder: a SavedModel is the folder that holds saved_model.pb")
    if not os.path.isfile(os.path.join(path, "saved_model.pb")):
        raise Refused(f"{path} is not a SavedModel: it holds no saved_model.pb")
    signatures_of(path)  # so that an error names the original
    shutil.copytree(path, folder)


def _export(path: str, folder: str) -> None:
    if not os.path.isfile(path):
        raise Refused(f"{path}: no such file")
    tensorflow = import_tensorflow()
    try:
        model = tensorflow.keras.models.load_model(path, compile=False)
    except Exception as error:  # layers of the project's own raise what they like
        raise Refused(
            f"{path}: Keras cannot load it; where it needs code of your project, load it in the test and pass the "
            f"model in memory, accel_model(keras.models.load_model(path)) ({type(error).__name__}: {error})"
        ) from error
    if hasattr(model, "export"):
        with redirect_stdout(io.StringIO()):  # Keras prints what it has written
            export_keras(model, folder)
    else:  # Keras before 2.12
        tensorflow.saved_model.save(model, folder)


def _tensors(specs: Mapping[str, Any]) -> List[Tensor]:
    return [Tensor(name, spec.dtype.name, tuple(_sizes(spec))) for name, spec in sorted(specs.items())]


def _sizes(spec: Any) -> List[Optional[int]]:
    return list(spec.shape.as_list()) if spec.shape.rank is not None else []
