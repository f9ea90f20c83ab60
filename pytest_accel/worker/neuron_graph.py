"""What tensorflow-neuron made of a model: the operators inside its NeuronOps, and those that it left to the host.

A compiled SavedModel holds NeuronOp nodes; each carries the subgraph that was compiled and the executable for it, empty
when compiling failed. Both are read from the file, as TensorFlow 1 and 2 write it, so that nothing has to run. How many
inferences the device then made is the driver's to tell, see `neuron`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from pytest_accel.worker import saved_model
from pytest_accel.worker.accelerator import Refused

NEURON_OP = "NeuronOp"


class Operator(NamedTuple):
    """What an operator is, and NumPy's name of what it computes in as far as the graph tells."""

    kind: str
    precision: str


@dataclass(frozen=True)
class Compiled:
    """The computing operators of one signature by name: those on the device and those on the host.

    ``subgraphs`` are the GraphDefs of the NeuronOps that have an executable.
    """

    on_neuron: Dict[str, Operator]
    on_host: Dict[str, Operator]
    subgraphs: List[Any]

    @property
    def share(self) -> float:
        """The share of the operators that is compiled."""
        operators = len(self.on_neuron) + len(self.on_host)
        return len(self.on_neuron) / operators if operators else 0.0

    def flops(self) -> Optional[float]:
        """Floating-point operations of what is compiled, for the batch that it is compiled for; None if unknown."""
        tensorflow = saved_model.import_tensorflow()
        total = 0.0
        for graph_def in self.subgraphs:
            with tensorflow.Graph().as_default() as graph:
                try:
                    tensorflow.compat.v1.import_graph_def(graph_def, name="")
                except ValueError:  # an operator that only the compiler knows
                    return None
            total += saved_model.count_flops(graph)
        return total


def read(folder: str, signature: str) -> Compiled:
    """Look at one signature of a compiled SavedModel."""
    saved_model.check_signature(folder, signature)
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
        model.ParseFromString(file.read())
    graph = next(each for each in model.meta_graphs if signature in each.signature_def)
    outputs = [tensor.name for tensor in graph.signature_def[signature].outputs.values()]
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    compiled = Compiled({}, {}, [])
    for caller, node in _needed(graph.graph_def.node, outputs, library):
        if node.op == NEURON_OP:
            _unfold(node, compiled)
            continue
        operator = _operator(node)
        if operator is not None:
            # Two calls of one function have operators of the same names.
            name = node.name if node.name not in compiled.on_host else caller + node.name
            compiled.on_host[name] = operator
    return compiled


def _unfold(node: Any, compiled: Compiled) -> None:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    subgraph = GraphDef()
    subgraph.ParseFromString(node.attr["graph_def"].s)
    if node.attr["executable"].s:
        compiled.subgraphs.append(subgraph)
    place = compiled.on_neuron if node.attr["executable"].s else compiled.on_host
    for inner in subgraph.node:
        operator = _operator(inner)
        if operator is not None:
            place[inner.name] = operator


def _needed(nodes: Any, outputs: List[str], library: Dict[str, Any], caller: str = "") -> Iterator[Tuple[str, Any]]:
    """The nodes that the outputs depend on, those of called functions in place of the calls; each with its caller."""
    by_name = {node.name: node for node in nodes}
    waiting = [_node_of(name) for name in outputs]
    seen: Set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in by_name:  # an argument of the function is no node
            continue
        seen.add(name)
        node = by_name[name]
        waiting += [_node_of(source) for source in node.input]
        called = library.get(node.attr["f"].func.name) if "f" in node.attr else None
        if called is None:
            yield caller, node
        else:
            results = [*called.ret.values(), *called.control_ret.values()]
            yield from _needed(called.node_def, results, library, f"{caller}{name}/")


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _operator(node: Any) -> Optional[Operator]:
    """What a node computes, None where it does not compute with numbers."""
    if "T" not in node.attr or not node.attr["T"].type:
        return None
    precision = saved_model.import_tensorflow().dtypes.as_dtype(node.attr["T"].type).name
    return Operator(node.op, precision) if saved_model.computes(node.op, precision) else None


def require_compiled(compiled: Compiled, why: str) -> None:
    """Raise `Refused` when nothing was compiled: the SDK then returns the graph as it was, to run on the host.

    ``why`` is what its log told; it may be empty.
    """
    if not compiled.on_neuron:
        raise Refused(f"nothing was compiled, and all of it would run on the host: {why or 'no reason was logged'}")
