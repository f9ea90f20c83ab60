"""The graph of a SavedModel's signature in the file: the nodes that the outputs need, and what they compute.

It is read of models into which a compiler has put special nodes. The compiler's accelerator knows what is inside them.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from pytest_accel.worker.formats import saved_model


class Operator(NamedTuple):
    """The kind of an operator, and NumPy's name of the precision that the graph gives it."""

    kind: str
    precision: str


def signature_graph(folder: str, signature: str) -> Tuple[Any, List[str], Dict[str, Any]]:
    """Return the nodes of a signature's graph, the names of the outputs, and the functions that nodes call, by name."""
    saved_model.check_signature(folder, signature)
    graph = next(meta for meta in saved_model.read(folder).meta_graphs if signature in meta.signature_def)
    outputs = [tensor.name for tensor in graph.signature_def[signature].outputs.values()]
    return (
        graph.graph_def.node,
        outputs,
        {function.signature.name: function for function in graph.graph_def.library.function},
    )


def needed(nodes: Any, outputs: List[str], library: Dict[str, Any], caller: str = "") -> Iterator[Tuple[str, Any]]:
    """Yield the nodes that the outputs depend on, with their callers. The nodes of a function replace its call."""
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
            yield from needed(called.node_def, results, library, f"{caller}{name}/")


def operators_of(folder: str, signature: str) -> Dict[str, str]:
    """Return the precisions of a signature's computing operators in the file, by name. Bodies of loops are left out."""
    nodes, outputs, library = signature_graph(folder, signature)
    found = ((f"{caller}{node.name}", operator_of(node)) for caller, node in needed(nodes, outputs, library))
    return {name: operator.precision for name, operator in found if operator is not None}


def precisions_of(folder: str) -> List[str]:
    """Return the precisions of all computing operators of a SavedModel, in functions and branches too."""
    graphs = [meta.graph_def for meta in saved_model.read(folder).meta_graphs]
    lists = [graph.node for graph in graphs]
    lists += [function.node_def for graph in graphs for function in graph.library.function]
    operators = [operator_of(node) for nodes in lists for node in nodes]
    return sorted({operator.precision for operator in operators if operator is not None})


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def operator_of(node: Any) -> Optional[Operator]:
    """Return what a node computes, None where it does not compute with numbers."""
    if "T" not in node.attr or not node.attr["T"].type:
        return None
    precision = saved_model.import_tensorflow().dtypes.as_dtype(node.attr["T"].type).name
    return Operator(node.op, precision) if saved_model.computes(node.op, precision) else None
