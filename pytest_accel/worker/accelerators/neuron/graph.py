"""What tensorflow-neuron made of a model: the operators inside its NeuronOps, and those that it left to the host.

A compiled SavedModel holds NeuronOp nodes. A NeuronOp has the subgraph that was compiled and the executable for it,
which is empty when compiling failed. Both are read from the file, so that nothing has to run. The driver counts the
inferences of the device: see `pytest_accel.worker.hardware.neuron_devices`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.formats import saved_model
from pytest_accel.worker.formats.saved_graph import Operator, needed, operator_of, signature_graph

NEURON_OP = "NeuronOp"


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
        """Return the share of the operators that is compiled."""
        operators = len(self.on_neuron) + len(self.on_host)
        return len(self.on_neuron) / operators if operators else 0.0

    def flops(self) -> Optional[float]:
        """Return the floating-point operations of what is compiled, for the compiled batch; None if unknown."""
        tensorflow = saved_model.import_tensorflow()
        total = 0.0
        for graph_def in self.subgraphs:
            with tensorflow.Graph().as_default() as graph:
                try:
                    tensorflow.compat.v1.import_graph_def(graph_def, name="")
                except ValueError:  # an operator that only the compiler knows
                    return None
            total += saved_model.count_flops(graph) or 0.0
        return total


def read(folder: str, signature: str) -> Compiled:
    """Read one signature of a compiled SavedModel."""
    nodes, outputs, library = signature_graph(folder, signature)
    compiled = Compiled({}, {}, [])
    for caller, node in needed(nodes, outputs, library):
        if node.op == NEURON_OP:
            _unfold(node, compiled)
            continue
        operator = operator_of(node)
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
        operator = operator_of(inner)
        if operator is not None:
            place[inner.name] = operator


def require_compiled(compiled: Compiled, why: str) -> None:
    """Raise `Refused` when nothing was compiled. The SDK returns the graph unchanged then, to run on the host.

    ``why`` is the reason from the SDK's log; it may be empty.
    """
    if not compiled.on_neuron:
        raise Refused(f"nothing was compiled, and all of it would run on the host: {why or 'no reason was logged'}")
