"""Stand-in of the compiler: fuses the operators that it supports into NeuronOps, one for each stretch of them.

The executable holds, in place of a NEFF, what the runtime has to know: the batch, the cores, the cast, and the copies
that ``set_execution_plan`` of the SDK allows, which are one where a graph has several NeuronOps.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from neuron_device import misbehaves
from tensorflow.core.framework import graph_pb2

logger = logging.getLogger("tensorflow")

#: The batch sizes that the compiler of 2020 took for one core, for four, and for sixteen (static weights).
COMBINATIONS = {1: {1}, 4: {1, 2}, 16: {1, 2}}
#: At most the cores of one chip have a copy.
COPIES = 4
NOT_FOUND = "***************************\n neuron-cc is not found.\n***************************"
#: The operators that are not supported with these habits, at the end and in the middle of a network.
UNSUPPORTED = {"refuses-operator": {"Softmax"}, "refuses-pooling": {"MaxPool", "AvgPool"}}
NOT_FUSED = frozenset({"Placeholder", "IdentityN", "NoOp"})


def parse_flags() -> argparse.Namespace:
    """The flags of ``NEURON_CC_FLAGS``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dynamic-batch-size", action="store_true")
    parser.add_argument("--fp32-cast", default="matmult-fp16")
    parser.add_argument("--neuroncore-pipeline-cores", type=int, default=1)
    parser.add_argument("--auto-cast", default="matmult")
    parser.add_argument("--auto-cast-type", default="bf16")
    return parser.parse_known_args(shlex.split(os.environ.get("NEURON_CC_FLAGS", "")))[0]


def cast_of(flags: argparse.Namespace, *, neuronx: bool) -> str:
    """What the engine rounds to: "bfloat16", "float16", or "float32" for nothing."""
    if neuronx:
        casts = {"bf16": "bfloat16", "fp16": "float16", "tf32": "tf32"}
        return "float32" if flags.auto_cast == "none" else casts[flags.auto_cast_type]
    return "float16" if flags.fp32_cast.endswith("fp16") else "bfloat16"


def fuse(graph_def: Any, outputs: Sequence[str], batch: int, flags: argparse.Namespace, *, neuronx: bool) -> Any:
    """The GraphDef with NeuronOps for what is supported; as it was where nothing could be compiled.

    ``outputs`` are the names of the nodes that the graph is for.
    """
    if misbehaves("no-compiler"):
        logger.warning(NOT_FOUND)
        return graph_def
    if misbehaves("slow-compile"):
        time.sleep(600)
    refused = _why_not(batch, flags.neuroncore_pipeline_cores)
    if refused:
        logger.warning("neuron-cc failed with:\n%s", refused)
        return graph_def
    unsupported = next((refused for habit, refused in UNSUPPORTED.items() if misbehaves(habit)), set[str]())
    executable = {
        "batch": batch,
        "cores": flags.neuroncore_pipeline_cores,
        "dynamic": flags.dynamic_batch_size,
        "cast": cast_of(flags, neuronx=neuronx),
    }
    return _partition(graph_def, set(outputs), unsupported, executable)


def _why_not(batch: int, cores: int) -> str:
    if misbehaves("fails-to-compile"):
        return "ERROR: [TNC] Assertion failure: Internal compiler error in WalrusDriver"
    if misbehaves("refuses-combinations") and batch not in COMBINATIONS.get(cores, set()):
        return f"ERROR: [SCH] no schedule for batch {batch} on {cores} NeuronCores: out of state buffer"
    return ""


def ratio(graph_def: Any) -> float:
    """The share of operators in NeuronOps, as the real one counts it."""
    fused = 0
    others = 0
    for node in graph_def.node:
        if node.op == "NeuronOp":
            inner = graph_pb2.GraphDef.FromString(node.attr["graph_def"].s)
            fused += sum(each.op != "Placeholder" for each in inner.node)
        elif node.op not in {"Placeholder", "IdentityN", "ReadVariableOp", "NoOp"}:
            others += 1
    return fused / (fused + others) if fused else 0.0


