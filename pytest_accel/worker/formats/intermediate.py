"""The tensors inside a compiled model: what every operator gives for one batch, in the order of computation.

The graph is run again with the inner tensors as outputs. That keeps a runtime from merging operators, so the values are
nearly, but not always exactly, those of the compiled model. A quantised tensor is shown after quantising and back. It
has the same name as in the FP32 model. So values outside of the range are seen to be cut off.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Sequence, Set, Tuple

import numpy as np

from pytest_accel.worker.accelerator import Arrays, Intermediate


def of_onnx(model: Any, inputs: Arrays, session_of: Callable[[bytes], Any]) -> List[Intermediate]:
    """Return the tensors of an ONNX model. ``session_of`` makes an ONNX Runtime session of a serialised model."""
    import onnx

    seen = list(_seen_in_onnx(model.graph))
    known = {value.name for value in (*model.graph.output, *model.graph.input)}
    wanted = dict.fromkeys(name for name, *_ in seen if name not in known)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = session_of(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    values = {**inputs, **dict(zip(names, session.run(names, inputs)))}
    return _floating(seen, values)


def _seen_in_onnx(graph: Any) -> Iterator[Tuple[str, str, str, str]]:
    """Yield the tensor to look at, the name to show, the operator and the operator's type."""
    quantised = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    restored = {
        quantised[node.input[0]]: node.output[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in quantised
    }
    outputs = {value.name for value in graph.output}
    weights = {tensor.name for tensor in graph.initializer}
    computed: Set[str] = set()
    for value in graph.input:
        if value.name not in weights:
            computed.add(value.name)
            yield restored.get(value.name, value.name), value.name, value.name, "input"
    for node in graph.node:
        if computed.isdisjoint(node.input):
            continue  # of weights alone
        computed.update(node.output)
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            for tensor in filter(None, node.output):
                at = restored.get(tensor, tensor)
                yield at, at if at in outputs else tensor, node.name, node.op_type


def of_openvino(model: Any, inputs: Arrays, compiled: Callable[[Any], Any]) -> List[Intermediate]:
    """Return the tensors of an OpenVINO model. ``compiled`` compiles a model as the artefact was compiled."""
    seen, ports = [], []
    computed: Set[str] = set()
    for node in model.get_ordered_ops():
        kind, name = node.get_type_name(), node.get_friendly_name()
        sources = {port.get_source_output().get_node().get_friendly_name() for port in node.inputs()}
        if kind == "Result" or (kind != "Parameter" and computed.isdisjoint(sources)):
            continue
        computed.add(name)
        if kind == "FakeQuantize" or not node.output(0).get_element_type().is_real():
            continue
        ports.append(_restored(node.output(0)))
        tensor = min(node.output(0).get_names(), default=name)  # what the source calls it, where that is known
        seen.append((_key(ports[-1]), tensor, name, "input" if kind == "Parameter" else kind))
    model.add_outputs(ports)  # but for those that are outputs already
    shown = [_key(result.input(0).get_source_output()) for result in model.get_results()]
    results = compiled(model)(inputs)
    return _floating(seen, {key: results[number] for number, key in enumerate(shown)})


def _restored(port: Any) -> Any:
    """Return the output of the FakeQuantize that a tensor goes through, or the tensor itself."""
    for target in port.get_target_inputs():
        if target.get_node().get_type_name() == "FakeQuantize":
            return target.get_node().output(0)
    return port


def _key(port: Any) -> str:
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"


def _floating(seen: Sequence[Tuple[str, str, str, str]], values: Dict[str, np.ndarray]) -> List[Intermediate]:
    shown = [Intermediate(tensor, operator, kind, np.asarray(values[at])) for at, tensor, operator, kind in seen]
    return [tensor for tensor in shown if tensor.value.dtype.kind == "f"]