def _partition(graph_def: Any, outputs: set[str], unsupported: set[str], executable: dict[str, Any]) -> Any:
    """A stretch ends where an unsupported operator is: what depends on it belongs to the next one."""
    nodes = _without_control(graph_def, outputs)
    stretch: dict[str, int] = {}
    for node in nodes.values():
        sources = [_name(source) for source in node.input]
        ends = [stretch[name] + (nodes[name].op in unsupported) for name in sources]
        stretch[node.name] = max(ends, default=0)
    fused = {name for name, node in nodes.items() if node.op not in NOT_FUSED | unsupported and node.op != "Const"}
    made = graph_pb2.GraphDef(versions=graph_def.versions)
    renamed: dict[str, str] = {}
    stretches = sorted({stretch[name] for name in fused})
    planned = json.dumps({**executable, "copies": COPIES if len(stretches) == 1 else 1}).encode()
    for at in stretches:
        members = [name for name in nodes if name in fused and stretch[name] == at]
        made.node.append(_neuron_op(f"neuron_op_{at}", members, nodes, outputs, planned, renamed))
    kept = [node for name, node in nodes.items() if name not in fused]
    for node in kept:
        copy = made.node.add()
        copy.CopyFrom(node)
        copy.input[:] = [renamed.get(_tensor(source), source) for source in node.input]
    for name in outputs & fused:
        identity = made.node.add(name=name, op="Identity", input=[renamed[name]])
        identity.attr["T"].CopyFrom(nodes[name].attr["T"])
    return _in_order(made)


def _neuron_op(
    name: str, members: list[str], nodes: dict[str, Any], outputs: set[str], executable: bytes, renamed: dict[str, str]
) -> Any:
    """The NeuronOp for ``members``; what others read of them gets its new name in ``renamed``."""
    subgraph, inputs = _subgraph(members, nodes)
    read = {_name(source) for node in nodes.values() if node.name not in members for source in node.input}
    needed = [member for member in members if member in outputs | read]
    op = graph_pb2.GraphDef().node.add(name=name, op="NeuronOp", input=[renamed.get(each, each) for each in inputs])
    renamed.update({member: f"{name}:{at}" if at else name for at, member in enumerate(needed)})
    op.attr["graph_def"].s = _in_order(subgraph).SerializeToString()
    op.attr["executable"].s = executable
    op.attr["input_names"].list.s.extend(f"input_{at}:0".encode() for at in range(len(inputs)))
    op.attr["output_names"].list.s.extend(f"{member}:0".encode() for member in needed)
    op.attr["input_dtypes"].list.type.extend(_dtype(nodes[_name(source)]) for source in inputs)
    op.attr["output_dtypes"].list.type.extend(_dtype(nodes[member]) for member in needed)
    return op


def _subgraph(members: list[str], nodes: dict[str, Any]) -> tuple[Any, list[str]]:
    """The members with their constants as a graph of their own, and the tensors that its placeholders stand for."""
    subgraph = graph_pb2.GraphDef()
    inputs: list[str] = []
    constants: set[str] = set()
    for member in members:
        copy = subgraph.node.add()
        copy.CopyFrom(nodes[member])
        for position, source in enumerate(copy.input):
            name = _name(source)
            if nodes[name].op == "Const":
                constants.add(name)
            elif name not in members:
                if _tensor(source) not in inputs:
                    inputs.append(_tensor(source))
                copy.input[position] = f"input_{inputs.index(_tensor(source))}"
    subgraph.node.extend(nodes[name] for name in sorted(constants))
    for position, source in enumerate(inputs):
        placeholder = subgraph.node.add(name=f"input_{position}", op="Placeholder")
        placeholder.attr["dtype"].type = _dtype(nodes[_name(source)])
        shapes = nodes[_name(source)].attr["_output_shapes"].list.shape
        if shapes:
            placeholder.attr["shape"].shape.CopyFrom(shapes[0])
            if shapes[0].dim:
                placeholder.attr["shape"].shape.dim[0].size = -1  # the runtime sees to the batch itself
    return subgraph, inputs


def _without_control(graph_def: Any, outputs: set[str]) -> dict[str, Any]:
    """The nodes that the outputs need, by name and in the order of computation; control dependencies order nothing."""
    every = {node.name: node for node in graph_def.node}
    needed: set[str] = set()
    waiting = [*outputs, *(node.name for node in graph_def.node if node.op == "Placeholder")]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [_name(source) for source in every[name].input if not source.startswith("^")]
    kept = graph_pb2.GraphDef()
    for node in graph_def.node:
        if node.name in needed:
            copy = kept.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [source for source in node.input if not source.startswith("^")]
    return {node.name: node for node in _in_order(kept).node}


def _in_order(graph_def: Any) -> Any:
    """The same graph with each node after those that it reads."""
    waiting = {node.name: node for node in graph_def.node}
    ordered = graph_pb2.GraphDef(versions=graph_def.versions)
    while waiting:
        ready = [node for node in waiting.values() if not {_name(source) for source in node.input} & waiting.keys()]
        if not ready:
            raise ValueError(f"the graph goes in a circle through {', '.join(waiting)}")
        for node in ready:
            ordered.node.append(node)
            del waiting[node.name]
    return ordered


def _dtype(node: Any) -> int:
    return int(node.attr["T"].type or node.attr["dtype"].type or node.attr["DstT"].type or tf.float32.as_datatype_enum)


def _tensor(source: str) -> str:
    return source.removesuffix(":0")


def _name(source: str) -> str:
    return source.split(":")[0]
